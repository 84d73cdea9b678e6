/* SPDX-License-Identifier: MIT */
#include "core/subscriptions.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "core/ring.h"
#include "roulette.h"
#include "support/test.h"

/* Indexes before the table grows; index 0 is not used. */
#define FIRST_INDEXES 63

static struct rlt_subscriptions table;

static void open_table(void)
{
    cr_assert_eq(rlt_subscriptions_init(&table), 0);
}

static void close_table(void)
{
    rlt_subscriptions_fini(&table);
}

#define TableTest(name, ...) \
    Test(subscriptions, name, .init = open_table, .fini = close_table, ##__VA_ARGS__)

/* A member that wants `topic`; the text outlives it. */
static struct rlt_member member_of(const char *topic)
{
    size_t len = strlen(topic);
    return (struct rlt_member){.key = {topic, len, rlt_ring_hash(topic, len)}, .connection = 2};
}

static struct rlt_subscription *find(const char *topic)
{
    size_t len = strlen(topic);
    return rlt_subscriptions_find_topic(&table, topic, len, rlt_ring_hash(topic, len));
}

static void join(struct rlt_member *member)
{
    cr_assert_eq(rlt_subscriptions_join(&table, member), 0);
}

/* Join and leave `topic`; returns the sid that it had. */
static uint64_t pass_through(const char *topic)
{
    struct rlt_member member = member_of(topic);
    join(&member);
    struct rlt_subscription *subscription = member.subscription;
    uint64_t sid = subscription->sid;
    rlt_subscriptions_leave(&member);
    rlt_subscriptions_remove(&table, subscription);
    return sid;
}

/* ---- Sids --------------------------------------------------------------------------------- */

TableTest(first_sids_count_from_one)
{
    struct rlt_member members[3] = {member_of("a"), member_of("b"), member_of("c")};
    for (uint64_t i = 0; i < 3; i++) {
        join(&members[i]);
        cr_assert_eq(members[i].subscription->sid, i + 1);
        cr_assert_eq(rlt_subscriptions_find(&table, i + 1), members[i].subscription);
    }
}

TableTest(unknown_sids_find_nothing)
{
    static const uint64_t sids[] = {
        0,         2,         63, 64, 1000000, RLT_SUBSCRIPTIONS_MAX, RLT_SUBSCRIPTIONS_MAX + 1,
        INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < sizeof(sids) / sizeof(sids[0]); i++) {
        cr_assert_null(rlt_subscriptions_find(&table, sids[i]));
    }
    struct rlt_member member = member_of("a");
    join(&member);
    for (size_t i = 0; i < sizeof(sids) / sizeof(sids[0]); i++) {
        cr_assert_null(rlt_subscriptions_find(&table, sids[i]), "sid %lu", sids[i]);
    }
}

TableTest(index_is_used_again_last_and_with_another_generation)
{
    uint64_t sids[FIRST_INDEXES + 1];
    for (uint64_t i = 0; i < FIRST_INDEXES; i++) {
        sids[i] = pass_through("a");
        cr_assert_eq(sids[i], i + 1);
        cr_assert_null(rlt_subscriptions_find(&table, sids[i]));
    }
    struct rlt_member member = member_of("b");
    join(&member);
    uint64_t sid = member.subscription->sid;
    cr_assert_eq(sid & (RLT_SUBSCRIPTIONS_MAX - 1), 1);
    cr_assert_eq(sid >> RLT_SID_INDEX_BITS, 1);
    cr_assert_null(rlt_subscriptions_find(&table, sids[0]));
    cr_assert_eq(rlt_subscriptions_find(&table, sid), member.subscription);
    cr_assert_eq(table.index_capacity, FIRST_INDEXES + 1);
}

TableTest(no_sid_of_the_past_finds_a_later_subscription)
{
    enum { ROUNDS = 1000 };
    static uint64_t past[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        past[i] = pass_through("a");
        struct rlt_member member = member_of("b");
        join(&member);
        for (int j = 0; j <= i; j++) {
            cr_assert_null(rlt_subscriptions_find(&table, past[j]));
        }
        struct rlt_subscription *subscription = member.subscription;
        rlt_subscriptions_leave(&member);
        rlt_subscriptions_remove(&table, subscription);
    }
}

TableTest(grows_beyond_its_first_capacity_and_keeps_all)
{
    enum { COUNT = 5000 };
    static struct rlt_member members[COUNT];
    static char topics[COUNT][16];
    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(topics[i], sizeof(topics[i]), "t.%d", i);
        members[i] = member_of(topics[i]);
        join(&members[i]);
    }
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(find(topics[i]), members[i].subscription);
        cr_assert_eq(rlt_subscriptions_find(&table, members[i].subscription->sid),
                     members[i].subscription);
        cr_assert_eq(members[i].subscription->connection, 2);
    }
}

/* ---- Members ------------------------------------------------------------------------------ */

TableTest(members_of_a_topic_share_one_subscription)
{
    struct rlt_member first = member_of("a");
    struct rlt_member second = member_of("a");
    join(&first);
    join(&second);
    cr_assert_eq(first.subscription, second.subscription);
    cr_assert_eq(first.subscription->member_count, 2);
    cr_assert_eq(table.index_count, 2);
}

TableTest(subscription_owns_its_topic)
{
    char topic[] = "short.lived";
    struct rlt_member member = member_of(topic);
    join(&member);
    memset(topic, 'x', sizeof(topic) - 1);
    cr_assert_not_null(find("short.lived"));
    cr_assert_null(find(topic));
}

TableTest(every_member_is_listed_once_whoever_leaves)
{
    enum { COUNT = 9 };
    for (uint32_t count = 1; count <= COUNT; count++) {
        for (uint32_t leaver = 0; leaver < count; leaver++) {
            struct rlt_member members[COUNT];
            for (uint32_t i = 0; i < count; i++) {
                members[i] = member_of("a");
                join(&members[i]);
            }
            struct rlt_subscription *subscription = members[0].subscription;
            rlt_subscriptions_leave(&members[leaver]);
            cr_assert_null(members[leaver].subscription);
            cr_assert_eq(subscription->member_count, count - 1);
            struct rlt_member **list = rlt_subscription_members(subscription);
            for (uint32_t i = 0; i < count; i++) {
                if (i != leaver) {
                    cr_assert_eq(members[i].subscription, subscription);
                    cr_assert_eq(list[members[i].index], &members[i]);
                    rlt_subscriptions_leave(&members[i]);
                }
            }
            cr_assert_eq(subscription->member_count, 0);
            rlt_subscriptions_remove(&table, subscription);
        }
    }
}

TableTest(subscription_without_members_takes_new_ones_under_its_sid)
{
    struct rlt_member member = member_of("a");
    join(&member);
    struct rlt_subscription *subscription = member.subscription;
    rlt_subscriptions_leave(&member);
    cr_assert_eq(find("a"), subscription);
    join(&member);
    cr_assert_eq(member.subscription, subscription);
    cr_assert_eq(subscription->sid, 1);
}

TableTest(random_joins_and_leaves_agree_with_a_model)
{
    enum { MEMBERS = 64, TOPICS = 7, STEPS = 20000 };
    static struct rlt_member members[MEMBERS];
    static const char *const topics[TOPICS] = {"a", "b", "c.d", "c.*", "e.>", "f", "g.h.i"};
    struct rlt_random random = {42};
    uint32_t counts[TOPICS] = {0};
    for (int i = 0; i < MEMBERS; i++) {
        members[i] = member_of(topics[i % TOPICS]);
    }
    for (int step = 0; step < STEPS; step++) {
        uint64_t i = rlt_random_below(&random, MEMBERS);
        struct rlt_subscription *subscription = members[i].subscription;
        if (subscription == NULL) {
            join(&members[i]);
            counts[i % TOPICS]++;
        } else {
            rlt_subscriptions_leave(&members[i]);
            counts[i % TOPICS]--;
            if (subscription->member_count == 0) {
                rlt_subscriptions_remove(&table, subscription);
            }
        }
        for (int t = 0; t < TOPICS; t++) {
            struct rlt_subscription *found = find(topics[t]);
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
    struct rlt_member first = member_of("a");
    struct rlt_member second = member_of("a");
    for (int n = 0;; n++) {
        allowed = n;
        rlt_memory_set_gate(count_down, NULL);
        int result = rlt_subscriptions_join(&table, &first);
        rlt_memory_set_gate(NULL, NULL);
        if (result == 0) {
            break;
        }
        cr_assert_eq(result, ROULETTE_ENOMEM);
        cr_assert_null(first.subscription);
        cr_assert_null(find("a"));
        cr_assert_lt(n, 20);
    }
    allowed = 0;
    rlt_memory_set_gate(count_down, NULL);
    cr_assert_eq(rlt_subscriptions_join(&table, &second), ROULETTE_ENOMEM);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_null(second.subscription);
    cr_assert_eq(first.subscription->member_count, 1);
    join(&second);
    cr_assert_eq(rlt_subscription_members(first.subscription)[0], &first);
    cr_assert_eq(rlt_subscription_members(first.subscription)[1], &second);
}

/* ---- The queue of what the server does not know ------------------------------------------- */

TableTest(queue_is_first_in_first_out_and_holds_each_once)
{
    struct rlt_subscription_queue queue = {NULL, NULL};
    struct rlt_member members[3] = {member_of("a"), member_of("b"), member_of("c")};
    for (int i = 0; i < 3; i++) {
        join(&members[i]);
        rlt_subscription_queue_push(&queue, members[i].subscription);
    }
    rlt_subscription_queue_push(&queue, members[0].subscription);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(queue.first, members[i].subscription);
        rlt_subscription_queue_remove(&queue, queue.first);
    }
    cr_assert_null(queue.first);
    cr_assert_null(queue.last);
}

TableTest(queue_gives_up_any_of_its_entries)
{
    for (int gone = 0; gone < 3; gone++) {
        struct rlt_subscription_queue queue = {NULL, NULL};
        struct rlt_subscription *entries[3];
        struct rlt_member members[3] = {member_of("a"), member_of("b"), member_of("c")};
        for (int i = 0; i < 3; i++) {
            join(&members[i]);
            entries[i] = members[i].subscription;
            rlt_subscription_queue_push(&queue, entries[i]);
        }
        rlt_subscription_queue_remove(&queue, entries[gone]);
        rlt_subscription_queue_remove(&queue, entries[gone]);
        rlt_subscription_queue_push(&queue, entries[gone]);
        cr_assert_eq(queue.last, entries[gone]);
        cr_assert_eq(queue.first, entries[gone == 0 ? 1 : 0]);
        for (int i = 0; i < 3; i++) {
            rlt_subscription_queue_remove(&queue, entries[i]);
            rlt_subscriptions_leave(&members[i]);
            rlt_subscriptions_remove(&table, entries[i]);
        }
        cr_assert_null(queue.first);
        cr_assert_null(queue.last);
    }
}

TableTest(removing_what_is_queued_is_a_bug, .signal = SIGABRT)
{
    struct rlt_subscription_queue queue = {NULL, NULL};
    struct rlt_member member = member_of("a");
    join(&member);
    struct rlt_subscription *subscription = member.subscription;
    rlt_subscription_queue_push(&queue, subscription);
    rlt_subscriptions_leave(&member);
    rlt_subscriptions_remove(&table, subscription);
}
