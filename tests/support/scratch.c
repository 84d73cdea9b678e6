/* SPDX-License-Identifier: MIT */
#include "support/scratch.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/condition.h"

void scratch_create(struct scratch *scratch)
{
    (void)snprintf(scratch->folder, sizeof(scratch->folder), "/tmp/roulette-test.XXXXXX");
    REQUIRE(mkdtemp(scratch->folder) != NULL);
}

void scratch_destroy(struct scratch *scratch)
{
    char path[512];
    DIR *folder = opendir(scratch->folder);
    REQUIRE(folder != NULL);
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        (void)snprintf(path, sizeof(path), "%s/%s", scratch->folder, entry->d_name);
        (void)unlink(path);
    }
    (void)closedir(folder);
    REQUIRE(rmdir(scratch->folder) == 0);
}

void scratch_path(const struct scratch *scratch, const char *name, char path[SCRATCH_PATH_MAX])
{
    int len = snprintf(path, SCRATCH_PATH_MAX, "%s/%s", scratch->folder, name);
    REQUIRE(len > 0 && len < SCRATCH_PATH_MAX);
}

void scratch_write(const struct scratch *scratch, const char *name, const char *text)
{
    char path[SCRATCH_PATH_MAX];
    char new_path[SCRATCH_PATH_MAX];
    scratch_path(scratch, name, path);
    scratch_path(scratch, "new", new_path);
    FILE *file = fopen(new_path, "we");
    REQUIRE(file != NULL);
    REQUIRE(fwrite(text, 1, strlen(text), file) == strlen(text));
    REQUIRE(fclose(file) == 0);
    REQUIRE(rename(new_path, path) == 0);
}

void scratch_remove(const struct scratch *scratch, const char *name)
{
    char path[SCRATCH_PATH_MAX];
    scratch_path(scratch, name, path);
    REQUIRE(unlink(path) == 0);
}

struct nats_server *scratch_server(const struct scratch *scratch, const char *config)
{
    char path[SCRATCH_PATH_MAX];
    scratch_path(scratch, "server.conf", path);
    scratch_write(scratch, "server.conf", config);
    const char *const arguments[] = {"-c", path, NULL};
    struct nats_server *server = nats_server_start(arguments);
    REQUIRE(server != NULL);
    return server;
}

void scratch_restart(const struct scratch *scratch, struct nats_server *server, const char *config)
{
    scratch_write(scratch, "server.conf", config);
    REQUIRE(nats_server_kill(server, SIGKILL));
    REQUIRE(nats_server_restart(server));
}

void scratch_reload(const struct scratch *scratch, struct nats_server *server, const char *config)
{
    char text[8192];
    int len =
        snprintf(text, sizeof(text), "server_name: \"%s\"\n%s", nats_server_name(server), config);
    REQUIRE(len > 0 && (size_t)len < sizeof(text));
    scratch_write(scratch, "server.conf", text);
    REQUIRE(nats_server_reload(server));
}
