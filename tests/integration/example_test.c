/* SPDX-License-Identifier: MIT */
/**
 * The example in the head of roulette.h, as the build cut it out and compiled it with the shared
 * library, does what it says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/nats_server.h"
#include "support/process.h"
#include "support/test.h"

/* Run the example with one argument. Returns: its exit code. */
static int run_example(const char *servers, char **out, char **err)
{
    struct process process;
    const char *const arguments[] = {RLT_EXAMPLE, servers, NULL};
    process_start(&process, arguments, "", 0);
    int code = process_wait(&process);
    *out = process_printed(process.out, NULL);
    *err = process_printed(process.err, NULL);
    process_end(&process);
    return code;
}

Test(example, publishes_and_receives_hello)
{
    char address[32];
    char *out;
    char *err;
    struct nats_server *server = nats_server_start(NULL);
    cr_assert_not_null(server);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", nats_server_port(server));
    cr_assert_eq(run_example(address, &out, &err), 0, "%s", err);
    cr_assert_str_eq(out, "hello\n");
    cr_assert_str_eq(err, "");
    free(out);
    free(err);
    nats_server_stop(server);
}

Test(example, tells_what_is_wrong_with_a_server_list)
{
    char *out;
    char *err;
    cr_assert_eq(run_example("127.0.0.1:port", &out, &err), 1);
    cr_assert_str_eq(out, "");
    cr_assert_not_null(strstr(err, "port"), "%s", err);
    free(out);
    free(err);
}
