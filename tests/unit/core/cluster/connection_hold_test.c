/* SPDX-License-Identifier: MIT */
/*
 * What is published without a pause, a little at a time, is held for company: core/sending/hold.h.
 * What somebody waits for is not.
 */
#include "core/connection/connection.h"

#include <string.h>

#include "base/defs.h"
#include "core/sending/fence.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

/* Put many small messages into the lane; no thread is told. */
static void put_many(void)
{
    for (int i = 0; i < 40; i++) {
        world_put("t", "x");
    }
}

static uint64_t sends(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.sends);
}

static bool is_held(void)
{
    return world.cluster->paths[0].active->hold.active;
}

/* A client that sends 40 messages every 200 us, and holds what comes next. */
static void open_and_hold(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
    world_pass(RLT_NS_PER_S);
    for (int i = 0; i < 2; i++) {
        world.now_ns += 200 * RLT_NS_PER_US;
        put_many();
        world_go();
    }
    cr_assert(is_held());
    put_many();
}

#define HoldTest(name) Test(connection_hold, name, .init = open_and_hold, .fini = world_close)

HoldTest(more_messages_go_in_one_send_and_none_stays)
{
    uint64_t before = sends();
    world_go();
    cr_assert_eq(sends(), before);
    for (int i = 0; i < 20 && is_held(); i++) {
        world_pass(50 * RLT_NS_PER_US);
    }
    cr_assert_not(is_held());
    cr_assert_eq(sends(), before + 1);
    cr_assert(rlt_wire_queue_is_empty(world.cluster->paths[0].active->wire));
}

HoldTest(flush_ends_it)
{
    uint64_t before = sends();
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    world_submit(&fence->parts[0].command);
    world_go();
    cr_assert_not(is_held());
    cr_assert_eq(sends(), before + 1);
    world_pong(0);
    cr_assert_eq(atomic_load(&fence->done), 1);
    rlt_fence_release(fence);
}

HoldTest(subscription_is_sent_at_once)
{
    uint64_t before = sends();
    (void)world_subscribe("s", "s", NULL, 0);
    world_go();
    cr_assert_eq(sends(), before + 1);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.subscriptions), 1);
}

HoldTest(publishers_do_not_wake_the_event_thread_for_it)
{
    world_sleep();
    cr_assert_not(rlt_doorbell_is_armed(&world.cluster->doorbell, RLT_WAKE_LANES));
    cr_assert_leq(rlt_cluster_deadline(world.cluster), world.now_ns + 100 * RLT_NS_PER_US);
    world_awake();
}

HoldTest(lost_connection_ends_it)
{
    world_cut(0);
    cr_assert_not(is_held());
    world_pass(RLT_NS_PER_S);
    world_say(0, WORLD_INFO "PONG\r\n");
    cr_assert(rlt_wire_queue_is_empty(world.cluster->paths[0].active->wire));
}

HoldTest(close_while_held_does_not_spin)
{
    world_go();
    world.slots[0].busy = true; /* the close does not end */
    rlt_connection_fail(world.cluster->paths[0].active, ROULETTE_EDISCONNECTED);
    world_pass(RLT_NS_PER_MS);
    world.slots[0].busy = false;
    world_go();
}
