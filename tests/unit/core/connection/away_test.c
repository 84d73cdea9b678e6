/* SPDX-License-Identifier: MIT */
/*
 * Fences of a connection that is away: which of them wait, and for what. The calls that wait for
 * them are tried with servers in integration/fence_test.c.
 */
#include "core/connection/away.h"

#include "base/defs.h"
#include "proto/encode.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

/* More than all attempts take. */
#define GIVE_UP_NS (100 * RLT_NS_PER_S)

static void open_plain(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
    world.config.max_retry = 3;
}

static void open_keeping(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_LEAST_ONCE);
    world.config.max_retry = 3;
}

#define AwayTest(name)    Test(away, name, .init = open_plain, .fini = world_close)
#define KeepingTest(name) Test(away, name, .init = open_keeping, .fini = world_close)

static struct rlt_fence *begin(enum rlt_fence_scope scope)
{
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    cr_assert_not_null(fence);
    fence->scope = scope;
    world_submit(&fence->parts[0].command);
    return fence;
}

static void assert_waits(const struct rlt_fence *fence)
{
    cr_assert_eq(atomic_load(&fence->done), 0);
}

static void assert_over(struct rlt_fence *fence, int error)
{
    cr_assert_eq(atomic_load(&fence->done), 1);
    cr_assert_eq(fence->parts[0].error, error, "%d", fence->parts[0].error);
    rlt_fence_release(fence);
}

/* The server goes, and does not come back. */
static void lose(uint32_t slot)
{
    world.slots[0].refuse = true;
    world.slots[1].refuse = true;
    world_cut(slot);
}

static uint64_t failed(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.failed);
}

AwayTest(flush_of_messages_ends_when_they_fail)
{
    lose(0);
    world_publish("p", "1");
    struct rlt_fence *fence = begin(RLT_FENCE_ALL);
    assert_waits(fence);
    world_pass(GIVE_UP_NS);
    cr_assert_eq(failed(), 1);
    assert_over(fence, ROULETTE_EUNREACHABLE);
}

AwayTest(flush_of_nothing_ends_when_the_cluster_is_given_up)
{
    lose(0);
    struct rlt_fence *fence = begin(RLT_FENCE_ALL);
    assert_waits(fence);
    world_pass(GIVE_UP_NS);
    assert_over(fence, ROULETTE_EUNREACHABLE);
    assert_over(begin(RLT_FENCE_ALL), ROULETTE_EUNREACHABLE);
}

AwayTest(flush_waits_for_a_connection_that_comes_in_time)
{
    lose(0);
    struct rlt_fence *fence = begin(RLT_FENCE_ALL);
    world.slots[0].refuse = false;
    world_pass(RLT_NS_PER_S);
    world_accept(0);
    assert_waits(fence);
    world_pong(0);
    assert_over(fence, 0);
}

/* One of its messages has failed; a publisher that is slow to commit keeps another one open. */
AwayTest(flush_tells_of_what_has_failed_also_if_the_cluster_comes_after_all)
{
    static const struct rlt_pub late = {
        .topic = "q", .topic_len = 1, .payload = "2", .payload_len = 1};
    struct rlt_shared_lane *shared = &world.cluster->paths[0].queue.shared;
    struct rlt_shared_claim claim;
    cr_assert_eq(rlt_shared_lane_allocate(shared, world.config.lane_capacity), 0);
    cr_assert(rlt_shared_lane_claim(shared, rlt_encode_pub_len(&late), &claim));
    lose(0);
    world_publish("p", "1");
    struct rlt_fence *fence = begin(RLT_FENCE_ALL);
    world_pass(GIVE_UP_NS);
    cr_assert_eq(failed(), 1);
    assert_waits(fence);
    (void)rlt_encode_pub(claim.bytes, &late);
    rlt_shared_lane_commit(shared, &claim, rlt_encode_pub_len(&late));
    world.slots[0].refuse = false;
    while (!world.slots[0].open) {
        world_pass(RLT_NS_PER_MS);
    }
    world_accept(0);
    world_assert_sent(0, "PUB q 1|2|PING|");
    world_pong(0);
    assert_over(fence, ROULETTE_EUNREACHABLE);
}

/* A message that came while the cluster was given up: the next attempt decides. */
AwayTest(flush_of_a_late_message_ends_with_the_next_attempt)
{
    lose(0);
    world_pass(GIVE_UP_NS);
    world_put("p", "1");
    struct rlt_fence *fence = begin(RLT_FENCE_ALL);
    assert_waits(fence);
    world_pass(10 * RLT_NS_PER_S);
    cr_assert_eq(failed(), 1);
    assert_over(fence, ROULETTE_EUNREACHABLE);
}

AwayTest(close_has_nothing_to_wait_for_without_messages)
{
    lose(0);
    assert_over(begin(RLT_FENCE_MESSAGES), 0);
    world_publish("p", "1");
    struct rlt_fence *fence = begin(RLT_FENCE_MESSAGES);
    assert_waits(fence);
    world_pass(GIVE_UP_NS);
    assert_over(fence, ROULETTE_EUNREACHABLE);
}

KeepingTest(close_waits_for_what_is_sent_again_until_it_is_in_doubt)
{
    world_publish("p", "1");
    lose(0);
    struct rlt_fence *fence = begin(RLT_FENCE_MESSAGES);
    assert_waits(fence);
    world_pass(GIVE_UP_NS);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.in_doubt), 1);
    assert_over(fence, ROULETTE_EUNREACHABLE);
}

AwayTest(subscribing_waits_as_long_as_the_server_does_not_know)
{
    lose(0);
    (void)world_subscribe("p", "p", NULL, 0);
    struct rlt_fence *fence = begin(RLT_FENCE_SUBSCRIPTION);
    world_pass(GIVE_UP_NS);
    assert_waits(fence);
    world.slots[0].refuse = false;
    world_pass(10 * RLT_NS_PER_S);
    world_accept(0);
    world_assert_sent(0, "SUB p 1|PING|");
    world_pong(0);
    assert_over(fence, 0);
}

AwayTest(subscribing_ends_when_the_subscription_has_ended)
{
    lose(0);
    struct world_member *member = world_subscribe("p", "p", NULL, 0);
    struct rlt_fence *fence = begin(RLT_FENCE_SUBSCRIPTION);
    assert_waits(fence);
    world_ask(member, RLT_ASK_UNSUBSCRIBE);
    assert_over(fence, 0);
}

AwayTest(drain_ends_at_once)
{
    (void)world_subscribe("p", "p", NULL, 0);
    lose(0);
    assert_over(begin(RLT_FENCE_DRAIN), 0);
}

AwayTest(drain_ends_with_its_connection)
{
    world.slots[0].stuck = true;
    world_publish("p", "1");
    struct rlt_fence *fence = begin(RLT_FENCE_DRAIN);
    assert_waits(fence);
    lose(0);
    assert_over(fence, ROULETTE_EDISCONNECTED);
}

/* ---- While a connection moves off a lame duck ---------------------------------------------- */

/* The one that is to take over never comes, and the old one goes. */
AwayTest(flush_ends_when_the_old_connection_is_lost_before_the_new_one_comes)
{
    world.slots[1].refuse = true;
    world_say(0, WORLD_LAME_DUCK);
    world_pass(RLT_NS_PER_S);
    lose(0);
    world_publish("p", "1");
    struct rlt_fence *fence = begin(RLT_FENCE_ALL);
    struct rlt_fence *close = begin(RLT_FENCE_MESSAGES);
    world_pass(GIVE_UP_NS);
    cr_assert_eq(failed(), 1);
    assert_over(fence, ROULETTE_EUNREACHABLE);
    assert_over(close, ROULETTE_EUNREACHABLE);
}

/* Both are lost while the old one publishes no more and flushes are held. */
AwayTest(flush_ends_when_both_connections_are_lost)
{
    world_say(0, WORLD_LAME_DUCK);
    world_pass(RLT_NS_PER_S / 2);
    world_accept(1);
    cr_assert_eq(world.cluster->paths[0].handover.phase, RLT_HANDOVER_DRAINING);
    world_publish("p", "1");
    struct rlt_fence *fence = begin(RLT_FENCE_ALL);
    struct rlt_fence *close = begin(RLT_FENCE_MESSAGES);
    world.slots[0].refuse = true;
    world.slots[1].refuse = true;
    world_cut(1);
    world_cut(0);
    world_pass(GIVE_UP_NS);
    cr_assert_eq(atomic_load(&fence->done), 1);
    cr_assert_eq(atomic_load(&close->done), 1);
    rlt_fence_release(fence);
    rlt_fence_release(close);
}
