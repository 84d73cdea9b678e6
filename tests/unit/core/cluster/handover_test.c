/* SPDX-License-Identifier: MIT */
/*
 * Leaving a lame duck: each phase of core/cluster/handover.h, and each way out of it. Slot 0 is the
 * connection that is left, and with one position slot 1 the one that takes over.
 */
#include "core/cluster/handover.h"

#include <stdio.h>
#include <string.h>

#include "base/defs.h"
#include "base/memory.h"
#include "roulette.h"
#include "unit/core/cluster/handover_world.h"

static void open_permanent(void)
{
    open_cluster(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
}

static void open_temporary(void)
{
    open_cluster(1, ROULETTE_RESTART_TEMPORARY, ROULETTE_AT_MOST_ONCE);
}

static void open_keeping(void)
{
    open_cluster(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_LEAST_ONCE);
}

#define HandoverTest(name)  Test(handover, name, .init = open_permanent, .fini = world_close)
#define TemporaryTest(name) Test(handover, name, .init = open_temporary, .fini = world_close)
#define KeepingTest(name)   Test(handover, name, .init = open_keeping, .fini = world_close)

/* The whole way, with nothing owed. */
static void move(uint32_t old, uint32_t second)
{
    move_on(RLT_HANDOVER_LINGERING, old, second);
    assert_active(second);
}

/* ---- The happy path ----------------------------------------------------------------------- */

HandoverTest(new_connection_is_subscribed_and_proved_before_the_old_one_is_left)
{
    world_say(0, WORLD_LAME_DUCK);
    cr_assert_eq(world.slots[1].opens, 0, "all clients would come at once");
    world_pass(JITTER_NS);
    world_accept(1);
    assert_phase(RLT_HANDOVER_RECORDING);
    world_assert_sent(0, "PING|");
    world_pass(RECORD_NS);
    world_pong(0);
    world_pass(RECORD_NS - 1);
    world_assert_sent(1, "");
    world_pass(1);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_publish("p", "early");
    world_pass(SETTLE_NS * 2);
    assert_phase(RLT_HANDOVER_FENCING);
    world_pong(1);
    world_pass(SETTLE_NS - 1);
    world_assert_sent(0, "PUB p 5|early|");
    world_pass(1);
    world_assert_sent(0, "UNSUB 2|PING|");
    world_publish("p", "late");
    cr_assert(world.slots[0].open);
    world_assert_sent(0, "");
    world_pong(0);
    cr_assert_not(world.slots[0].open);
    world_assert_sent(1, "PUB p 4|late|");
    assert_active(1);
    world_assert_told("");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.subscriptions), 2);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.disconnects), 0);
}

HandoverTest(each_message_is_told_once_whichever_copy_comes_first)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_message(0, plain, "1");
    world_message(1, plain, "1");
    world_message(1, plain, "2");
    world_message(0, plain, "2");
    world_message(0, grouped, "3");
    world_message(1, grouped, "3");
    world_assert_told("p:1 p:2 q:3 q:3 ");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.suppressed), 2);
}

HandoverTest(copy_of_a_message_from_before_the_subscription_is_dropped)
{
    move_to(RLT_HANDOVER_RECORDING);
    world_message(0, plain, "1");
    world_pass(RECORD_NS);
    world_message(1, plain, "1");
    world_assert_told("p:1 ");
}

HandoverTest(equal_messages_from_before_the_subscription_do_not_hide_later_ones)
{
    move_to(RLT_HANDOVER_RECORDING);
    world_pong(0);
    world_message(0, plain, "tick");
    world_message(0, plain, "tick");
    world_pass(RECORD_NS);
    world_pong(1);
    world_message(1, plain, "tick");
    world_message(0, plain, "tick");
    world_assert_told("p:tick p:tick p:tick ");
    world_pass(SETTLE_NS);
    world_pong(0);
    world_message(1, plain, "tick");
    world_message(1, plain, "tick");
    world_assert_told("p:tick p:tick ");
}

/* The copy is there in time, and this thread is late: what it has not looked for is not missing. */
HandoverTest(copy_that_waits_for_a_late_thread_is_not_forgotten)
{
    move_to(RLT_HANDOVER_RECORDING);
    world_pong(0);
    world_message(0, plain, "1");
    world_pass(RECORD_NS);
    world_pong(1);
    assert_phase(RLT_HANDOVER_SETTLING);
    world.now_ns += SETTLE_NS;
    rlt_cluster_step(world.cluster, world.now_ns);
    world_message(1, plain, "1");
    world_pass(RLT_MERGE_WAIT_NS);
    world_pong(0);
    world_pass(LINGER_NS);
    world_assert_told("p:1 ");
}

HandoverTest(lingers_until_the_new_connection_has_brought_what_it_owes)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_message(0, plain, "1");
    world_pass(SETTLE_NS);
    world_message(0, plain, "2");
    world_pong(0);
    assert_phase(RLT_HANDOVER_LINGERING);
    world_message(1, plain, "1");
    world_message(1, plain, "3");
    world_message(1, plain, "3");
    assert_phase(RLT_HANDOVER_LINGERING);
    world_message(1, plain, "2");
    assert_phase(RLT_HANDOVER_NONE);
    world_assert_told("p:1 p:2 p:3 p:3 ");
}

HandoverTest(lingers_no_longer_for_a_copy_that_does_not_come)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_message(0, plain, "1");
    world_pass(SETTLE_NS);
    world_pong(0);
    world_pass(LINGER_NS - 1);
    assert_phase(RLT_HANDOVER_LINGERING);
    world_pass(1);
    assert_phase(RLT_HANDOVER_NONE);
    world_message(1, plain, "1");
    world_assert_told("p:1 p:1 ");
}

HandoverTest(copy_that_nobody_has_read_yet_is_no_late_one)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_message(0, plain, "1");
    world_pass(SETTLE_NS);
    world_pong(0);
    assert_phase(RLT_HANDOVER_LINGERING);
    world_arrive_message(1, plain, "1");
    world.now_ns += 10 * LINGER_NS;
    world_go();
    assert_phase(RLT_HANDOVER_NONE);
    world_assert_told("p:1 ");
}

HandoverTest(messages_that_cannot_be_remembered_are_counted)
{
    char body[16];
    move_to(RLT_HANDOVER_RECORDING);
    for (uint32_t i = 0; i < RLT_OVERLAP_ENTRIES / 4 * 3 + 2; i++) {
        (void)snprintf(body, sizeof(body), "%u", i);
        world_message(0, plain, body);
        world_ignore_told();
    }
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.unmatched), 2);
}

/* ---- The new connection does not come ----------------------------------------------------- */

HandoverTest(old_connection_goes_on_while_the_new_one_is_refused)
{
    world.slots[1].refuse = true;
    move_to(RLT_HANDOVER_CONNECTING);
    world_pass(5 * RLT_NS_PER_S);
    cr_assert_gt(world.slots[1].opens, 10);
    assert_phase(RLT_HANDOVER_CONNECTING);
    assert_active(0);
    world_message(0, plain, "1");
    world_publish("p", "2");
    world_assert_sent(0, "PUB p 1|2|");
    world_assert_told("p:1 ");
    world.slots[1].refuse = false;
    world_pass(JITTER_NS);
    move(0, 1);
}

HandoverTest(new_connection_that_does_not_open_is_given_up_and_tried_again)
{
    world.slots[1].hang = true;
    move_to(RLT_HANDOVER_CONNECTING);
    world_pass(JITTER_NS + world.config.connection_timeout_ns);
    world_pass(RLT_NS_PER_S);
    cr_assert_eq(world.slots[1].opens, 2);
    assert_active(0);
    world.slots[1].hang = false;
    world_pass(world.config.connection_timeout_ns + RLT_NS_PER_S);
    world_accept(1);
    assert_phase(RLT_HANDOVER_RECORDING);
}

HandoverTest(new_connection_that_is_not_proved_is_given_up_and_tried_again)
{
    move_to(RLT_HANDOVER_CONNECTING);
    world_pass(JITTER_NS);
    world_say(1, WORLD_INFO);
    world_pass(world.config.connection_timeout_ns + RLT_NS_PER_S);
    cr_assert_eq(world.slots[1].opens, 2);
    assert_phase(RLT_HANDOVER_CONNECTING);
    assert_active(0);
    world_assert_told("");
}

static bool fail_large;

static int gate(void *context, size_t size)
{
    (void)context;
    return fail_large && size > 1024 * 1024 ? 0 : 1;
}

HandoverTest(without_memory_for_the_overlap_the_old_connection_goes_on)
{
    rlt_memory_set_gate(gate, NULL);
    fail_large = true;
    move_to(RLT_HANDOVER_CONNECTING);
    world_pass(JITTER_NS);
    world_accept(1);
    world_pass(10 * RLT_NS_PER_S);
    assert_phase(RLT_HANDOVER_CONNECTING);
    world_message(0, plain, "1");
    world_assert_told("p:1 ");
    fail_large = false;
    world_pass(RLT_NS_PER_S);
    cr_assert_gt(world.cluster->paths[0].handover.phase, RLT_HANDOVER_CONNECTING);
    rlt_memory_set_gate(NULL, NULL);
}

HandoverTest(attempts_before_the_old_connection_is_lost_do_not_make_the_cluster_unreachable)
{
    world.slots[1].refuse = true;
    move_to(RLT_HANDOVER_CONNECTING);
    world_pass(5 * RLT_NS_PER_S);
    world_cut(0);
    cr_assert_eq(world.cluster->paths[0].active->slot, 1);
    cr_assert_eq(world.cluster->paths[0].active->session.attempts, 0);
}

/* ---- The new connection is lost ----------------------------------------------------------- */

/* The old one brings what the new one has brought and waits; then all begins again. */
static void assert_begun_again(const char *told)
{
    assert_phase(RLT_HANDOVER_CONNECTING);
    cr_assert_eq(world.cluster->paths[0].active->slot, 0);
    world_message(0, plain, "1");
    world_message(0, plain, "2");
    world_assert_told("p:1 p:2 ");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.suppressed), 1);
    world_pass(RLT_NS_PER_S);
    world_accept(1);
    world_pass(0);
    assert_phase(RLT_HANDOVER_RECORDING);
    world_pong(0);
    world_pass(RECORD_NS);
    world_assert_sent(1, told);
    world_pong(1);
    world_pass(SETTLE_NS);
    world_pong(0);
    assert_active(1);
}

HandoverTest(loss_of_the_new_connection_before_it_is_subscribed_is_nothing)
{
    move_to(RLT_HANDOVER_RECORDING);
    world_message(0, plain, "1");
    world_cut(1);
    assert_phase(RLT_HANDOVER_CONNECTING);
    world_message(0, plain, "1");
    world_assert_told("p:1 p:1 ");
    world_pass(RLT_NS_PER_S);
    world_accept(1);
    assert_phase(RLT_HANDOVER_RECORDING);
}

HandoverTest(loss_of_the_new_connection_costs_group_members_only)
{
    move_to(RLT_HANDOVER_FENCING);
    world_message(1, plain, "1");
    world_cut(1);
    world_assert_told("q-lost q-restored ");
    assert_begun_again("SUB p 1|SUB q g 2|PING|");
}

HandoverTest(loss_of_the_new_connection_while_draining_tells_the_old_one_of_its_groups)
{
    move_to(RLT_HANDOVER_DRAINING);
    world_message(1, plain, "1");
    world_publish("p", "3");
    world_assert_sent(0, "UNSUB 2|PING|");
    world_cut(1);
    world_assert_sent(0, "SUB q g 16777218|PUB p 1|3|");
    world_say(0, "MSG q 2 4\r\nlate\r\n");
    world_assert_told("q-lost q-restored ");
    world_pong(0);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.confirmed), 0, "it was sent later");
    assert_begun_again("SUB p 1|SUB q g 16777218|PING|");
}

TemporaryTest(loss_of_the_new_connection_ends_temporary_members_of_groups)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_cut(1);
    world_assert_told("q-ended ");
    world_assert_sent(0, "UNSUB 2|");
    assert_active(0);
}

HandoverTest(new_connection_is_not_told_before_the_old_one_is)
{
    move_to(RLT_HANDOVER_RECORDING);
    world.slots[0].stuck = true;
    world_publish("p", "x");
    (void)world_subscribe("y", "y", NULL, 0);
    world_pong(0);
    world_pass(RECORD_NS);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world.slots[0].stuck = false;
    world_go();
    world_assert_sent(0, "PUB p 1|x|SUB y 3|");
}

HandoverTest(messages_from_before_a_loss_do_not_come_behind_its_notice)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_ask(plain, RLT_ASK_UNSUBSCRIBE);
    world_pass(SETTLE_NS);
    (void)world_subscribe("r", "p", NULL, 0);
    world_assert_sent(0, "UNSUB 1|UNSUB 2|PING|");
    world_cut(1);
    world_say(0, "MSG p 1 4\r\nlate\r\n");
    world_assert_told("p-removed q-lost q-restored ");
    world_assert_sent(0, "SUB p 3|SUB q g 16777218|");
}

/* ---- The old connection is lost ----------------------------------------------------------- */

HandoverTest(loss_of_the_old_connection_before_the_new_one_is_begun_begins_it)
{
    move_to(RLT_HANDOVER_CONNECTING);
    world_cut(0);
    cr_assert_eq(world.slots[1].opens, 1);
    world_accept(1);
    assert_active(1);
    world_assert_sent(1, "SUB p 1|SUB q g 2|");
    world_assert_told("p-lost q-lost p-restored q-restored ");
}

HandoverTest(loss_of_the_old_connection_before_the_subscription_leaves_nothing_to_suppress)
{
    move_to(RLT_HANDOVER_RECORDING);
    world_message(0, plain, "1");
    world_cut(0);
    assert_active(1);
    world_assert_sent(1, "SUB p 1|SUB q g 2|");
    world_message(1, plain, "1");
    world_assert_told("p:1 p-lost q-lost p-restored q-restored p:1 ");
}

/* The new connection takes over as it is. */
static void lose_old_in(enum rlt_handover_phase phase)
{
    move_to(phase);
    world_message(0, plain, "1");
    world_message(1, plain, "2");
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_publish("p", "3");
    bool held = phase == RLT_HANDOVER_DRAINING;
    world_assert_sent(0, held ? "UNSUB 2|PING|" : "PUB p 1|3|");
    world_cut(0);
    assert_active(1);
    world_assert_sent(1, held ? "PUB p 1|3|" : "");
    world_message(1, plain, "1");
    world_message(1, plain, "2");
    world_assert_told("p:1 p-lost q-lost p-restored q-restored p:2 p:2 ");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.in_doubt), held ? 0 : 1);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.subscriptions), 2);
    world_pass(LINGER_NS);
    assert_phase(RLT_HANDOVER_NONE);
    /* And back, by the connection that was lost. */
    move_on(RLT_HANDOVER_SETTLING, 1, 0);
    world_publish("p", "4");
    world_assert_sent(0, "SUB p 1|SUB q g 2|PING|");
    world_assert_sent(1, "PUB p 1|4|");
}

HandoverTest(loss_of_the_old_connection_while_fencing_lets_the_new_one_take_over)
{
    lose_old_in(RLT_HANDOVER_FENCING);
}

HandoverTest(loss_of_the_old_connection_while_settling_lets_the_new_one_take_over)
{
    lose_old_in(RLT_HANDOVER_SETTLING);
}

HandoverTest(loss_of_the_old_connection_while_draining_lets_the_new_one_take_over)
{
    lose_old_in(RLT_HANDOVER_DRAINING);
}

TemporaryTest(loss_of_the_old_connection_ends_temporary_subscriptions)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_cut(0);
    assert_active(1);
    world_assert_told("p-ended q-ended ");
    world_assert_sent(1, "UNSUB 1|UNSUB 2|");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.subscriptions), 0);
}

HandoverTest(loss_of_the_new_connection_after_the_move_is_an_ordinary_loss)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_message(0, plain, "1");
    world_pass(SETTLE_NS);
    world_pong(0);
    assert_phase(RLT_HANDOVER_LINGERING);
    world_cut(1);
    assert_phase(RLT_HANDOVER_NONE);
    world_pass(RLT_NS_PER_S);
    world_accept(1);
    assert_active(1);
    world_message(1, plain, "1");
    world_assert_told("p:1 p-lost q-lost p-restored q-restored p:1 ");
}

/* ---- Once more ---------------------------------------------------------------------------- */

HandoverTest(new_server_that_is_a_lame_duck_too_is_left_after_the_move)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_say(1, WORLD_LAME_DUCK);
    world_pass(SETTLE_NS);
    world_pong(0);
    assert_active(1);
    assert_phase(RLT_HANDOVER_CONNECTING);
    move(1, 0);
    world_message(0, plain, "1");
    world_assert_told("p:1 ");
}

HandoverTest(new_server_that_is_a_lame_duck_while_lingering_is_left_afterwards)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_message(0, plain, "1");
    world_pass(SETTLE_NS);
    world_pong(0);
    world_say(1, WORLD_LAME_DUCK);
    assert_phase(RLT_HANDOVER_LINGERING);
    world_message(1, plain, "1");
    assert_phase(RLT_HANDOVER_CONNECTING);
    move(1, 0);
    world_assert_told("p:1 ");
}

HandoverTest(old_server_that_says_it_again_is_heard_once)
{
    move_to(RLT_HANDOVER_FENCING);
    world_say(0, WORLD_LAME_DUCK);
    assert_phase(RLT_HANDOVER_FENCING);
    cr_assert_eq(world.slots[1].opens, 1);
}

HandoverTest(old_connection_that_still_closes_is_waited_for)
{
    world.slots[0].busy = true;
    move(0, 1);
    world_say(1, WORLD_LAME_DUCK);
    world_pass(10 * RLT_NS_PER_S);
    assert_phase(RLT_HANDOVER_CONNECTING);
    cr_assert_eq(world.slots[0].opens, 1);
    world.slots[0].busy = false;
    world_go();
    cr_assert_eq(world.slots[0].opens, 2);
}

HandoverTest(lost_connection_connects_again_itself_while_the_other_one_still_closes)
{
    world.slots[0].busy = true;
    move(0, 1);
    world_say(1, WORLD_LAME_DUCK);
    world_cut(1);
    world_pass(RLT_NS_PER_S);
    world_accept(1);
    assert_active(1);
    world_assert_told("p-lost q-lost p-restored q-restored ");
}

/* ---- Meanwhile ---------------------------------------------------------------------------- */

HandoverTest(subscription_made_meanwhile_is_settled_too)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    struct world_member *young = world_subscribe("y", "y", NULL, 0);
    world_assert_sent(0, "SUB y 3|");
    world_pass(SETTLE_NS);
    assert_phase(RLT_HANDOVER_RECORDING);
    world_assert_sent(1, "");
    world_pong(0);
    world_pass(RECORD_NS);
    world_assert_sent(1, "SUB y 3|PING|");
    world_pong(1);
    world_pass(SETTLE_NS - 1);
    assert_phase(RLT_HANDOVER_SETTLING);
    world_pass(1);
    world_pong(0);
    assert_active(1);
    world_message(1, young, "1");
    world_assert_told("y:1 ");
}

HandoverTest(client_that_never_ceases_to_subscribe_leaves_too)
{
    static const char *const topics[] = {"a", "b", "c", "d", "e", "f", "h", "i", "j", "k", "l"};
    move_to(RLT_HANDOVER_SETTLING);
    for (size_t i = 0; world.cluster->paths[0].handover.phase == RLT_HANDOVER_SETTLING; i++) {
        cr_assert(i < sizeof(topics) / sizeof(topics[0]));
        (void)world_subscribe("y", topics[i], NULL, 0);
        world_pass(SETTLE_NS);
        if (world.cluster->paths[0].handover.phase == RLT_HANDOVER_RECORDING) {
            world_pong(0);
            world_pass(RECORD_NS);
        }
        world_pong(1);
    }
    assert_phase(RLT_HANDOVER_DRAINING);
    world_pong(0);
    world_pass(CROSS_NS);
    assert_active(1);
}

HandoverTest(settling_waits_for_what_the_old_connection_cannot_send_without_spinning)
{
    move_to(RLT_HANDOVER_SETTLING);
    world.slots[0].stuck = true;
    world_publish("p", "x");
    (void)world_subscribe("y", "y", NULL, 0);
    world_pass(4 * SETTLE_NS);
    assert_phase(RLT_HANDOVER_SETTLING);
    world.slots[0].stuck = false;
    world_go();
    assert_phase(RLT_HANDOVER_RECORDING);
    world_pong(0);
    world_pass(RECORD_NS);
    assert_phase(RLT_HANDOVER_FENCING);
}

HandoverTest(subscription_made_while_draining_waits_for_the_new_connection)
{
    move_to(RLT_HANDOVER_DRAINING);
    world_assert_sent(0, "UNSUB 2|PING|");
    (void)world_subscribe("y", "y", NULL, 0);
    world_publish("y", "1");
    world_assert_sent(0, "");
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_pong(0);
    world_assert_sent(1, "SUB y 3|PUB y 1|1|");
}

HandoverTest(member_that_drains_meanwhile_takes_what_is_on_its_way_and_no_more)
{
    move_to(RLT_HANDOVER_FENCING);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_ask(plain, RLT_ASK_DRAIN);
    world_assert_sent(0, "UNSUB 1|");
    world_pong(1);
    world_message(0, plain, "1");
    world_pass(SETTLE_NS);
    world_pong(0);
    world_assert_sent(1, "UNSUB 1|");
    world_message(1, plain, "1");
    world_assert_told("p:1 ");
    world_ask(plain, RLT_ASK_FINISH);
    world_assert_told("p-ended ");
}

HandoverTest(new_connection_is_not_told_of_what_drains_already)
{
    move_to(RLT_HANDOVER_RECORDING);
    world_ask(plain, RLT_ASK_DRAIN);
    world_pong(0);
    world_pass(RECORD_NS);
    world_assert_sent(1, "SUB q g 2|PING|");
}

HandoverTest(member_that_leaves_meanwhile_is_told_nothing_more)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_ask(plain, RLT_ASK_UNSUBSCRIBE);
    world_ask(grouped, RLT_ASK_UNSUBSCRIBE);
    world_assert_told("p-removed q-removed ");
    world_assert_sent(0, "UNSUB 1|UNSUB 2|");
    world_say(1, "MSG p 1 1\r\nx\r\n");
    world_pass(SETTLE_NS);
    world_pong(0);
    world_assert_sent(1, "UNSUB 1|UNSUB 2|");
    world_assert_told("");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.subscriptions), 0);
    cr_assert_null(rlt_interests_find(&world.cluster->exchange.interests, 1));
}

HandoverTest(subscription_that_is_left_and_made_again_meanwhile_goes_on)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_ask(plain, RLT_ASK_UNSUBSCRIBE);
    struct world_member *again = world_subscribe("r", "p", NULL, 0);
    world_assert_sent(0, "UNSUB 1|SUB p 3|");
    world_assert_sent(1, "UNSUB 1|");
    world_pass(SETTLE_NS);
    world_pong(0);
    world_pass(RECORD_NS);
    world_assert_sent(1, "SUB p 3|PING|");
    world_pong(1);
    world_pass(SETTLE_NS);
    world_pong(0);
    assert_active(1);
    world_message(1, again, "1");
    world_assert_told("p-removed r:1 ");
}

/* ---- Flushing and closing ----------------------------------------------------------------- */

static struct rlt_fence *flush(void)
{
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    cr_assert_not_null(fence);
    world_submit(&fence->parts[0].command);
    return fence;
}

static void assert_flushed(struct rlt_fence *fence, int error)
{
    cr_assert_eq(atomic_load(&fence->done), 1);
    cr_assert_eq(fence->parts[0].error, error, "%d", fence->parts[0].error);
    rlt_fence_release(fence);
}

HandoverTest(flush_while_draining_is_passed_by_the_new_connection)
{
    move_to(RLT_HANDOVER_DRAINING);
    world_publish("p", "1");
    struct rlt_fence *fence = flush();
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_pong(0);
    world_assert_sent(1, "PUB p 1|1|PING|");
    cr_assert_eq(atomic_load(&fence->done), 0);
    world_pong(1);
    assert_flushed(fence, 0);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.confirmed), 1);
}

HandoverTest(flush_while_draining_is_passed_by_the_old_connection_if_the_new_one_is_lost)
{
    move_to(RLT_HANDOVER_DRAINING);
    world_assert_sent(0, "UNSUB 2|PING|");
    world_publish("p", "1");
    struct rlt_fence *fence = flush();
    world_cut(1);
    world_assert_sent(0, "SUB q g 16777218|PUB p 1|1|PING|");
    world_say(0, "PONG\r\n");
    cr_assert_eq(atomic_load(&fence->done), 0, "that was the PONG of the drain");
    world_say(0, "PONG\r\n");
    assert_flushed(fence, 0);
}

HandoverTest(flush_waits_for_messages_that_the_old_connection_does_not_send_any_more)
{
    move_to(RLT_HANDOVER_SETTLING);
    world.slots[0].stuck = true;
    world_publish("p", "1");
    world_publish("p", "2");
    struct rlt_fence *fence = flush();
    world_pass(SETTLE_NS);
    assert_phase(RLT_HANDOVER_DRAINING);
    world.slots[0].stuck = false;
    world_go();
    world_assert_sent(0, "PUB p 1|1|UNSUB 2|PING|");
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_pong(0);
    world_pass(CROSS_NS);
    cr_assert_eq(atomic_load(&fence->done), 0);
    world_assert_sent(1, "PUB p 1|2|PING|");
    world_pong(1);
    assert_flushed(fence, 0);
}

HandoverTest(flush_while_draining_fails_with_the_old_connection)
{
    move_to(RLT_HANDOVER_DRAINING);
    struct rlt_fence *fence = flush();
    world_cut(0);
    assert_flushed(fence, ROULETTE_EDISCONNECTED);
}

KeepingTest(unconfirmed_messages_are_sent_again_by_the_connection_that_takes_over)
{
    move_to(RLT_HANDOVER_SETTLING);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_publish("p", "1");
    world_publish("p", "2");
    world_pong(0);
    world_assert_sent(0, "PUB p 1|1|PING|PUB p 1|2|PING|");
    world_cut(0);
    assert_active(1);
    world_assert_sent(1, "PUB p 1|2|PING|");
    world_publish("p", "3");
    world_pong(1);
    world_assert_sent(1, "PUB p 1|3|PING|");
    world_pong(1);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.confirmed), 3);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.in_doubt), 0);
}

KeepingTest(messages_kept_while_draining_are_sent_once)
{
    move_to(RLT_HANDOVER_DRAINING);
    world_assert_sent(1, "SUB p 1|SUB q g 2|PING|");
    world_publish("p", "1");
    world_pong(0);
    world_assert_sent(1, "PUB p 1|1|PING|");
    world_pong(1);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.confirmed), 1);
}

/* The cluster is closed in the middle. A flush whose PING was sent fails with its connection. */
static void stop_in(enum rlt_handover_phase phase, int error)
{
    open_permanent();
    move_to(phase);
    world_publish("p", "1");
    struct rlt_fence *fence = flush();
    world_submit(&world.cluster->stop);
    cr_assert(rlt_cluster_is_stopped(world.cluster));
    assert_phase(RLT_HANDOVER_NONE);
    assert_flushed(fence, error);
    cr_assert_null(world.cluster->paths[0].handover.merge.overlap.entries);
    cr_assert_not(world.slots[0].open || world.slots[1].open);
    world_assert_told("p-ended q-ended ");
    world_close();
}

Test(handover, close_is_possible_in_each_phase)
{
    stop_in(RLT_HANDOVER_CONNECTING, ROULETTE_EDISCONNECTED);
    stop_in(RLT_HANDOVER_RECORDING, ROULETTE_EDISCONNECTED);
    stop_in(RLT_HANDOVER_FENCING, ROULETTE_EDISCONNECTED);
    stop_in(RLT_HANDOVER_SETTLING, ROULETTE_EDISCONNECTED);
    stop_in(RLT_HANDOVER_DRAINING, ROULETTE_ECLOSED);
}

/* ---- A pool ------------------------------------------------------------------------------- */

Test(handover, connections_of_a_pool_move_by_themselves)
{
    open_cluster(2, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
    struct world_member *other = world_subscribe("o", "o", NULL, 1);
    world_assert_sent(1, "SUB o 3|");
    move(0, 2);
    world_assert_sent(2, "SUB p 1|SUB q g 2|PING|");
    world_assert_sent(1, "");
    cr_assert_eq(world.cluster->paths[1].active->slot, 1);
    world_message(1, other, "1");
    world_message(2, plain, "2");
    world_say(1, WORLD_LAME_DUCK);
    world_pass(JITTER_NS);
    world_accept(3);
    world_pong(1);
    world_pass(RECORD_NS);
    world_assert_sent(3, "SUB o 3|PING|");
    world_cut(2);
    cr_assert_eq(world.cluster->paths[1].handover.phase, RLT_HANDOVER_FENCING);
    world_message(1, other, "3");
    world_message(3, other, "3");
    world_assert_told("o:1 p:2 p-lost q-lost o:3 ");
    world_close();
}
