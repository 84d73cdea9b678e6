/* SPDX-License-Identifier: MIT */
#include "core/delivery/interests.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "core/seam/ring.h"
#include "roulette.h"
#include "support/test.h"

/* Indexes before the table grows; index 0 is not used. */
#define FIRST_INDEXES 63

#define HANDLES_MAX 8192

static struct rlt_interests table;
/* What the subscribers hold. */
static struct rlt_subscription *handles[HANDLES_MAX];
static uint32_t handle_count;

static void open_table(void)
{
    cr_assert_eq(rlt_interests_init(&table), 0);
    handle_count = 0;
}

static void close_table(void)
{
    rlt_interests_fini(&table);
    for (uint32_t i = 0; i < handle_count; i++) {
        rlt_subscription_release(handles[i]);
    }
}

#define TableTest(name, ...) \
    Test(interests, name, .init = open_table, .fini = close_table, ##__VA_ARGS__)

/* A member that wants `topic`; its subscriber lets go of it in the end. */
static struct rlt_member *member_of(const char *topic)
{
    struct rlt_subscription *subscription =
        rlt_subscription_create(topic, strlen(topic), NULL, 0, 1, 0);
    cr_assert(subscription != NULL && handle_count < HANDLES_MAX);
    handles[handle_count++] = subscription;
    subscription->members[0].own.path = 2;
    return &subscription->members[0];
}

static struct rlt_interest *of(struct rlt_member *member)
{
    return rlt_interests_of(&table, member);
}

static void leave(struct rlt_member *member)
{
    rlt_interests_leave(of(member), member);
}

static struct rlt_interest *find(const char *topic)
{
    size_t len = strlen(topic);
    return rlt_interests_find_topic(&table, topic, len, rlt_ring_hash(topic, len));
}

static void join(struct rlt_member *member)
{
    cr_assert_eq(rlt_interests_join(&table, member), 0);
}

/* Join and leave `topic`; returns the sid that it had. */
static uint64_t pass_through(const char *topic)
{
    struct rlt_member *member = member_of(topic);
    join(member);
    struct rlt_interest *interest = of(member);
    uint64_t sid = interest->sid;
    leave(member);
    rlt_interests_remove(&table, interest);
    return sid;
}

/* ---- Sids --------------------------------------------------------------------------------- */

TableTest(first_sids_count_from_one)
{
    struct rlt_member *members[3] = {member_of("a"), member_of("b"), member_of("c")};
    for (uint64_t i = 0; i < 3; i++) {
        join(members[i]);
        cr_assert_eq(of(members[i])->sid, i + 1);
        cr_assert_eq(rlt_interests_find(&table, i + 1), of(members[i]));
    }
}

static void end(struct rlt_member *member)
{
    struct rlt_interest *interest = of(member);
    leave(member);
    rlt_interests_remove(&table, interest);
}

/* What was the last free index is in use when the next one is freed. */
TableTest(free_indexes_may_run_out_and_come_again)
{
    struct rlt_member *members[FIRST_INDEXES];
    for (uint32_t i = 0; i < FIRST_INDEXES; i++) {
        char topic[16];
        (void)snprintf(topic, sizeof(topic), "t.%u", i);
        members[i] = member_of(topic);
        join(members[i]);
    }
    end(members[5]);
    struct rlt_member *again = member_of("again");
    join(again);
    uint64_t sid = of(again)->sid;
    cr_assert_eq(sid & (RLT_INTERESTS_MAX - 1), 6);
    end(members[9]);
    cr_assert_eq(rlt_interests_find(&table, sid), of(again));
    struct rlt_member *other = member_of("other");
    join(other);
    cr_assert_eq(of(other)->sid & (RLT_INTERESTS_MAX - 1), 10);
    cr_assert_eq(rlt_interests_find(&table, sid), of(again));
}

TableTest(unknown_sids_find_nothing)
{
    static const uint64_t sids[] = {
        0, 2, 63, 64, 1000000, RLT_INTERESTS_MAX, RLT_INTERESTS_MAX + 1, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof(sids) / sizeof(sids[0]); i++) {
        cr_assert_null(rlt_interests_find(&table, sids[i]));
    }
    struct rlt_member *member = member_of("a");
    join(member);
    for (size_t i = 0; i < sizeof(sids) / sizeof(sids[0]); i++) {
        cr_assert_null(rlt_interests_find(&table, sids[i]), "sid %lu", sids[i]);
    }
}

TableTest(index_is_used_again_last_and_with_another_generation)
{
    uint64_t sids[FIRST_INDEXES + 1];
    for (uint64_t i = 0; i < FIRST_INDEXES; i++) {
        sids[i] = pass_through("a");
        cr_assert_eq(sids[i], i + 1);
        cr_assert_null(rlt_interests_find(&table, sids[i]));
    }
    struct rlt_member *member = member_of("b");
    join(member);
    uint64_t sid = of(member)->sid;
    cr_assert_eq(sid & (RLT_INTERESTS_MAX - 1), 1);
    cr_assert_eq(sid >> RLT_SID_INDEX_BITS, 1);
    cr_assert_null(rlt_interests_find(&table, sids[0]));
    cr_assert_eq(rlt_interests_find(&table, sid), of(member));
    cr_assert_eq(table.index_capacity, FIRST_INDEXES + 1);
}

TableTest(no_sid_of_the_past_finds_a_later_subscription)
{
    enum { ROUNDS = 1000 };
    static uint64_t past[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        past[i] = pass_through("a");
        struct rlt_member *member = member_of("b");
        join(member);
        for (int j = 0; j <= i; j++) {
            cr_assert_null(rlt_interests_find(&table, past[j]));
        }
        struct rlt_interest *interest = of(member);
        leave(member);
        rlt_interests_remove(&table, interest);
    }
}

TableTest(grows_beyond_its_first_capacity_and_keeps_all)
{
    enum { COUNT = 5000 };
    static struct rlt_member *members[COUNT];
    static char topics[COUNT][16];
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(topics[i], sizeof(topics[i]), "t.%d", i);
        members[i] = member_of(topics[i]);
        join(members[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(find(topics[i]), of(members[i]));
        cr_assert_eq(rlt_interests_find(&table, of(members[i])->sid), of(members[i]));
        cr_assert_eq(of(members[i])->path, 2);
    }
}

/* ---- Members ------------------------------------------------------------------------------ */

TableTest(members_of_a_topic_share_one_subscription)
{
    struct rlt_member *first = member_of("a");
    struct rlt_member *second = member_of("a");
    join(first);
    join(second);
    cr_assert_eq(of(first), of(second));
    cr_assert_eq(of(first)->member_count, 2);
    cr_assert_eq(table.index_count, 2);
}

TableTest(subscription_owns_its_topic)
{
    char topic[] = "short.lived";
    struct rlt_member *member = member_of(topic);
    join(member);
    memset(topic, 'x', sizeof(topic) - 1);
    cr_assert_not_null(find("short.lived"));
    cr_assert_null(find(topic));
}

TableTest(every_member_is_listed_once_whoever_leaves)
{
    enum { COUNT = 9 };
    for (uint32_t count = 1; count <= COUNT; count++) {
        for (uint32_t leaver = 0; leaver < count; leaver++) {
            struct rlt_member *members[COUNT];
            for (uint32_t i = 0; i < count; i++) {
                members[i] = member_of("a");
                join(members[i]);
            }
            struct rlt_interest *interest = of(members[0]);
            leave(members[leaver]);
            cr_assert_null(of(members[leaver]));
            cr_assert_eq(interest->member_count, count - 1);
            struct rlt_member **list = rlt_interest_members(interest);
            for (uint32_t i = 0; i < count; i++) {
                if (i != leaver) {
                    cr_assert_eq(of(members[i]), interest);
                    cr_assert_eq(list[members[i]->index], members[i]);
                    leave(members[i]);
                }
            }
            cr_assert_eq(interest->member_count, 0);
            rlt_interests_remove(&table, interest);
        }
    }
}

TableTest(subscription_without_members_takes_new_ones_under_its_sid)
{
    struct rlt_member *member = member_of("a");
    join(member);
    struct rlt_interest *interest = of(member);
    leave(member);
    cr_assert_eq(find("a"), interest);
    join(member);
    cr_assert_eq(of(member), interest);
    cr_assert_eq(interest->sid, 1);
}

/* Its memory is that of the first member's subscriber, who is gone: ASan would see. */
TableTest(subscription_outlives_the_member_that_brought_it)
{
    struct rlt_member *first = member_of("a");
    struct rlt_member *second = member_of("a");
    join(first);
    join(second);
    struct rlt_interest *interest = of(second);
    cr_assert_eq(interest, &first->own);
    leave(first);
    handles[0] = handles[--handle_count];
    rlt_subscription_release(rlt_subscription_of(first));
    cr_assert_eq(find("a"), interest);
    cr_assert_eq(of(second), interest);
    cr_assert_eq(rlt_interest_members(interest)[0], second);
    leave(second);
    rlt_interests_remove(&table, interest);
    cr_assert_null(find("a"));
    join(second);
    cr_assert_eq(of(second), &second->own);
}

TableTest(table_and_subscriber_hold_a_block_each)
{
    struct rlt_member *member = member_of("a");
    struct rlt_subscription *subscription = rlt_subscription_of(member);
    cr_assert_eq(atomic_load(&subscription->references), 1);
    join(member);
    cr_assert_eq(atomic_load(&subscription->references), 2);
    join(member_of("a"));
    cr_assert_eq(atomic_load(&subscription->references), 2);
    cr_assert_eq(atomic_load(&handles[1]->references), 1);
    leave(member);
    leave(&handles[1]->members[0]);
    cr_assert_eq(atomic_load(&subscription->references), 2);
    rlt_interests_remove(&table, &member->own);
    cr_assert_eq(atomic_load(&subscription->references), 1);
}

TableTest(members_of_queue_groups_share_nothing)
{
    struct rlt_member *members[2];
    for (int i = 0; i < 2; i++) {
        handles[handle_count++] = rlt_subscription_create("a", 1, "g", 1, 1, 0);
        members[i] = &handles[i]->members[0];
        join(members[i]);
    }
    cr_assert_neq(of(members[0]), of(members[1]));
    cr_assert_null(find("a g"));
    leave(members[0]);
    rlt_interests_remove(&table, &members[0]->own);
    cr_assert_eq(rlt_interests_find(&table, 2), of(members[1]));
}

TableTest(random_joins_and_leaves_agree_with_a_model)
{
    enum { MEMBERS = 64, TOPICS = 7, STEPS = 20000 };
    static struct rlt_member *members[MEMBERS];
    static const char *const topics[TOPICS] = {"a", "b", "c.d", "c.*", "e.>", "f", "g.h.i"};
    struct rlt_random random = {42};
    uint32_t counts[TOPICS] = {0};
    for (int i = 0; i < MEMBERS; i++) {
        members[i] = member_of(topics[i % TOPICS]);
    }
    for (int step = 0; step < STEPS; step++) {
        uint64_t i = rlt_random_below(&random, MEMBERS);
        struct rlt_interest *interest = of(members[i]);
        if (interest == NULL) {
            join(members[i]);
            counts[i % TOPICS]++;
        } else {
            leave(members[i]);
            counts[i % TOPICS]--;
            if (interest->member_count == 0) {
                rlt_interests_remove(&table, interest);
            }
        }
        for (int t = 0; t < TOPICS; t++) {
            struct rlt_interest *found = find(topics[t]);
            cr_assert_eq(found != NULL ? found->member_count : 0, counts[t]);
        }
    }
}

/* ---- Without memory ----------------------------------------------------------------------- */

static int allowed;

static int count_down(void *context, size_t size)
{
    (void)context;
    (void)size;
    return allowed-- > 0;
}

TableTest(join_without_memory_changes_nothing)
{
    struct rlt_member *first = member_of("a");
    struct rlt_member *second = member_of("a");
    for (int n = 0;; n++) {
        allowed = n;
        rlt_memory_set_gate(count_down, NULL);
        int result = rlt_interests_join(&table, first);
        rlt_memory_set_gate(NULL, NULL);
        if (result == 0) {
            break;
        }
        cr_assert_eq(result, ROULETTE_ENOMEM);
        cr_assert_null(of(first));
        cr_assert_null(find("a"));
        cr_assert_lt(n, 20);
    }
    allowed = 0;
    rlt_memory_set_gate(count_down, NULL);
    cr_assert_eq(rlt_interests_join(&table, second), ROULETTE_ENOMEM);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_null(of(second));
    cr_assert_eq(of(first)->member_count, 1);
    join(second);
    cr_assert_eq(rlt_interest_members(of(first))[0], first);
    cr_assert_eq(rlt_interest_members(of(first))[1], second);
}

/* ---- The queue of what the server does not know ------------------------------------------- */

TableTest(queue_is_first_in_first_out_and_holds_each_once)
{
    struct rlt_interest_queue queue = {.table = &table};
    struct rlt_member *members[3] = {member_of("a"), member_of("b"), member_of("c")};
    for (int i = 0; i < 3; i++) {
        join(members[i]);
        rlt_interest_queue_push(&queue, of(members[i]));
    }
    rlt_interest_queue_push(&queue, of(members[0]));
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(queue.first, of(members[i]));
        rlt_interest_queue_remove(&queue, queue.first);
    }
    cr_assert_null(queue.first);
    cr_assert_null(queue.last);
}

TableTest(queue_gives_up_any_of_its_entries)
{
    for (int gone = 0; gone < 3; gone++) {
        struct rlt_interest_queue queue = {.table = &table};
        struct rlt_interest *entries[3];
        struct rlt_member *members[3] = {member_of("a"), member_of("b"), member_of("c")};
        for (int i = 0; i < 3; i++) {
            join(members[i]);
            entries[i] = of(members[i]);
            rlt_interest_queue_push(&queue, entries[i]);
        }
        rlt_interest_queue_remove(&queue, entries[gone]);
        rlt_interest_queue_remove(&queue, entries[gone]);
        rlt_interest_queue_push(&queue, entries[gone]);
        cr_assert_eq(queue.last, entries[gone]);
        cr_assert_eq(queue.first, entries[gone == 0 ? 1 : 0]);
        for (int i = 0; i < 3; i++) {
            rlt_interest_queue_remove(&queue, entries[i]);
            leave(members[i]);
            rlt_interests_remove(&table, entries[i]);
        }
        cr_assert_null(queue.first);
        cr_assert_null(queue.last);
    }
}

TableTest(removing_what_is_queued_is_a_bug, .signal = SIGABRT)
{
    struct rlt_interest_queue queue = {.table = &table};
    struct rlt_member *member = member_of("a");
    join(member);
    struct rlt_interest *interest = of(member);
    rlt_interest_queue_push(&queue, interest);
    leave(member);
    rlt_interests_remove(&table, interest);
}
