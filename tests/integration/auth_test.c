/* SPDX-License-Identifier: MIT */
/**
 * Logging in through the public API, to real servers: with each kind of proof, with proofs that
 * change, expire, are wrong or are not there yet. Nothing makes a client give up for good.
 */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/jwt.h"
#include "support/log_record.h"
#include "support/scratch.h"
#include "support/test.h"

enum { TEXT_MAX = 8192, EXPIRES_S = SCALED(3, 6) };

static struct scratch scratch;
static struct log_record *record;

static void set_up(void)
{
    scratch_create(&scratch);
    record = log_record_create();
}

static void tear_down(void)
{
    log_record_destroy(record);
    scratch_destroy(&scratch);
}

#define AuthTest(...) Test(__VA_ARGS__, .init = set_up, .fini = tear_down)

/* ---- Clients ------------------------------------------------------------------------------ */

/* `format` gives the servers, which are static memory. */
static struct roulette_options auth_options(const char *format, ...)
{
    static char servers[1024];
    va_list arguments;
    struct roulette_options options;
    va_start(arguments, format);
    (void)vsnprintf(servers, sizeof(servers), format, arguments);
    va_end(arguments);
    roulette_options_init(&options);
    options.servers = servers;
    options.reconnect_interval_ms = 10;
    options.max_backoff_ms = 50;
    options.max_retry = 1000;
    options.queue_bytes = (size_t)1 << 20;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    log_record_attach(record, &options);
    return options;
}

static struct roulette_options local_options(const struct nats_server *server)
{
    return auth_options("127.0.0.1:%u", nats_server_port(server));
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

static void require_in(roulette_client *client)
{
    int result = roulette_flush(client, EVENTUALLY_MS, NULL, 0);
    if (result < 0) {
        log_record_print(record);
    }
    cr_assert_eq(result, 0, "%s", roulette_error_name(result));
}

static void require_in_and_close(const struct roulette_options *options)
{
    roulette_client *client = open_client(options);
    require_in(client);
    cr_assert_eq(fleet_stats(client, 0).connect_failures, 0);
    close_client(client);
}

/* It is refused, at least this often, and goes on trying. */
static void require_out(const roulette_client *client, int error, uint64_t failures)
{
    EVENTUALLY(fleet_stats(client, 0).connect_failures >= failures);
    cr_assert_eq(fleet_stats(client, 0).last_error, error, "%s",
                 roulette_error_name(fleet_stats(client, 0).last_error));
    cr_assert_eq(fleet_stats(client, 0).connected, 0);
}

/* ---- Passwords and tokens ----------------------------------------------------------------- */

/* Each byte as %XX. */
static void encode(const char *text, char *out)
{
    for (; *text != '\0'; text++) {
        out += sprintf(out, "%%%02x", (unsigned)(unsigned char)*text);
    }
    *out = '\0';
}

/* With a backslash before quotes and backslashes, as configurations want it. */
static void quote(const char *text, char *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') {
            *out++ = '\\';
        }
        *out++ = *text;
    }
    *out = '\0';
}

/* Names and words with what is special in JSON, in URLs or in neither. */
static const char *const odd_texts[] = {
    "say \"hi\"",
    "a@b:c/d?e#f%41,g",
    "back\\slash\\",
    "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8e\xb0",
    "\"@\\\xc3\xa9{}[]$%%'`",
    " blanks ",
};

AuthTest(auth, odd_users_and_passwords_are_let_in)
{
    struct nats_server *open_to_all = nats_server_start(NULL);
    cr_assert_not_null(open_to_all);
    for (size_t i = 0; i < sizeof(odd_texts) / sizeof(odd_texts[0]); i++) {
        const char *user = odd_texts[i];
        const char *password = odd_texts[(i + 1) % (sizeof(odd_texts) / sizeof(odd_texts[0]))];
        char config[TEXT_MAX];
        char quoted[2][256];
        char encoded[2][256];
        quote(user, quoted[0]);
        quote(password, quoted[1]);
        (void)snprintf(config, sizeof(config), "authorization { user: \"%s\", password: \"%s\" }\n",
                       quoted[0], quoted[1]);
        struct nats_server *server = scratch_server(&scratch, config);
        struct roulette_options options = local_options(server);
        options.user = user;
        options.password = password;
        require_in_and_close(&options);

        encode(user, encoded[0]);
        encode(password, encoded[1]);
        options = auth_options("nats://%s:%s@127.0.0.1:%u,127.0.0.1:%u", encoded[0], encoded[1],
                               nats_server_port(server), nats_server_port(open_to_all));
        options.user = "an entry's own";
        options.password = "wins";
        require_in_and_close(&options);
        nats_server_stop(server);
    }
    nats_server_stop(open_to_all);
}

AuthTest(auth, odd_tokens_are_let_in)
{
    for (size_t i = 0; i < sizeof(odd_texts) / sizeof(odd_texts[0]); i++) {
        char config[TEXT_MAX];
        char text[256];
        quote(odd_texts[i], text);
        (void)snprintf(config, sizeof(config), "authorization { token: \"%s\" }\n", text);
        struct nats_server *server = scratch_server(&scratch, config);
        struct roulette_options options = local_options(server);
        options.token = odd_texts[i];
        require_in_and_close(&options);
        encode(odd_texts[i], text);
        options = auth_options("nats://%s@127.0.0.1:%u", text, nats_server_port(server));
        require_in_and_close(&options);
        nats_server_stop(server);
    }
}

AuthTest(auth, each_cluster_is_given_its_own_password)
{
    char config[TEXT_MAX];
    struct nats_server *servers[2];
    for (unsigned i = 0; i < 2; i++) {
        (void)snprintf(config, sizeof(config),
                       "authorization { user: \"user%u\", password: \"word%u\" }\n", i, i);
        servers[i] = scratch_server(&scratch, config);
    }
    struct roulette_options options =
        auth_options("nats://user0:word0@127.0.0.1:%u,127.0.0.1:%u", nats_server_port(servers[0]),
                     nats_server_port(servers[1]));
    options.user = "user1";
    options.password = "word1";
    require_in_and_close(&options);
    nats_server_stop(servers[0]);
    nats_server_stop(servers[1]);
}

AuthTest(auth, wrong_password_is_tried_again_and_right_in_the_end)
{
    struct nats_server *server =
        scratch_server(&scratch, "authorization { user: \"u\", password: \"another\" }\n");
    struct roulette_options options = local_options(server);
    options.user = "u";
    options.password = "right";
    options.max_backoff_ms = 200;
    uint64_t start_ms = net_now_ms();
    roulette_client *client = open_client(&options);
    cr_assert_eq(roulette_publish(client, "t", 1, "x", 1), 0);
    require_out(client, ROULETTE_EAUTH, 16);
    /* Waits up to 200 ms, of 100 in the mean: never that fast without a backoff. */
    cr_assert_gt(net_now_ms() - start_ms, 150);
    /* Ten in ten seconds: the number of the others is told later. */
    cr_assert_geq(log_record_count(record, "Authorization Violation"), 10);
    cr_assert_eq(log_record_count(record, "right"), 0);

    scratch_restart(&scratch, server, "authorization { user: \"u\", password: \"right\" }\n");
    require_in(client);
    cr_assert_eq(fleet_stats(client, 0).ledger.confirmed, 1);
    close_client(client);
    nats_server_stop(server);
}

AuthTest(auth, missing_password_is_told)
{
    struct nats_server *server =
        scratch_server(&scratch, "authorization { user: \"u\", password: \"p\" }\n");
    struct roulette_options options = local_options(server);
    options.max_retry = 2;
    roulette_client *client = open_client(&options);
    require_out(client, ROULETTE_EAUTH, 3);
    EVENTUALLY(roulette_publish(client, "t", 1, "x", 1) == ROULETTE_EUNREACHABLE);
    require_out(client, ROULETTE_EAUTH, fleet_stats(client, 0).connect_failures + 3);
    close_client(client);
    nats_server_stop(server);
}

/* ---- nkeys -------------------------------------------------------------------------------- */

static struct nats_server *nkey_server(const char *public_key)
{
    char config[TEXT_MAX];
    (void)snprintf(config, sizeof(config), "authorization { users: [ { nkey: %s } ] }\n",
                   public_key);
    return scratch_server(&scratch, config);
}

AuthTest(auth, nkey_is_let_in_again_and_again)
{
    struct jwt_key key = jwt_key_make(JWT_USER);
    char seed[sizeof(key.seed)];
    struct nats_server *server = nkey_server(key.public_key);
    struct roulette_options options = local_options(server);
    memcpy(seed, key.seed, sizeof(seed));
    options.nkey_seed = seed;
    options.pool_size = 3;
    roulette_client *client = open_client(&options);
    memset(seed, 'x', sizeof(seed) - 1); /* it was copied */
    require_in(client);
    for (int i = 0; i < 3; i++) {
        cr_assert(nats_server_kill(server, SIGKILL));
        cr_assert(nats_server_restart(server));
        EVENTUALLY(fleet_stats(client, 0).connects == (uint64_t)(i + 2) * 3);
        require_in(client);
    }
    cr_assert_eq(log_record_count(record, "Authorization"), 0);
    close_client(client);
    nats_server_stop(server);
}

AuthTest(auth, foreign_nkey_is_refused)
{
    struct jwt_key key = jwt_key_make(JWT_USER);
    struct jwt_key other = jwt_key_make(JWT_USER);
    struct nats_server *server = nkey_server(key.public_key);
    struct roulette_options options = local_options(server);
    options.nkey_seed = other.seed;
    roulette_client *client = open_client(&options);
    require_out(client, ROULETTE_EAUTH, 3);
    close_client(client);
    nats_server_stop(server);
}

AuthTest(auth, server_without_nkeys_is_explained)
{
    struct jwt_key key = jwt_key_make(JWT_USER);
    struct nats_server *server = nats_server_start(NULL);
    cr_assert_not_null(server);
    struct roulette_options options = local_options(server);
    options.nkey_seed = key.seed;
    roulette_client *client = open_client(&options);
    require_out(client, ROULETTE_EAUTH, 3);
    cr_assert_geq(log_record_count(record, "cannot log in: the server asks for no signature"), 3);
    close_client(client);
    nats_server_stop(server);
}

/* ---- Credentials -------------------------------------------------------------------------- */

struct realm {
    struct jwt_key operator_key;
    struct jwt_key account;
    struct jwt_key users[2];
    struct nats_server *server;
    char path[SCRATCH_PATH_MAX];
};

static void start_realm(struct realm *realm)
{
    char config[TEXT_MAX];
    realm->operator_key = jwt_key_make(JWT_OPERATOR);
    realm->account = jwt_key_make(JWT_ACCOUNT);
    realm->users[0] = jwt_key_make(JWT_USER);
    realm->users[1] = jwt_key_make(JWT_USER);
    char *operator_jwt = jwt_make(&realm->operator_key, &realm->operator_key, 0);
    char *account_jwt = jwt_make(&realm->account, &realm->operator_key, 0);
    (void)snprintf(config, sizeof(config),
                   "operator: %s\nresolver: MEMORY\nresolver_preload: {\n  %s: %s\n}\n",
                   operator_jwt, realm->account.public_key, account_jwt);
    free(operator_jwt);
    free(account_jwt);
    realm->server = scratch_server(&scratch, config);
    scratch_path(&scratch, "user.creds", realm->path);
}

static void write_credentials(const struct realm *realm, int user, int64_t expires_s)
{
    char text[TEXT_MAX];
    char *jwt = jwt_make(&realm->users[user], &realm->account, expires_s);
    (void)snprintf(text, sizeof(text),
                   "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
                   "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n",
                   jwt, realm->users[user].seed);
    scratch_write(&scratch, "user.creds", text);
    free(jwt);
}

/* Whether the server has a connection of this user. */
static bool is_connected(struct realm *realm, int user)
{
    char *text = nats_server_get(realm->server, "/connz?auth=1");
    cr_assert_not_null(text);
    bool found = strstr(text, realm->users[user].public_key) != NULL;
    free(text);
    return found;
}

static roulette_client *open_with_credentials(const struct realm *realm)
{
    struct roulette_options options = local_options(realm->server);
    options.credentials_file = realm->path;
    return open_client(&options);
}

AuthTest(auth, credentials_are_read_anew_for_each_connection)
{
    struct realm realm;
    start_realm(&realm);
    write_credentials(&realm, 0, 0);
    roulette_client *client = open_with_credentials(&realm);
    require_in(client);
    cr_assert(is_connected(&realm, 0));
    cr_assert_not(is_connected(&realm, 1));

    write_credentials(&realm, 1, 0);
    cr_assert(nats_server_kill(realm.server, SIGKILL));
    cr_assert(nats_server_restart(realm.server));
    EVENTUALLY(fleet_stats(client, 0).connects == 2);
    require_in(client);
    cr_assert(is_connected(&realm, 1));
    cr_assert_not(is_connected(&realm, 0));
    close_client(client);
    nats_server_stop(realm.server);
}

AuthTest(auth, expired_credentials_end_the_connection_until_they_are_replaced)
{
    struct realm realm;
    struct roulette_message message;
    uint64_t lost = 1;
    uint64_t restored = 0;
    start_realm(&realm);
    write_credentials(&realm, 0, time(NULL) + EXPIRES_S);
    roulette_client *client = open_with_credentials(&realm);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, NULL), 0);
    require_in(client);

    cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_LOST);
    cr_assert_eq(message.error, ROULETTE_EAUTH, "%s", roulette_error_name(message.error));
    cr_assert_geq(log_record_count(record, "User Authentication Expired"), 1);
    EVENTUALLY(log_record_count(record, "Authorization Violation") >= 3);
    require_out(client, ROULETTE_EAUTH, 3);
    cr_assert_eq(roulette_publish(client, "t", 1, "later", 5), 0);

    write_credentials(&realm, 0, time(NULL) + 3600);
    require_in(client);
    /* In the second in which they expire the server lets them in and puts them out again. */
    do {
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
        lost += message.kind == ROULETTE_KIND_LOST ? 1 : 0;
        restored += message.kind == ROULETTE_KIND_RESTORED ? 1 : 0;
    } while (message.kind != ROULETTE_KIND_MESSAGE);
    cr_assert_eq(message.payload_len, 5);
    roulette_release(subscriber, &message, 1);
    cr_assert_geq(fleet_stats(client, 0).disconnects, lost);
    cr_assert_eq(restored, lost);
    roulette_subscriber_close(subscriber);
    close_client(client);
    nats_server_stop(realm.server);
}

AuthTest(auth, credentials_that_cannot_be_used_are_told_until_they_can)
{
    struct realm realm;
    start_realm(&realm);
    write_credentials(&realm, 0, 0);
    cr_assert(nats_server_kill(realm.server, SIGKILL));
    roulette_client *client = open_with_credentials(&realm);
    scratch_remove(&scratch, "user.creds"); /* they were there when the client was opened */
    cr_assert_eq(roulette_publish(client, "t", 1, "x", 1), 0);
    cr_assert(nats_server_restart(realm.server));
    /* Attempts of before may have failed because there was no server. */
    EVENTUALLY(fleet_stats(client, 0).last_error == ROULETTE_ESYSTEM);
    require_out(client, ROULETTE_ESYSTEM, fleet_stats(client, 0).connect_failures + 2);
    char text[256];
    (void)snprintf(text, sizeof(text),
                   "cannot log in: cannot read the file \"%s\": No such file or directory",
                   realm.path);
    EVENTUALLY(log_record_count(record, text) >= 3);

    scratch_write(&scratch, "user.creds", "");
    log_record_clear(record);
    EVENTUALLY(log_record_count(record, "cannot log in: ") >= 4);
    cr_assert_eq(fleet_stats(client, 0).connected, 0);
    scratch_write(&scratch, "user.creds", "-----BEGIN NATS USER JWT-----\nhalf");
    EVENTUALLY(log_record_count(record, "cannot log in: ") >= 8);
    cr_assert_eq(fleet_stats(client, 0).connected, 0);

    write_credentials(&realm, 0, 0);
    require_in(client);
    cr_assert_eq(fleet_stats(client, 0).ledger.confirmed, 1);
    scratch_remove(&scratch, "user.creds"); /* a connection that is made needs it no more */
    require_in(client);
    close_client(client);
    nats_server_stop(realm.server);
}

AuthTest(auth, user_of_another_account_is_refused)
{
    struct realm realm;
    start_realm(&realm);
    struct jwt_key account = realm.account;
    realm.account = jwt_key_make(JWT_ACCOUNT);
    write_credentials(&realm, 0, 0);
    roulette_client *client = open_with_credentials(&realm);
    require_out(client, ROULETTE_EAUTH, 3);
    realm.account = account;
    write_credentials(&realm, 0, 0);
    require_in(client);
    close_client(client);
    nats_server_stop(realm.server);
}
