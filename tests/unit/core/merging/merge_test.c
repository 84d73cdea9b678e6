/* SPDX-License-Identifier: MIT */
/*
 * Order while a connection moves off a lame duck: slot 0 is the old connection, slot 1 the second
 * one. Bodies are numbers in the order in which they were published.
 */
#include "core/merging/merge.h"

#include <string.h>

#include "base/defs.h"
#include "roulette.h"
#include "unit/core/cluster/handover_world.h"

static void open_permanent(void)
{
    open_cluster(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
}

#define MergeTest(name) Test(merge, name, .init = open_permanent, .fini = world_close)

static uint64_t metric(const rlt_counter *counter)
{
    return rlt_counter_get(counter);
}

MergeTest(message_of_the_second_connection_waits_for_older_ones)
{
    move_to(RLT_HANDOVER_FENCING);
    world_message(0, plain, "0");
    world_message(1, plain, "2");
    world_message(1, plain, "3");
    world_assert_told("p:0 ");
    world_pass(50 * RLT_NS_PER_MS);
    world_message(0, plain, "1");
    world_message(0, plain, "2");
    world_message(0, plain, "3");
    world_assert_told("p:1 p:2 p:3 ");
    cr_assert_eq(metric(&world.cluster->env.metrics.held), 2);
    cr_assert_eq(metric(&world.cluster->env.metrics.held_ns_max), 50 * RLT_NS_PER_MS);
    cr_assert_eq(metric(&world.cluster->env.metrics.held_early), 0);
    cr_assert_eq(metric(&world.cluster->env.metrics.suppressed), 2);
    cr_assert_eq(metric(&world.cluster->env.metrics.delivered_messages), 4);
    cr_assert_eq(metric(&world.cluster->env.metrics.received_messages), 4);
}

MergeTest(what_waits_when_the_old_connection_is_left_comes_in_order)
{
    move_to(RLT_HANDOVER_DRAINING);
    world_message(1, plain, "2");
    world_message(1, plain, "3");
    world_message(1, plain, "4");
    world_message(0, plain, "1");
    world_message(0, plain, "2");
    world_assert_told("p:1 p:2 ");
    world_pong(0);
    assert_phase(RLT_HANDOVER_LINGERING);
    world_message(1, plain, "5");
    world_assert_told("p:3 p:4 p:5 ");
    cr_assert_eq(metric(&world.cluster->env.metrics.held_early), 0);
}

MergeTest(old_connection_is_not_left_before_it_has_caught_up)
{
    move_to(RLT_HANDOVER_FENCING);
    world_message(1, plain, "2");
    world_pong(1);
    world_pass(SETTLE_NS);
    assert_phase(RLT_HANDOVER_SETTLING);
    world_message(0, plain, "1");
    world_message(0, plain, "2");
    assert_phase(RLT_HANDOVER_DRAINING);
    world_assert_told("p:1 p:2 ");
}

MergeTest(old_connection_that_brings_nothing_is_waited_for_no_longer_than_the_bound)
{
    move_to(RLT_HANDOVER_FENCING);
    world_message(1, plain, "2");
    world_pong(1);
    world_pass(RLT_MERGE_WAIT_NS - 1);
    assert_phase(RLT_HANDOVER_SETTLING);
    world_assert_told("");
    world_pass(1);
    assert_phase(RLT_HANDOVER_DRAINING);
    world_assert_told("p:2 ");
    cr_assert_eq(metric(&world.cluster->env.metrics.held_early), 1);
    /* Late, and out of order: but not twice. */
    world_message(0, plain, "1");
    world_message(0, plain, "2");
    world_assert_told("p:1 ");
}

MergeTest(equal_messages_keep_their_places_among_others)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_message(1, plain, "a");
    world_message(1, plain, "b");
    world_message(1, plain, "a");
    world_message(1, plain, "a");
    world_message(0, plain, "a");
    world_message(0, plain, "b");
    world_message(0, plain, "a");
    world_assert_told("p:a p:b p:a ");
    world_pass(SETTLE_NS);
    world_message(1, plain, "c");
    world_message(1, plain, "a");
    world_message(0, plain, "a");
    world_pong(0);
    world_assert_told("p:a p:c p:a ");
}

MergeTest(copy_that_was_let_go_early_is_not_mistaken_for_one_that_waits)
{
    move_to(RLT_HANDOVER_FENCING);
    world_message(1, plain, "a");
    world_pass(RLT_MERGE_WAIT_NS);
    world_assert_told("p:a ");
    world_message(1, plain, "a");
    world_message(0, plain, "a");
    world_assert_told("");
    world_message(0, plain, "a");
    world_assert_told("p:a ");
}

MergeTest(message_for_a_member_of_a_group_does_not_wait)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_message(0, grouped, "1");
    world_message(1, grouped, "2");
    world_message(0, grouped, "3");
    world_assert_told("q:1 q:2 q:3 ");
}

MergeTest(member_of_a_group_that_drains_leaves_both_servers)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_ask(grouped, RLT_ASK_DRAIN);
    world_assert_sent(0, "UNSUB 2|");
    world_assert_sent(1, "UNSUB 2|");
    world_message(1, grouped, "3");
    world_assert_told("q:3 ");
}

MergeTest(messages_that_wait_leave_receive_memory_to_others)
{
    char body[12000];
    move_to(RLT_HANDOVER_SETTLING);
    memset(body, 'x', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    uint32_t count = world.config.slab_count * 10;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(body, &(uint32_t){0x61616161 + i}, sizeof(i));
        world_message(1, plain, body);
        cr_assert_geq(world.cluster->exchange.slabs.free_count, world.config.slab_count / 4 - 2);
        world_ignore_told();
    }
    cr_assert_gt(metric(&world.cluster->env.metrics.held_early), 0);
    cr_assert_eq(metric(&world.cluster->env.metrics.dropped_pinned), 0);
}

MergeTest(message_whose_bytes_could_not_be_kept_is_told_as_dropped_only_if_it_has_no_copy)
{
    struct rlt_slab *taken[64];
    uint32_t count = 0;
    move_to(RLT_HANDOVER_SETTLING);
    while (count < 64 &&
           (taken[count] = rlt_slab_acquire(&world.cluster->exchange.slabs)) != NULL) {
        count++;
    }
    struct rlt_merge *merge = &world.cluster->paths[0].handover.merge;
    struct rlt_frame frame = {
        .op = RLT_OP_MSG, .topic = (const uint8_t *)"p", .topic_len = 1, .sid = 1};
    cr_assert_not(rlt_merge_take(merge, &world.cluster->exchange, 1, &frame, NULL, world.now_ns));
    cr_assert(rlt_merge_take(merge, &world.cluster->exchange, 0, &frame, NULL, world.now_ns));
    cr_assert_not(rlt_merge_take(merge, &world.cluster->exchange, 1, &frame, NULL, world.now_ns));
    cr_assert_eq(metric(&world.cluster->env.metrics.dropped_pinned), 0);
    rlt_merge_release_all(merge, &world.cluster->exchange);
    cr_assert_eq(metric(&world.cluster->env.metrics.dropped_pinned), 1);
    world_message(0, plain, "2");
    world_assert_told("dropped:1 p:2 ");
    while (count != 0) {
        rlt_slab_settle(taken[--count]);
    }
}

/* Bodies that cannot be kept cost no receive memory: then the number alone is the bound. */
MergeTest(message_that_finds_no_room_lets_the_oldest_go_and_waits_itself)
{
    move_to(RLT_HANDOVER_SETTLING);
    struct rlt_merge *merge = &world.cluster->paths[0].handover.merge;
    for (uint32_t i = 0; i <= RLT_HOLDBACK_MAX; i++) {
        struct rlt_frame frame = {
            .op = RLT_OP_MSG, .topic = (const uint8_t *)&i, .body_len = sizeof(i), .sid = 1};
        cr_assert_not(
            rlt_merge_take(merge, &world.cluster->exchange, 1, &frame, NULL, world.now_ns));
    }
    cr_assert_eq(metric(&world.cluster->env.metrics.held), RLT_HOLDBACK_MAX + 1);
    cr_assert_eq(metric(&world.cluster->env.metrics.held_early), 1);
    rlt_merge_release_all(merge, &world.cluster->exchange);
    cr_assert_eq(metric(&world.cluster->env.metrics.dropped_pinned), RLT_HOLDBACK_MAX + 1);
}

MergeTest(slabs_of_messages_that_waited_come_back)
{
    move_to(RLT_HANDOVER_SETTLING);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 20; i++) {
            char body[12000];
            memset(body, 'a' + round, sizeof(body) - 1);
            body[sizeof(body) - 1] = '\0';
            body[0] = (char)('A' + i);
            world_message(1, plain, body);
            world_message(0, plain, i % 2 == 0 ? body : "other");
            world_ignore_told();
        }
    }
    world_pass(SETTLE_NS);
    world_pass(RLT_MERGE_WAIT_NS);
    world_pong(0);
    world_ignore_told();
    assert_active(1);
    world_pass(LINGER_NS);
    /* What the two connections receive into. */
    cr_assert_leq(rlt_slab_pool_in_use(&world.cluster->exchange.slabs), 2);
}

/* ---- The other half: what is published ------------------------------------------------------ */

MergeTest(what_was_published_crosses_the_cluster_before_more_is_published)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_publish("p", "1");
    world_pass(SETTLE_NS);
    world_assert_sent(0, "PUB p 1|1|UNSUB 2|PING|");
    world_publish("p", "2");
    world_pong(0);
    assert_phase(RLT_HANDOVER_CROSSING);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_pass(CROSS_NS - 1);
    world_assert_sent(1, "");
    world_message(0, plain, "1");
    world_assert_told("p:1 ");
    world_pass(1);
    world_assert_sent(1, "PUB p 1|2|");
    assert_active(1);
}

MergeTest(nothing_waits_to_cross_if_nothing_was_published)
{
    world_publish("p", "1");
    move_on(RLT_HANDOVER_LINGERING, 0, 1);
    assert_active(1);
    assert_phase(RLT_HANDOVER_NONE);
}

MergeTest(loss_of_either_connection_while_crossing_goes_on_with_the_other)
{
    for (uint32_t lost = 0; lost < 2; lost++) {
        move_to(RLT_HANDOVER_SETTLING);
        world_publish("p", "1");
        world_pass(SETTLE_NS);
        world_pong(0);
        assert_phase(RLT_HANDOVER_CROSSING);
        world_publish("p", "2");
        world_cut(lost);
        assert_active(1 - lost);
        world_assert_sent(1, lost == 0 ? "SUB p 1|SUB q g 2|PING|PUB p 1|2|"
                                       : "SUB p 1|SUB q g 2|PING|");
        world_assert_sent(0, lost == 0 ? "PUB p 1|1|UNSUB 2|PING|"
                                       : "PUB p 1|1|UNSUB 2|PING|SUB q g 16777218|PUB p 1|2|");
        if (lost == 0) {
            world_close();
            open_permanent();
        }
    }
}

MergeTest(connection_without_subscriptions_has_nothing_to_settle)
{
    world_ask(plain, RLT_ASK_UNSUBSCRIBE);
    world_ask(grouped, RLT_ASK_UNSUBSCRIBE);
    world_say(0, WORLD_LAME_DUCK);
    world_pass(JITTER_NS);
    world_accept(1);
    assert_phase(RLT_HANDOVER_DRAINING);
    world_assert_sent(1, "");
    world_publish("p", "1");
    world_pong(0);
    assert_phase(RLT_HANDOVER_CROSSING);
    world_pass(CROSS_NS);
    assert_active(1);
    world_assert_sent(1, "PUB p 1|1|");
}
