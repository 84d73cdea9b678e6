/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "base/random.h"
#include "core/delivery/interests.h"
#include "core/seam/ring.h"
#include "harness/stop.h"
#include "micro/micro.h"
#include "proto/topic.h"

/* ---- Topics in turn ----------------------------------------------------------------------- */

/* Enough that no branch is learned by heart, few enough to stay in the first cache. */
#define TURN 1024

struct turn {
    struct rlt_ring *ring; /* or NULL */
    size_t len;            /* of each topic */
    char *topics;
};

static void *open_turn(uint32_t len)
{
    struct turn *turn = micro_memory(1, sizeof(*turn));
    turn->len = len;
    turn->topics = micro_memory(TURN, len);
    for (uint32_t i = 0; i < TURN; i++) {
        char *topic = turn->topics + i * turn->len;
        micro_topic(i, topic);
        for (size_t done = MICRO_TOPIC_LEN; done < len; done++) {
            topic[done] = topic[done - MICRO_TOPIC_LEN];
        }
    }
    return turn;
}

static const char *topic_of(const struct turn *turn, uint64_t i)
{
    return turn->topics + (i % TURN) * turn->len;
}

static void close_turn(void *state)
{
    struct turn *turn = state;
    rlt_ring_destroy(turn->ring);
    free(turn->topics);
    free(turn);
}

static void run_hash(void *state, uint64_t count)
{
    const struct turn *turn = state;
    for (uint64_t i = 0; i < count; i++) {
        micro_keep(rlt_ring_hash(topic_of(turn, i), turn->len));
    }
}

static void run_check(void *state, uint64_t count)
{
    const struct turn *turn = state;
    for (uint64_t i = 0; i < count; i++) {
        const char *reason;
        if (rlt_topic_check(topic_of(turn, i), turn->len, &reason) < 0) {
            stop("a topic is not valid");
        }
    }
}

static void run_check_pattern(void *state, uint64_t count)
{
    const struct turn *turn = state;
    for (uint64_t i = 0; i < count; i++) {
        const char *reason;
        if (rlt_topic_check_pattern(topic_of(turn, i), turn->len, &reason) < 0) {
            stop("a pattern is not valid");
        }
    }
}

/* ---- Rings -------------------------------------------------------------------------------- */

static void *open_ring(enum roulette_ring kind, uint32_t cluster_count)
{
    struct turn *turn = open_turn(MICRO_TOPIC_LEN);
    if (rlt_ring_create(kind, cluster_count, &turn->ring) < 0) {
        stop("no ring");
    }
    return turn;
}

static void *open_native(uint32_t cluster_count)
{
    return open_ring(ROULETTE_RING_NATIVE, cluster_count);
}

static void *open_roulette(uint32_t cluster_count)
{
    return open_ring(ROULETTE_RING_ROULETTE, cluster_count);
}

/* From the text, as roulette_publish() does it. */
static void run_place(void *state, uint64_t count)
{
    const struct turn *turn = state;
    for (uint64_t i = 0; i < count; i++) {
        const char *topic = topic_of(turn, i);
        uint64_t hash = rlt_ring_hash(topic, turn->len);
        micro_keep(rlt_ring_place(turn->ring, topic, turn->len, hash));
    }
}

/* ---- Subscription table ------------------------------------------------------------------- */

/*
 * A table of `count` topics, and the topics and sids in an order of chance. A million do not fit a
 * cache: each look-up then waits for memory, as far as the CPU does not look up several at once.
 */
struct table {
    struct rlt_interests interests;
    uint32_t count;
    char *topics;
    uint64_t *sids;
};

/* Subscribe to a topic. The table keeps what it needs of the handle. */
static void join(struct table *table, uint32_t place)
{
    const char *topic = table->topics + (size_t)place * MICRO_TOPIC_LEN;
    struct rlt_subscription *handle =
        rlt_subscription_create(topic, MICRO_TOPIC_LEN, NULL, 0, 1, 0);
    if (handle == NULL || rlt_interests_join(&table->interests, &handle->members[0]) < 0) {
        stop("no subscription");
    }
    table->sids[place] = handle->members[0].own.sid;
    rlt_subscription_release(handle);
}

static void *open_table(uint32_t count)
{
    struct table *table = micro_memory(1, sizeof(*table));
    table->count = count;
    table->topics = micro_memory(count, MICRO_TOPIC_LEN);
    table->sids = micro_memory(count, sizeof(*table->sids));
    uint32_t *places = micro_memory(count, sizeof(*places));
    if (rlt_interests_init(&table->interests) < 0) {
        stop("no subscription table");
    }
    /* Shuffled inside out. Source: Knuth, "The Art of Computer Programming", 3.4.2, algorithm P. */
    struct rlt_random random = {.state = 1};
    for (uint32_t i = 0; i < count; i++) {
        uint32_t other = (uint32_t)rlt_random_below(&random, i + 1);
        places[i] = places[other];
        places[other] = i;
    }
    for (uint32_t i = 0; i < count; i++) {
        micro_topic(i, table->topics + (size_t)places[i] * MICRO_TOPIC_LEN);
        join(table, places[i]);
    }
    free(places);
    return table;
}

static void run_find_topic(void *state, uint64_t count)
{
    struct table *table = state;
    uint32_t next = 0;
    for (uint64_t i = 0; i < count; i++) {
        const char *topic = table->topics + (size_t)next * MICRO_TOPIC_LEN;
        uint64_t hash = rlt_ring_hash(topic, MICRO_TOPIC_LEN);
        if (rlt_interests_find_topic(&table->interests, topic, MICRO_TOPIC_LEN, hash) == NULL) {
            stop("a topic is not in the table");
        }
        next = next + 1 < table->count ? next + 1 : 0;
    }
}

static void run_find_sid(void *state, uint64_t count)
{
    struct table *table = state;
    uint32_t next = 0;
    for (uint64_t i = 0; i < count; i++) {
        const struct rlt_interest *found = rlt_interests_find(&table->interests, table->sids[next]);
        if (found == NULL) {
            stop("a sid is not in the table");
        }
        micro_keep((uintptr_t)found);
        next = next + 1 < table->count ? next + 1 : 0;
    }
}

static void close_table(void *state)
{
    struct table *table = state;
    rlt_interests_fini(&table->interests);
    free(table->topics);
    free(table->sids);
    free(table);
}

/* ---- All ---------------------------------------------------------------------------------- */

#define TURN_CASE(name, len, run)       {name, len, 1, open_turn, run, close_turn}
#define RING_CASE(name, clusters, open) {name, clusters, 1, open, run_place, close_turn}
#define TABLE_CASE(name, count, run)    {name, count, 1, open_table, run, close_table}

const struct micro micro_topics[] = {
    TURN_CASE("XXH3_64 of 16 B, for scale", 16, run_hash),
    TURN_CASE("check a topic of 16 B", 16, run_check),
    TURN_CASE("check a topic of 64 B", 64, run_check),
    TURN_CASE("check a pattern of 16 B", 16, run_check_pattern),
    RING_CASE("ring native, text to 1 of 3 clusters", 3, open_native),
    RING_CASE("ring native, text to 1 of 64 clusters", 64, open_native),
    RING_CASE("ring roulette, text to 1 of 3 clusters", 3, open_roulette),
    RING_CASE("ring roulette, text to 1 of 64 clusters", 64, open_roulette),
    TABLE_CASE("find a topic among 10", 10, run_find_topic),
    TABLE_CASE("find a topic among 1,000,000", 1000000, run_find_topic),
    TABLE_CASE("find a sid among 10", 10, run_find_sid),
    TABLE_CASE("find a sid among 1,000,000", 1000000, run_find_sid),
    {0},
};
