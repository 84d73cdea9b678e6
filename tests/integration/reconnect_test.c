/* SPDX-License-Identifier: MIT */
/**
 * A connection is lost again and again: nothing is left behind, no descriptor, no thread, no
 * memory, and each time all subscriptions deliver as before.
 *
 * RLT_RECONNECTS: how often.
 */
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/test.h"
#include "support/topology.h"

enum {
    RECONNECTS = SCALED(1000, 200),
    WARM_UP = 100,
    RSS_BYTES = 1 << 20,
    TOPICS = 20, /* each once by itself, once by a wildcard, and once in a queue group */
    COPIES = 3,
    SUBSCRIPTIONS = TOPICS + 2,
    BATCH = 64,
    RING_SLOTS = 256,
};

struct usage {
    long descriptors;
    long threads;
    long rss_bytes;
};

static long reconnects(void)
{
    const char *text = getenv("RLT_RECONNECTS");
    return text != NULL ? strtol(text, NULL, 10) : RECONNECTS;
}

static long count_entries(const char *path)
{
    long count = 0;
    struct dirent *entry;
    DIR *directory = opendir(path);
    REQUIRE(directory != NULL, "%s", path);
    while ((entry = readdir(directory)) != NULL) {
        count += entry->d_name[0] != '.' ? 1 : 0;
    }
    (void)closedir(directory);
    return count;
}

static struct usage measure(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    REQUIRE(file != NULL && fscanf(file, "%*d %ld", &pages) == 1);
    (void)fclose(file);
    return (struct usage){
        .descriptors = count_entries("/proc/self/fd"),
        .threads = count_entries("/proc/self/task"),
        .rss_bytes = pages * sysconf(_SC_PAGESIZE),
    };
}

/* ---- One client, all of whose topics are on cluster 0 ------------------------------------- */

struct world {
    struct topology topology;
    roulette_client *client;
    roulette_subscriber *subscriber;
    char topics[TOPICS][32];
    long subscriptions[TOPOLOGY_SERVERS]; /* that each server knows */
};

static void subscribe(struct world *world, const char *topic, const char *group)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.queue_group = group;
    int result = roulette_subscribe_with(world->subscriber, topic, ROULETTE_STRLEN, &options, NULL);
    REQUIRE(result == 0, "%s", roulette_last_error());
}

static void start(struct world *world)
{
    topology_start(&world->topology);
    struct roulette_options options = topology_options(&world->topology, "reconnect");
    options.reconnect_interval_ms = 1;
    options.base_backoff_ms = 1;
    options.max_backoff_ms = 2;
    /* Memory is touched when it is first used: the warm-up goes round all of it. */
    options.queue_bytes = 1 << 20;
    options.slab_bytes = 128 << 10;
    options.slab_count = 4;
    world->client = fleet_open(&options);
    world->subscriber = fleet_subscriber(world->client, RING_SLOTS);
    for (size_t i = 0; i < TOPOLOGY_SERVERS; i++) {
        world->subscriptions[i] =
            topology_counter(&world->topology, 0, i, "subscriptions") + SUBSCRIPTIONS;
    }
    for (size_t i = 0; i < TOPICS; i++) {
        (void)fleet_topic(world->client, 0, "again", i, world->topics[i], sizeof(world->topics[i]));
        subscribe(world, world->topics[i], NULL);
    }
    subscribe(world, "again.*", NULL);
    subscribe(world, "again.>", "group");
    REQUIRE(roulette_flush(world->client, EVENTUALLY_MS, NULL, 0) == 0);
}

static void complain(const struct world *world, uint32_t round, const unsigned copies[TOPICS])
{
    struct roulette_stats stats = fleet_stats(world->client, 0);
    fprintf(stderr,
            "round %u: connects %llu, disconnects %llu, accepted %llu, confirmed %llu, in doubt "
            "%llu, received %llu, delivered %llu, dropped %llu and %llu, unknown %llu; copies:",
            round, (unsigned long long)stats.connects, (unsigned long long)stats.disconnects,
            (unsigned long long)stats.ledger.accepted, (unsigned long long)stats.ledger.confirmed,
            (unsigned long long)stats.ledger.in_doubt, (unsigned long long)stats.received_messages,
            (unsigned long long)stats.delivered_messages,
            (unsigned long long)stats.dropped_ring_full, (unsigned long long)stats.dropped_pinned,
            (unsigned long long)stats.unknown_sid);
    for (size_t i = 0; i < TOPICS; i++) {
        fprintf(stderr, " %u", copies[i]);
    }
    fputc('\n', stderr);
}

/* Receive until there were `notices` of a kind and `messages` messages; nothing else may come. */
static void expect(struct world *world, enum roulette_kind kind, size_t notices, uint32_t round,
                   size_t messages)
{
    struct roulette_message received[BATCH];
    unsigned copies[TOPICS] = {0};
    uint64_t deadline_ms = net_now_ms() + EVENTUALLY_MS;
    while (notices + messages > 0) {
        size_t left = notices + messages;
        int count = roulette_receive(world->subscriber, received, left < BATCH ? left : BATCH,
                                     net_left_ms(deadline_ms));
        if (count <= 0) {
            complain(world, round, copies);
        }
        REQUIRE(count > 0, "missing: %zu notices, %zu messages", notices, messages);
        for (int i = 0; i < count; i++) {
            REQUIRE(received[i].cluster == 0);
            if (received[i].kind == kind && notices > 0) {
                notices--;
                continue;
            }
            uint32_t sent[2];
            REQUIRE(received[i].kind == ROULETTE_KIND_MESSAGE && messages > 0, "kind %d",
                    received[i].kind);
            REQUIRE(received[i].payload_len == sizeof(sent));
            memcpy(sent, received[i].payload, sizeof(sent));
            REQUIRE(sent[0] == round && sent[1] < TOPICS && ++copies[sent[1]] <= COPIES,
                    "%u of round %u in round %u", sent[1], sent[0], round);
            messages--;
        }
        roulette_release(world->subscriber, received, (size_t)count);
    }
}

/* Whether each server knows of the new connection, and no server of the old one: it would be given
 * a share of the group's messages. */
static bool is_settled(struct world *world)
{
    for (size_t i = 0; i < TOPOLOGY_SERVERS; i++) {
        if (topology_counter(&world->topology, 0, i, "subscriptions") != world->subscriptions[i]) {
            return false;
        }
    }
    return true;
}

static void exchange(struct world *world, uint32_t round)
{
    EVENTUALLY(is_settled(world));
    for (uint32_t i = 0; i < TOPICS; i++) {
        uint32_t payload[2] = {round, i};
        REQUIRE(roulette_publish(world->client, world->topics[i], ROULETTE_STRLEN, payload,
                                 sizeof(payload)) == 0);
    }
    expect(world, ROULETTE_KIND_MESSAGE, 0, round, (size_t)TOPICS * COPIES);
}

/* Cut the connection to cluster 0, wherever it leads. */
static void cut(struct world *world)
{
    long count = 0;
    for (size_t i = 0; i < TOPOLOGY_SERVERS && count == 0; i++) {
        count = topology_cut(&world->topology, 0, i);
    }
    REQUIRE(count == 1, "%ld connections", count);
}

static void reconnect(struct world *world, uint32_t round)
{
    cut(world);
    expect(world, ROULETTE_KIND_LOST, SUBSCRIPTIONS, round, 0);
    expect(world, ROULETTE_KIND_RESTORED, SUBSCRIPTIONS, round, 0);
    exchange(world, round);
}

Test(reconnect, leaves_nothing_behind, .timeout = 300)
{
    static struct world world;
    struct usage before = {0};
    long count = reconnects();
    cr_assert_gt(count, WARM_UP);
    start(&world);
    exchange(&world, 0);
    for (long i = 1; i <= count; i++) {
        reconnect(&world, (uint32_t)i);
        if (i == WARM_UP) {
            before = measure();
        }
    }
    struct usage after = measure();
    struct roulette_stats stats = fleet_stats(world.client, 0);
    printf("reconnect: %ld times, since the first %d: descriptors %+ld, threads %+ld, RSS %+ld "
           "KiB\n",
           count, WARM_UP, after.descriptors - before.descriptors, after.threads - before.threads,
           (after.rss_bytes - before.rss_bytes) / 1024);
    cr_assert_eq(after.descriptors, before.descriptors);
    cr_assert_eq(after.threads, before.threads);
#ifndef TEST_SANITIZED
    cr_assert_lt(after.rss_bytes - before.rss_bytes, RSS_BYTES);
#endif
    cr_assert_eq(stats.disconnects, (uint64_t)count);
    cr_assert_eq(stats.connects, (uint64_t)count + 1);
    cr_assert_eq(stats.subscriptions, (uint64_t)SUBSCRIPTIONS);
    cr_assert_eq(stats.unknown_sid, 0);
    cr_assert_eq(fleet_stats(world.client, 1).disconnects, 0);
    roulette_subscriber_close(world.subscriber);
    fleet_close(world.client);
    topology_stop(&world.topology);
}
