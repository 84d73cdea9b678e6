/* SPDX-License-Identifier: MIT */
/**
 * Waits that servers cannot end any more: flush, close, drain and subscribing while a cluster is
 * away. Each ends with the last message's final state, whatever its timeout is.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/test.h"

enum {
    MESSAGES = 50,
    MAX_RETRY = 6,
    /* Of a wait, behind the last message's final state. */
    LATE_MS = SCALED(50, 500),
};

/* ---- A call that waits, in a thread of its own --------------------------------------------- */

enum call { FLUSH, CLOSE, DRAIN, SUBSCRIBE };

struct waiter {
    roulette_client *client;
    roulette_subscriber *subscriber; /* DRAIN, SUBSCRIBE */
    const char *topic;               /* SUBSCRIBE */
    enum call call;
    int timeout_ms;
    int result;
    uint64_t end_ms;
    atomic_bool begun;
    atomic_bool over;
    pthread_t thread;
};

static int call(const struct waiter *waiter)
{
    struct roulette_subscription_options options;
    switch (waiter->call) {
    case FLUSH:
        return roulette_flush(waiter->client, waiter->timeout_ms, NULL, 0);
    case CLOSE:
        return roulette_close(waiter->client, waiter->timeout_ms, NULL, 0);
    case DRAIN:
        return roulette_subscriber_drain(waiter->subscriber, waiter->timeout_ms);
    case SUBSCRIBE:
        roulette_subscription_options_init(&options);
        options.timeout_ms = waiter->timeout_ms;
        return roulette_subscribe_with(waiter->subscriber, waiter->topic, ROULETTE_STRLEN, &options,
                                       NULL);
    }
    return ROULETTE_EINVAL;
}

static void *run(void *argument)
{
    struct waiter *waiter = argument;
    atomic_store(&waiter->begun, true);
    waiter->result = call(waiter);
    waiter->end_ms = net_now_ms();
    atomic_store(&waiter->over, true);
    return NULL;
}

static void begin(struct waiter *waiter)
{
    REQUIRE(pthread_create(&waiter->thread, NULL, run, waiter) == 0);
    EVENTUALLY(atomic_load(&waiter->begun));
}

/* It ends, and not later than LATE_MS behind `final_ms`. */
static void require_end(struct waiter *waiter, const char *what, uint64_t final_ms)
{
    EVENTUALLY(atomic_load(&waiter->over));
    (void)pthread_join(waiter->thread, NULL);
    int64_t late_ms = (int64_t)(waiter->end_ms - final_ms);
    printf("fence: %s, timeout %d: %lld ms behind the last message's final state: %s\n", what,
           waiter->timeout_ms, (long long)late_ms, roulette_error_name(waiter->result));
    REQUIRE(late_ms <= LATE_MS, "%s, timeout %d: %lld ms", what, waiter->timeout_ms,
            (long long)late_ms);
}

/* ---- Messages ------------------------------------------------------------------------------ */

static uint64_t open_messages(const roulette_client *client, size_t cluster)
{
    struct roulette_ledger ledger = fleet_stats(client, cluster).ledger;
    return (uint64_t)fleet_difference(&ledger);
}

static void publish_some(roulette_client *client, const char *topic)
{
    for (int i = 0; i < MESSAGES; i++) {
        REQUIRE(roulette_publish(client, topic, ROULETTE_STRLEN, "x", 1) == 0, "%s",
                roulette_last_error());
    }
}

static struct roulette_options options_for(const struct fleet *fleet,
                                           enum roulette_guarantee guarantee)
{
    struct roulette_options options = fleet_options(fleet);
    options.max_retry = MAX_RETRY;
    options.guarantee = guarantee;
    return options;
}

/* A server is killed, and what is published behind that fails while somebody waits for it. */
static void check_killed(enum call what, enum roulette_guarantee guarantee, int timeout_ms)
{
    static const char *const names[] = {"flush", "close"};
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = options_for(&fleet, guarantee);
    roulette_client *client = fleet_open(&options);
    publish_some(client, "before");
    REQUIRE(roulette_flush(client, EVENTUALLY_MS, NULL, 0) == 0);
    REQUIRE(nats_server_kill(fleet.servers[0], SIGKILL));
    EVENTUALLY(fleet_stats(client, 0).connected == 0);
    publish_some(client, "topic");
    struct waiter waiter = {.client = client, .call = what, .timeout_ms = timeout_ms};
    begin(&waiter);
    EVENTUALLY(open_messages(client, 0) == 0);
    uint64_t final_ms = net_now_ms();
    require_end(&waiter, names[what], final_ms);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(stats.ledger.confirmed, MESSAGES);
    cr_assert_eq(stats.ledger.failed, MESSAGES);
    cr_assert_geq(stats.connect_failures, MAX_RETRY, "the wait has not ended too early");
    cr_assert_eq(waiter.result, what == FLUSH ? ROULETTE_EUNREACHABLE : ROULETTE_ETIMEDOUT);
    roulette_free(client);
    fleet_stop(&fleet);
}

Test(fence, flush_ends_with_the_last_message_at_most_once)
{
    check_killed(FLUSH, ROULETTE_AT_MOST_ONCE, 30000);
    check_killed(FLUSH, ROULETTE_AT_MOST_ONCE, -1);
}

Test(fence, flush_ends_with_the_last_message_at_least_once)
{
    check_killed(FLUSH, ROULETTE_AT_LEAST_ONCE, 30000);
    check_killed(FLUSH, ROULETTE_AT_LEAST_ONCE, -1);
}

Test(fence, close_ends_with_the_last_message_at_most_once)
{
    check_killed(CLOSE, ROULETTE_AT_MOST_ONCE, 30000);
    check_killed(CLOSE, ROULETTE_AT_MOST_ONCE, -1);
}

Test(fence, close_ends_with_the_last_message_at_least_once)
{
    check_killed(CLOSE, ROULETTE_AT_LEAST_ONCE, 30000);
    check_killed(CLOSE, ROULETTE_AT_LEAST_ONCE, -1);
}

/* Some are in doubt when the connection is lost; those behind them are not sent yet. */
static void check_in_doubt(enum roulette_guarantee guarantee)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = options_for(&fleet, guarantee);
    options.ping_interval_ms = 100;
    options.connection_timeout_ms = 100;
    roulette_client *client = fleet_open(&options);
    REQUIRE(nats_server_kill(fleet.servers[0], SIGSTOP));
    publish_some(client, "topic");
    EVENTUALLY(fleet_stats(client, 0).published_bytes != 0);
    struct waiter waiter = {.client = client, .call = CLOSE, .timeout_ms = -1};
    begin(&waiter);
    REQUIRE(nats_server_kill(fleet.servers[0], SIGKILL));
    EVENTUALLY(open_messages(client, 0) == 0);
    require_end(&waiter, "close", net_now_ms());
    struct roulette_ledger ledger = fleet_stats(client, 0).ledger;
    cr_assert_geq(ledger.in_doubt, 1);
    cr_assert_eq(ledger.in_doubt + ledger.failed, MESSAGES);
    cr_assert_eq(ledger.discarded, 0);
    cr_assert_eq(waiter.result, ROULETTE_ETIMEDOUT);
    roulette_free(client);
    fleet_stop(&fleet);
}

Test(fence, close_ends_with_what_is_in_doubt)
{
    check_in_doubt(ROULETTE_AT_MOST_ONCE);
    check_in_doubt(ROULETTE_AT_LEAST_ONCE);
}

/* A close that began before its connection was lost goes on with the next one. */
Test(fence, close_outlives_a_connection)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = options_for(&fleet, ROULETTE_AT_LEAST_ONCE);
    options.max_retry = 1000;
    roulette_client *client = fleet_open(&options);
    REQUIRE(nats_server_kill(fleet.servers[0], SIGSTOP));
    publish_some(client, "topic");
    EVENTUALLY(fleet_stats(client, 0).published_bytes != 0);
    struct waiter waiter = {.client = client, .call = CLOSE, .timeout_ms = EVENTUALLY_MS};
    begin(&waiter);
    uint64_t sends = fleet_stats(client, 0).sends;
    EVENTUALLY(fleet_stats(client, 0).sends > sends || sends >= 3);
    REQUIRE(nats_server_kill(fleet.servers[0], SIGKILL));
    EVENTUALLY(fleet_stats(client, 0).disconnects == 1);
    REQUIRE(nats_server_restart(fleet.servers[0]));
    EVENTUALLY(atomic_load(&waiter.over));
    (void)pthread_join(waiter.thread, NULL);
    cr_assert_eq(waiter.result, 0, "%s", roulette_error_name(waiter.result));
    cr_assert_eq(fleet_stats(client, 0).ledger.confirmed, MESSAGES);
    roulette_free(client);
    fleet_stop(&fleet);
}

/* ---- States in which a cluster is away ----------------------------------------------------- */

static void check_never(const struct fake_script *script, bool tls)
{
    char address[32];
    struct fake_server *server = fake_server_start(script, 1);
    REQUIRE(server != NULL);
    struct roulette_options options;
    roulette_options_init(&options);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", fake_server_port(server));
    options.servers = address;
    options.tls = tls;
    options.tls_verify = !tls;
    options.connection_timeout_ms = 50;
    options.max_backoff_ms = 20;
    options.max_retry = MAX_RETRY;
    enum call calls[] = {FLUSH, CLOSE};
    for (size_t i = 0; i < 2; i++) {
        roulette_client *client;
        REQUIRE(roulette_open(&options, &client) == 0, "%s", roulette_last_error());
        publish_some(client, "topic");
        struct waiter waiter = {.client = client, .call = calls[i], .timeout_ms = -1};
        begin(&waiter);
        EVENTUALLY(open_messages(client, 0) == 0);
        require_end(&waiter, calls[i] == FLUSH ? "flush" : "close", net_now_ms());
        cr_assert_eq(fleet_stats(client, 0).ledger.failed, MESSAGES);
        roulette_free(client);
    }
    (void)fake_server_stop(server);
}

Test(fence, server_that_says_nothing_ends_waits)
{
    const struct fake_script script = FAKE_SCRIPT(FAKE_STALL());
    check_never(&script, false);
}

Test(fence, server_that_refuses_the_login_ends_waits)
{
    const struct fake_script script =
        FAKE_SCRIPT(FAKE_SEND("INFO {}\r\n"), FAKE_EXPECT("PING\r\n"),
                    FAKE_SEND("-ERR 'Authorization Violation'\r\n"), FAKE_CLOSE());
    check_never(&script, false);
}

Test(fence, server_that_never_ends_its_handshake_ends_waits)
{
    const struct fake_script script =
        FAKE_SCRIPT(FAKE_SEND("INFO {\"tls_required\":true}\r\n"), FAKE_STALL());
    check_never(&script, true);
}

/* A flush waits for a cluster that is away, but not for one that is given up, and nothing else. */
Test(fence, flush_of_nothing_ends_when_the_cluster_is_given_up)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    REQUIRE(nats_server_kill(fleet.servers[0], SIGKILL));
    struct roulette_options options = options_for(&fleet, ROULETTE_AT_MOST_ONCE);
    roulette_client *client;
    REQUIRE(roulette_open(&options, &client) == 0);
    struct waiter waiter = {.client = client, .call = FLUSH, .timeout_ms = -1};
    begin(&waiter);
    EVENTUALLY(atomic_load(&waiter.over));
    (void)pthread_join(waiter.thread, NULL);
    cr_assert_eq(waiter.result, ROULETTE_EUNREACHABLE, "%s", roulette_error_name(waiter.result));
    cr_assert_geq(fleet_stats(client, 0).connect_failures, MAX_RETRY);
    cr_assert_eq(roulette_flush(client, -1, NULL, 0), ROULETTE_EUNREACHABLE);
    REQUIRE(nats_server_restart(fleet.servers[0]));
    EVENTUALLY(roulette_flush(client, EVENTUALLY_MS, NULL, 0) == 0);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- Subscriptions ------------------------------------------------------------------------- */

/* What was subscribed on a connection that is away is drained without it. */
Test(fence, drain_does_not_wait_for_a_cluster_that_is_away)
{
    struct fleet fleet;
    fleet_start(&fleet, 2);
    struct roulette_options options = fleet_options(&fleet);
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    roulette_subscriber *other = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, "drained.*");
    fleet_subscribe(other, "kept.*");
    REQUIRE(nats_server_kill(fleet.servers[1], SIGKILL));
    EVENTUALLY(fleet_stats(client, 1).disconnects == 1);
    struct waiter waiter = {
        .client = client, .subscriber = subscriber, .call = DRAIN, .timeout_ms = -1};
    uint64_t start_ms = net_now_ms();
    begin(&waiter);
    require_end(&waiter, "drain", start_ms);
    cr_assert_eq(waiter.result, 0, "%s", roulette_error_name(waiter.result));
    roulette_subscriber_close(subscriber);
    roulette_subscriber_close(other);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* A connection that is lost under it ends a drain, with its reason. */
Test(fence, drain_ends_with_its_connection)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, "drained");
    REQUIRE(nats_server_kill(fleet.servers[0], SIGSTOP));
    struct waiter waiter = {
        .client = client, .subscriber = subscriber, .call = DRAIN, .timeout_ms = -1};
    uint64_t sends = fleet_stats(client, 0).sends;
    begin(&waiter);
    EVENTUALLY(fleet_stats(client, 0).sends > sends);
    REQUIRE(nats_server_kill(fleet.servers[0], SIGKILL));
    EVENTUALLY(fleet_stats(client, 0).connected == 0);
    require_end(&waiter, "drain", net_now_ms());
    cr_assert_eq(waiter.result, ROULETTE_EDISCONNECTED, "%s", roulette_error_name(waiter.result));
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* Its topic is on one connection: another one of the pool that is away holds up nothing. */
Test(fence, subscribing_waits_for_its_own_cluster_only)
{
    char topic[32];
    struct fleet fleet;
    fleet_start(&fleet, 2);
    struct roulette_options options = options_for(&fleet, ROULETTE_AT_MOST_ONCE);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    REQUIRE(nats_server_kill(fleet.servers[1], SIGKILL));
    EVENTUALLY(fleet_stats(client, 1).disconnects == 1);
    (void)fleet_topic(client, 0, "t", 0, topic, sizeof(topic));
    struct waiter waiter = {.client = client,
                            .subscriber = subscriber,
                            .topic = topic,
                            .call = SUBSCRIBE,
                            .timeout_ms = -1};
    uint64_t start_ms = net_now_ms();
    begin(&waiter);
    require_end(&waiter, "subscribe", start_ms);
    cr_assert_eq(waiter.result, 0);
    /* The other one's server may still come: this waits for it, as long as it is allowed to. */
    (void)fleet_topic(client, 1, "t", 0, topic, sizeof(topic));
    waiter = (struct waiter){.client = client,
                             .subscriber = subscriber,
                             .topic = topic,
                             .call = SUBSCRIBE,
                             .timeout_ms = -1};
    begin(&waiter);
    EVENTUALLY(fleet_stats(client, 1).connect_failures > MAX_RETRY);
    cr_assert(!atomic_load(&waiter.over));
    REQUIRE(nats_server_restart(fleet.servers[1]));
    EVENTUALLY(atomic_load(&waiter.over));
    (void)pthread_join(waiter.thread, NULL);
    cr_assert_eq(waiter.result, 0, "%s", roulette_error_name(waiter.result));
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}
