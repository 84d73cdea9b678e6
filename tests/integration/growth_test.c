/* SPDX-License-Identifier: MIT */
/**
 * Programs that were compiled with a header in which a public struct has a field less or a field
 * more work with this library: see vary_header and growth.c, which is built once for each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/nats_server.h"
#include "support/process.h"
#include "support/test.h"

/* Run one program. Returns: whether it is content. */
static bool run(const char *path, const char *servers)
{
    struct process process;
    const char *const arguments[] = {path, servers, NULL};
    process_start(&process, arguments, "", 0);
    int code = process_wait(&process);
    char *err = process_printed(process.err, NULL);
    if (code != 0) {
        (void)fprintf(stderr, "%s: exit code %d: %s\n", strrchr(path, '/') + 1, code, err);
    }
    free(err);
    process_end(&process);
    return code == 0;
}

Test(growth, programs_with_older_and_newer_structs_work_with_this_library)
{
    char servers[64];
    char programs[] = GROWTH_PROGRAMS;
    int count = 0;
    int content = 0;
    struct nats_server *first = nats_server_start(NULL);
    struct nats_server *second = nats_server_start(NULL);
    cr_assert(first != NULL && second != NULL);
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u,127.0.0.1:%u", nats_server_port(first),
                   nats_server_port(second));
    for (char *path = strtok(programs, "|"); path != NULL; path = strtok(NULL, "|")) {
        count++;
        content += run(path, servers) ? 1 : 0;
    }
    nats_server_stop(first);
    nats_server_stop(second);
    /* The header as it is, and each of its six structs twice. */
    cr_assert_geq(count, 13);
    cr_assert_eq(content, count, "%d of %d programs", content, count);
}
