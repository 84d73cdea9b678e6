/* SPDX-License-Identifier: MIT */
/*
 * A server that is silent on one connection is asked on another one: core/cluster/probe.h. Slot 0
 * is the connection, slot 1 asks.
 */
#include "core/cluster/probe.h"

#include <string.h>

#include "base/defs.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

#define INTERVAL_NS (5 * RLT_NS_PER_S)
#define KEPT_MAX_NS (30 * RLT_NS_PER_S)
#define SILENCE_NS  (6 * RLT_NS_PER_S) /* an interval and a second, with two pings */
#define A_INFO      "INFO {\"server_id\":\"A\",\"max_payload\":1048576}\r\n"
#define B_INFO      "INFO {\"server_id\":\"B\",\"max_payload\":1048576}\r\n"
#define TOO_MANY    "-ERR 'maximum connections exceeded'\r\n"

static uint64_t pinged_ns; /* when the ping was sent that is not answered */

/* Let time pass in small steps until a condition holds. */
#define PASS_UNTIL(condition)                                        \
    do {                                                             \
        uint64_t end_ns = world.now_ns + 600 * RLT_NS_PER_S;         \
        while (!(condition)) {                                       \
            cr_assert_lt(world.now_ns, end_ns, "never " #condition); \
            world_pass(RLT_NS_PER_MS);                               \
        }                                                            \
    } while (0)

static uint64_t count_of(const rlt_counter *counter)
{
    return rlt_counter_get(counter);
}

/* A connection to server A that has pinged, and got no answer. */
static void open_and_ping(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
    world.config.ping_interval_ns = INTERVAL_NS;
    world.config.held_back_max_ns = KEPT_MAX_NS;
    world_cut(0);
    PASS_UNTIL(world.slots[0].open);
    world_say(0, A_INFO);
    world_pong(0);
    PASS_UNTIL(world.slots[0].pings != 0);
    pinged_ns = world.now_ns;
    cr_assert_eq(world.slots[1].opens, 0);
}

#define ProbeTest(name) Test(probe, name, .init = open_and_ping, .fini = world_close)

static void pass_until_asking(void)
{
    PASS_UNTIL(world.slots[1].open && !world.slots[1].closing);
}

static void answer(void)
{
    pass_until_asking();
    world_say(1, A_INFO);
    world_pong(1);
    cr_assert_not(world.slots[1].open);
}

/* The connection ends as silent, that long after the ping. */
static void assert_left_after(uint64_t ns)
{
    uint64_t disconnects = count_of(&world.cluster->env.metrics.disconnects);
    PASS_UNTIL(count_of(&world.cluster->env.metrics.disconnects) != disconnects);
    cr_assert_leq(world.now_ns - pinged_ns, ns + 2 * RLT_NS_PER_MS);
    cr_assert_geq(world.now_ns - pinged_ns, ns - 2 * RLT_NS_PER_MS);
    cr_assert_eq(count_of(&world.cluster->env.metrics.lost_by_ping), 1);
}

ProbeTest(silent_server_is_asked_an_interval_before_the_end)
{
    world.slots[1].hang = true;
    world_pass(SILENCE_NS - INTERVAL_NS - 2 * RLT_NS_PER_MS);
    cr_assert_eq(world.slots[1].opens, 0);
    world_pass(4 * RLT_NS_PER_MS);
    cr_assert_eq(world.slots[1].opens, 1);
    cr_assert_eq(count_of(&world.cluster->env.metrics.probes), 1);
}

ProbeTest(server_that_does_not_answer_is_left_when_it_always_was)
{
    world.slots[1].hang = true;
    assert_left_after(SILENCE_NS);
    cr_assert_eq(count_of(&world.cluster->env.metrics.held_back), 0);
    world_pass(RLT_NS_PER_MS);
    cr_assert_not(world.slots[1].opening);
}

/* The kernel accepts connections for a process that stands still. */
ProbeTest(server_that_accepts_and_does_not_greet_is_left_when_it_always_was)
{
    assert_left_after(SILENCE_NS);
}

ProbeTest(server_that_greets_and_does_not_answer_is_left_when_it_always_was)
{
    pass_until_asking();
    world_say(1, A_INFO);
    assert_left_after(SILENCE_NS);
}

ProbeTest(server_that_refuses_is_asked_once_a_second_and_left_in_time)
{
    world.slots[1].refuse = true;
    assert_left_after(SILENCE_NS);
    cr_assert_geq(world.slots[1].opens, 4);
    cr_assert_leq(world.slots[1].opens, 6);
}

ProbeTest(answer_keeps_the_connection_and_it_is_told_once)
{
    answer();
    PASS_UNTIL(world.now_ns >= pinged_ns + SILENCE_NS - RLT_NS_PER_MS);
    cr_assert_eq(count_of(&world.cluster->env.metrics.held_back), 0);
    world_pass(2 * RLT_NS_PER_MS);
    cr_assert_eq(count_of(&world.cluster->env.metrics.held_back), 1);
    cr_assert(world.slots[0].open);
    answer();
    world_pass(RLT_NS_PER_S);
    cr_assert_eq(count_of(&world.cluster->env.metrics.held_back), 1);
    /* It is served again. */
    world_pong(0);
    cr_assert_eq(rlt_session_kept_ns(&rlt_cluster_connection(world.cluster, 0)->session),
                 RLT_NEVER);
    cr_assert_eq(count_of(&world.cluster->env.metrics.disconnects), 1); /* that of the beginning */
}

ProbeTest(server_that_dies_later_is_left_within_two_intervals_of_its_answer)
{
    answer();
    pinged_ns = world.now_ns; /* it answered now */
    world.slots[1].hang = true;
    assert_left_after(SILENCE_NS + INTERVAL_NS);
}

ProbeTest(answers_keep_the_connection_so_long_and_no_longer)
{
    uint64_t end_ns = pinged_ns + SILENCE_NS + KEPT_MAX_NS;
    while (world.now_ns < end_ns - 2 * INTERVAL_NS - 2 * RLT_NS_PER_S) {
        answer();
        cr_assert(world.slots[0].open);
        world_pass(RLT_NS_PER_MS);
    }
    while (count_of(&world.cluster->env.metrics.disconnects) == 1) {
        world_pass(RLT_NS_PER_MS);
        cr_assert_leq(world.now_ns, end_ns + 2 * RLT_NS_PER_MS);
        if (world.slots[1].open && world.slots[1].receiving) {
            answer();
        }
    }
    cr_assert_geq(world.now_ns, end_ns - 2 * RLT_NS_PER_MS);
    cr_assert_eq(count_of(&world.cluster->env.metrics.lost_by_ping), 1);
    cr_assert_leq(world.slots[1].opens, 8);
}

ProbeTest(refusal_of_the_login_is_an_answer)
{
    pass_until_asking();
    world_say(1, A_INFO);
    world_say(1, TOO_MANY);
    cr_assert_not(world.slots[1].open);
    PASS_UNTIL(world.now_ns >= pinged_ns + SILENCE_NS + RLT_NS_PER_S);
    cr_assert(world.slots[0].open);
}

ProbeTest(refusal_before_the_greeting_is_none)
{
    pass_until_asking();
    world_say(1, TOO_MANY);
    assert_left_after(SILENCE_NS);
}

/* Behind one address there may be several servers. */
ProbeTest(answer_of_another_server_is_none)
{
    while (count_of(&world.cluster->env.metrics.disconnects) == 1) {
        world_pass(RLT_NS_PER_MS);
        if (world.slots[1].open && world.slots[1].receiving) {
            world_say(1, B_INFO);
            world_pong(1);
        }
    }
    cr_assert_leq(world.now_ns, pinged_ns + SILENCE_NS + 2 * RLT_NS_PER_MS);
}

/* The server lives, but this connection's way to it is gone. */
ProbeTest(answer_does_not_keep_a_connection_that_is_not_acknowledged)
{
    world.slots[0].unacknowledged = true;
    while (count_of(&world.cluster->env.metrics.disconnects) == 1) {
        world_pass(RLT_NS_PER_MS);
        if (world.slots[1].open && world.slots[1].receiving) {
            world_say(1, A_INFO);
            world_pong(1);
        }
    }
    cr_assert_leq(world.now_ns, pinged_ns + SILENCE_NS + 2 * RLT_NS_PER_MS);
}

ProbeTest(sign_of_life_ends_the_asking)
{
    pass_until_asking();
    world_pong(0);
    cr_assert_not(world.slots[1].open);
    world_pass(SILENCE_NS - RLT_NS_PER_S);
    cr_assert(world.slots[0].open);
}

ProbeTest(probe_is_no_connection_of_the_applications)
{
    const struct rlt_metrics *metrics = &world.cluster->env.metrics;
    uint64_t failures = count_of(&metrics->connect_failures);
    uint64_t error = count_of(&metrics->last_error);
    world.slots[1].refuse = true;
    PASS_UNTIL(world.slots[1].opens == 2);
    world.slots[1].refuse = false;
    answer();
    cr_assert_eq(count_of(&metrics->connects), 2);
    cr_assert_eq(count_of(&metrics->connected), 1);
    cr_assert_eq(count_of(&metrics->disconnects), 1);
    cr_assert_eq(count_of(&metrics->connect_failures), failures);
    cr_assert_eq(count_of(&metrics->last_error), error);
}

/* Nothing is taken of what is sent: no ping can be, either. */
ProbeTest(server_that_does_not_read_is_asked_and_kept)
{
    world_pong(0);
    world.slots[0].stuck = true;
    world_publish("t", "1");
    uint64_t stuck_ns = world.now_ns;
    answer();
    cr_assert_geq(world.now_ns, stuck_ns + SILENCE_NS - 2 * RLT_NS_PER_MS);
    PASS_UNTIL(world.now_ns >= stuck_ns + SILENCE_NS + INTERVAL_NS + RLT_NS_PER_S);
    cr_assert(world.slots[0].open);
    cr_assert_eq(count_of(&world.cluster->env.metrics.held_back), 1);
    world.slots[0].stuck = false;
    world_go();
    cr_assert_eq(rlt_session_kept_ns(&rlt_cluster_connection(world.cluster, 0)->session),
                 RLT_NEVER);
}

ProbeTest(lame_duck_is_moved_from_and_not_asked)
{
    pass_until_asking();
    world_say(0, WORLD_LAME_DUCK);
    cr_assert_not(world.slots[1].open);
    uint32_t opens = world.slots[1].opens;
    PASS_UNTIL(world.slots[1].open);
    cr_assert_eq(world.slots[1].opens, opens + 1);
    world_say(1, B_INFO);
    world_pong(1);
    PASS_UNTIL(world.cluster->paths[0].active == rlt_cluster_connection(world.cluster, 1) ||
               world.slots[0].pings != 0 || world.slots[1].pings != 0);
    cr_assert(world.slots[1].open, "it is the handover's");
}

ProbeTest(loss_while_asking_is_followed_by_a_reconnect)
{
    pass_until_asking();
    world_cut(0);
    cr_assert_not(world.slots[1].open);
    PASS_UNTIL(world.slots[0].open);
    world_accept(0);
    cr_assert_eq(count_of(&world.cluster->env.metrics.connected), 1);
}

ProbeTest(cluster_stops_while_asking)
{
    pass_until_asking();
    world_submit(&world.cluster->stop);
    cr_assert(rlt_cluster_is_stopped(world.cluster));
}

ProbeTest(nobody_is_asked_if_the_application_does_not_want_it)
{
    world.config.held_back_max_ns = 0;
    assert_left_after(SILENCE_NS);
    cr_assert_eq(world.slots[1].opens, 0);
}
