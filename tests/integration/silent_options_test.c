/* SPDX-License-Identifier: MIT */
/**
 * Options that would have no effect as they are given: each is refused at the call, by a text that
 * names the option and says what to write.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roulette.h"
#include "support/certificates.h"
#include "support/jwt.h"
#include "support/scratch.h"
#include "support/test.h"

#define SERVER "127.0.0.1:1"

static struct roulette_options options_of(const char *servers)
{
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = servers;
    return options;
}

/* roulette_open() refuses the options, and says all of this. */
static void expect_refused(const struct roulette_options *options, const char *first,
                           const char *second)
{
    roulette_client *client = NULL;
    int result = roulette_open(options, &client);
    cr_assert_eq(result, ROULETTE_EINVAL, "%s: %s", first, roulette_error_name(result));
    cr_assert_null(client);
    cr_assert(strstr(roulette_last_error(), first) != NULL, "%s", roulette_last_error());
    cr_assert(strstr(roulette_last_error(), second) != NULL, "%s", roulette_last_error());
}

static void expect_open(const struct roulette_options *options)
{
    roulette_client *client = NULL;
    cr_assert_eq(roulette_open(options, &client), 0, "%s", roulette_last_error());
    roulette_free(client);
}

/* One option that differs from the defaults, and what must be said of it. */
#define REFUSED(servers_, field, value, says)                    \
    do {                                                         \
        struct roulette_options options_ = options_of(servers_); \
        options_.field = (value);                                \
        expect_refused(&options_, "options." #field, (says));    \
    } while (0)

/* ---- size --------------------------------------------------------------------------------- */

Test(silent_options, subscribing_with_options_that_were_not_filled_in_is_refused)
{
    struct roulette_options options = options_of(SERVER);
    roulette_client *client;
    roulette_subscriber *subscriber;
    cr_assert_eq(roulette_open(&options, &client), 0);
    cr_assert_eq(roulette_subscriber_open(client, NULL, &subscriber), 0);
    struct roulette_subscription_options how = {.queue_group = "workers"};
    int result = roulette_subscribe_with(subscriber, "jobs", ROULETTE_STRLEN, &how, NULL);
    cr_assert_eq(result, ROULETTE_EINVAL, "%s", roulette_error_name(result));
    cr_assert_str_eq(roulette_last_error(), "subscription options.size is 0: fill them with "
                                            "roulette_subscription_options_init() first");
    roulette_subscriber_close(subscriber);
    roulette_free(client);
}

Test(silent_options, opening_a_subscriber_with_options_that_were_not_filled_in_is_refused)
{
    struct roulette_options options = options_of(SERVER);
    roulette_client *client;
    roulette_subscriber *subscriber = NULL;
    cr_assert_eq(roulette_open(&options, &client), 0);
    struct roulette_subscriber_options own = {.ring_slots = 1024};
    cr_assert_eq(roulette_subscriber_open(client, &own, &subscriber), ROULETTE_EINVAL);
    cr_assert_null(subscriber);
    cr_assert_str_eq(roulette_last_error(), "subscriber options.size is 0: fill them with "
                                            "roulette_subscriber_options_init() first");
    roulette_free(client);
}

/* A caller that was compiled with the header of a later version. */
Test(silent_options, option_that_only_a_later_version_knows_is_refused)
{
    struct {
        struct roulette_options options;
        uint64_t later;
    } given;
    given.options.size = sizeof(given);
    roulette_options_fill(&given.options);
    given.options.servers = SERVER;
    expect_open(&given.options);
    given.later = 1;
    expect_refused(&given.options, "an option is set that roulette ", "does not know");
}

Test(silent_options, size_that_was_never_set_is_refused)
{
    struct roulette_options options = options_of(SERVER);
    options.size = (size_t)0x7ffd12345678;
    expect_refused(&options, "options.size is", "roulette_options_init()");
}

/* ---- TLS ---------------------------------------------------------------------------------- */

static const char set_tls[] = "set options.tls to 1, or write the servers as tls://";

Test(silent_options, tls_options_without_tls_are_refused)
{
    REFUSED(SERVER, tls_ca_file, "/nonexistent", set_tls);
    REFUSED(SERVER, tls_ca_path, "/nonexistent", set_tls);
    REFUSED(SERVER, tls_cert_file, "/nonexistent", set_tls);
    REFUSED(SERVER, tls_key_file, "/nonexistent", set_tls);
    REFUSED(SERVER, tls_server_name, "nats.example", set_tls);
    REFUSED(SERVER, tls_handshake_first, 1, set_tls);
    REFUSED(SERVER, tls_verify, 0, set_tls);
    REFUSED("nats://a:b@h:1,h:2", tls_server_name, "nats.example", set_tls);
}

Test(silent_options, certificate_and_key_go_together)
{
    REFUSED("tls://h:1", tls_cert_file, "/nonexistent", "give options.tls_key_file too");
    REFUSED("tls://h:1", tls_key_file, "/nonexistent", "give options.tls_cert_file too");
}

Test(silent_options, ca_of_a_certificate_that_is_not_looked_at_is_refused)
{
    struct roulette_options options = options_of("tls://h:1");
    options.tls_verify = 0;
    options.tls_ca_file = "/nonexistent";
    expect_refused(&options, "options.tls_ca_file", "set options.tls_verify to 1");
    options.tls_ca_file = NULL;
    options.tls_ca_path = "/nonexistent";
    expect_refused(&options, "options.tls_ca_path", "set options.tls_verify to 1");
}

Test(silent_options, tls_files_and_name_are_looked_at_at_once)
{
    struct roulette_options options = options_of("tls://h:1");
    options.tls_ca_file = "/nonexistent";
    expect_refused(&options, "the TLS CA file", "\"/nonexistent\": No such file");
    options = options_of("tls://h:1");
    options.tls_ca_path = "/nonexistent";
    expect_refused(&options, "the TLS CA folder", "cannot be read");
    options = options_of("tls://h:1");
    REFUSED("tls://h:1", tls_server_name, "", "give a name");
    char name[300];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    options.tls_server_name = name;
    expect_refused(&options, "options.tls_server_name", "no name that a certificate can have");
    options.tls_server_name = NULL;
    options.tls_cert_file = "/nonexistent";
    options.tls_key_file = "/nonexistent";
    expect_refused(&options, "certificate file", "No such file");
}

Test(silent_options, switch_that_is_neither_on_nor_off_is_refused)
{
    REFUSED(SERVER, tls, 2, "give 0 to 1");
    REFUSED(SERVER, tls_verify, 2, "give 0 to 1");
    REFUSED(SERVER, tls_handshake_first, 255, "give 0 to 1");
    REFUSED(SERVER, tcp_nodelay, 2, "give 0 to 1");
}

/* ---- Logging in --------------------------------------------------------------------------- */

Test(silent_options, password_without_a_user_is_refused)
{
    REFUSED(SERVER, password, "secret", "give options.user too");
    cr_assert_null(strstr(roulette_last_error(), "secret"));
}

Test(silent_options, empty_login_is_refused)
{
    REFUSED(SERVER, user, "", "give NULL");
    REFUSED(SERVER, token, "", "give NULL");
}

Test(silent_options, login_that_no_server_gets_is_refused)
{
    static const char own[] = "nats://a:b@h:1,nats://token@h:2";
    REFUSED(own, user, "c", "each server of options.servers has a login of its own");
    REFUSED(own, token, "c", "each server of options.servers has a login of its own");
    struct roulette_options options = options_of("nats://a:b@127.0.0.1:1,127.0.0.1:2");
    options.user = "c";
    options.password = "";
    expect_open(&options);
}

Test(silent_options, seed_that_is_none_is_refused)
{
    REFUSED(SERVER, nkey_seed, "", "");
    REFUSED(SERVER, nkey_seed, "SUNONE", "");
    cr_assert_null(strstr(roulette_last_error(), "SUNONE"));
}

Test(silent_options, credentials_are_read_at_once)
{
    static char text[8192];
    struct scratch scratch;
    char path[SCRATCH_PATH_MAX];
    struct roulette_options options = options_of(SERVER);
    struct jwt_key account = jwt_key_make(JWT_ACCOUNT);
    struct jwt_key user = jwt_key_make(JWT_USER);
    char *jwt = jwt_make(&user, &account, 0);
    scratch_create(&scratch);
    scratch_path(&scratch, "user.creds", path);
    options.credentials_file = path;
    expect_refused(&options, "options.credentials_file cannot be used", "No such file");
    scratch_write(&scratch, "user.creds", "");
    expect_refused(&options, "options.credentials_file cannot be used", "neither a JWT nor a seed");
    (void)snprintf(text, sizeof(text), "-----BEGIN A-----\n%s\n-----END A-----\n", jwt);
    scratch_write(&scratch, "user.creds", text);
    expect_refused(&options, path, "no seed");
    (void)snprintf(text, sizeof(text), "-----BEGIN A-----\n%s\n-----END A-----\n", user.seed);
    scratch_write(&scratch, "user.creds", text);
    expect_refused(&options, path, "no JWT");
    (void)snprintf(text, sizeof(text),
                   "-----BEGIN A-----\n%s\n-----END A-----\n-----BEGIN B-----\n%sX\n-----END "
                   "B-----\n",
                   jwt, user.seed);
    scratch_write(&scratch, "user.creds", text);
    expect_refused(&options, path, "seed");
    (void)snprintf(text, sizeof(text),
                   "-----BEGIN A-----\n%s\n-----END A-----\n-----BEGIN B-----\n%s\n-----END "
                   "B-----\n",
                   jwt, user.seed);
    scratch_write(&scratch, "user.creds", text);
    expect_open(&options);
    free(jwt);
    scratch_destroy(&scratch);
}

/* CONNECT, with name and login, may have 16 KiB: nobody could ever connect with more. */
Test(silent_options, name_and_login_that_fit_into_no_connect_are_refused)
{
    static char long_text[20000];
    memset(long_text, 'a', sizeof(long_text) - 1);
    REFUSED(SERVER, name, long_text, "shorter");
    REFUSED(SERVER, user, long_text, "shorter");
    REFUSED(SERVER, token, long_text, "shorter");
    REFUSED(SERVER, name, "caf\xc3", "UTF-8");
}

/* ---- The others --------------------------------------------------------------------------- */

static void ignore(void *context, enum roulette_log_level level, const char *text)
{
    (void)context;
    (void)level;
    (void)text;
}

Test(silent_options, log_level_and_context_without_a_log_are_refused)
{
    int context = 0;
    REFUSED(SERVER, log_level, ROULETTE_LOG_DEBUG, "set options.log");
    REFUSED(SERVER, log_context, &context, "set options.log");
    struct roulette_options options = options_of(SERVER);
    options.log = ignore;
    options.log_context = &context;
    options.log_level = ROULETTE_LOG_ERROR;
    expect_open(&options);
}

Test(silent_options, what_the_role_leaves_no_use_for_is_refused)
{
    struct roulette_options options = options_of(SERVER);
    options.role = ROULETTE_ROLE_PUBLISHER;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    expect_refused(&options, "options.subscription_restart", "options.role is publisher");
    options.subscription_restart = ROULETTE_RESTART_TEMPORARY;
    expect_open(&options);
    options.role = ROULETTE_ROLE_SUBSCRIBER;
    options.guarantee = ROULETTE_AT_LEAST_ONCE;
    expect_refused(&options, "options.guarantee", "options.role is subscriber");
    options.guarantee = ROULETTE_AT_MOST_ONCE;
    options.reconnect_hold_ms = 10;
    expect_refused(&options, "options.reconnect_hold_ms", "options.role is subscriber");
}

Test(silent_options, backoff_that_begins_above_its_end_is_refused)
{
    struct roulette_options options = options_of(SERVER);
    options.base_backoff_ms = 100;
    options.max_backoff_ms = 50;
    expect_refused(&options, "options.base_backoff_ms is 100", "options.max_backoff_ms (50)");
    options.max_backoff_ms = 100;
    expect_open(&options);
}
