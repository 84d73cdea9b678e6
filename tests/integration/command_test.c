/* SPDX-License-Identifier: MIT */
/**
 * The `roulette` program as its users meet it: outputs, exit codes and error texts.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roulette.h"
#include "support/certificates.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/jwt.h"
#include "support/net.h"
#include "support/process.h"
#include "support/scratch.h"
#include "support/test.h"

enum { ARGUMENTS_MAX = 16, SERVERS = 3, TOPICS = 300 };

/* One run of the program, over. */
struct outcome {
    int code;
    char *out;
    size_t out_len;
    char *err;
};

/* The arguments of a call, behind the program's name. The last one is NULL. */
struct call {
    const char *arguments[ARGUMENTS_MAX];
};
#define CALL(...) (&(const struct call){{__VA_ARGS__, NULL}})

static void start(struct process *process, const struct call *call, const void *input, size_t len)
{
    const char *argv[ARGUMENTS_MAX + 1] = {RLT_COMMAND};
    for (size_t i = 0; i < ARGUMENTS_MAX && call->arguments[i] != NULL; i++) {
        argv[i + 1] = call->arguments[i];
    }
    process_start(process, argv, input, len);
}

static struct outcome finish(struct process *process)
{
    struct outcome outcome;
    outcome.code = process_wait(process);
    outcome.out = process_printed(process->out, &outcome.out_len);
    outcome.err = process_printed(process->err, NULL);
    process_end(process);
    return outcome;
}

static struct outcome run_with(const struct call *call, const void *input, size_t len)
{
    struct process process;
    start(&process, call, input, len);
    return finish(&process);
}

static void forget(struct outcome *outcome)
{
    free(outcome->out);
    free(outcome->err);
}

/* Run, and demand all that it prints and returns. */
static void expect(const struct call *call, int code, const char *out, const char *err)
{
    struct outcome outcome = run_with(call, "", 0);
    cr_assert_str_eq(outcome.err, err);
    cr_assert_str_eq(outcome.out, out);
    cr_assert_eq(outcome.code, code, "exit code %d", outcome.code);
    forget(&outcome);
}

/* Run, and demand the exit code, and texts that standard error contains. */
static void expect_failure(const struct call *call, int code, const char *first, const char *second)
{
    struct outcome outcome = run_with(call, "", 0);
    cr_assert_eq(outcome.code, code, "exit code %d: %s", outcome.code, outcome.err);
    cr_assert(strstr(outcome.err, first) != NULL, "%s", outcome.err);
    cr_assert(strstr(outcome.err, second) != NULL, "%s", outcome.err);
    cr_assert_eq(outcome.out_len, 0);
    forget(&outcome);
}

/* ---- The command line --------------------------------------------------------------------- */

Test(command, help_is_on_standard_output)
{
    const char *const names[] = {"pub", "sub", "ring"};
    for (size_t i = 0; i < 3; i++) {
        struct outcome outcome = run_with(CALL(names[i], "--help"), "", 0);
        char usage[64];
        (void)snprintf(usage, sizeof(usage), "usage: roulette %s [OPTION]... ", names[i]);
        cr_assert_eq(outcome.code, 0);
        cr_assert_eq(strncmp(outcome.out, usage, strlen(usage)), 0);
        cr_assert(strstr(outcome.out, "\nExit code: 0 ") != NULL);
        cr_assert_str_eq(outcome.err, "");
        forget(&outcome);
    }
    struct outcome all = run_with(CALL("--help"), "", 0);
    cr_assert_eq(all.code, 0);
    cr_assert(strstr(all.out, "\n  pub ") != NULL && strstr(all.out, "\n  ring ") != NULL);
    forget(&all);
    struct outcome none = run_with(CALL(NULL), "", 0);
    cr_assert_eq(none.code, 2);
    cr_assert_eq(none.out_len, 0);
    cr_assert_eq(strncmp(none.err, "usage: roulette COMMAND", 23), 0);
    forget(&none);
}

Test(command, version_is_that_of_the_library)
{
    char text[64];
    (void)snprintf(text, sizeof(text), "roulette %s\n", roulette_version());
    expect(CALL("--version"), 0, text, "");
}

Test(command, a_wrong_command_line_is_one_line_that_says_what_to_change)
{
    (void)unsetenv("ROULETTE_SERVERS");
    expect(CALL("publish"), 2, "",
           "roulette: \"publish\" is not a command: give pub, sub or ring, or see roulette "
           "--help\n");
    expect(CALL("pub"), 2, "", "roulette pub: there is no topic; see roulette pub --help\n");
    expect(CALL("pub", "a", "b", "c"), 2, "",
           "roulette pub: \"c\" is one operand too many: put a payload with blanks in quotes\n");
    expect(CALL("sub", "a"), 2, "",
           "roulette sub: there are no servers: give --servers LIST, or set the environment "
           "variable ROULETTE_SERVERS\n");
    expect(CALL("pub", "a", "-5"), 2, "",
           "roulette pub: there is no option -5; see roulette pub --help, and write \"--\" before "
           "operands that begin with '-'\n");
    expect(CALL("pub", "a", "--frobnicate"), 2, "",
           "roulette pub: there is no option --frobnicate, or it is short for several; see "
           "roulette pub --help, and write \"--\" before operands that begin with '-'\n");
    expect(CALL("pub", "a", "--lines=yes"), 2, "", "roulette pub: --lines takes no value\n");
    expect(CALL("pub", "a", "-s"), 2, "",
           "roulette pub: --servers needs a value; see roulette pub --help\n");
    expect(CALL("ring", "--pool", "3", "a"), 2, "",
           "roulette ring: --pool is not an option of this command; see roulette ring --help\n");
    expect(CALL("sub", "--pool", "17", "a"), 2, "",
           "roulette sub: --pool is \"17\": give a number from 1 to 16\n");
    expect(CALL("sub", "--timeout", "-1", "a"), 2, "",
           "roulette sub: --timeout is \"-1\": give a number from 1 to 86400000\n");
    expect(CALL("pub", "--count", "99999999999999999999", "a"), 2, "",
           "roulette pub: --count is \"99999999999999999999\": give a number from 1 to "
           "18446744073709551615\n");
    expect(CALL("pub", "--ring", "md5", "a"), 2, "",
           "roulette pub: --ring is \"md5\": give native or roulette\n");
    expect(CALL("pub", "-s", "a", "--lines", "t", "p"), 2, "",
           "roulette pub: --lines takes the payloads from standard input, each once: remove "
           "PAYLOAD\n");
}

/* The texts are the library's, and tested there; here they must come through. */
Test(command, bad_servers_and_topics_are_named)
{
    (void)setenv("ROULETTE_SERVERS", "127.0.0.1:1", 1);
    expect_failure(CALL("pub", "-s", "a,,b", "t", "p"), 2,
                   "roulette pub: servers, entry 2 \"\":", "write host:port");
    expect_failure(CALL("sub", "-s", "a,A:4222", "t"), 2,
                   "roulette sub: servers, entry 2 \"A:4222\":", "entry 1");
    expect_failure(CALL("ring", "-s", "a:x", "t"), 2,
                   "roulette ring: servers, entry 1 \"a:***\":", "the port is not a number");
    expect_failure(CALL("pub", "a b", "p"), 2, "roulette pub: the topic \"a b\"",
                   "a blank or a control byte, at byte 2 of 3");
    expect_failure(CALL("pub", "a.*", "p"), 2, "roulette pub: the topic \"a.*\"", "a wildcard");
    expect_failure(CALL("pub", "--reply", "a..b", "a", "p"), 2,
                   "roulette pub: --reply: the topic \"", "an empty token");
    expect_failure(CALL("sub", "a.>.b"), 2, "roulette sub: the topic \"",
                   "that is not its last one");
    expect(CALL("sub", "a", "a"), 2, "", "roulette sub: \"a\" is given twice: remove one\n");
}

Test(command, a_full_disk_behind_standard_output_is_a_failure)
{
    const char *const argv[] = {"/bin/sh", "-c", "\"$0\" --help >/dev/full", RLT_COMMAND, NULL};
    struct process process;
    process_start(&process, argv, "", 0);
    struct outcome outcome = finish(&process);
    cr_assert_eq(outcome.code, 1);
    cr_assert_str_eq(outcome.err, "roulette: standard output: No space left on device\n");
    forget(&outcome);
}

/* ---- ring --------------------------------------------------------------------------------- */

/* The program's answers, and those of an open client, which needs no connection either. */
static void compare_rings(enum roulette_ring ring, const char *name)
{
    static const char servers[] = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:4,127.0.0.1:5";
    struct roulette_options options;
    roulette_client *client;
    char input[TOPICS * 16];
    char expected[TOPICS * 48];
    size_t input_len = 0;
    size_t expected_len = 0;
    roulette_options_init(&options);
    options.servers = servers;
    options.ring = ring;
    cr_assert_eq(roulette_open(&options, &client), 0);
    for (int i = 0; i < TOPICS; i++) {
        char topic[24];
        (void)snprintf(topic, sizeof(topic), "room.%d", i);
        int cluster = roulette_cluster_of(client, topic, ROULETTE_STRLEN);
        input_len += (size_t)sprintf(input + input_len, "%s\n", topic);
        expected_len += (size_t)sprintf(expected + expected_len, "%s\t%d\t%s\n", topic, cluster,
                                        roulette_cluster_address(client, (size_t)cluster));
    }
    roulette_free(client);
    struct outcome outcome =
        run_with(CALL("ring", "--ring", name, "--servers", servers), input, input_len);
    cr_assert_eq(outcome.code, 0);
    cr_assert_str_eq(outcome.out, expected);
    cr_assert_str_eq(outcome.err, "");
    forget(&outcome);
}

Test(command, ring_answers_as_an_open_client_does)
{
    compare_rings(ROULETTE_RING_NATIVE, "native");
    compare_rings(ROULETTE_RING_ROULETTE, "roulette");
}

Test(command, ring_connects_to_nothing_and_shows_no_credentials)
{
    uint16_t port;
    int listening = net_listen(&port);
    char servers[64];
    char line[64];
    cr_assert_geq(listening, 0);
    (void)snprintf(servers, sizeof(servers), "nats://user:secret@127.0.0.1:%u", port);
    (void)snprintf(line, sizeof(line), "room.1\t0\t127.0.0.1:%u\n", port);
    (void)setenv("ROULETTE_SERVERS", servers, 1);
    expect(CALL("ring", "room.1"), 0, line, "");
    cr_assert_not(net_wait(listening, POLLIN, net_now_ms()), "somebody knocks");
}

Test(command, ring_shows_wildcards_on_all_clusters_and_goes_on_after_bad_topics)
{
    (void)setenv("ROULETTE_SERVERS", "a,b:1", 1);
    expect(CALL("ring", "x.*"), 0, "x.*\t0\ta:4222\nx.*\t1\tb:1\n", "");
    expect(CALL("ring", "x..y", ">"), 2, ">\t0\ta:4222\n>\t1\tb:1\n",
           "roulette ring: the topic \"x..y\" is not valid: it has an empty token (two dots in a "
           "row), "
           "at byte 3 of 4\n");
}

/* ---- pub and sub -------------------------------------------------------------------------- */

/* Start servers and point the environment at them. */
static void use_fleet(struct fleet *fleet, size_t count)
{
    fleet_start(fleet, count);
    (void)setenv("ROULETTE_SERVERS", fleet->list, 1);
}

static void listen_to(struct process *process, const struct call *call)
{
    start(process, call, "", 0);
    process_await_error(process, "listening to ");
}

Test(command, sub_prints_what_pub_publishes)
{
    struct fleet fleet;
    struct process sub;
    use_fleet(&fleet, SERVERS);
    listen_to(&sub, CALL("sub", "--count", "4", "room.1", "many.*"));
    expect(CALL("pub", "room.1", "hello world"), 0, "", "");
    expect(CALL("pub", "room.1", "--", "-5"), 0, "", "");
    static const char odd[] = "tab\tline\n\\ esc\x1b del\x7f nul\0 \xc3\xbc";
    struct outcome pub = run_with(CALL("pub", "room.1"), odd, sizeof(odd) - 1);
    cr_assert_eq(pub.code, 0, "%s", pub.err);
    forget(&pub);
    expect(CALL("pub", "many.1", ""), 0, "", "");
    struct outcome outcome = finish(&sub);
    cr_assert_eq(outcome.code, 0);
    /* In order per topic only. */
    cr_assert(strstr(outcome.out, "room.1\thello world\nroom.1\t-5\n") != NULL, "%s", outcome.out);
    cr_assert(
        strstr(outcome.out, "room.1\ttab\\tline\\n\\\\ esc\\x1b del\\x7f nul\\x00 \xc3\xbc\n"),
        "%s", outcome.out);
    cr_assert(strstr(outcome.out, "many.1\t\n") != NULL, "%s", outcome.out);
    cr_assert_str_eq(outcome.err, "roulette sub: listening to 2 topics\n");
    forget(&outcome);
    fleet_stop(&fleet);
}

Test(command, raw_payloads_arrive_unchanged)
{
    enum { LEN = 1000000 };
    struct fleet fleet;
    struct process sub;
    uint8_t *payload = malloc(LEN);
    cr_assert_not_null(payload);
    for (size_t i = 0; i < LEN; i++) {
        payload[i] = (uint8_t)(i * 2654435761U >> 24);
    }
    use_fleet(&fleet, SERVERS);
    listen_to(&sub, CALL("sub", "--raw", "--count", "1", "room.1"));
    struct outcome pub = run_with(CALL("pub", "room.1"), payload, LEN);
    cr_assert_eq(pub.code, 0, "%s", pub.err);
    forget(&pub);
    struct outcome outcome = finish(&sub);
    cr_assert_eq(outcome.code, 0);
    cr_assert_eq(outcome.out_len, LEN);
    cr_assert_arr_eq(outcome.out, payload, LEN);
    forget(&outcome);
    free(payload);
    fleet_stop(&fleet);
}

Test(command, lines_are_messages_in_order_through_a_pool_and_the_other_ring)
{
    enum { LINES = 20000 };
    struct fleet fleet;
    struct process sub;
    char *lines = malloc(LINES * 8);
    char *expected = malloc(LINES * 16);
    size_t len = 0;
    size_t expected_len = 0;
    cr_assert(lines != NULL && expected != NULL);
    for (int i = 0; i < LINES; i++) {
        len += (size_t)sprintf(lines + len, "%d\n", i);
        expected_len += (size_t)sprintf(expected + expected_len, "room.1\t%d\n", i);
    }
    use_fleet(&fleet, SERVERS);
    listen_to(&sub, CALL("sub", "--ring", "roulette", "--pool", "3", "--count", "20000", "room.1"));
    struct outcome pub =
        run_with(CALL("pub", "--ring", "roulette", "--pool", "3", "--lines", "room.1"), lines, len);
    cr_assert_eq(pub.code, 0, "%s", pub.err);
    forget(&pub);
    struct outcome outcome = finish(&sub);
    cr_assert_eq(outcome.code, 0);
    cr_assert_str_eq(outcome.out, expected);
    forget(&outcome);
    free(lines);
    free(expected);
    fleet_stop(&fleet);
}

Test(command, pub_repeats_and_carries_a_reply_topic)
{
    struct fleet fleet;
    use_fleet(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "room.1", ROULETTE_STRLEN, NULL, NULL), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    expect(CALL("pub", "--count", "3", "--reply", "inbox.7", "room.1", "x"), 0, "", "");
    for (int i = 0; i < 3; i++) {
        struct roulette_message message;
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        cr_assert_eq(message.reply_len, strlen("inbox.7"));
        cr_assert_arr_eq(message.reply, "inbox.7", message.reply_len);
        roulette_release(subscriber, &message, 1);
    }
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(command, sub_ends_cleanly_at_a_signal)
{
    const int signals[] = {SIGINT, SIGTERM};
    struct fleet fleet;
    use_fleet(&fleet, 1);
    for (size_t i = 0; i < 2; i++) {
        struct process sub;
        listen_to(&sub, CALL("sub", "room.1"));
        expect(CALL("pub", "room.1", "x"), 0, "", "");
        size_t len = 0;
        EVENTUALLY((free(process_printed(sub.out, &len)), len != 0));
        process_signal(&sub, signals[i]);
        struct outcome outcome = finish(&sub);
        cr_assert_eq(outcome.code, 0);
        cr_assert_str_eq(outcome.out, "room.1\tx\n");
        cr_assert_str_eq(outcome.err, "roulette sub: listening to 1 topic\n");
        forget(&outcome);
    }
    fleet_stop(&fleet);
}

/* ---- Standard descriptors ----------------------------------------------------------------- */

/* Run `"$0" ...` as a shell does, with redirections of its own. */
static struct outcome run_shell(const char *line)
{
    const char *const argv[] = {"/bin/sh", "-c", line, RLT_COMMAND, NULL};
    struct process process;
    process_start(&process, argv, "", 0);
    return finish(&process);
}

static void expect_shell(const char *line, int code, const char *out, const char *err)
{
    struct outcome outcome = run_shell(line);
    cr_assert_str_eq(outcome.err, err, "%s: %s", line, outcome.err);
    cr_assert_str_eq(outcome.out, out, "%s", line);
    cr_assert_eq(outcome.code, code, "%s: exit code %d", line, outcome.code);
    forget(&outcome);
}

/* The log that -v asks for was sent to the server, which ends the connection for it. */
Test(command, pub_sends_no_log_where_standard_descriptors_are_closed)
{
    static const char *const lines[] = {
        "exec \"$0\" pub -vv room.1 x 2>&-",     "exec \"$0\" pub -vv room.1 x >&- 2>&-",
        "exec \"$0\" pub -vv room.1 x <&- 2>&-", "exec \"$0\" pub -vv room.1 x <&- >&- 2>&-",
        "exec \"$0\" pub room.1 x <&- >&-",
    };
    struct fleet fleet;
    struct process sub;
    use_fleet(&fleet, 1);
    listen_to(&sub, CALL("sub", "--count", "5", "--raw", "room.1"));
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        expect_shell(lines[i], 0, "", "");
    }
    struct outcome outcome = finish(&sub);
    cr_assert_str_eq(outcome.out, "xxxxx");
    forget(&outcome);
    fleet_stop(&fleet);
}

Test(command, a_closed_standard_descriptor_is_an_error_where_it_is_needed)
{
    (void)setenv("ROULETTE_SERVERS", "127.0.0.1:1", 1);
    expect_shell("exec \"$0\" pub room.1 <&-", 1, "",
                 "roulette pub: standard input cannot be read: Bad file descriptor\n");
    expect_shell("exec \"$0\" ring room.1 >&-", 1, "",
                 "roulette: standard output: Bad file descriptor\n");
    expect_shell("exec \"$0\" sub room.1 >&-", 1, "",
                 "roulette sub: standard output cannot be written to: Bad file descriptor\n");
    expect_shell("exec \"$0\" sub room..1 2>&-", 2, "", "");
}

Test(command, ring_ends_when_its_reader_goes)
{
    expect_shell("while echo room.1; do :; done | { \"$0\" ring -s a; echo $? >&2; } | head -c 1",
                 0, "r", "roulette ring: standard output: Broken pipe\n1\n");
}

/* ---- Who may talk to whom ------------------------------------------------------------------ */

/* Point the environment at one server, with another scheme and host than usual. */
static void use_server(struct nats_server *server, const char *prefix)
{
    char address[64];
    (void)snprintf(address, sizeof(address), "%s:%u", prefix, nats_server_port(server));
    (void)setenv("ROULETTE_SERVERS", address, 1);
}

Test(command, tls_is_spoken_with_the_ca_that_is_given)
{
    struct certificates certificates;
    struct scratch scratch;
    char ca[CERTIFICATES_PATH_MAX];
    char other[CERTIFICATES_PATH_MAX];
    char cert[CERTIFICATES_PATH_MAX];
    char key[CERTIFICATES_PATH_MAX];
    char config[512];
    cr_assert(certificates_create(&certificates));
    scratch_create(&scratch);
    certificates_path(&certificates, "ca.crt", ca);
    certificates_path(&certificates, "other_ca.crt", other);
    certificates_path(&certificates, "server.crt", cert);
    certificates_path(&certificates, "server.key", key);
    (void)snprintf(config, sizeof(config), "tls { cert_file: \"%s\", key_file: \"%s\" }\n", cert,
                   key);
    struct nats_server *server = scratch_server(&scratch, config);
    cr_assert_not_null(server);
    use_server(server, "tls://localhost");
    expect(CALL("pub", "--tls-ca", ca, "room.1", "x"), 0, "", "");
    expect_failure(CALL("pub", "--tls-ca", other, "--timeout", "300", "room.1", "x"), 1,
                   "after 300 ms cluster 0 ",
                   "the server's certificate is not from a trusted CA: ");
    use_server(server, "localhost");
    expect(CALL("pub", "--tls-ca", ca, "room.1", "x"), 0, "", "");
    expect_failure(CALL("pub", "--tls-ca", "/nonexistent.pem", "room.1", "x"), 2,
                   "/nonexistent.pem", "cannot be used");
    nats_server_stop(server);
    scratch_destroy(&scratch);
    certificates_destroy(&certificates);
}

Test(command, nkey_is_read_from_a_file)
{
    struct scratch scratch;
    char config[256];
    char text[256];
    char path[SCRATCH_PATH_MAX];
    char missing[SCRATCH_PATH_MAX];
    struct jwt_key key = jwt_key_make(JWT_USER);
    scratch_create(&scratch);
    (void)snprintf(config, sizeof(config), "authorization { users = [ { nkey: %s } ] }\n",
                   key.public_key);
    struct nats_server *server = scratch_server(&scratch, config);
    cr_assert_not_null(server);
    use_server(server, "127.0.0.1");
    (void)snprintf(text, sizeof(text), "%s\n", key.seed);
    scratch_write(&scratch, "seed", text);
    scratch_path(&scratch, "seed", path);
    scratch_path(&scratch, "missing", missing);
    expect(CALL("pub", "--nkey", path, "room.1", "x"), 0, "", "");
    expect_failure(CALL("pub", "--timeout", "300", "room.1", "x"), 1, "is not connected",
                   "the server says: Authorization Violation; it wants a login: ");
    expect_failure(CALL("pub", "--nkey", missing, "room.1", "x"), 2, "roulette pub: --nkey ",
                   "No such file");
    scratch_write(&scratch, "seed", " \n");
    expect_failure(CALL("sub", "--nkey", path, "room.1"), 2, "roulette sub: --nkey ",
                   "give a file that holds a seed");
    scratch_write(&scratch, "seed", "SUWRONG\n");
    struct outcome outcome = run_with(CALL("pub", "--nkey", path, "room.1", "x"), "", 0);
    cr_assert_eq(outcome.code, 2);
    cr_assert_null(strstr(outcome.err, "SUWRONG"), "a seed is not shown: %s", outcome.err);
    forget(&outcome);
    nats_server_stop(server);
    scratch_destroy(&scratch);
}

Test(command, credentials_are_read_from_a_file)
{
    static char config[8192];
    static char text[8192];
    char path[SCRATCH_PATH_MAX];
    struct scratch scratch;
    struct jwt_key keys[] = {jwt_key_make(JWT_OPERATOR), jwt_key_make(JWT_ACCOUNT),
                             jwt_key_make(JWT_USER)};
    char *jwts[] = {jwt_make(&keys[0], &keys[0], 0), jwt_make(&keys[1], &keys[0], 0),
                    jwt_make(&keys[2], &keys[1], 0)};
    scratch_create(&scratch);
    (void)snprintf(config, sizeof(config),
                   "operator: %s\nresolver: MEMORY\nresolver_preload: { %s: %s }\n", jwts[0],
                   keys[1].public_key, jwts[1]);
    struct nats_server *server = scratch_server(&scratch, config);
    cr_assert_not_null(server);
    use_server(server, "127.0.0.1");
    (void)snprintf(text, sizeof(text),
                   "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
                   "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n",
                   jwts[2], keys[2].seed);
    scratch_write(&scratch, "user.creds", text);
    scratch_path(&scratch, "user.creds", path);
    expect(CALL("pub", "--creds", path, "room.1", "x"), 0, "", "");
    expect_failure(CALL("pub", "--creds", path, "--nkey", path, "room.1", "x"), 2,
                   "roulette pub: ", "");
    nats_server_stop(server);
    scratch_destroy(&scratch);
    for (size_t i = 0; i < 3; i++) {
        free(jwts[i]);
    }
}

/* Bytes that several programs have printed so far. */
static size_t printed_by(const struct process *processes, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++) {
        size_t len;
        free(process_printed(processes[i].out, &len));
        total += len;
    }
    return total;
}

Test(command, one_member_of_a_queue_group_gets_each_message)
{
    enum { MEMBERS = 3, MESSAGES = 300 };
    struct fleet fleet;
    struct process members[MEMBERS];
    struct process everybody;
    use_fleet(&fleet, SERVERS);
    for (size_t i = 0; i < MEMBERS; i++) {
        listen_to(&members[i], CALL("sub", "--raw", "--queue", "group", "work.*"));
    }
    listen_to(&everybody, CALL("sub", "--raw", "--count", "300", "work.*"));
    for (int topic = 0; topic < 3; topic++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "work.%d", topic);
        expect(CALL("pub", "--count", "100", name, "x"), 0, "", "");
    }
    struct outcome all = finish(&everybody);
    cr_assert_eq(all.out_len, MESSAGES);
    forget(&all);
    EVENTUALLY(printed_by(members, MEMBERS) >= MESSAGES);
    size_t total = 0;
    for (size_t i = 0; i < MEMBERS; i++) {
        process_signal(&members[i], SIGTERM);
        struct outcome outcome = finish(&members[i]);
        cr_assert_eq(outcome.code, 0);
        cr_assert_lt(outcome.out_len, MESSAGES);
        total += outcome.out_len;
        forget(&outcome);
    }
    cr_assert_eq(total, MESSAGES);
    expect_failure(CALL("sub", "--queue", "two words", "work.*"), 2, "roulette sub: ", "queue");
    fleet_stop(&fleet);
}

/* ---- Time and failure --------------------------------------------------------------------- */

/* Time enough for a busy machine to connect. */
#ifdef TEST_SANITIZED
#define SUB_TIMEOUT "8000"
#else
#define SUB_TIMEOUT "1000"
#endif

Test(command, sub_ends_at_its_timeout)
{
    struct fleet fleet;
    use_fleet(&fleet, 1);
    expect(CALL("sub", "--timeout", SUB_TIMEOUT, "room.1"), 0, "",
           "roulette sub: listening to 1 topic\n");
    expect(CALL("sub", "--timeout", SUB_TIMEOUT, "--count", "2", "room.1"), 1, "",
           "roulette sub: listening to 1 topic\n"
           "roulette sub: 0 of 2 messages came in " SUB_TIMEOUT " ms: raise --timeout, or see "
           "whether anybody publishes\n");
    fleet_stop(&fleet);
}

Test(command, a_cluster_that_is_away_is_named)
{
    const char *const names[] = {"pub", "sub"};
    char address[32];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", net_hold_port());
    for (size_t i = 0; i < 2; i++) {
        char text[512];
        (void)snprintf(text, sizeof(text),
                       "roulette %s: after 300 ms cluster 0 (%s) is not connected: connect() to %s "
                       "has failed: Connection refused (nothing listens there: start the server, "
                       "or correct the address)\n",
                       names[i], address, address);
        expect(CALL(names[i], "-s", address, "--timeout", "300", "a"), 1, "", text);
    }
}

/* Publish one message to a server that plays `script`, then reads nothing. */
static void expect_ledger(struct fake_script script, const char *reason, const char *ledger)
{
    const struct fake_script scripts[] = {script, FAKE_SCRIPT(FAKE_STALL())};
    struct fake_server *server = fake_server_start(scripts, 2);
    cr_assert_not_null(server);
    char address[32];
    char text[512];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", fake_server_port(server));
    (void)snprintf(text, sizeof(text), "cluster 0 (%s): %s\nroulette pub: cluster 0 (%s) %s\n",
                   address, ledger, address, reason);
    expect(CALL("pub", "-s", address, "--timeout", "700", "room.1", "x"), 1, "", text);
    fake_server_stop(server);
}

Test(command, what_is_not_confirmed_is_accounted_for)
{
    expect_ledger((struct fake_script)FAKE_SCRIPT(
                      FAKE_SEND("INFO {\"max_payload\":1048576}\r\n"), FAKE_EXPECT("PING\r\n"),
                      FAKE_SEND("PONG\r\n"), FAKE_EXPECT("PUB room.1 1\r\nx\r\n"), FAKE_CLOSE()),
                  "was lost before it confirmed 1 of 1 messages: publish again if duplicates do no "
                  "harm",
                  "accepted 1, confirmed 0, in doubt 1, failed 0, discarded 0, denied 0");
    expect_ledger((struct fake_script)FAKE_SCRIPT(FAKE_SEND("INFO {\"max_payload\":1048576}\r\n"),
                                                  FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n")),
                  "did not confirm 1 of 1 messages in 700 ms: raise --timeout",
                  "accepted 1, confirmed 0, in doubt 1, failed 0, discarded 0, denied 0");
}

/* Without --timeout: a server may hold a publisher back for long. */
Test(command, pub_waits_for_a_server_that_is_silent_for_some_seconds)
{
    const struct fake_script script =
        FAKE_SCRIPT(FAKE_SEND("INFO {\"max_payload\":1048576}\r\n"), FAKE_EXPECT("PING\r\n"),
                    FAKE_SEND("PONG\r\n"), FAKE_EXPECT("PUB room.1 1\r\nx\r\n"), FAKE_WAIT(6500),
                    FAKE_SEND_TIMES("PONG\r\n", 16));
    struct fake_server *server = fake_server_start(&script, 1);
    cr_assert_not_null(server);
    char address[32];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", fake_server_port(server));
    expect(CALL("pub", "-s", address, "room.1", "x"), 0, "", "");
    fake_server_stop(server);
}

Test(command, a_cluster_that_is_away_and_not_needed_does_not_matter)
{
    struct fleet fleet;
    char servers[sizeof(fleet.list) + 32];
    char topic[32] = "";
    fleet_start(&fleet, 1);
    (void)snprintf(servers, sizeof(servers), "%s,127.0.0.1:%u", fleet.list, net_hold_port());
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client;
    options.servers = servers;
    cr_assert_eq(roulette_open(&options, &client), 0);
    (void)fleet_topic(client, 0, "room", 0, topic, sizeof(topic));
    roulette_free(client);
    expect(CALL("pub", "-s", servers, topic, "x"), 0, "", "");
    fleet_stop(&fleet);
}

Test(command, a_payload_that_the_server_does_not_take_is_refused)
{
    enum { LEN = 3000000 };
    struct fleet fleet;
    char *payload = calloc(1, LEN);
    cr_assert_not_null(payload);
    use_fleet(&fleet, 1);
    struct outcome outcome = run_with(CALL("pub", "room.1"), payload, LEN);
    cr_assert_eq(outcome.code, 1);
    cr_assert_str_eq(outcome.err, "roulette pub: the payload has 3000000 bytes, the server takes "
                                  "1048576: split it\n");
    forget(&outcome);
    free(payload);
    fleet_stop(&fleet);
}

/* Publish "first", a line of `len` bytes and "end", to a server that takes 8 MiB. */
static struct outcome publish_long_line(const char *topic, size_t len)
{
    char *lines = malloc(len + 16);
    cr_assert_not_null(lines);
    memcpy(lines, "first\n", 6);
    memset(lines + 6, 'x', len);
    memcpy(lines + 6 + len, "\nend\n", 5);
    struct outcome outcome = run_with(CALL("pub", "-v", "--lines", topic), lines, len + 11);
    free(lines);
    return outcome;
}

Test(command, a_long_line_is_published_as_the_same_payload_without_lines)
{
    enum { LEN = 5000000 };
    struct scratch scratch;
    struct process sub;
    scratch_create(&scratch);
    struct nats_server *server = scratch_server(&scratch, "max_payload: 8388608\n");
    cr_assert_not_null(server);
    use_server(server, "127.0.0.1");
    listen_to(&sub, CALL("sub", "--raw", "--count", "4", "room.1"));
    struct outcome pub = publish_long_line("room.1", LEN);
    cr_assert_eq(pub.code, 0, "%s", pub.err);
    cr_assert_not_null(strstr(pub.err, ": accepted 3, confirmed 3, in doubt 0, failed 0, "), "%s",
                       pub.err);
    forget(&pub);
    char *payload = malloc(LEN);
    cr_assert_not_null(payload);
    memset(payload, 'x', LEN);
    pub = run_with(CALL("pub", "room.1"), payload, LEN);
    cr_assert_eq(pub.code, 0, "%s", pub.err);
    forget(&pub);
    struct outcome outcome = finish(&sub);
    cr_assert_eq(outcome.out_len, 5 + LEN + 3 + LEN);
    cr_assert_arr_eq(outcome.out, "first", 5);
    cr_assert_arr_eq(outcome.out + 5, payload, LEN);
    cr_assert_arr_eq(outcome.out + 5 + LEN, "end", 3);
    cr_assert_arr_eq(outcome.out + 5 + LEN + 3, payload, LEN);
    forget(&outcome);
    free(payload);
    nats_server_stop(server);
    scratch_destroy(&scratch);
}

/* The server's bound, and the program's: no server takes more. */
Test(command, a_line_that_is_too_long_is_refused_as_the_same_payload_without_lines)
{
    enum { LEN = (64 << 20) + 1 };
    struct fleet fleet;
    char *payload = calloc(1, LEN);
    cr_assert_not_null(payload);
    use_fleet(&fleet, 1);
    struct outcome outcome = publish_long_line("room.1", 3000000);
    cr_assert_eq(outcome.code, 1);
    cr_assert_not_null(strstr(outcome.err, "roulette pub: the payload has 3000000 bytes, the "
                                           "server takes 1048576: split it\n"),
                       "%s", outcome.err);
    cr_assert_not_null(strstr(outcome.err, ": accepted 1, confirmed 1, "), "%s", outcome.err);
    forget(&outcome);
    outcome = publish_long_line("room.1", LEN);
    cr_assert_eq(outcome.code, 1);
    cr_assert_not_null(strstr(outcome.err, "roulette pub: a line of standard input is larger than "
                                           "a server takes in one message (64 MiB): split it\n"),
                       "%s", outcome.err);
    cr_assert_not_null(strstr(outcome.err, ": accepted 1, confirmed 1, "), "%s", outcome.err);
    forget(&outcome);
    outcome = run_with(CALL("pub", "room.1"), payload, LEN);
    cr_assert_eq(outcome.code, 1);
    cr_assert_str_eq(outcome.err, "roulette pub: standard input is larger than a server takes in "
                                  "one message (64 MiB): split it, or give --lines\n");
    forget(&outcome);
    outcome = run_with(CALL("pub", "--help"), "", 0);
    cr_assert_not_null(strstr(outcome.out, " 64 MiB at most,\nwith and without --lines"));
    forget(&outcome);
    free(payload);
    fleet_stop(&fleet);
}

Test(command, sub_tells_of_a_lost_connection_and_goes_on)
{
    struct fleet fleet;
    struct process sub;
    use_fleet(&fleet, 1);
    listen_to(&sub, CALL("sub", "--count", "1", "room.1"));
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    process_await_error(&sub, "roulette sub: lost room.1 on cluster 0 (127.0.0.1:");
    cr_assert(nats_server_restart(fleet.servers[0]));
    process_await_error(&sub, "roulette sub: restored room.1 on cluster 0 (127.0.0.1:");
    expect(CALL("pub", "room.1", "again"), 0, "", "");
    struct outcome outcome = finish(&sub);
    cr_assert_eq(outcome.code, 0);
    cr_assert_str_eq(outcome.out, "room.1\tagain\n");
    forget(&outcome);
    fleet_stop(&fleet);
}

Test(command, a_temporary_subscription_ends_with_its_connection)
{
    struct fleet fleet;
    struct process sub;
    use_fleet(&fleet, 1);
    listen_to(&sub, CALL("sub", "--temporary", "room.1"));
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    struct outcome outcome = finish(&sub);
    cr_assert_eq(outcome.code, 1);
    cr_assert(strstr(outcome.err, "roulette sub: ended room.1 on cluster 0 (127.0.0.1:") != NULL,
              "%s", outcome.err);
    cr_assert(strstr(outcome.err, "roulette sub: all subscriptions have ended; the last one: ") !=
                  NULL,
              "%s", outcome.err);
    forget(&outcome);
    fleet_stop(&fleet);
}
