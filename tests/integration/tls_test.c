/* SPDX-License-Identifier: MIT */
/**
 * TLS through the public API: what works, what is refused and why, that nothing is ever sent in
 * clear, and that no secret is ever shown.
 */
#include <openssl/ssl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "roulette.h"
#include "support/certificates.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/jwt.h"
#include "support/log_record.h"
#include "support/relay.h"
#include "support/scratch.h"
#include "support/test.h"
#include "support/tls_server.h"

#define USER     "canary-user"
#define PASSWORD "canary-password-7f3a"
#define TOKEN    "canary-token-51c0"

enum { TEXT_MAX = 4096, REFUSALS = 3 };

static struct scratch scratch;
static struct certificates certificates;
static struct log_record *record;

static void set_up(void)
{
    scratch_create(&scratch);
    cr_assert(certificates_create(&certificates));
    record = log_record_create();
}

static void tear_down(void)
{
    log_record_destroy(record);
    certificates_destroy(&certificates);
    scratch_destroy(&scratch);
}

#define TlsTest(...) Test(__VA_ARGS__, .init = set_up, .fini = tear_down)

/* ---- Servers and clients ------------------------------------------------------------------ */

/* A configuration with a certificate, and what follows. Static memory. */
static const char *tls_config(const char *certificate, const char *more)
{
    static char text[TEXT_MAX];
    (void)snprintf(text, sizeof(text),
                   "tls { cert_file: \"%s/%s.crt\", key_file: \"%s/%s.key\", ca_file: "
                   "\"%s/ca.crt\", timeout: 10 %s }\n"
                   "authorization { user: \"" USER "\", password: \"" PASSWORD
                   "\", timeout: 10 }\n",
                   certificates.folder, certificate, certificates.folder, certificate,
                   certificates.folder, more);
    return text;
}

static const char clear_config[] =
    "authorization { user: \"" USER "\", password: \"" PASSWORD "\" }\n";

static char ca_file[CERTIFICATES_PATH_MAX];

/* Options that survive many failed attempts; the strings are static memory. With the user that the
 * servers know unless `format` has one, and with the CA if it has TLS. */
static struct roulette_options tls_options(const char *format, ...)
{
    static char servers[256];
    va_list arguments;
    struct roulette_options options;
    va_start(arguments, format);
    (void)vsnprintf(servers, sizeof(servers), format, arguments);
    va_end(arguments);
    certificates_path(&certificates, "ca.crt", ca_file);
    roulette_options_init(&options);
    options.servers = servers;
    options.user = strchr(servers, '@') == NULL ? USER : NULL;
    options.password = options.user != NULL ? PASSWORD : NULL;
    options.tls_ca_file = strstr(servers, "tls://") != NULL ? ca_file : NULL;
    options.reconnect_interval_ms = 10;
    options.max_backoff_ms = 50;
    options.max_retry = 1000;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    options.queue_bytes = (size_t)1 << 20;
    log_record_attach(record, &options);
    return options;
}

static roulette_client *open_client(const struct roulette_options *options)
{
    roulette_client *client;
    cr_assert_eq(roulette_open(options, &client), 0, "%s", roulette_last_error());
    return client;
}

static void close_client(roulette_client *client)
{
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
}

/* Subscribe, publish, flush and receive: `count` messages, larger ones among them. */
static void require_works(roulette_client *client, int count)
{
    static char payload[20000];
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    struct roulette_message message;
    for (size_t i = 0; i < sizeof(payload); i++) {
        payload[i] = (char)i;
    }
    cr_assert_eq(roulette_subscribe(subscriber, "room.1", ROULETTE_STRLEN, NULL, NULL), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0, "%s", roulette_last_error());
    for (int i = 0; i < count; i++) {
        size_t len = i % 10 == 9 ? sizeof(payload) : (size_t)i % 100;
        cr_assert_eq(
            roulette_publish_wait(client, "room.1", ROULETTE_STRLEN, payload, len, EVENTUALLY_MS),
            0);
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0, "%s", roulette_last_error());
    for (int i = 0; i < count; i++) {
        size_t len = i % 10 == 9 ? sizeof(payload) : (size_t)i % 100;
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        cr_assert_eq(message.payload_len, len);
        cr_assert_arr_eq((const char *)message.payload, payload, len);
        roulette_release(subscriber, &message, 1);
    }
    roulette_subscriber_close(subscriber);
}

/* A server is refused again and again, with this text in the log. */
static void require_refused(roulette_client *client, int error, const char *text)
{
    EVENTUALLY(fleet_stats(client, 0).connect_failures >= REFUSALS);
    struct roulette_stats stats = fleet_stats(client, 0);
    if (log_record_count(record, text) < REFUSALS || stats.last_error != error) {
        log_record_print(record);
    }
    cr_assert_geq(log_record_count(record, text), REFUSALS, "not logged: %s", text);
    cr_assert_eq(stats.last_error, error, "%s", roulette_error_name(stats.last_error));
    cr_assert_eq(stats.connects, 0);
}

/* ---- What works --------------------------------------------------------------------------- */

TlsTest(tls, works_by_url_and_by_option)
{
    struct nats_server *server = scratch_server(&scratch, tls_config("server", ""));
    struct relay *relay = relay_start(nats_server_port(server));
    struct roulette_options options = tls_options("tls://localhost:%u", relay_port(relay));
    roulette_client *client = open_client(&options);
    require_works(client, 200);
    close_client(client);

    options = tls_options("127.0.0.1:%u", relay_port(relay));
    options.tls = 1;
    options.tls_ca_file = ca_file;
    client = open_client(&options);
    require_works(client, 200);
    close_client(client);

    options = tls_options("tls://" USER ":" PASSWORD "@localhost:%u", relay_port(relay));
    client = open_client(&options);
    require_works(client, 10);
    close_client(client);
    cr_assert_eq(relay_occurrences(relay, "CONNECT"), 0);
    cr_assert_eq(relay_occurrences(relay, PASSWORD), 0);
    relay_stop(relay);
    nats_server_stop(server);
}

TlsTest(tls, works_for_each_connection_of_a_pool_and_beside_a_clear_cluster)
{
    struct nats_server *server = scratch_server(&scratch, tls_config("server", ""));
    struct nats_server *clear = nats_server_start(NULL);
    cr_assert_not_null(clear);
    struct roulette_options options = tls_options(
        "tls://localhost:%u,127.0.0.1:%u", nats_server_port(server), nats_server_port(clear));
    options.pool_size = 4;
    options.event_threads = 1;
    roulette_client *client = open_client(&options);
    require_works(client, 50);
    cr_assert_eq(fleet_stats(client, 0).connected, 4);
    cr_assert_eq(fleet_stats(client, 1).connected, 4);
    close_client(client);
    nats_server_stop(clear);
    nats_server_stop(server);
}

TlsTest(tls, client_certificate_is_shown_and_demanded)
{
    char cert[CERTIFICATES_PATH_MAX];
    char key[CERTIFICATES_PATH_MAX];
    struct nats_server *server = scratch_server(&scratch, tls_config("server", ", verify: true"));
    struct roulette_options options = tls_options("tls://localhost:%u", nats_server_port(server));
    roulette_client *client = open_client(&options);
    EVENTUALLY(log_record_count(record, "the server refused the client") >= REFUSALS);
    cr_assert_eq(fleet_stats(client, 0).connects, 0);
    close_client(client);

    certificates_path(&certificates, "client.crt", cert);
    certificates_path(&certificates, "client.key", key);
    options.tls_cert_file = cert;
    options.tls_key_file = key;
    client = open_client(&options);
    require_works(client, 20);
    close_client(client);
    nats_server_stop(server);
}

/* Put one of the certificates, its key and a CA where a client looks for its own, as `openssl` and
 * others do: one file behind the other, each replaced at once. */
static void place(const char *name, const char *ca)
{
    char command[6 * CERTIFICATES_PATH_MAX];
    const char *folder = certificates.folder;
    (void)snprintf(command, sizeof(command),
                   "cd %s && cp %s.crt a && cp %s.key b && cp %s.crt c && mv a my.crt && mv b "
                   "my.key && mv c my_ca.crt",
                   folder, name, name, ca);
    cr_assert_eq(system(command), 0);
}

/* A server whose certificate and whose clients' certificates are from a CA. */
static const char *mutual_config(const char *certificate, const char *ca)
{
    static char text[TEXT_MAX];
    (void)snprintf(text, sizeof(text),
                   "tls { cert_file: \"%s/%s.crt\", key_file: \"%s/%s.key\", ca_file: "
                   "\"%s/%s.crt\", timeout: 10, verify: true }\n"
                   "authorization { user: \"" USER "\", password: \"" PASSWORD
                   "\", timeout: 10 }\n",
                   certificates.folder, certificate, certificates.folder, certificate,
                   certificates.folder, ca);
    return text;
}

TlsTest(tls, certificates_that_were_renewed_are_used)
{
    char ca[CERTIFICATES_PATH_MAX];
    char cert[CERTIFICATES_PATH_MAX];
    char key[CERTIFICATES_PATH_MAX];
    certificates_path(&certificates, "my_ca.crt", ca);
    certificates_path(&certificates, "my.crt", cert);
    certificates_path(&certificates, "my.key", key);
    place("client", "ca");
    struct nats_server *server = scratch_server(&scratch, mutual_config("server", "ca"));
    struct roulette_options options = tls_options("tls://localhost:%u", nats_server_port(server));
    options.tls_ca_file = ca;
    options.tls_cert_file = cert;
    options.tls_key_file = key;
    roulette_client *client = open_client(&options);
    EVENTUALLY(fleet_stats(client, 0).connected == 1);

    /* Everything is renewed, the CA too; but our certificate is only half written at first. */
    place("wrong_ca", "other_ca");
    cr_assert_eq(truncate(cert, 100), 0);
    scratch_restart(&scratch, server, mutual_config("wrong_ca", "other_ca"));
    EVENTUALLY(log_record_count(record, "the TLS certificate file") >= REFUSALS);
    cr_assert_geq(log_record_count(record, cert), 1);
    cr_assert_eq(fleet_stats(client, 0).last_error, ROULETTE_ETLS);
    cr_assert_eq(fleet_stats(client, 0).connected, 0);
    place("wrong_ca", "other_ca");
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    require_works(client, 20);
    close_client(client);
    nats_server_stop(server);
}

TlsTest(tls, server_name_is_what_the_certificate_must_have)
{
    struct nats_server *server = scratch_server(&scratch, tls_config("other_host", ""));
    struct roulette_options options = tls_options("tls://localhost:%u", nats_server_port(server));
    options.tls_server_name = "other.test";
    roulette_client *client = open_client(&options);
    require_works(client, 10);
    close_client(client);
    nats_server_stop(server);
}

TlsTest(tls, verification_can_be_switched_off_and_is_complained_about)
{
    struct nats_server *server = scratch_server(&scratch, tls_config("self_signed", ""));
    struct roulette_options options = tls_options("tls://localhost:%u", nats_server_port(server));
    options.tls_verify = 0;
    options.tls_ca_file = NULL;
    roulette_client *client = open_client(&options);
    require_works(client, 10);
    cr_assert_eq(log_record_count(record, "anybody may pose as a server"), 1);
    close_client(client);
    nats_server_stop(server);
}

TlsTest(tls, handshake_first_works)
{
    struct tls_server *server = tls_server_start(
        &certificates, &(struct tls_server_options){.certificate = "server", .first = true});
    struct relay *relay = relay_start(tls_server_port(server));
    struct roulette_options options = tls_options("tls://localhost:%u", relay_port(relay));
    options.tls_handshake_first = 1;
    roulette_client *client = open_client(&options);
    cr_assert_eq(roulette_publish(client, "t", 1, "x", 1), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0, "%s", roulette_last_error());
    cr_assert_eq(tls_server_handshakes(server), 1);
    cr_assert(relay_is_silent_or_tls(relay, 0));
    close_client(client);
    relay_stop(relay);
    tls_server_stop(server);
}

TlsTest(tls, handshake_first_is_refused_by_a_server_that_speaks_first)
{
    struct nats_server *server = scratch_server(&scratch, tls_config("server", ""));
    struct relay *relay = relay_start(nats_server_port(server));
    struct roulette_options options = tls_options("tls://localhost:%u", relay_port(relay));
    options.tls_handshake_first = 1;
    roulette_client *client = open_client(&options);
    require_refused(client, ROULETTE_ETLS, "the server sent plaintext where TLS begins");
    close_client(client);
    cr_assert(relay_is_silent_or_tls(relay, 0));
    relay_stop(relay);
    nats_server_stop(server);
}

/* ---- What is refused ---------------------------------------------------------------------- */

/* A real server with a certificate is refused, and gets nothing but TLS. */
static void require_certificate_refused(const char *certificate, const char *text)
{
    struct nats_server *server = scratch_server(&scratch, tls_config(certificate, ""));
    struct relay *relay = relay_start(nats_server_port(server));
    struct roulette_options options = tls_options("tls://localhost:%u", relay_port(relay));
    log_record_clear(record);
    roulette_client *client = open_client(&options);
    require_refused(client, ROULETTE_ETLS, text);
    close_client(client);
    cr_assert(relay_is_silent_or_tls(relay, 0), "%s", certificate);
    cr_assert_gt(relay_bytes(relay, 0), 0);
    relay_stop(relay);
    nats_server_stop(server);
}

TlsTest(tls, wrong_host_is_refused)
{
    require_certificate_refused("other_host", "the server's certificate is not for \"localhost\"");
}

TlsTest(tls, expired_certificate_is_refused)
{
    require_certificate_refused("expired", "has expired");
}

TlsTest(tls, certificate_from_tomorrow_is_refused)
{
    require_certificate_refused("future", "the server's certificate was refused");
}

TlsTest(tls, self_signed_certificate_is_refused)
{
    require_certificate_refused("self_signed", "is self-signed and not trusted");
}

TlsTest(tls, certificate_of_a_wrong_ca_is_refused)
{
    require_certificate_refused("wrong_ca", "is not from a trusted CA");
}

TlsTest(tls, old_version_of_tls_is_refused)
{
    const struct tls_server_options old = {.certificate = "server", .version = TLS1_1_VERSION};
    struct tls_server *server = tls_server_start(&certificates, &old);
    struct relay *relay = relay_start(tls_server_port(server));
    struct roulette_options options = tls_options("tls://localhost:%u", relay_port(relay));
    roulette_client *client = open_client(&options);
    require_refused(client, ROULETTE_ETLS, "the server speaks no version of TLS from 1.2 on");
    close_client(client);
    cr_assert_eq(tls_server_handshakes(server), 0);
    cr_assert(relay_is_silent_or_tls(relay, 0));
    relay_stop(relay);
    tls_server_stop(server);
}

/* The oldest version allowed, by the same server: what refuses 1.1 is the version. */
TlsTest(tls, version_1_2_works)
{
    const struct tls_server_options old = {.certificate = "server", .version = TLS1_2_VERSION};
    struct tls_server *server = tls_server_start(&certificates, &old);
    struct roulette_options options = tls_options("tls://localhost:%u", tls_server_port(server));
    roulette_client *client = open_client(&options);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0, "%s", roulette_last_error());
    cr_assert_eq(tls_server_handshakes(server), 1);
    close_client(client);
    tls_server_stop(server);
}

TlsTest(tls, server_that_requires_tls_is_not_answered_in_clear)
{
    struct nats_server *server = scratch_server(&scratch, tls_config("server", ""));
    struct relay *relay = relay_start(nats_server_port(server));
    struct roulette_options options = tls_options("127.0.0.1:%u", relay_port(relay));
    roulette_client *client = open_client(&options);
    require_refused(client, ROULETTE_ETLS,
                    "the server requires TLS: set options.tls or write the server as tls://");
    close_client(client);
    cr_assert_eq(relay_bytes(relay, 0), 0);
    relay_stop(relay);
    nats_server_stop(server);
}

TlsTest(tls, clear_server_is_refused)
{
    struct nats_server *server = scratch_server(&scratch, clear_config);
    struct relay *relay = relay_start(nats_server_port(server));
    struct roulette_options options = tls_options("tls://localhost:%u", relay_port(relay));
    roulette_client *client = open_client(&options);
    require_refused(client, ROULETTE_ETLS,
                    "the server does not offer TLS: nothing is sent to it in clear");
    close_client(client);
    cr_assert_eq(relay_bytes(relay, 0), 0);
    relay_stop(relay);
    nats_server_stop(server);
}

TlsTest(tls, stripped_info_is_refused_at_first_and_later)
{
    struct nats_server *server = scratch_server(&scratch, tls_config("server", ""));
    struct relay *relay = relay_start(nats_server_port(server));
    struct roulette_options options = tls_options("tls://localhost:%u", relay_port(relay));
    relay_set_stripping(relay, true);
    roulette_client *client = open_client(&options);
    require_refused(client, ROULETTE_ETLS, "the server does not offer TLS");
    cr_assert_eq(relay_bytes(relay, 0), 0);

    relay_set_stripping(relay, false);
    require_works(client, 10);
    relay_set_stripping(relay, true);
    size_t before = relay_count(relay);
    cr_assert(nats_server_kill(server, SIGKILL));
    cr_assert(nats_server_restart(server));
    log_record_clear(record);
    EVENTUALLY(log_record_count(record, "the server does not offer TLS") >= REFUSALS);
    cr_assert_eq(relay_bytes(relay, before), 0);

    relay_set_stripping(relay, false);
    require_works(client, 10);
    close_client(client);
    cr_assert(relay_is_silent_or_tls(relay, 0));
    relay_stop(relay);
    nats_server_stop(server);
}

TlsTest(tls, server_turned_clear_on_reconnect_gets_nothing_until_tls_is_back)
{
    struct nats_server *server = scratch_server(&scratch, tls_config("server", ""));
    struct relay *relay = relay_start(nats_server_port(server));
    struct roulette_options options = tls_options("tls://localhost:%u", relay_port(relay));
    options.guarantee = ROULETTE_AT_LEAST_ONCE;
    roulette_client *client = open_client(&options);
    require_works(client, 10);

    size_t before = relay_count(relay);
    scratch_restart(&scratch, server, clear_config);
    cr_assert_eq(roulette_publish(client, "room.1", ROULETTE_STRLEN, PASSWORD, 10), 0);
    EVENTUALLY(log_record_count(record, "the server does not offer TLS") >= REFUSALS);
    cr_assert_eq(relay_bytes(relay, before), 0);
    EVENTUALLY(fleet_stats(client, 0).last_error == ROULETTE_ETLS);

    scratch_restart(&scratch, server, tls_config("server", ""));
    struct roulette_ledger ledger;
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, &ledger, 1), 0, "%s", roulette_last_error());
    cr_assert_eq(ledger.confirmed, 11);
    require_works(client, 10);
    close_client(client);
    cr_assert(relay_is_silent_or_tls(relay, 0));
    relay_stop(relay);
    nats_server_stop(server);
}

/* What somebody in between puts behind INFO must not be taken for the server's. */
TlsTest(tls, bytes_in_clear_behind_info_are_refused)
{
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(FAKE_SEND("INFO {\"tls_required\":true}\r\nPONG\r\nMSG t 1 1\r\nx\r\n")),
    };
    struct fake_server *server = fake_server_start(scripts, 1);
    cr_assert_not_null(server);
    struct roulette_options options = tls_options("tls://localhost:%u", fake_server_port(server));
    roulette_client *client = open_client(&options);
    EVENTUALLY(fleet_stats(client, 0).connect_failures >= REFUSALS);
    cr_assert_eq(fleet_stats(client, 0).last_error, ROULETTE_ETLS);
    cr_assert_geq(log_record_count(record, "in clear behind INFO") +
                      log_record_count(record, "plaintext behind INFO"),
                  1);
    close_client(client);
    char *received = fake_server_received(server, 0, &(size_t){0});
    cr_assert_str_eq(received, "");
    free(received);
    cr_assert(fake_server_stop(server));
}

/* ---- Secrets ------------------------------------------------------------------------------ */

/* All that must never be shown. */
struct secrets {
    struct jwt_key user;
    struct jwt_key account;
    char *jwt;
    char key_line[65]; /* a line from within the client's private key */
    char creds[SCRATCH_PATH_MAX];
    char bad_creds[SCRATCH_PATH_MAX];
    char cert[CERTIFICATES_PATH_MAX];
    char key[CERTIFICATES_PATH_MAX];
};

static void make_secrets(struct secrets *secrets)
{
    static char text[TEXT_MAX * 2];
    secrets->user = jwt_key_make(JWT_USER);
    secrets->account = jwt_key_make(JWT_ACCOUNT);
    secrets->jwt = jwt_make(&secrets->user, &secrets->account, 0);
    scratch_path(&scratch, "user.creds", secrets->creds);
    scratch_path(&scratch, "bad.creds", secrets->bad_creds);
    certificates_path(&certificates, "client.crt", secrets->cert);
    certificates_path(&certificates, "client.key", secrets->key);
    (void)snprintf(text, sizeof(text),
                   "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
                   "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n",
                   secrets->jwt, secrets->user.seed);
    scratch_write(&scratch, "user.creds", text);
    (void)snprintf(text, sizeof(text),
                   "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
                   "-----BEGIN USER NKEY SEED-----\n%sX\n------END USER NKEY SEED------\n",
                   secrets->jwt, secrets->user.seed);
    scratch_write(&scratch, "bad.creds", text);
    FILE *file = fopen(secrets->key, "re");
    cr_assert_not_null(file);
    cr_assert_not_null(fgets(secrets->key_line, sizeof(secrets->key_line), file));
    cr_assert_not_null(fgets(secrets->key_line, sizeof(secrets->key_line), file));
    (void)fclose(file);
}

/* Copy a file into the folder. */
static void scratch_copy(const char *from, const char *name)
{
    static char text[TEXT_MAX * 2];
    FILE *file = fopen(from, "re");
    cr_assert_not_null(file);
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    scratch_write(&scratch, name, text);
}

/* How many secrets are in a text; the parts of a JWT and of a seed count, too. */
static size_t hits(const struct secrets *secrets, const char *text, size_t len)
{
    char jwt_part[33] = {0};
    char seed_part[17] = {0};
    char key_part[33] = {0};
    memcpy(jwt_part, secrets->jwt + strlen(secrets->jwt) / 2, 32);
    memcpy(seed_part, secrets->user.seed + 20, 16);
    memcpy(key_part, secrets->key_line + 10, 32);
    const char *canaries[] = {PASSWORD, TOKEN, jwt_part, seed_part, key_part};
    size_t count = 0;
    for (size_t i = 0; i < sizeof(canaries) / sizeof(canaries[0]); i++) {
        count += memmem(text, len, canaries[i], strlen(canaries[i])) != NULL ? 1 : 0;
    }
    return count;
}

/* Open with these options, which must fail, and search the reason. */
static void require_discreet_refusal(const struct secrets *secrets,
                                     const struct roulette_options *options)
{
    roulette_client *client;
    cr_assert_lt(roulette_open(options, &client), 0);
    const char *text = roulette_last_error();
    cr_assert_eq(hits(secrets, text, strlen(text)), 0, "%s", text);
}

/* Let a client try a server some times, search what it shows, and close it. */
static void watch(const struct secrets *secrets, roulette_client *client)
{
    EVENTUALLY(fleet_stats(client, 0).connect_failures + fleet_stats(client, 0).connects >= 1);
    EVENTUALLY(fleet_stats(client, 0).connect_failures >= 2 ||
               fleet_stats(client, 0).connected != 0);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(hits(secrets, (const char *)&stats, sizeof(stats)), 0);
    const char *address = roulette_cluster_address(client, 0);
    cr_assert_eq(hits(secrets, address, strlen(address)), 0);
    (void)roulette_flush(client, 0, NULL, 0);
    const char *text = roulette_last_error();
    cr_assert_eq(hits(secrets, text, strlen(text)), 0, "%s", text);
    close_client(client);
}

static void require_discreet(const struct secrets *secrets, const struct roulette_options *options)
{
    watch(secrets, open_client(options));
}

/* The credentials are right when the client is opened, and `bad` soon after. */
static void require_discreet_later(const struct secrets *secrets,
                                   const struct roulette_options *options, const char *bad)
{
    struct roulette_options later = *options;
    char path[SCRATCH_PATH_MAX];
    scratch_path(&scratch, "later.creds", path);
    scratch_copy(secrets->creds, "later.creds");
    later.credentials_file = path;
    roulette_client *client = open_client(&later);
    scratch_copy(bad, "later.creds");
    watch(secrets, client);
}

/* Each way to prove who one is, to one server. */
static void try_all_proofs(const struct secrets *secrets, const char *scheme, uint16_t port)
{
    struct roulette_options options;
    options = tls_options("%slocalhost:%u", scheme, port);
    require_discreet(secrets, &options);
    options = tls_options("%s" USER ":" PASSWORD "@localhost:%u", scheme, port);
    require_discreet(secrets, &options);
    options = tls_options("%s" TOKEN "@localhost:%u", scheme, port);
    require_discreet(secrets, &options);

    options = tls_options("%slocalhost:%u", scheme, port);
    options.user = NULL;
    options.password = NULL;
    options.token = TOKEN;
    require_discreet(secrets, &options);
    options.token = NULL;
    options.nkey_seed = secrets->user.seed;
    require_discreet(secrets, &options);
    options.nkey_seed = NULL;
    options.credentials_file = secrets->creds;
    require_discreet(secrets, &options);
    if (options.tls_ca_file != NULL) {
        options.tls_cert_file = secrets->cert;
        options.tls_key_file = secrets->key;
        require_discreet(secrets, &options);
    }
    require_discreet_later(secrets, &options, secrets->bad_creds);
    require_discreet_later(secrets, &options, secrets->key);
    options.credentials_file = secrets->bad_creds;
    require_discreet_refusal(secrets, &options);
    options.credentials_file = secrets->key; /* a mistake that happens */
    require_discreet_refusal(secrets, &options);
}

TlsTest(tls, secrets_are_shown_nowhere)
{
    struct secrets secrets;
    char bad_seed[64];
    make_secrets(&secrets);
    struct nats_server *server = scratch_server(&scratch, tls_config("server", ""));
    try_all_proofs(&secrets, "tls://", nats_server_port(server)); /* let in, or not */
    try_all_proofs(&secrets, "nats://", nats_server_port(server));
    scratch_restart(&scratch, server, tls_config("wrong_ca", ""));
    try_all_proofs(&secrets, "tls://", nats_server_port(server));
    scratch_restart(&scratch, server, clear_config);
    try_all_proofs(&secrets, "tls://", nats_server_port(server));
    try_all_proofs(&secrets, "nats://", nats_server_port(server));
    scratch_restart(&scratch, server, "authorization { token: \"another\" }\n");
    try_all_proofs(&secrets, "nats://", nats_server_port(server));
    char config[256];
    struct jwt_key other = jwt_key_make(JWT_USER);
    (void)snprintf(config, sizeof(config), "authorization { users: [ { nkey: %s } ] }\n",
                   other.public_key);
    scratch_restart(&scratch, server, config); /* gives a nonce to sign, and refuses */
    try_all_proofs(&secrets, "nats://", nats_server_port(server));

    struct roulette_options options = tls_options("localhost:%u", nats_server_port(server));
    (void)snprintf(bad_seed, sizeof(bad_seed), "%sX", secrets.user.seed);
    options.nkey_seed = bad_seed;
    require_discreet_refusal(&secrets, &options);
    options = tls_options("tls://%s:%s@bad host:1", USER, PASSWORD);
    require_discreet_refusal(&secrets, &options);
    options = tls_options("tls://" TOKEN "@localhost:99999999");
    require_discreet_refusal(&secrets, &options);
    options = tls_options("tls://" USER ":" PASSWORD "@h:1,tls://" USER ":" PASSWORD "@h:1");
    require_discreet_refusal(&secrets, &options);
    options = tls_options("tls://" USER ":" PASSWORD "%%zz@h:1");
    require_discreet_refusal(&secrets, &options);
    options = tls_options("tls://localhost:%u", nats_server_port(server));
    options.tls_cert_file = secrets.key;
    options.tls_key_file = secrets.key;
    require_discreet_refusal(&secrets, &options);

    cr_assert_gt(record->len, 0);
    cr_assert_eq(hits(&secrets, secrets.jwt, strlen(secrets.jwt)), 1); /* it does find them */
    cr_assert_eq(hits(&secrets, PASSWORD TOKEN, strlen(PASSWORD TOKEN)), 2);
    if (hits(&secrets, record->text, record->len) != 0) {
        log_record_print(record);
        cr_assert_fail("a secret was logged");
    }
    free(secrets.jwt);
    nats_server_stop(server);
}
