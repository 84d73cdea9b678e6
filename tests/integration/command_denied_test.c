/* SPDX-License-Identifier: MIT */
/**
 * roulette pub to a topic that the user may not publish to: it says so, and does not pass.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/process.h"
#include "support/scratch.h"
#include "support/test.h"

static const char permissions[] =
    "authorization { users: [ { user: u, password: p, permissions: {\n"
    "  publish: { allow: [\"ok.>\"] } } } ] }\n";

static struct scratch scratch;
static struct nats_server *server;

static void set_up(void)
{
    scratch_create(&scratch);
    server = scratch_server(&scratch, permissions);
}

static void tear_down(void)
{
    nats_server_stop(server);
    scratch_destroy(&scratch);
}

/* Run "pub", and demand its exit code and what stderr is; "@" in it is the address. */
static void expect(const char *const *operands, const char *input, int code, const char *expected)
{
    char url[64];
    char address[32];
    char text[2048] = "";
    struct process process;
    const char *argv[16] = {RLT_COMMAND, "pub", "-s", url};
    (void)snprintf(url, sizeof(url), "nats://u:p@127.0.0.1:%u", nats_server_port(server));
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", nats_server_port(server));
    for (int i = 0; operands[i] != NULL; i++) {
        argv[4 + i] = operands[i];
    }
    for (const char *next = expected; *next != '\0'; next++) {
        char one[2] = {*next, '\0'};
        (void)strcat(text, *next == '@' ? address : one);
    }
    process_start(&process, argv, input, strlen(input));
    int ended = process_wait(&process);
    char *printed = process_printed(process.err, NULL);
    cr_assert_str_eq(printed, text);
    cr_assert_eq(ended, code);
    free(printed);
    process_end(&process);
}

#define OPERANDS(...)    ((const char *const[]){__VA_ARGS__, NULL})
#define DeniedTest(name) Test(command_denied, name, .init = set_up, .fini = tear_down)

DeniedTest(pub_to_a_topic_that_is_not_permitted_fails_and_says_why)
{
    expect(OPERANDS("ok.1", "x"), "", 0, "");
    expect(OPERANDS("no.1", "x"), "", 1,
           "cluster 0 (@): accepted 1, confirmed 0, in doubt 0, failed 0, discarded 0, denied 1\n"
           "roulette pub: cluster 0 (@) refused 1 message: Permissions Violation for Publish to "
           "\"no.1\": publish to another topic, or give this user the permission\n");
}

DeniedTest(pub_of_many_lines_fails_too)
{
    expect(OPERANDS("--lines", "no.1"), "a\nb\nc\n", 1,
           "cluster 0 (@): accepted 3, confirmed 0, in doubt 0, failed 0, discarded 0, denied 3\n"
           "roulette pub: cluster 0 (@) refused 3 messages: Permissions Violation for Publish to "
           "\"no.1\": publish to another topic, or give this user the permission\n");
}

DeniedTest(pub_with_a_reply_that_is_not_permitted_names_the_reply)
{
    expect(OPERANDS("--reply", "$JS.ACK.1", "ok.1", "x"), "", 1,
           "cluster 0 (@): accepted 1, confirmed 0, in doubt 0, failed 0, discarded 0, denied 1\n"
           "roulette pub: cluster 0 (@) refused 1 message: Permissions Violation for Publish with "
           "Reply of \"$JS.ACK.1\": publish to another topic, or give this user the permission\n");
}
