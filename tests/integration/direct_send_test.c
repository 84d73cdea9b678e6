/* SPDX-License-Identifier: MIT */
/**
 * Publishers that send by themselves while the event thread sleeps, against a real server: order,
 * subscriptions that come first, the ledger, a server that is killed.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/numbered.h"
#include "support/test.h"

enum {
    PUBLISHERS = 3,
    MESSAGES = SCALED(4000, 800),
};

Test(direct_send, event_thread_sleeps_on_while_one_publishes_now_and_then)
{
    enum { COUNT = 500 };
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    struct roulette_stats before = fleet_stats(client, 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        rest(200000);
        numbered_publish(client, "now.and.then", i);
    }
    struct roulette_stats after = fleet_stats(client, 0);
    uint64_t direct = after.direct_sends - before.direct_sends;
    uint64_t wakeups = after.wakeups - before.wakeups;
    printf("direct: %d messages, %llu direct sends, %llu wake-ups\n", COUNT,
           (unsigned long long)direct, (unsigned long long)wakeups);
    cr_assert_gt(direct, COUNT * 9 / 10);
    cr_assert_lt(wakeups, COUNT / 10);
    cr_assert_eq(after.published_bytes - before.published_bytes,
                 COUNT * (strlen("PUB now.and.then 8\r\n\r\n") + sizeof(uint64_t)));
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(fleet_stats(client, 0).ledger.confirmed, COUNT);
    fleet_close(client);
    fleet_stop(&fleet);
}

struct publisher {
    roulette_client *client;
    uint32_t index;
};

/* With pauses of all lengths around the one that decides who sends. */
static void *publish_in_fits(void *argument)
{
    struct publisher *self = argument;
    struct rlt_random random = {self->index + 1};
    char topic[16];
    (void)snprintf(topic, sizeof(topic), "fits.%u", self->index);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        if (rlt_random_next(&random) % 2 == 0) {
            rest(rlt_random_next(&random) % 100000);
        }
        numbered_publish(self->client, topic, i);
    }
    return NULL;
}

static void start(pthread_t *threads, struct publisher *publishers, roulette_client *client)
{
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        publishers[i] = (struct publisher){client, i};
        cr_assert_eq(pthread_create(&threads[i], NULL, publish_in_fits, &publishers[i]), 0);
    }
}

static void join(const pthread_t *threads)
{
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

static void keep_order(uint32_t pool_size)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.pool_size = pool_size;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, "fits.*");
    pthread_t threads[PUBLISHERS];
    struct publisher publishers[PUBLISHERS];
    start(threads, publishers, client);
    uint64_t next[PUBLISHERS] = {0};
    for (uint64_t i = 0; i < (uint64_t)PUBLISHERS * MESSAGES; i++) {
        struct roulette_message message;
        REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1, "message %llu",
                (unsigned long long)i);
        uint32_t from = (uint32_t)(message.topic[strlen("fits.")] - '0');
        REQUIRE(numbered_of(&message) == next[from]);
        next[from]++;
        roulette_release(subscriber, &message, 1);
    }
    join(threads);
    struct roulette_stats stats = fleet_stats(client, 0);
    printf("direct: %d messages, %llu direct sends of %llu\n", PUBLISHERS * MESSAGES,
           (unsigned long long)stats.direct_sends, (unsigned long long)stats.sends);
    cr_assert_gt(stats.direct_sends, 0);
    cr_assert_lt(stats.direct_sends, stats.sends);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(direct_send, messages_keep_their_order_whoever_sends_them)
{
    keep_order(1);
}

Test(direct_send, messages_keep_their_order_over_several_connections)
{
    keep_order(3);
}

Test(direct_send, message_follows_the_subscription_that_its_thread_has_just_made)
{
    enum { COUNT = SCALED(1000, 200) };
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    struct rlt_random random = {9};
    for (uint64_t i = 0; i < COUNT; i++) {
        char topic[24];
        struct roulette_message message;
        (void)snprintf(topic, sizeof(topic), "just.%llu", (unsigned long long)i);
        rest(rlt_random_next(&random) % 100000);
        cr_assert_eq(roulette_subscribe(subscriber, topic, ROULETTE_STRLEN, NULL, NULL), 0);
        numbered_publish(client, topic, i);
        REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1, "message %llu",
                (unsigned long long)i);
        REQUIRE(numbered_of(&message) == i);
        roulette_release(subscriber, &message, 1);
    }
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(direct_send, ledger_is_exact_when_the_server_is_killed_meanwhile)
{
    enum { KILLS = 3 };
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.reconnect_interval_ms = 50;
    roulette_client *client = fleet_open(&options);
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    pthread_t threads[PUBLISHERS];
    struct publisher publishers[PUBLISHERS];
    start(threads, publishers, client);
    for (int i = 0; i < KILLS; i++) {
        rest(20000000);
        cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
        cr_assert(nats_server_restart(fleet.servers[0]));
        EVENTUALLY(fleet_stats(client, 0).connected == 1);
    }
    join(threads);
    EVENTUALLY(roulette_flush(client, EVENTUALLY_MS, NULL, 0) == 0);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(stats.ledger.accepted, (uint64_t)PUBLISHERS * MESSAGES);
    cr_assert_eq(fleet_difference(&stats.ledger), 0);
    cr_assert_geq(stats.disconnects, KILLS);
    cr_assert_gt(stats.direct_sends, 0);
    printf("direct: %llu confirmed, %llu in doubt, %llu direct sends\n",
           (unsigned long long)stats.ledger.confirmed, (unsigned long long)stats.ledger.in_doubt,
           (unsigned long long)stats.direct_sends);
    fleet_close(client);
    fleet_stop(&fleet);
}
