/* SPDX-License-Identifier: MIT */
/**
 * A temporary folder of a test, for configurations and credentials.
 */
#ifndef RLT_TESTS_SUPPORT_SCRATCH_H
#define RLT_TESTS_SUPPORT_SCRATCH_H

#include "support/nats_server.h"

#define SCRATCH_PATH_MAX 128

struct scratch {
    char folder[64];
};

/** Make the folder. The test fails if that does not work, here and below. */
void scratch_create(struct scratch *scratch);

/** Remove the folder and its files. */
void scratch_destroy(struct scratch *scratch);

/** The path of a file of the folder, whether it exists or not. */
void scratch_path(const struct scratch *scratch, const char *name, char path[SCRATCH_PATH_MAX]);

/** Write a file. It is replaced at once: nobody reads half of it. */
void scratch_write(const struct scratch *scratch, const char *name, const char *text);

/** Remove a file. */
void scratch_remove(const struct scratch *scratch, const char *name);

/** Start a server with a configuration, which is the file "server.conf" from then on. */
struct nats_server *scratch_server(const struct scratch *scratch, const char *config);

/** Kill the server and start it again with another configuration, on the same port. */
void scratch_restart(const struct scratch *scratch, struct nats_server *server, const char *config);

/** Let a running server read another configuration. */
void scratch_reload(const struct scratch *scratch, struct nats_server *server, const char *config);

#endif
