/* SPDX-License-Identifier: MIT */
/**
 * Wrong set-ups, as people make them: for each one the last line that a user of the command sees,
 * and what a program gets from its call. Each says what is wrong, where, and what to change. With
 * ROULETTE_TABLE set, both are printed for all of them.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "roulette.h"
#include "support/certificates.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/jwt.h"
#include "support/net.h"
#include "support/process.h"
#include "support/sandbox.h"
#include "support/scratch.h"
#include "support/test.h"

#define COMMAND_MS "3000"
#define PROGRAM_MS 3000

enum { ARGUMENTS_MAX = 16 };

static struct scratch scratch;
static struct certificates certificates;
static char list[256]; /* of servers */

static void set_up(void)
{
    scratch_create(&scratch);
    cr_assert(certificates_create(&certificates));
}

static void tear_down(void)
{
    scratch_destroy(&scratch);
    certificates_destroy(&certificates);
}

#define WrongTest(name) Test(wrong_setups, name, .init = set_up, .fini = tear_down)

/* ---- What both see ------------------------------------------------------------------------ */

static void note(const char *who, const char *text)
{
    if (getenv("ROULETTE_TABLE") != NULL) {
        (void)fprintf(stderr, "TABLE %s: %s\n", who, text);
    }
}

/* All three are in the text. */
static void require_says(const char *who, const char *text, const char *what, const char *where,
                         const char *change)
{
    note(who, text);
    cr_assert(strstr(text, what) != NULL, "%s does not say \"%s\": %s", who, what, text);
    cr_assert(strstr(text, where) != NULL, "%s does not say \"%s\": %s", who, where, text);
    cr_assert(strstr(text, change) != NULL, "%s does not say \"%s\": %s", who, change, text);
}

/* Servers, with ports put in; static memory. */
static const char *servers(const char *format, ...) __attribute__((format(printf, 1, 2)));

static const char *servers(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(list, sizeof(list), format, arguments);
    va_end(arguments);
    return list;
}

/* ---- The command -------------------------------------------------------------------------- */

struct call {
    const char *arguments[ARGUMENTS_MAX];
};
#define CALL(...) (&(const struct call){{__VA_ARGS__, NULL}})

/* Run the command; its last line on stderr must say all three. */
static void command_says(const struct call *call, int code, const char *what, const char *where,
                         const char *change)
{
    const char *argv[ARGUMENTS_MAX + 1] = {RLT_COMMAND};
    struct process process;
    for (size_t i = 0; i < ARGUMENTS_MAX && call->arguments[i] != NULL; i++) {
        argv[i + 1] = call->arguments[i];
    }
    process_start(&process, argv, "", 0);
    int result = process_wait(&process);
    char *printed = process_printed(process.err, NULL);
    size_t len = strlen(printed);
    cr_assert_gt(len, 1, "nothing is said");
    printed[len - 1] = '\0'; /* the line's end */
    const char *last = strrchr(printed, '\n');
    last = last != NULL ? last + 1 : printed;
    require_says("command", last, what, where, change);
    cr_assert_eq(result, code, "exit code %d", result);
    free(printed);
    process_end(&process);
}

/* ---- A program ---------------------------------------------------------------------------- */

static struct roulette_options options_of(const char *given)
{
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = given;
    options.max_backoff_ms = 100;
    options.connection_timeout_ms = PROGRAM_MS / 2;
    options.max_retry = 1000;
    return options;
}

/* roulette_open() refuses, and says all three. */
static void open_says(const struct roulette_options *options, int error, const char *what,
                      const char *where, const char *change)
{
    roulette_client *client;
    int result = roulette_open(options, &client);
    cr_assert_eq(result, error, "%s", roulette_error_name(result));
    require_says("roulette_open()", roulette_last_error(), what, where, change);
}

/* roulette_flush() fails, and it and roulette_cluster_error() say all three. */
static void flush_says(const struct roulette_options *options, int error, const char *what,
                       const char *where, const char *change)
{
    char text[1024] = "";
    roulette_client *client;
    cr_assert_eq(roulette_open(options, &client), 0, "%s", roulette_last_error());
    int result = roulette_flush(client, PROGRAM_MS, NULL, 0);
    cr_assert_eq(result, ROULETTE_ETIMEDOUT, "%s", roulette_error_name(result));
    require_says("roulette_flush()", roulette_last_error(), what, where, change);
    EVENTUALLY(roulette_cluster_error(client, 0, text, sizeof(text)) == error);
    require_says("roulette_cluster_error()", text, what, where, change);
    roulette_free(client);
}

/* ---- Port and host ------------------------------------------------------------------------ */

WrongTest(port_at_which_nobody_listens)
{
    const char *given = servers("127.0.0.1:%u", net_hold_port());
    struct roulette_options options = options_of(given);
    command_says(CALL("pub", "-s", given, "--timeout", COMMAND_MS, "t", "x"), 1,
                 "has failed: Connection refused", given, "start the server");
    flush_says(&options, ROULETTE_ECONNECT, "has failed: Connection refused", given,
               "start the server");
}

/* The C library asks no name server for a name that begins with a hyphen: no host has one. */
WrongTest(host_that_does_not_exist)
{
    const char *given = "-no-such-host.test:4222";
    struct roulette_options options = options_of(given);
    command_says(CALL("pub", "-s", given, "--timeout", COMMAND_MS, "t", "x"), 1,
                 "could not be resolved: ", given, "correct it");
    flush_says(&options, ROULETTE_ERESOLVE, "could not be resolved: ", given, "correct it");
}

WrongTest(port_of_an_http_server)
{
    struct nats_server *server = nats_server_start(NULL);
    cr_assert_not_null(server);
    const char *given = servers("127.0.0.1:%u", nats_server_monitor_port(server));
    struct roulette_options options = options_of(given);
    command_says(CALL("pub", "-s", given, "--timeout", "1000", "t", "x"), 1, "says no INFO", given,
                 "correct it");
    flush_says(&options, ROULETTE_ETIMEDOUT, "says no INFO", given, "correct it");
    nats_server_stop(server);
}

WrongTest(port_of_another_protocol)
{
    const struct fake_script script = FAKE_SCRIPT(FAKE_SEND("SSH-2.0-OpenSSH_9.2\r\n"));
    struct fake_server *server = fake_server_start(&script, 1);
    cr_assert_not_null(server);
    const char *given = servers("127.0.0.1:%u", fake_server_port(server));
    struct roulette_options options = options_of(given);
    command_says(CALL("pub", "-s", given, "--timeout", COMMAND_MS, "t", "x"), 1,
                 "not a NATS server", given, "correct the port");
    flush_says(&options, ROULETTE_EPROTOCOL, "not a NATS server", given, "correct the port");
    fake_server_stop(server);
}

WrongTest(proxy_without_a_server_behind_it)
{
    const struct fake_script script = FAKE_SCRIPT(FAKE_CLOSE());
    struct fake_server *server = fake_server_start(&script, 1);
    cr_assert_not_null(server);
    const char *given = servers("127.0.0.1:%u", fake_server_port(server));
    struct roulette_options options = options_of(given);
    command_says(CALL("pub", "-s", given, "--timeout", COMMAND_MS, "t", "x"), 1,
                 "closed the connection before INFO", given, "correct it");
    flush_says(&options, ROULETTE_EDISCONNECTED, "closed the connection before INFO", given,
               "correct it");
    fake_server_stop(server);
}

/* ---- TLS ---------------------------------------------------------------------------------- */

/* A server that speaks TLS with a certificate of support/certificates.h. */
static struct nats_server *start_tls(const char *certificate, const char *more)
{
    static char config[1024];
    (void)snprintf(config, sizeof(config),
                   "tls { cert_file: \"%s/%s.crt\", key_file: \"%s/%s.key\", ca_file: "
                   "\"%s/ca.crt\", timeout: 10 %s }\n",
                   certificates.folder, certificate, certificates.folder, certificate,
                   certificates.folder, more);
    struct nats_server *server = scratch_server(&scratch, config);
    cr_assert_not_null(server);
    return server;
}

/* The command and a program, with a CA. */
static void tls_says(const char *given, const char *ca_name, const char *what, const char *change)
{
    char ca[CERTIFICATES_PATH_MAX];
    const char *where = strstr(given, "://") != NULL ? strstr(given, "://") + 3 : given;
    struct roulette_options options = options_of(given);
    certificates_path(&certificates, ca_name, ca);
    options.tls = 1;
    options.tls_ca_file = ca;
    command_says(CALL("pub", "-s", given, "--tls-ca", ca, "--timeout", COMMAND_MS, "t", "x"), 1,
                 what, where, change);
    flush_says(&options, ROULETTE_ETLS, what, where, change);
}

WrongTest(tls_with_another_ca)
{
    struct nats_server *server = start_tls("server", "");
    tls_says(servers("tls://localhost:%u", nats_server_port(server)), "other_ca.crt",
             "is not from a trusted CA", "tls_ca_file");
    nats_server_stop(server);
}

WrongTest(tls_with_another_name)
{
    struct nats_server *server = start_tls("other_host", "");
    tls_says(servers("tls://localhost:%u", nats_server_port(server)), "ca.crt",
             "the server's certificate is not for \"localhost\"", "tls_server_name");
    nats_server_stop(server);
}

WrongTest(tls_that_the_server_needs)
{
    struct nats_server *server = start_tls("server", "");
    const char *given = servers("127.0.0.1:%u", nats_server_port(server));
    struct roulette_options options = options_of(given);
    command_says(CALL("pub", "-s", given, "--timeout", COMMAND_MS, "t", "x"), 1,
                 "the server requires TLS", given, "write the server as tls://");
    flush_says(&options, ROULETTE_ETLS, "the server requires TLS", given,
               "write the server as tls://");
    nats_server_stop(server);
}

WrongTest(tls_that_the_server_lacks)
{
    struct nats_server *server = nats_server_start(NULL);
    cr_assert_not_null(server);
    tls_says(servers("tls://localhost:%u", nats_server_port(server)), "ca.crt",
             "the server does not offer TLS", "set TLS up on the server");
    nats_server_stop(server);
}

WrongTest(tls_without_the_certificate_that_the_server_wants)
{
    struct nats_server *server = start_tls("server", ", verify: true");
    tls_says(servers("tls://localhost:%u", nats_server_port(server)), "ca.crt",
             "the server refused the client", "tls_cert_file");
    nats_server_stop(server);
}

WrongTest(tls_file_that_is_not_there)
{
    struct roulette_options options = options_of("tls://localhost:1");
    options.tls_ca_file = "/nonexistent/ca.pem";
    command_says(CALL("pub", "-s", "localhost:1", "--tls-ca", "/nonexistent/ca.pem", "t", "x"), 2,
                 "the TLS CA file cannot be used", "/nonexistent/ca.pem", "No such file");
    open_says(&options, ROULETTE_EINVAL, "the TLS CA file cannot be used", "/nonexistent/ca.pem",
              "No such file");
}

WrongTest(tls_files_without_tls)
{
    struct roulette_options options = options_of("localhost:1");
    options.tls_ca_file = "/nonexistent/ca.pem";
    command_says(CALL("pub", "-s", "localhost:1", "--tls-cert", "c", "t", "x"), 2, "--tls-cert",
                 "--tls-key", "give both");
    open_says(&options, ROULETTE_EINVAL, "no server is spoken to by TLS", "options.tls_ca_file",
              "set options.tls to 1");
}

/* ---- Logins ------------------------------------------------------------------------------- */

static const char users[] = "authorization { users: [ { user: \"a\", password: \"b\", permissions: "
                            "{ publish: \"ok\", subscribe: \"ok\" } } ] }\n";

WrongTest(login_that_is_missing)
{
    struct nats_server *server = scratch_server(&scratch, users);
    const char *given = servers("127.0.0.1:%u", nats_server_port(server));
    struct roulette_options options = options_of(given);
    command_says(CALL("pub", "-s", given, "--timeout", COMMAND_MS, "t", "x"), 1,
                 "Authorization Violation", given, "it wants a login: give user and password");
    flush_says(&options, ROULETTE_EAUTH, "Authorization Violation", given,
               "it wants a login: give user and password");
    nats_server_stop(server);
}

WrongTest(password_that_is_wrong)
{
    struct nats_server *server = scratch_server(&scratch, users);
    const char *given = servers("127.0.0.1:%u", nats_server_port(server));
    struct roulette_options options = options_of(given);
    options.user = "a";
    options.password = "wrong";
    (void)setenv("ROULETTE_PASSWORD", "wrong", 1);
    command_says(CALL("pub", "-s", given, "--user", "a", "--timeout", COMMAND_MS, "t", "x"), 1,
                 "Authorization Violation", given, "correct user and password");
    flush_says(&options, ROULETTE_EAUTH, "Authorization Violation", given,
               "correct user and password");
    (void)setenv("ROULETTE_PASSWORD", "b", 1);
    const char *argv[] = {RLT_COMMAND, "pub", "-s", given, "--user", "a", "ok", "x", NULL};
    struct process process;
    process_start(&process, argv, "", 0);
    cr_assert_eq(process_wait(&process), 0, "the right one is let in");
    process_end(&process);
    nats_server_stop(server);
}

WrongTest(credentials_that_are_not_there)
{
    struct roulette_options options = options_of("127.0.0.1:1");
    options.credentials_file = "/nonexistent/user.creds";
    command_says(CALL("pub", "-s", "127.0.0.1:1", "--creds", "/nonexistent/user.creds", "t", "x"),
                 2, "credentials_file cannot be used", "/nonexistent/user.creds", "No such file");
    open_says(&options, ROULETTE_EINVAL, "credentials_file cannot be used",
              "/nonexistent/user.creds", "No such file");
}

WrongTest(nkey_for_a_server_without_nkeys)
{
    char path[SCRATCH_PATH_MAX];
    struct jwt_key key = jwt_key_make(JWT_USER);
    struct nats_server *server = nats_server_start(NULL);
    cr_assert_not_null(server);
    const char *given = servers("127.0.0.1:%u", nats_server_port(server));
    struct roulette_options options = options_of(given);
    scratch_write(&scratch, "seed", key.seed);
    scratch_path(&scratch, "seed", path);
    options.nkey_seed = key.seed;
    command_says(CALL("pub", "-s", given, "--nkey", path, "--timeout", COMMAND_MS, "t", "x"), 1,
                 "cannot log in", given, "it is not set up for nkeys or JWTs");
    flush_says(&options, ROULETTE_EAUTH, "cannot log in", given,
               "it is not set up for nkeys or JWTs");
    nats_server_stop(server);
}

/* ---- Permissions -------------------------------------------------------------------------- */

/* A waiting subscription is refused, and its call says why. */
static void subscribing_says(const struct roulette_options *options, const char *topic, int error,
                             const char *what, const char *where)
{
    roulette_client *client;
    roulette_subscriber *subscriber;
    struct roulette_subscription_options how;
    roulette_subscription_options_init(&how);
    how.timeout_ms = PROGRAM_MS;
    cr_assert_eq(roulette_open(options, &client), 0);
    cr_assert_eq(roulette_subscriber_open(client, NULL, &subscriber), 0);
    int result = roulette_subscribe_with(subscriber, topic, ROULETTE_STRLEN, &how, NULL);
    cr_assert_eq(result, error, "%s", roulette_error_name(result));
    require_says("roulette_subscribe_with()", roulette_last_error(), what, where,
                 "allow it in the server's permissions");
    roulette_subscriber_close(subscriber);
    roulette_free(client);
}

WrongTest(topic_that_may_not_be_subscribed_to)
{
    struct nats_server *server = scratch_server(&scratch, users);
    const char *given = servers("nats://a:b@127.0.0.1:%u", nats_server_port(server));
    struct roulette_options options = options_of(given);
    command_says(CALL("sub", "-s", given, "secret"), 1, "the server does not permit this topic",
                 strchr(given, '@') + 1, "allow it in the server's permissions");
    subscribing_says(&options, "secret", ROULETTE_EPERMISSION, "does not permit this topic",
                     strchr(given, '@') + 1);
    nats_server_stop(server);
}

WrongTest(topic_that_may_not_be_published_to)
{
    struct nats_server *server = scratch_server(&scratch, users);
    const char *given = servers("nats://a:b@127.0.0.1:%u", nats_server_port(server));
    const char *where = strchr(given, '@') + 1;
    struct roulette_options options = options_of(given);
    roulette_client *client;
    command_says(CALL("pub", "-s", given, "secret", "x"), 1,
                 "Permissions Violation for Publish to \"secret\"", where,
                 "give this user the permission");
    cr_assert_eq(roulette_open(&options, &client), 0);
    cr_assert_eq(roulette_publish(client, "secret", ROULETTE_STRLEN, "x", 1), 0);
    cr_assert_eq(roulette_flush_cluster(client, 0, EVENTUALLY_MS, NULL), ROULETTE_EPERMISSION);
    require_says("roulette_flush_cluster()", roulette_last_error(),
                 "Permissions Violation for Publish to \"secret\"", where,
                 "give this user the permission");
    roulette_free(client);
    nats_server_stop(server);
}

/* ---- Several clusters --------------------------------------------------------------------- */

WrongTest(one_of_two_clusters_away)
{
    struct nats_server *server = nats_server_start(NULL);
    cr_assert_not_null(server);
    uint16_t away = net_hold_port();
    const char *given = servers("127.0.0.1:%u,127.0.0.1:%u", nats_server_port(server), away);
    const char *where = strchr(given, ',') + 1;
    struct roulette_options options = options_of(given);
    command_says(CALL("sub", "-s", given, "--timeout", "1500", ">"), 1, "Connection refused", where,
                 "start the server");
    roulette_client *client;
    roulette_subscriber *subscriber;
    struct roulette_message message;
    struct roulette_subscription_options how;
    char topic[32] = "";
    cr_assert_eq(roulette_open(&options, &client), 0);
    cr_assert_eq(roulette_subscriber_open(client, NULL, &subscriber), 0);
    roulette_subscription_options_init(&how);
    how.timeout_ms = 1000;
    int result = roulette_subscribe_with(subscriber, ">", 1, &how, NULL);
    cr_assert_eq(result, 1, "%s", roulette_error_name(result));
    require_says("roulette_subscribe_with()", roulette_last_error(),
                 "subscribed on 1 of 2 clusters", where, "start the server");
    for (int i = 0; topic[0] == '\0' || roulette_cluster_of(client, topic, ROULETTE_STRLEN) != 0;
         i++) {
        (void)snprintf(topic, sizeof(topic), "t%d", i);
    }
    cr_assert_eq(roulette_publish(client, topic, ROULETTE_STRLEN, "x", 1), 0);
    cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
    roulette_release(subscriber, &message, 1);
    cr_assert_eq(roulette_flush_cluster(client, 0, EVENTUALLY_MS, NULL), 0);
    cr_assert_eq(roulette_flush(client, 100, NULL, 0), ROULETTE_ETIMEDOUT);
    require_says("roulette_flush()", roulette_last_error(), "Connection refused", where,
                 "start the server");
    cr_assert_eq(roulette_flush_cluster(client, 1, 100, NULL), ROULETTE_ETIMEDOUT);
    require_says("roulette_flush_cluster()", roulette_last_error(), "cluster 1", where,
                 "start the server");
    cr_assert_eq(roulette_flush_cluster(client, 2, 100, NULL), ROULETTE_EINVAL);
    cr_assert_eq(roulette_cluster_error(client, 0, NULL, 0), 0);
    cr_assert_eq(roulette_cluster_error(client, 1, NULL, 0), ROULETTE_ECONNECT);
    cr_assert_eq(roulette_cluster_error(client, 2, NULL, 0), ROULETTE_EINVAL);
    roulette_subscriber_close(subscriber);
    roulette_free(client);
    nats_server_stop(server);
}

/* ---- The machine -------------------------------------------------------------------------- */

WrongTest(limit_of_descriptors)
{
    struct rlimit before;
    struct rlimit low;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct roulette_options options = options_of("127.0.0.1:1");
#ifndef TEST_SANITIZED /* ThreadSanitizer needs descriptors of its own to begin */
    const char *argv[] = {"/bin/sh", "-c", "ulimit -n 4; exec \"$0\" pub -s 127.0.0.1:1 t x",
                          RLT_COMMAND, NULL};
    struct process process;
    process_start(&process, argv, "", 0);
    cr_assert_eq(process_wait(&process), 1);
    char *printed = process_printed(process.err, NULL);
    require_says("command", printed, "Too many open files", "event thread 0", "raise the limit");
    free(printed);
    process_end(&process);
#endif
    low = before;
    low.rlim_cur = (rlim_t)dup(0) + 2; /* one more is allowed, and not the ring */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    open_says(&options, ROULETTE_ESYSTEM, "Too many open files", "event thread 0",
              "raise the limit");
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}

WrongTest(io_uring_that_is_forbidden)
{
    struct roulette_options options = options_of("127.0.0.1:1");
    sandbox_forbid(SYS_io_uring_setup, EPERM);
    command_says(CALL("pub", "-s", "127.0.0.1:1", "t", "x"), 1, "io_uring is not available",
                 "io_uring_setup() has failed", "kernel.io_uring_disabled must be 0");
    open_says(&options, ROULETTE_ENOTSUP, "io_uring is not available",
              "io_uring_setup() has failed", "kernel.io_uring_disabled must be 0");
}

/* ---- The server's limits ------------------------------------------------------------------ */

WrongTest(payload_above_the_limit)
{
    struct nats_server *server = scratch_server(&scratch, "max_payload: 4\n");
    const char *given = servers("127.0.0.1:%u", nats_server_port(server));
    struct roulette_options options = options_of(given);
    roulette_client *client;
    command_says(CALL("pub", "-s", given, "t", "12345"), 1, "the payload has 5 bytes",
                 "the server takes 4", "split it");
    cr_assert_eq(roulette_open(&options, &client), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(roulette_publish(client, "t", 1, "12345", 5), ROULETTE_EPAYLOAD);
    require_says("roulette_publish()", roulette_last_error(), "the payload has 5 bytes",
                 "the server takes 4", "split it");
    roulette_free(client);
    nats_server_stop(server);
}

WrongTest(connections_above_the_limit)
{
    struct nats_server *server = scratch_server(&scratch, "max_connections: 1\n");
    const char *given = servers("127.0.0.1:%u", nats_server_port(server));
    struct roulette_options options = options_of(given);
    roulette_client *first;
    cr_assert_eq(roulette_open(&options, &first), 0);
    cr_assert_eq(roulette_flush(first, EVENTUALLY_MS, NULL, 0), 0);
    command_says(CALL("pub", "-s", given, "--timeout", COMMAND_MS, "t", "x"), 1,
                 "maximum connections exceeded", given, "raise its max_connections");
    flush_says(&options, ROULETTE_ESERVER, "maximum connections exceeded", given,
               "raise its max_connections");
    roulette_free(first);
    nats_server_stop(server);
}

WrongTest(subscriptions_above_the_limit)
{
    struct nats_server *server = scratch_server(&scratch, "max_subscriptions: 1\n");
    const char *given = servers("127.0.0.1:%u", nats_server_port(server));
    struct roulette_options options = options_of(given);
    roulette_client *client;
    roulette_subscriber *subscriber;
    struct roulette_subscription_options how;
    roulette_subscription_options_init(&how);
    how.timeout_ms = EVENTUALLY_MS;
    cr_assert_eq(roulette_open(&options, &client), 0);
    cr_assert_eq(roulette_subscriber_open(client, NULL, &subscriber), 0);
    cr_assert_eq(roulette_subscribe_with(subscriber, "a", 1, &how, NULL), 0);
    cr_assert_eq(roulette_subscribe_with(subscriber, "b", 1, &how, NULL), ROULETTE_ESERVER);
    require_says("roulette_subscribe_with()", roulette_last_error(),
                 "it takes no more subscriptions", given, "raise its max_subscriptions");
    roulette_subscriber_close(subscriber);
    roulette_free(client);
    nats_server_stop(server);
}
