/* SPDX-License-Identifier: MIT */
/*
 * After a reconnect the queue is held back for reconnect_hold_ms: core/sending/hold.h.
 */
#include <string.h>

#include "base/defs.h"
#include "core/sending/fence.h"
#include "core/sending/hold.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

#define HOLD_NS (3 * RLT_NS_PER_S)

static void open_with(enum roulette_guarantee guarantee)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, guarantee);
    world.config.reconnect_hold_ns = HOLD_NS;
}

static void open_world(void)
{
    open_with(ROULETTE_AT_MOST_ONCE);
}

static void open_keeping(void)
{
    open_with(ROULETTE_AT_LEAST_ONCE);
}

/* The connection is lost, and there again. */
static void come_back(void)
{
    world_cut(0);
    world_pass(RLT_NS_PER_S);
    world_accept(0);
}

#define HoldTest(name) Test(reconnect_hold, name, .init = open_world, .fini = world_close)

HoldTest(queue_waits_after_a_reconnect_and_goes_out_then)
{
    world_cut(0);
    world_put("t", "1");
    world_pass(RLT_NS_PER_S);
    world_accept(0);
    world_publish("t", "2");
    world_pass(HOLD_NS - 1);
    world_assert_sent(0, "");
    world_pass(1);
    world_assert_sent(0, "PUB t 1|1|PUB t 1|2|");
    world_publish("t", "3");
    world_assert_sent(0, "PUB t 1|3|");
}

HoldTest(subscriptions_do_not_wait)
{
    (void)world_subscribe("s", "s", NULL, 0);
    world_assert_sent(0, "SUB s 1|");
    world_publish("t", "1");
    world_assert_sent(0, "PUB t 1|1|");
    come_back();
    world_publish("t", "2");
    world_assert_sent(0, "SUB s 1|");
    world_pass(HOLD_NS);
    world_assert_sent(0, "PUB t 1|2|");
}

HoldTest(flush_waits_for_the_end_of_it)
{
    come_back();
    world_put("t", "1");
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    cr_assert_not_null(fence);
    world_submit(&fence->parts[0].command);
    world_assert_sent(0, "");
    world_pass(HOLD_NS);
    world_assert_sent(0, "PUB t 1|1|PING|");
    cr_assert_eq(atomic_load(&fence->done), 0);
    world_pong(0);
    cr_assert_eq(atomic_load(&fence->done), 1);
    rlt_fence_release(fence);
}

/* Lost again while it is held: from the next connection on it is held as long. */
HoldTest(each_reconnect_begins_anew)
{
    come_back();
    world_put("t", "1");
    world_pass(HOLD_NS - RLT_NS_PER_S / 2);
    come_back();
    world_pass(HOLD_NS - 1);
    world_assert_sent(0, "");
    world_pass(1);
    world_assert_sent(0, "PUB t 1|1|");
}

HoldTest(publishers_do_not_wake_the_thread_for_what_is_held)
{
    come_back();
    cr_assert_not(rlt_connection_wants_lanes(rlt_cluster_connection(world.cluster, 0)));
    cr_assert_eq(rlt_cluster_deadline(world.cluster), world.now_ns + HOLD_NS);
    world_pass(HOLD_NS);
    cr_assert(rlt_connection_wants_lanes(rlt_cluster_connection(world.cluster, 0)));
}

HoldTest(first_connection_is_not_held)
{
    world_publish("t", "1");
    world_assert_sent(0, "PUB t 1|1|");
}

/* Those who are to receive it could not be there either. */
HoldTest(first_connection_is_held_if_it_was_not_there_at_once)
{
    world_close();
    open_world();
    /* As world_open(), with a server that is down at first. */
    world_cut(0);
    world.slots[0].refuse = true;
    world_pass(RLT_NS_PER_S);
    world.slots[0].refuse = false;
    world_put("t", "1");
    world_pass(RLT_NS_PER_S);
    cr_assert(world.slots[0].open);
    world_accept(0);
    world_assert_sent(0, "");
    world_pass(HOLD_NS);
    world_assert_sent(0, "PUB t 1|1|");
}

Test(reconnect_hold, what_is_sent_again_waits_too, .init = open_keeping, .fini = world_close)
{
    world_publish("t", "1");
    world_assert_sent(0, "PUB t 1|1|PING|");
    come_back();
    world_pass(HOLD_NS - 1);
    world_assert_sent(0, "");
    world_pass(1);
    world_assert_sent(0, "PUB t 1|1|PING|");
    world_pong(0);
}
