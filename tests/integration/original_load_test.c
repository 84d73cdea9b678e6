/* SPDX-License-Identifier: MIT */
/**
 * What the Elixir library Roulette 1.0.5 was seen to do under load, the other way round: order
 * holds in a pool, a consumer that does not read costs bounded memory, a hundred thousand
 * subscriptions cost little and end at once.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum { BATCH = 256 };

/* The memory of this process: what it has now, in kB. */
static uint64_t resident_kb(void)
{
    char line[256];
    unsigned long kb = 0;
    FILE *file = fopen("/proc/self/status", "r");
    REQUIRE(file != NULL);
    while (kb == 0 && fgets(line, sizeof(line), file) != NULL) {
        (void)sscanf(line, "VmRSS: %lu kB", &kb);
    }
    (void)fclose(file);
    REQUIRE(kb > 0);
    return kb;
}

/* ---- Order in a pool ---------------------------------------------------------------------- */

enum {
    POOL = 5,
    ALONE = 20000, /* messages of one thread */
    THREADS = 8,
    TOGETHER = 3000, /* messages of each of several */
};

struct publisher {
    roulette_client *client;
    uint32_t index;
    uint32_t messages;
    size_t payload_len;
    pthread_t thread;
};

struct number {
    uint32_t publisher;
    uint32_t sequence;
};

static void *publish_numbers(void *argument)
{
    struct publisher *publisher = argument;
    char payload[1024] = {0};
    for (uint32_t i = 0; i < publisher->messages; i++) {
        struct number number = {publisher->index, i};
        memcpy(payload, &number, sizeof(number));
        int result = roulette_publish_wait(publisher->client, "order", 5, payload,
                                           publisher->payload_len, EVENTUALLY_MS);
        REQUIRE(result == 0, "%s", roulette_error_name(result));
    }
    return NULL;
}

/* Returns: how many came out of the order of their thread. */
static uint64_t receive_numbers(roulette_subscriber *subscriber, uint64_t total)
{
    struct roulette_message messages[BATCH];
    uint32_t next[THREADS] = {0};
    uint64_t disordered = 0;
    for (uint64_t received = 0; received < total;) {
        int count = roulette_receive(subscriber, messages, BATCH, EVENTUALLY_MS);
        cr_assert_gt(count, 0, "%llu of %llu received", (unsigned long long)received,
                     (unsigned long long)total);
        for (int i = 0; i < count; i++) {
            struct number number;
            cr_assert_eq(messages[i].kind, ROULETTE_KIND_MESSAGE);
            memcpy(&number, messages[i].payload, sizeof(number));
            cr_assert_lt(number.publisher, THREADS);
            disordered += number.sequence != next[number.publisher] ? 1 : 0;
            next[number.publisher] = number.sequence + 1;
        }
        received += (uint64_t)count;
        roulette_release(subscriber, messages, (size_t)count);
    }
    return disordered;
}

static void check_order(uint32_t threads, uint32_t messages, size_t payload_len)
{
    struct fleet fleet;
    static struct publisher publishers[THREADS];
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.ring = ROULETTE_RING_ROULETTE;
    options.pool_size = POOL;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 1 << 15);
    cr_assert_eq(roulette_subscribe(subscriber, "order", 5, NULL, NULL), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    for (uint32_t i = 0; i < threads; i++) {
        publishers[i] = (struct publisher){
            .client = client, .index = i, .messages = messages, .payload_len = payload_len};
        cr_assert_eq(pthread_create(&publishers[i].thread, NULL, publish_numbers, &publishers[i]),
                     0);
    }
    uint64_t disordered = receive_numbers(subscriber, (uint64_t)threads * messages);
    for (uint32_t i = 0; i < threads; i++) {
        (void)pthread_join(publishers[i].thread, NULL);
    }
    printf("original: pool of %d, %u threads, %u messages of %zu bytes each: %llu out of order\n",
           POOL, threads, messages, payload_len, (unsigned long long)disordered);
    cr_assert_eq(disordered, 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* 4036 and 3354 neighbours of 20000 were out of order there. */
Test(original_load, order_of_one_thread_holds_in_a_pool)
{
    check_order(1, ALONE, 16);
    check_order(1, ALONE, 1024);
}

Test(original_load, order_of_each_thread_holds_in_a_pool)
{
    check_order(THREADS, TOGETHER, 16);
}

/* ---- A consumer that does not read -------------------------------------------------------- */

enum {
    UNREAD = SCALED(300000, 30000),
    UNREAD_LEN = 1024,
    SLACK_KB = 4096,        /* stacks, the kernel's buffers, the test's own */
    SHADOW = SCALED(1, 12), /* what a sanitizer may take for each byte */
};

/* The bound that roulette.h states, for one cluster and one subscriber. */
static uint64_t bound_kb(const struct roulette_options *options, uint64_t ring_slots)
{
    uint64_t bytes =
        options->pool_size * (options->queue_bytes + 2 * options->slab_bytes + (1 << 20)) +
        options->slab_bytes * options->slab_count + ring_slots * 32 + options->slab_count * 16;
    return bytes / 1024;
}

static void take_all(roulette_subscriber *subscriber, uint64_t *received, uint64_t *dropped)
{
    struct roulette_message messages[BATCH];
    int count;
    while (*received + *dropped < UNREAD &&
           (count = roulette_receive(subscriber, messages, BATCH, EVENTUALLY_MS)) > 0) {
        for (int i = 0; i < count; i++) {
            bool is_notice = messages[i].kind == ROULETTE_KIND_DROPPED;
            cr_assert(is_notice || messages[i].kind == ROULETTE_KIND_MESSAGE);
            *received += is_notice ? 0 : 1;
            *dropped += is_notice ? messages[i].count : 0;
        }
        roulette_release(subscriber, messages, (size_t)count);
    }
}

/* Its mailbox grew without bound: 494 MB for these messages, and nothing was dropped or told. */
Test(original_load, consumer_that_does_not_read_costs_bounded_memory)
{
    static const char payload[UNREAD_LEN];
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.ring = ROULETTE_RING_ROULETTE;
    options.queue_bytes = (size_t)16 << 20;
    options.slab_count = SCALED(128, 16);
    uint64_t before_kb = resident_kb();
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 16384);
    cr_assert_eq(roulette_subscribe(subscriber, "unread", 6, NULL, NULL), 0);
    for (int i = 0; i < UNREAD; i++) {
        cr_assert_eq(roulette_publish_wait(client, "unread", 6, payload, UNREAD_LEN, EVENTUALLY_MS),
                     0);
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    EVENTUALLY(fleet_stats(client, 0).received_messages == UNREAD);
    uint64_t grown_kb = resident_kb() - before_kb;
    uint64_t received = 0;
    uint64_t dropped = 0;
    take_all(subscriber, &received, &dropped);
    struct roulette_stats stats = fleet_stats(client, 0);
    printf("original: %d unread messages of %d bytes: process grew by %llu kB of at most %llu kB; "
           "received %llu + told as dropped %llu\n",
           UNREAD, UNREAD_LEN, (unsigned long long)grown_kb,
           (unsigned long long)bound_kb(&options, 16384), (unsigned long long)received,
           (unsigned long long)dropped);
    cr_assert_leq(grown_kb, SHADOW * bound_kb(&options, 16384) + SLACK_KB);
    cr_assert_gt(received, 0);
    cr_assert_gt(dropped, 0);
    cr_assert_eq(received + dropped, UNREAD);
    cr_assert_eq(stats.dropped_ring_full + stats.dropped_pinned, dropped);
    cr_assert_eq(stats.disconnects, 0);
    cr_assert_eq(roulette_publish(client, "unread", 6, "again", 5), 0);
    struct roulette_message message;
    cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
    cr_assert_eq(message.payload_len, 5);
    roulette_release(subscriber, &message, 1);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- A hundred thousand subscriptions ----------------------------------------------------- */

enum {
    MASS = SCALED(100000, 10000),
    MASS_BYTES_MAX = SCALED(256, 8000), /* of each, with its topic */
    MASS_EXIT_MS_MAX = SCALED(5000, 20000),
};

static void subscribe_mass(roulette_subscriber *subscriber)
{
    char topic[32];
    for (int i = 0; i < MASS; i++) {
        int len = snprintf(topic, sizeof(topic), "mass.%d", i);
        cr_assert_eq(roulette_subscribe(subscriber, topic, (size_t)len, NULL, NULL), 0);
    }
}

static long subscriptions(const struct fleet *fleet)
{
    long total = 0;
    for (size_t i = 0; i < fleet->count; i++) {
        total += fleet_server_subscriptions(fleet->servers[i]);
    }
    return total;
}

/* There 62061 to 88613 were still on the server after 30 to 88 s, and each cost 8.2 kB. */
Test(original_load, mass_of_subscriptions_is_small_and_ends_at_once)
{
    struct fleet fleet;
    fleet_start(&fleet, 2);
    struct roulette_options options = fleet_options(&fleet);
    options.ring = ROULETTE_RING_ROULETTE;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    roulette_subscriber *other = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(other, "other", 5, NULL, NULL), 0);
    cr_assert_eq(roulette_subscribe(subscriber, "other", 5, NULL, NULL), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    uint64_t before_kb = resident_kb();
    uint64_t start_ms = net_now_ms();
    subscribe_mass(subscriber);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    uint64_t made_ms = net_now_ms() - start_ms;
    uint64_t each = (resident_kb() - before_kb) * 1024 / MASS;
    cr_assert_eq(subscriptions(&fleet), MASS + 1);
    start_ms = net_now_ms();
    roulette_subscriber_close(subscriber);
    uint64_t closed_ms = net_now_ms() - start_ms;
    EVENTUALLY(subscriptions(&fleet) == 1);
    uint64_t gone_ms = net_now_ms() - start_ms;
    printf("original: %d subscriptions: made in %llu ms, %llu bytes each; closed in %llu ms, gone "
           "from the servers after %llu ms\n",
           MASS, (unsigned long long)made_ms, (unsigned long long)each,
           (unsigned long long)closed_ms, (unsigned long long)gone_ms);
    cr_assert_leq(each, MASS_BYTES_MAX);
    cr_assert_leq(gone_ms, MASS_EXIT_MS_MAX);
    struct roulette_message message;
    cr_assert_eq(roulette_publish(client, "other", 5, "alive", 5), 0);
    cr_assert_eq(roulette_receive(other, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
    roulette_release(other, &message, 1);
    roulette_subscriber_close(other);
    fleet_close(client);
    fleet_stop(&fleet);
}
