/* SPDX-License-Identifier: MIT */
#include "core/delivery/topic_set.h"

#include <signal.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/test.h"
#include "unit/lockfree/stress.h"

#define TOPICS 100000

struct record {
    struct rlt_topic_key key;
    char topic[16];
    bool is_member;
};

static void name(struct record *record, unsigned number)
{
    record->key.len = (size_t)snprintf(record->topic, sizeof(record->topic), "room.%u", number);
    record->key.topic = record->topic;
    record->key.hash = XXH3_64bits(record->topic, record->key.len);
}

static struct record *make_records(unsigned count)
{
    struct record *records = calloc(count, sizeof(*records));
    cr_assert_not_null(records);
    for (unsigned i = 0; i < count; i++) {
        name(&records[i], i);
    }
    return records;
}

/* Record 0 has index 1. */
static struct rlt_topic_key key_of(const void *context, uint32_t index)
{
    const struct record *records = context;
    return records[index - 1].key;
}

static void start(struct rlt_topic_set *set, const struct record *records)
{
    cr_assert_eq(rlt_topic_set_init(set, key_of, records), 0);
}

/** Look for a record's topic with a key of another memory; the index found. */
static uint32_t find(const struct rlt_topic_set *set, const struct record *record)
{
    struct record probe = *record;
    probe.key.topic = probe.topic;
    return rlt_topic_set_find(set, &probe.key);
}

Test(topic_set, new_set_is_empty)
{
    struct rlt_topic_set set;
    struct record *records = make_records(1);
    start(&set, records);
    cr_assert_eq(set.count, 0);
    cr_assert_eq(find(&set, &records[0]), 0);
    rlt_topic_set_fini(&set);
    free(records);
}

Test(topic_set, zeroed_set_can_be_ended)
{
    struct rlt_topic_set set;
    memset(&set, 0, sizeof(set));
    rlt_topic_set_fini(&set);
}

Test(topic_set, finds_what_was_added_until_it_is_removed)
{
    struct rlt_topic_set set;
    struct record *records = make_records(3);
    start(&set, records);
    cr_assert_eq(rlt_topic_set_add(&set, 1), 0);
    cr_assert_eq(rlt_topic_set_add(&set, 2), 0);
    cr_assert_eq(set.count, 2);
    cr_assert_eq(find(&set, &records[0]), 1);
    cr_assert_eq(find(&set, &records[1]), 2);
    cr_assert_eq(find(&set, &records[2]), 0);
    rlt_topic_set_remove(&set, 1);
    cr_assert_eq(find(&set, &records[0]), 0);
    cr_assert_eq(find(&set, &records[1]), 2);
    cr_assert_eq(set.count, 1);
    rlt_topic_set_fini(&set);
    free(records);
}

Test(topic_set, topics_of_one_hash_are_told_apart)
{
    enum { COUNT = 1000 }; /* beyond the distances that an entry counts */
    struct rlt_topic_set set;
    struct record *records = make_records(COUNT);
    start(&set, records);
    for (unsigned i = 0; i < COUNT; i++) {
        /* Some topics of other hashes are carried away with them. */
        records[i].key.hash = i % 10 == 0 ? 42 + i : 42;
        cr_assert_eq(rlt_topic_set_add(&set, i + 1), 0);
    }
    for (unsigned i = 0; i < COUNT; i += 2) {
        rlt_topic_set_remove(&set, i + 1);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert_eq(find(&set, &records[i]), i % 2 == 0 ? 0 : i + 1);
    }
    rlt_topic_set_fini(&set);
    free(records);
}

Test(topic_set, topic_that_begins_as_another_is_another)
{
    struct rlt_topic_set set;
    struct record *records = make_records(2);
    start(&set, records);
    name(&records[0], 1);
    name(&records[1], 11);
    records[1].key.hash = records[0].key.hash;
    cr_assert_eq(rlt_topic_set_add(&set, 1), 0);
    cr_assert_eq(find(&set, &records[1]), 0);
    rlt_topic_set_fini(&set);
    free(records);
}

Test(topic_set, removing_a_stranger_aborts, .signal = SIGABRT)
{
    struct rlt_topic_set set;
    struct record *records = make_records(1);
    start(&set, records);
    rlt_topic_set_remove(&set, 1);
}

/* ---- Memory ------------------------------------------------------------------------------- */

/** A gate that counts, remembers the largest size, and refuses while `closed`. */
struct gate {
    bool closed;
    unsigned calls;
    size_t largest;
};

static int pass(void *context, size_t size)
{
    struct gate *gate = context;
    gate->calls++;
    gate->largest = size > gate->largest ? size : gate->largest;
    return !gate->closed;
}

Test(topic_set, without_memory_there_is_none)
{
    struct rlt_topic_set set;
    struct gate gate = {.closed = true};
    rlt_memory_set_gate(pass, &gate);
    cr_assert_eq(rlt_topic_set_init(&set, key_of, NULL), ROULETTE_ENOMEM);
    rlt_memory_set_gate(NULL, NULL);
}

Test(topic_set, failed_growth_loses_nothing_and_can_be_tried_again)
{
    enum { COUNT = 5000 };
    struct rlt_topic_set set;
    struct record *records = make_records(COUNT);
    struct gate gate = {.closed = true};
    unsigned failures = 0;
    start(&set, records);
    rlt_memory_set_gate(pass, &gate);
    for (unsigned i = 0; i < COUNT; i++) {
        if (rlt_topic_set_add(&set, i + 1) == ROULETTE_ENOMEM) {
            failures++;
            cr_assert_eq(find(&set, &records[i]), 0);
            cr_assert_eq(set.count, i);
            gate.closed = false;
            cr_assert_eq(rlt_topic_set_add(&set, i + 1), 0);
            gate.closed = true;
        }
    }
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_gt(failures, 0);
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert_eq(find(&set, &records[i]), i + 1);
    }
    rlt_topic_set_fini(&set);
    free(records);
}

Test(topic_set, coming_and_going_topics_need_no_more_memory)
{
    enum { MEMBERS = 100, TURNS = TOPICS };
    struct rlt_topic_set set;
    struct record *records = make_records(TURNS);
    struct gate gate = {0};
    start(&set, records);
    rlt_memory_set_gate(pass, &gate);
    for (unsigned i = 0; i < TURNS; i++) {
        cr_assert_eq(rlt_topic_set_add(&set, i + 1), 0);
        if (i >= MEMBERS) {
            rlt_topic_set_remove(&set, i + 1 - MEMBERS);
        }
    }
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_eq(set.count, MEMBERS);
    cr_assert_lt(gate.largest, 64 * 1024, "%zu bytes for 100 topics", gate.largest);
    rlt_topic_set_fini(&set);
    free(records);
}

/* ---- A reference -------------------------------------------------------------------------- */

Test(topic_set, equals_a_reference_of_100k_topics)
{
    struct rlt_random random = {.state = stress_seed("topic_set")};
    struct rlt_topic_set set;
    struct record *records = make_records(TOPICS);
    size_t count = 0;
    start(&set, records);
    for (unsigned i = 0; i < 10 * TOPICS / STRESS_SCALE; i++) {
        uint32_t index = 1 + (uint32_t)rlt_random_below(&random, TOPICS);
        struct record *record = &records[index - 1];
        cr_assert_eq(find(&set, record), record->is_member ? index : 0);
        /* First it grows, then it shrinks. */
        bool should_be = rlt_random_below(&random, 4) < (i < 7 * TOPICS / STRESS_SCALE ? 3 : 1);
        if (should_be && !record->is_member) {
            cr_assert_eq(rlt_topic_set_add(&set, index), 0);
            count++;
        } else if (!should_be && record->is_member) {
            rlt_topic_set_remove(&set, index);
            count--;
        }
        record->is_member = should_be;
        cr_assert_eq(set.count, count);
    }
    for (unsigned i = 0; i < TOPICS; i++) {
        cr_assert_eq(find(&set, &records[i]), records[i].is_member ? i + 1 : 0);
    }
    rlt_topic_set_fini(&set);
    free(records);
}
