/* SPDX-License-Identifier: MIT */
/**
 * A client that is not let in is told why: its subscribers in band, whatever became of their
 * subscriptions; who waits, by roulette_last_error(); the statistics.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/jwt.h"
#include "support/process.h"
#include "support/scratch.h"
#include "support/test.h"

#define BOTH   "authorization { users: [{user: u, password: p}, {user: v, password: q}] }\n"
#define V_ONLY "authorization { users: [{user: v, password: q}] }\n"

static struct scratch scratch;
static struct nats_server *server;
static char address[64];

static void set_up(void)
{
    scratch_create(&scratch);
    server = scratch_server(&scratch, BOTH);
    (void)snprintf(address, sizeof(address), "nats://u:p@127.0.0.1:%u", nats_server_port(server));
}

static void tear_down(void)
{
    nats_server_stop(server);
    scratch_destroy(&scratch);
}

#define RefusedTest(name) Test(refused_login, name, .init = set_up, .fini = tear_down)

static void reload(const char *config)
{
    scratch_reload(&scratch, server, config);
}

static struct roulette_options options_of(enum roulette_restart restart)
{
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = address;
    options.subscription_restart = restart;
    options.reconnect_interval_ms = 10;
    options.max_backoff_ms = 50;
    options.max_retry = 1000;
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

static void expect(roulette_subscriber *subscriber, enum roulette_kind kind, int error)
{
    struct roulette_message message;
    int count = roulette_receive(subscriber, &message, 1, EVENTUALLY_MS);
    cr_assert_eq(count, 1, "%s instead of kind %d", count == 0 ? "nothing" : "an error", kind);
    cr_assert_eq(message.kind, kind, "kind %d instead of %d", message.kind, kind);
    cr_assert_eq(message.error, error, "%s instead of %s", roulette_error_name(message.error),
                 roulette_error_name(error));
    bool of_all = kind == ROULETTE_KIND_REFUSED || kind == ROULETTE_KIND_DROPPED;
    cr_assert_eq(message.subscription == NULL, of_all);
    cr_assert_eq(message.cluster, 0);
    roulette_release(subscriber, &message, 1);
}

static void expect_nothing(roulette_subscriber *subscriber)
{
    struct roulette_message message;
    int count = roulette_receive(subscriber, &message, 1, 0);
    cr_assert_eq(count, 0, "kind %d", message.kind);
}

/* It goes on trying. */
static void await_failures(const roulette_client *client, uint64_t more)
{
    uint64_t before = fleet_stats(client, 0).connect_failures;
    EVENTUALLY(fleet_stats(client, 0).connect_failures >= before + more);
}

RefusedTest(removed_user_is_told_after_a_temporary_subscription_has_ended)
{
    struct roulette_options options = options_of(ROULETTE_RESTART_TEMPORARY);
    roulette_client *client = open_client(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, "t");
    for (int round = 0; round < 2; round++) {
        reload(V_ONLY);
        expect(subscriber, ROULETTE_KIND_ENDED, ROULETTE_EDISCONNECTED);
        expect(subscriber, ROULETTE_KIND_REFUSED, ROULETTE_EAUTH);
        cr_assert_eq(fleet_stats(client, 0).last_error, ROULETTE_EAUTH);
        await_failures(client, 5);
        cr_assert_eq(fleet_stats(client, 0).last_error, ROULETTE_EAUTH);
        expect_nothing(subscriber); /* told once */
        /* What is subscribed meanwhile is there when the user is. */
        cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, NULL), 0);
        await_failures(client, 1);
        expect_nothing(subscriber);
        reload(BOTH);
        cr_assert_eq(roulette_publish(client, "t", 1, "x", 1), 0);
        expect(subscriber, ROULETTE_KIND_MESSAGE, 0);
    }
    roulette_subscriber_close(subscriber);
    close_client(client);
}

RefusedTest(removed_user_is_told_behind_lost)
{
    struct roulette_options options = options_of(ROULETTE_RESTART_PERMANENT);
    options.pool_size = 3;
    roulette_client *client = open_client(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    roulette_subscriber *stranger = fleet_subscriber(client, 0); /* subscribes to nothing */
    fleet_subscribe(subscriber, "t");
    reload(V_ONLY);
    expect(subscriber, ROULETTE_KIND_LOST, ROULETTE_EDISCONNECTED);
    expect(subscriber, ROULETTE_KIND_REFUSED, ROULETTE_EAUTH);
    await_failures(client, 9); /* of all connections of the pool */
    expect_nothing(subscriber);
    expect_nothing(stranger);
    reload(BOTH);
    expect(subscriber, ROULETTE_KIND_RESTORED, 0);
    expect_nothing(subscriber);
    roulette_subscriber_close(stranger);
    roulette_subscriber_close(subscriber);
    close_client(client);
}

RefusedTest(killed_server_refuses_nobody)
{
    struct roulette_options options = options_of(ROULETTE_RESTART_PERMANENT);
    roulette_client *client = open_client(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, "t");
    cr_assert(nats_server_kill(server, SIGKILL));
    expect(subscriber, ROULETTE_KIND_LOST, ROULETTE_EDISCONNECTED);
    await_failures(client, 3);
    cr_assert(nats_server_restart(server));
    expect(subscriber, ROULETTE_KIND_RESTORED, 0);
    roulette_subscriber_close(subscriber);
    close_client(client);
}

static void assert_last_error(const char *text)
{
    cr_assert_not_null(strstr(roulette_last_error(), text), "it says: %s", roulette_last_error());
}

/* Whichever comes first: its deadline, or the last of max_retry attempts. */
static void assert_in_vain(int result)
{
    cr_assert(result == ROULETTE_ETIMEDOUT || result == ROULETTE_EUNREACHABLE, "%s",
              roulette_error_name(result));
}

RefusedTest(who_waits_in_vain_is_told_why)
{
    static const char *const reason =
        "the server says: Authorization Violation; correct user and password";
    reload(V_ONLY);
    struct roulette_options options = options_of(ROULETTE_RESTART_TEMPORARY);
    options.max_retry = 2;
    roulette_client *client = open_client(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    struct roulette_subscription_options how;
    roulette_subscription_options_init(&how);
    EVENTUALLY(fleet_stats(client, 0).last_error == ROULETTE_EAUTH);
    how.timeout_ms = 50;
    assert_in_vain(roulette_subscribe_with(subscriber, "t", 1, &how, NULL));
    assert_last_error(reason);
    assert_last_error("127.0.0.1");
    assert_in_vain(roulette_flush(client, 50, NULL, 0));
    assert_last_error(reason);
    EVENTUALLY(roulette_publish(client, "t", 1, "x", 1) == ROULETTE_EUNREACHABLE);
    assert_last_error(reason);
    cr_assert_eq(roulette_publish_wait(client, "t", 1, "x", 1, 10), ROULETTE_EUNREACHABLE);
    assert_last_error(reason);
    roulette_subscriber_close(subscriber);
    close_client(client);
}

RefusedTest(first_login_that_is_refused_is_told)
{
    reload(V_ONLY);
    struct roulette_options options = options_of(ROULETTE_RESTART_TEMPORARY);
    roulette_client *client = open_client(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    /* Whether it subscribes before the first refusal or after it. */
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, NULL), 0);
    expect(subscriber, ROULETTE_KIND_REFUSED, ROULETTE_EAUTH);
    await_failures(client, 2);
    roulette_subscriber *late = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(late, "t", 1, NULL, NULL), 0);
    expect(late, ROULETTE_KIND_REFUSED, ROULETTE_EAUTH);
    await_failures(client, 2);
    expect_nothing(subscriber);
    expect_nothing(late);
    roulette_subscriber_close(subscriber);
    await_failures(client, 2);
    reload(BOTH);
    cr_assert_eq(roulette_publish(client, "t", 1, "x", 1), 0);
    expect(late, ROULETTE_KIND_MESSAGE, 0);
    roulette_subscriber_close(late);
    close_client(client);
}

RefusedTest(server_that_is_full_is_told)
{
    reload(BOTH "max_connections: 1\n");
    struct roulette_options options = options_of(ROULETTE_RESTART_TEMPORARY);
    roulette_client *client = open_client(&options);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    roulette_client *second = open_client(&options);
    roulette_subscriber *subscriber = fleet_subscriber(second, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, NULL), 0);
    expect(subscriber, ROULETTE_KIND_REFUSED, ROULETTE_ESERVER);
    close_client(client);
    cr_assert_eq(roulette_flush(second, EVENTUALLY_MS, NULL, 0), 0);
    expect_nothing(subscriber);
    roulette_subscriber_close(subscriber);
    close_client(second);
}

static void write_credentials(const struct jwt_key *user)
{
    static char text[8192];
    struct jwt_key account = jwt_key_make(JWT_ACCOUNT);
    char *jwt = jwt_make(user, &account, 0);
    (void)snprintf(text, sizeof(text),
                   "-----BEGIN NATS USER JWT-----\n%s\n------END NATS USER JWT------\n\n"
                   "-----BEGIN USER NKEY SEED-----\n%s\n------END USER NKEY SEED------\n",
                   jwt, user->seed);
    scratch_write(&scratch, "user.creds", text);
    free(jwt);
}

RefusedTest(login_that_cannot_be_read_is_told)
{
    char path[SCRATCH_PATH_MAX];
    char config[256];
    struct jwt_key key = jwt_key_make(JWT_USER);
    (void)snprintf(config, sizeof(config), "authorization { users: [ { nkey: %s } ] }\n",
                   key.public_key);
    scratch_restart(&scratch, server, config); /* it asks for signatures now */
    scratch_path(&scratch, "user.creds", path);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", nats_server_port(server));
    struct roulette_options options = options_of(ROULETTE_RESTART_TEMPORARY);
    options.credentials_file = path;
    write_credentials(&key);
    cr_assert(nats_server_kill(server, SIGKILL));
    roulette_client *client = open_client(&options);
    scratch_remove(&scratch, "user.creds"); /* they were there when the client was opened */
    cr_assert(nats_server_restart(server));
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, NULL), 0);
    expect(subscriber, ROULETTE_KIND_REFUSED, ROULETTE_ESYSTEM);
    roulette_subscriber_close(subscriber);
    close_client(client);
}

RefusedTest(full_ring_takes_the_reason_when_there_is_room)
{
    enum { SLOTS = 16 };
    struct roulette_options options = options_of(ROULETTE_RESTART_TEMPORARY);
    roulette_client *client = open_client(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, SLOTS);
    fleet_subscribe(subscriber, "t");
    /* Of growing sizes: none of them counts as one with another. */
    for (size_t i = 0; i < 4 * SLOTS; i++) {
        static const char zeros[4 * SLOTS];
        cr_assert_eq(roulette_publish(client, "t", 1, zeros, i), 0);
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_gt(fleet_stats(client, 0).dropped_ring_full, 0);
    reload(V_ONLY);
    EVENTUALLY(fleet_stats(client, 0).last_error == ROULETTE_EAUTH);
    await_failures(client, 2);
    struct roulette_message message;
    int kinds[ROULETTE_KIND_REFUSED + 1] = {0};
    while (kinds[ROULETTE_KIND_REFUSED] == 0) {
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
        kinds[message.kind]++;
        roulette_release(subscriber, &message, 1);
    }
    cr_assert_eq(message.error, ROULETTE_EAUTH);
    cr_assert_eq(kinds[ROULETTE_KIND_ENDED], 1);
    cr_assert_geq(kinds[ROULETTE_KIND_DROPPED], 1);
    expect_nothing(subscriber);
    roulette_subscriber_close(subscriber);
    close_client(client);
}

RefusedTest(command_says_why_before_it_ends)
{
    const char *const argv[] = {RLT_COMMAND, "sub", "--servers", address, "--temporary", "t", NULL};
    struct process process;
    process_start(&process, argv, "", 0);
    process_await_error(&process, "listening");
    reload(V_ONLY);
    cr_assert_eq(process_wait(&process), 1);
    char *printed = process_printed(process.err, NULL);
    cr_assert_not_null(strstr(printed, "this client is not let in: cluster 0 ("), "%s", printed);
    cr_assert_not_null(
        strstr(printed, "roulette sub: all subscriptions have ended; the last one: "), "%s",
        printed);
    const char *last = strstr(printed, "the last one: ");
    cr_assert_not_null(strstr(last, "the server says: Authorization Violation; "), "%s", printed);

    free(printed);
    process_end(&process);
}
