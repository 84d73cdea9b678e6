/* SPDX-License-Identifier: MIT */
/*
 * What a server may say before its connection is ready. The rest of core/connection/connection.h is
 * reached through handover_test.c and the simulation.
 */
#include "core/connection/connection.h"

#include <stdio.h>
#include <string.h>

#include "base/defs.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

static struct world_member *plain;

/* Slot 0 was lost and is open again; topic "p" had sid 1. */
static void open_again(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
    plain = world_subscribe("p", "p", NULL, 0);
    world_cut(0);
    world_pass(RLT_NS_PER_S);
    world_assert_sent(0, "SUB p 1|");
    world_assert_told("p-lost ");
    cr_assert(world.slots[0].open);
}

#define ConnectionTest(name) Test(connection, name, .init = open_again, .fini = world_close)

static uint64_t unknown(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.unknown_sid);
}

ConnectionTest(message_before_the_proof_is_nobodys)
{
    world_say(0, WORLD_INFO "MSG p 1 1\r\nx\r\n");
    world_say(0, "MSG p 1 1\r\nx\r\nPONG\r\n");
    world_assert_told("p-restored ");
    cr_assert_eq(unknown(), 2);
    world_message(0, plain, "y");
    world_assert_told("p:y ");
    cr_assert_eq(unknown(), 2);
}

ConnectionTest(message_that_is_too_large_is_not_told_as_dropped_before_the_proof)
{
    world_say(0, WORLD_INFO "MSG p 1 99999999\r\n");
    cr_assert_eq(unknown(), 1);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.dropped_oversized), 0);
    world_assert_told("");
}

ConnectionTest(message_that_is_too_large_is_no_greeting)
{
    world_say(0, "MSG p 1 99999999\r\n");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.last_error),
                 (uint64_t)(int64_t)ROULETTE_EPROTOCOL);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.dropped_oversized), 0);
    world_assert_told("refused-14 ");
}

/* ---- A thread that is late ---------------------------------------------------------------- */

/* The event thread gets no CPU for a while, and then looks at its timers first. */
static void be_late(uint64_t ns)
{
    world.now_ns += ns;
    world_go();
}

static uint64_t lost_by_ping(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.lost_by_ping);
}

/* All that a silent server is given, and more. */
#define SILENCE_NS (3 * 3600 * RLT_NS_PER_S)

ConnectionTest(pong_that_nobody_has_read_yet_counts)
{
    world_accept(0);
    world_pass(4000 * RLT_NS_PER_S);
    world_assert_sent(0, "SUB p 1|PING|");
    world_arrive(0, "PONG\r\n");
    be_late(SILENCE_NS);
    cr_assert_eq(lost_by_ping(), 0);
    cr_assert(world.slots[0].open);
}

ConnectionTest(silent_server_is_left_all_the_same)
{
    world_accept(0);
    world_pass(4000 * RLT_NS_PER_S);
    be_late(SILENCE_NS);
    cr_assert_eq(lost_by_ping(), 1);
}

ConnectionTest(proof_that_nobody_has_read_yet_counts)
{
    world_say(0, WORLD_INFO);
    world_arrive(0, "PONG\r\n");
    be_late(10 * RLT_NS_PER_S);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.connected), 1);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.connect_failures), 0);
}

ConnectionTest(server_that_does_not_greet_is_left_all_the_same)
{
    be_late(10 * RLT_NS_PER_S);
    cr_assert_eq(world.slots[0].sent_len, 0);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.connect_failures), 1);
}

/* ---- Not spinning ------------------------------------------------------------------------- */

/* So that no SUB may be written until a PONG comes. */
static void fill_sub_marks(void)
{
    struct rlt_sender *sender = &rlt_cluster_connection(world.cluster, 0)->sender;
    struct rlt_topic_key key = {"f", 1, 0};
    uint64_t sid = 1000;
    do {
        while (rlt_sender_write_sub(sender, &key, sid)) {
            sid++;
        }
        world.slots[0].sent_len = 0;
        world_go();
    } while (!rlt_sub_marks_is_full(&sender->subs));
    world.slots[0].sent_len = 0;
}

/* world_go() fails if the event thread has work and does nothing. */
ConnectionTest(flush_behind_a_subscription_that_waits_for_a_pong_sleeps)
{
    world_accept(0);
    fill_sub_marks();
    (void)world_subscribe("q", "q", NULL, 0);
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    cr_assert_not_null(fence);
    world_submit(&fence->parts[0].command);
    world_publish("p", "1");
    world_assert_sent(0, "");
    cr_assert_eq(atomic_load(&fence->done), 0);
    rlt_fence_release(fence);
}

/* ---- What is counted ---------------------------------------------------------------------- */

ConnectionTest(pong_that_nobody_asked_for_is_counted)
{
    world_accept(0);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.stray_pongs), 0);
    world_say(0, "PONG\r\nPONG\r\n");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.stray_pongs), 2);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.confirmed), 0);
}

ConnectionTest(message_that_is_not_permitted_is_counted_by_its_name)
{
    const rlt_counter *denied = &world.cluster->env.metrics.denied_publishes;
    world_accept(0);
    world_say(0, "-ERR 'Permissions Violation for Publish to \"p\"'\r\n");
    cr_assert_eq(rlt_counter_get(denied), 1);
    world_say(0, "-ERR 'Permissions Violation for Publish with Reply of \"p\"'\r\n");
    cr_assert_eq(rlt_counter_get(denied), 2);
    world_say(0, "-ERR 'Permissions Violation for Subscription to \"p\"'\r\n");
    world_say(0, "-ERR 'Invalid Publish Subject'\r\n");
    cr_assert_eq(rlt_counter_get(denied), 2);
}

/* ---- Messages that are refused ------------------------------------------------------------ */

#define REFUSAL(topic) "-ERR 'Permissions Violation for Publish to \"" topic "\"'\r\n"

static void require_ledger(uint64_t confirmed, uint64_t denied, uint64_t in_doubt)
{
    struct roulette_ledger ledger;
    rlt_cluster_ledger(world.cluster, false, &ledger);
    cr_assert_eq(ledger.confirmed, confirmed);
    cr_assert_eq(ledger.denied, denied);
    cr_assert_eq(ledger.in_doubt, in_doubt);
}

static void ping(void)
{
    rlt_cluster_connection(world.cluster, 0)->sender.ping_due = true;
    world_go();
}

ConnectionTest(message_that_is_refused_is_denied_with_its_pong)
{
    world_accept(0);
    world_publish("a", "1");
    world_publish("b", "2");
    ping();
    world_say(0, REFUSAL("a"));
    require_ledger(0, 0, 0);
    world_pong(0);
    require_ledger(1, 1, 0);
    world_publish("a", "3");
    ping();
    world_pong(0);
    require_ledger(2, 1, 0);
}

/* An -ERR belongs to the PING that follows its message, not to a later one. */
ConnectionTest(refusals_between_two_pings_are_booked_one_by_one)
{
    world_accept(0);
    world_publish("a", "1");
    ping();
    world_publish("b", "2");
    world_publish("b", "3");
    ping();
    world_publish("c", "4");
    world_say(0, REFUSAL("a") "PONG\r\n");
    require_ledger(0, 1, 0);
    world_say(0, REFUSAL("b") REFUSAL("b") "PONG\r\n");
    require_ledger(0, 3, 0);
    world.slots[0].pings = 0;
    ping();
    world_pong(0);
    require_ledger(1, 3, 0);
}

ConnectionTest(refused_message_is_denied_and_not_in_doubt_when_the_connection_is_lost)
{
    world_accept(0);
    world_publish("a", "1");
    world_publish("b", "2");
    world_say(0, REFUSAL("a"));
    world_cut(0);
    require_ledger(0, 1, 1);
    world_pass(RLT_NS_PER_S);
    world_accept(0);
    world_pong(0); /* the subscription was lost twice: it goes alone */
    world_publish("b", "3");
    ping();
    world_pong(0);
    require_ledger(1, 1, 1);
}

/* Who refuses more than it was sent is believed for what it was sent, and not later. */
ConnectionTest(refusals_of_nothing_are_counted_and_not_booked)
{
    world_accept(0);
    world_say(0, REFUSAL("a") REFUSAL("a"));
    world_publish("a", "1");
    ping();
    world_pong(0);
    require_ledger(1, 0, 0);
    world_publish("a", "2");
    ping();
    world_say(0, REFUSAL("a") REFUSAL("a") REFUSAL("a") "PONG\r\n" REFUSAL("a"));
    world.slots[0].pings = 0;
    require_ledger(1, 1, 0);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.denied_publishes), 6);
    world_publish("a", "3");
    ping();
    world_pong(0);
    require_ledger(2, 1, 0);
}

/* The answer to a send may be there before its own event. */
ConnectionTest(refusal_before_the_end_of_its_send_counts)
{
    world_accept(0);
    world.slots[0].stuck = true;
    world_publish("a", "1");
    world_say(0, REFUSAL("a"));
    world.slots[0].stuck = false;
    world_go();
    ping();
    world_pong(0);
    require_ledger(0, 1, 0);
}
