/* SPDX-License-Identifier: MIT */
#include "core/sending/confirm_timer.h"

#include "base/defs.h"
#include "core/cluster/direct_send.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

#define WAIT_NS (50 * RLT_NS_PER_MS)
#define LONG_NS (60 * RLT_NS_PER_S)

static void open_as(enum roulette_guarantee guarantee, uint64_t wait_ns)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, guarantee);
    for (uint32_t i = 0; i < rlt_cluster_slot_count(&world.config); i++) {
        rlt_confirm_timer_init(&rlt_cluster_connection(world.cluster, i)->sender.confirm_timer,
                               wait_ns);
    }
    world_pass(RLT_NS_PER_S);
    world_assert_sent(0, "");
}

static void open_it(void)
{
    open_as(ROULETTE_AT_MOST_ONCE, WAIT_NS);
}

#define ConfirmTest(name) Test(confirm_timer, name, .init = open_it, .fini = world_close)

static uint64_t confirmed(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.confirmed);
}

ConfirmTest(ping_follows_messages_within_the_wait)
{
    for (uint64_t i = 0; i < 7; i++) {
        world_publish("a", "1");
        world_assert_sent(0, "PUB a 1|1|");
        world_pass(WAIT_NS / 2 - 1);
        world_assert_sent(0, "");
        world_pass(WAIT_NS / 2 + 1);
        world_assert_sent(0, "PING|");
        world_pong(0);
        cr_assert_eq(confirmed(), i + 1);
        world_pass(11 * RLT_NS_PER_MS); /* at any moment of the clock */
    }
}

ConfirmTest(idle_connection_has_no_timer)
{
    uint64_t idle_ns = rlt_cluster_deadline(world.cluster);
    world_publish("a", "1");
    cr_assert_leq(rlt_cluster_deadline(world.cluster), world.now_ns + WAIT_NS);
    world_pass(WAIT_NS);
    world_pong(0);
    cr_assert_eq(rlt_cluster_deadline(world.cluster), idle_ns);
    world_assert_sent(0, "PUB a 1|1|PING|");
    world_pass(LONG_NS);
    world_assert_sent(0, "");
}

ConfirmTest(one_ping_is_waited_for_and_another_follows)
{
    world_publish("a", "1");
    world_pass(WAIT_NS);
    world_publish("a", "2");
    world_pass(LONG_NS);
    world_assert_sent(0, "PUB a 1|1|PING|PUB a 1|2|");
    world_pong(0);
    cr_assert_eq(confirmed(), 1);
    world_assert_sent(0, "PING|");
    world_pong(0);
    cr_assert_eq(confirmed(), 2);
}

ConfirmTest(steady_messages_cost_one_ping_in_each_wait)
{
    uint32_t pings = 0;
    for (int i = 0; i < 1000; i++) {
        world_publish("a", "1");
        world_pass(RLT_NS_PER_MS);
        if (world.slots[0].pings != 0) {
            pings += world.slots[0].pings;
            world_pong(0);
        }
    }
    cr_assert_geq(pings, 19);
    cr_assert_leq(pings, 21);
}

ConfirmTest(ping_of_a_flush_serves_as_well)
{
    world_publish("a", "1");
    world.cluster->paths[0].active->sender.ping_due = true;
    world_go();
    world_pong(0);
    world_assert_sent(0, "PUB a 1|1|PING|");
    world_pass(LONG_NS);
    world_assert_sent(0, "");
}

/* Neither silence nor a PONG that is late is judged by it: nothing was asked for that. */
ConfirmTest(session_does_not_take_it_for_its_own)
{
    const struct rlt_session *session = &world.cluster->paths[0].active->session;
    world_publish("a", "1");
    world_pass(WAIT_NS);
    world_assert_sent(0, "PUB a 1|1|PING|");
    cr_assert_eq(session->unanswered_ns, RLT_NEVER);
    cr_assert_eq(session->unponged_ns, RLT_NEVER);
    world_pass(LONG_NS);
    cr_assert_eq(session->state, RLT_SESSION_READY);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.stray_pongs), 0);
    world_pong(0);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.stray_pongs), 0);
}

ConfirmTest(send_that_is_stuck_is_waited_for)
{
    world.slots[0].stuck = true;
    world_publish("a", "1");
    world_pass(RLT_NS_PER_S);
    world_assert_sent(0, "PUB a 1|1|");
    world.slots[0].stuck = false;
    world_go();
    world_assert_sent(0, "PING|");
    world_pong(0);
    cr_assert_eq(confirmed(), 1);
}

ConfirmTest(lost_connection_has_no_timer)
{
    world_publish("a", "1");
    world.slots[0].refuse = true;
    world_cut(0);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.in_doubt), 1);
    world.slots[0].refuse = false;
    world_pass(RLT_NS_PER_S);
    world_accept(0);
    world_pass(LONG_NS);
    world_assert_sent(0, "");
}

/* ---- Direct sends ------------------------------------------------------------------------- */

ConfirmTest(first_direct_send_wakes_the_event_thread_and_no_other_does)
{
    world_sleep();
    for (int i = 0; i < 3; i++) {
        world_put("a", "1");
        cr_assert_eq(rlt_direct_send(world.cluster, 0, world.now_ns),
                     i == 0 ? RLT_DIRECT_KNOCK : RLT_DIRECT_DONE);
        world.now_ns += RLT_NS_PER_MS;
    }
    world_assert_sent(0, "PUB a 1|1|PUB a 1|1|PUB a 1|1|");
    world_awake();
    world_sleep();
    world_put("a", "2");
    cr_assert_eq(rlt_direct_send(world.cluster, 0, world.now_ns), RLT_DIRECT_DONE,
                 "it has a timer");
    world_awake();
    world_pass(WAIT_NS);
    world_assert_sent(0, "PUB a 1|2|PING|");
    world_sleep();
    world_put("a", "3");
    cr_assert_eq(rlt_direct_send(world.cluster, 0, world.now_ns), RLT_DIRECT_DONE, "a PONG comes");
    world_awake();
    world_pong(0);
    cr_assert_eq(confirmed(), 4);
    world_pass(WAIT_NS);
    world_assert_sent(0, "PUB a 1|3|PING|");
    world_pong(0);
    cr_assert_eq(confirmed(), 5);
}

/* ---- Not wanted --------------------------------------------------------------------------- */

Test(confirm_timer, without_a_wait_there_is_none, .fini = world_close)
{
    open_as(ROULETTE_AT_MOST_ONCE, 0);
    world_publish("a", "1");
    world_pass(LONG_NS);
    world_sleep();
    world_put("a", "2");
    cr_assert_eq(rlt_direct_send(world.cluster, 0, world.now_ns), RLT_DIRECT_DONE);
    world_awake();
    world_pass(LONG_NS);
    world_assert_sent(0, "PUB a 1|1|PUB a 1|2|");
}

Test(confirm_timer, messages_that_are_kept_have_a_ping_anyway, .fini = world_close)
{
    open_as(ROULETTE_AT_LEAST_ONCE, 0);
    world_publish("a", "1");
    world_assert_sent(0, "PUB a 1|1|PING|");
    world_pong(0);
    cr_assert_eq(confirmed(), 1);
}
