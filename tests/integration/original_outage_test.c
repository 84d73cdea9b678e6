/* SPDX-License-Identifier: MIT */
/**
 * What the Elixir library Roulette 1.0.5 was seen to do while a server is away or hangs, the other
 * way round: no storm of attempts, no subscription that ends in silence, no publisher that is
 * blocked, no message twice.
 */
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum { SERVERS = 2 };

/* ---- Reconnect storm ---------------------------------------------------------------------- */

enum {
    DOWN_MS = 5000,
    POOL = 5, /* with two servers 10 connections, as in the original */
    /* About 45 in 5 s: core/seam/backoff.h. */
    ATTEMPTS_PER_S_MAX = 16,
    CPU_PERCENT_MAX = SCALED(5, 25),
};

static uint64_t cpu_us(void)
{
    struct rusage usage;
    REQUIRE(getrusage(RUSAGE_SELF, &usage) == 0);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void count_line(void *context, enum roulette_log_level level, const char *text)
{
    atomic_uint *lines = context;
    (void)level;
    (void)text;
    atomic_fetch_add(lines, 1);
}

/* What the client does in DOWN_MS, with both servers down. */
static void measure_attempts(roulette_client *client, const atomic_uint *lines)
{
    uint64_t failures = 0;
    unsigned lines_before = atomic_load(lines);
    for (size_t i = 0; i < SERVERS; i++) {
        failures -= fleet_stats(client, i).connect_failures;
    }
    uint64_t start_ms = net_now_ms();
    uint64_t start_us = cpu_us();
    (void)poll(NULL, 0, DOWN_MS); /* what is measured, not waited for */
    uint64_t used_us = cpu_us() - start_us;
    uint64_t took_ms = net_now_ms() - start_ms;
    for (size_t i = 0; i < SERVERS; i++) {
        failures += fleet_stats(client, i).connect_failures;
    }
    double percent = (double)used_us / (double)took_ms / 10.0;
    double rate = (double)failures * 1000.0 / (double)took_ms / (SERVERS * POOL);
    printf("original: servers down %llu ms: %llu failed attempts of %d connections (%.1f/s each), "
           "CPU %.2f %% of a core, %u lines logged\n",
           (unsigned long long)took_ms, (unsigned long long)failures, SERVERS * POOL, rate, percent,
           atomic_load(lines) - lines_before);
    cr_assert_geq(failures, SERVERS * POOL, "it goes on trying");
    cr_assert_lt(rate, (double)ATTEMPTS_PER_S_MAX);
    cr_assert_lt(percent, (double)CPU_PERCENT_MAX);
    cr_assert_leq(atomic_load(lines) - lines_before, 2 * failures);
}

/* 24034 attempts in 5 s there, at 114 % of a core. */
Test(original_outage, absent_servers_are_not_stormed)
{
    struct fleet fleet;
    static atomic_uint lines;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = fleet.list;
    options.ring = ROULETTE_RING_ROULETTE;
    options.pool_size = POOL;
    options.log = count_line;
    options.log_context = &lines;
    options.log_level = ROULETTE_LOG_INFO;
    roulette_client *client = fleet_open(&options);
    for (size_t i = 0; i < SERVERS; i++) {
        cr_assert(nats_server_kill(fleet.servers[i], SIGKILL));
    }
    measure_attempts(client, &lines);
    for (size_t i = 0; i < SERVERS; i++) {
        cr_assert(nats_server_restart(fleet.servers[i]));
    }
    for (size_t i = 0; i < SERVERS; i++) {
        EVENTUALLY(fleet_stats(client, i).connected == POOL);
    }
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- Permanent subscriptions -------------------------------------------------------------- */

enum { SUBSCRIPTIONS = 200, MAX_RETRY = 3, ATTEMPTS = 20 * MAX_RETRY };

/* Take one entry of `kind` for each subscription, in any order. */
static void expect_from_each(roulette_subscriber *subscriber, enum roulette_kind kind, int count)
{
    bool seen[SUBSCRIPTIONS] = {false};
    for (int i = 0; i < count; i++) {
        struct roulette_message message;
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1,
                     "%d of %d entries of kind %d", i, count, kind);
        cr_assert_eq(message.kind, kind, "%d instead of %d", message.kind, kind);
        size_t index = (size_t)(uintptr_t)message.user_data;
        cr_assert_lt(index, SUBSCRIPTIONS);
        cr_assert_not(seen[index]);
        seen[index] = true;
        roulette_release(subscriber, &message, 1);
    }
}

static void subscribe_range(roulette_subscriber *subscriber, uintptr_t first, uintptr_t last)
{
    char topic[32];
    for (uintptr_t i = first; i < last; i++) {
        (void)snprintf(topic, sizeof(topic), "permanent.%u", (unsigned)i);
        cr_assert_eq(roulette_subscribe(subscriber, topic, ROULETTE_STRLEN, (void *)i, NULL), 0);
    }
}

static void publish_to_each(roulette_client *client)
{
    char topic[32];
    for (unsigned i = 0; i < SUBSCRIPTIONS; i++) {
        (void)snprintf(topic, sizeof(topic), "permanent.%u", i);
        cr_assert_eq(roulette_publish_wait(client, topic, ROULETTE_STRLEN, "x", 1, EVENTUALLY_MS),
                     0);
    }
}

/*
 * There a permanent subscription ran out of retries after some seconds and ended, and nobody was
 * told: after 8 s 7 of 200 were left. Here the outage is 20 times max_retry attempts long.
 */
Test(original_outage, permanent_subscription_outlives_every_retry)
{
    enum { BEFORE = SUBSCRIPTIONS / 2 };
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.ring = ROULETTE_RING_ROULETTE;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    options.max_retry = MAX_RETRY;
    options.max_backoff_ms = 20;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    subscribe_range(subscriber, 0, BEFORE);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    expect_from_each(subscriber, ROULETTE_KIND_LOST, BEFORE);
    EVENTUALLY(fleet_stats(client, 0).connect_failures >= ATTEMPTS / 2);
    /* As many again are made while the server is away; they are owed no notice of a loss. */
    subscribe_range(subscriber, BEFORE, SUBSCRIPTIONS);
    EVENTUALLY(fleet_stats(client, 0).connect_failures >= ATTEMPTS);
    struct roulette_message message;
    cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 0, "none has ended");
    cr_assert(nats_server_restart(fleet.servers[0]));
    expect_from_each(subscriber, ROULETTE_KIND_RESTORED, BEFORE);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(fleet_server_subscriptions(fleet.servers[0]), SUBSCRIPTIONS);
    publish_to_each(client);
    expect_from_each(subscriber, ROULETTE_KIND_MESSAGE, SUBSCRIPTIONS);
    printf("original: %d of %d permanent subscriptions after %llu failed attempts\n", SUBSCRIPTIONS,
           SUBSCRIPTIONS, (unsigned long long)fleet_stats(client, 0).connect_failures);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- A server that hangs ------------------------------------------------------------------ */

enum {
    LARGE = 100000,
    CALL_MS_MAX = SCALED(100, 1000), /* of one publish, on a machine that does other things too */
    CALLS_WHEN_FULL = 1000,
};

static char large[LARGE];

/* One publish blocked for 27.3 s there. */
Test(original_outage, publisher_is_never_blocked_by_a_server_that_hangs)
{
    struct fleet fleet;
    char hung[32];
    char well[32];
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    options.ring = ROULETTE_RING_ROULETTE;
    roulette_client *client = fleet_open(&options);
    size_t hung_len = fleet_topic(client, 0, "hung", 0, hung, sizeof(hung));
    size_t well_len = fleet_topic(client, 1, "well", 0, well, sizeof(well));
    cr_assert(nats_server_kill(fleet.servers[0], SIGSTOP));
    uint64_t longest_ms = 0;
    uint64_t accepted = 0;
    for (int refused = 0; refused < CALLS_WHEN_FULL;) {
        uint64_t start_ms = net_now_ms();
        int result = roulette_publish(client, hung, hung_len, large, LARGE);
        uint64_t took_ms = net_now_ms() - start_ms;
        cr_assert(result == 0 || result == ROULETTE_EAGAIN, "%s", roulette_error_name(result));
        longest_ms = took_ms > longest_ms ? took_ms : longest_ms;
        accepted += result == 0 ? 1 : 0;
        refused += result == 0 ? 0 : 1;
        cr_assert_eq(roulette_publish_wait(client, well, well_len, "x", 1, EVENTUALLY_MS), 0);
    }
    printf("original: server stopped: %llu messages of %d bytes accepted, then EAGAIN; longest "
           "call %llu ms\n",
           (unsigned long long)accepted, LARGE, (unsigned long long)longest_ms);
    cr_assert_leq(longest_ms, CALL_MS_MAX);
    cr_assert_geq(accepted, 20);
    cr_assert(nats_server_kill(fleet.servers[0], SIGCONT));
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(fleet_stats(client, 0).ledger.confirmed, accepted);
    fleet_close(client);
    fleet_stop(&fleet);
}

enum { HANG_MESSAGES = SCALED(1000, 300) };

/* One topic, numbered messages, and who hears them by a connection that does not break. */
struct hang {
    struct fleet fleet;
    roulette_client *client;
    roulette_client *listener;
    roulette_subscriber *subscriber;
    uint32_t published;
    uint64_t received;
    uint64_t late; /* of these: behind one with a higher number */
    uint32_t next; /* the highest number received, plus 1 */
    bool seen[HANG_MESSAGES];
};

static void listen_to(struct hang *hang, int timeout_ms)
{
    struct roulette_message message;
    while (roulette_receive(hang->subscriber, &message, 1, timeout_ms) == 1) {
        uint32_t number;
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE, "notice %d", message.kind);
        cr_assert_eq(message.payload_len, LARGE);
        memcpy(&number, message.payload, sizeof(number));
        cr_assert_lt(number, HANG_MESSAGES);
        cr_assert_not(hang->seen[number], "message %u twice", number);
        hang->seen[number] = true;
        hang->received++;
        hang->late += number < hang->next ? 1 : 0;
        hang->next = number < hang->next ? hang->next : number + 1;
        roulette_release(hang->subscriber, &message, 1);
    }
}

/* Publish until there are `count`, or until nothing is accepted for a while. */
static void publish_up_to(struct hang *hang, uint32_t count, uint64_t patience_ms)
{
    uint64_t deadline_ms = net_now_ms() + patience_ms;
    while (hang->published < count && net_now_ms() < deadline_ms) {
        memcpy(large, &hang->published, sizeof(hang->published));
        int result = roulette_publish(hang->client, "hang", 4, large, LARGE);
        REQUIRE(result == 0 || result == ROULETTE_EAGAIN, "%s", roulette_error_name(result));
        if (result == 0) {
            hang->published++;
            deadline_ms = net_now_ms() + patience_ms;
        }
        listen_to(hang, 0);
    }
}

static void start_hang(struct hang *hang)
{
    *hang = (struct hang){0};
    fleet_start(&hang->fleet, 1);
    struct roulette_options options = fleet_options(&hang->fleet);
    options.ring = ROULETTE_RING_ROULETTE;
    options.ping_interval_ms = 60000;
    /* Half of the slabs hold all messages: nothing is dropped while nobody listens. */
    uint32_t slab_count = options.slab_count;
    options.slab_count = 1024;
    hang->listener = fleet_open(&options);
    options.slab_count = slab_count;
    options.ping_interval_ms = SCALED(100, 300);
    options.connection_timeout_ms = SCALED(300, 1000);
    options.pool_size = 5;
    hang->client = fleet_open(&options);
    hang->subscriber = fleet_subscriber(hang->listener, 0);
    cr_assert_eq(roulette_subscribe(hang->subscriber, "hang", 4, NULL, NULL), 0);
    cr_assert_eq(roulette_flush(hang->listener, EVENTUALLY_MS, NULL, 0), 0);
}

/*
 * There a message came twice after a hang, by another connection of the pool. Here what the
 * server has of the broken connection is in doubt, and not sent again. The server reads it when it
 * goes on, beside the new connection: only what is in doubt can be late.
 */
Test(original_outage, no_message_comes_twice_after_a_hang)
{
    static struct hang hang;
    start_hang(&hang);
    publish_up_to(&hang, HANG_MESSAGES / 4, EVENTUALLY_MS);
    cr_assert(nats_server_kill(hang.fleet.servers[0], SIGSTOP));
    publish_up_to(&hang, HANG_MESSAGES / 2, 50);
    /* Given up, and tried again in vain, as the original's 5 s call did. */
    EVENTUALLY(fleet_stats(hang.client, 0).disconnects >= 1);
    EVENTUALLY(fleet_stats(hang.client, 0).connect_failures >= 1);
    publish_up_to(&hang, HANG_MESSAGES * 3 / 4, 50);
    cr_assert(nats_server_kill(hang.fleet.servers[0], SIGCONT));
    publish_up_to(&hang, HANG_MESSAGES, EVENTUALLY_MS);
    cr_assert_eq(hang.published, HANG_MESSAGES);
    cr_assert_eq(roulette_flush(hang.client, EVENTUALLY_MS, NULL, 0), 0);
    struct roulette_ledger ledger = fleet_stats(hang.client, 0).ledger;
    /* The server has delivered to the listener what it had processed by then. */
    cr_assert_eq(roulette_flush(hang.listener, EVENTUALLY_MS, NULL, 0), 0);
    EVENTUALLY((listen_to(&hang, 0), hang.received >= ledger.confirmed));
    printf("original: hang: accepted %llu = confirmed %llu + in doubt %llu; received %llu, none "
           "twice, %llu late\n",
           (unsigned long long)ledger.accepted, (unsigned long long)ledger.confirmed,
           (unsigned long long)ledger.in_doubt, (unsigned long long)hang.received,
           (unsigned long long)hang.late);
    cr_assert_eq(fleet_difference(&ledger), 0);
    cr_assert_eq(ledger.accepted, HANG_MESSAGES);
    cr_assert_eq(ledger.failed + ledger.discarded, 0);
    cr_assert_gt(ledger.in_doubt, 0);
    cr_assert_leq(hang.received, ledger.confirmed + ledger.in_doubt);
    cr_assert_leq(hang.late, ledger.in_doubt);
    roulette_subscriber_close(hang.subscriber);
    fleet_close(hang.listener);
    fleet_close(hang.client);
    fleet_stop(&hang.fleet);
}
