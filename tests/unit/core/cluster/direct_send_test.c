/* SPDX-License-Identifier: MIT */
#include "core/cluster/direct_send.h"

#include <string.h>

#include "base/defs.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

#define LONG_AGO RLT_NS_PER_S

static void connect_world(enum roulette_guarantee guarantee)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, guarantee);
    world_assert_sent(0, "");
    world.now_ns += LONG_AGO;
}

static void open_it(void)
{
    connect_world(ROULETTE_AT_MOST_ONCE);
}

#define DirectTest(name) Test(direct_send, name, .init = open_it, .fini = world_close)

static enum rlt_direct_result publisher(void)
{
    return rlt_direct_send(world.cluster, 0, world.now_ns);
}

static struct roulette_ledger ledger(void)
{
    struct roulette_ledger ledger;
    rlt_cluster_ledger(world.cluster, false, &ledger);
    return ledger;
}

static uint64_t direct_sends(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.direct_sends);
}

/* Somebody flushes: the PING that follows confirms all that was sent. */
static void confirm(void)
{
    world.cluster->paths[0].active->sender.ping_due = true;
    world_go();
    world_pong(0);
}

DirectTest(publisher_sends_while_the_event_thread_sleeps)
{
    world_sleep();
    world_put("a", "1");
    cr_assert_eq(publisher(), RLT_DIRECT_DONE);
    world_assert_sent(0, "PUB a 1|1|");
    cr_assert_eq(direct_sends(), 1);
    world_awake();
    world_assert_sent(0, "");
    confirm();
    world_assert_sent(0, "PING|");
    cr_assert_eq(ledger().confirmed, 1);
}

DirectTest(awake_event_thread_sends_itself)
{
    world_put("a", "1");
    cr_assert_eq(publisher(), RLT_DIRECT_KNOCK);
    world_assert_sent(0, "");
    world_go();
    world_assert_sent(0, "PUB a 1|1|");
    cr_assert_eq(direct_sends(), 0);
}

DirectTest(burst_is_left_to_the_event_thread)
{
    world_sleep();
    world_put("a", "1");
    cr_assert_eq(publisher(), RLT_DIRECT_DONE);
    world.now_ns += 5000;
    world_put("a", "2");
    cr_assert_eq(publisher(), RLT_DIRECT_KNOCK);
    world_assert_sent(0, "PUB a 1|1|");
    world_awake();
    world_assert_sent(0, "PUB a 1|2|");
    world_sleep();
    world.now_ns += 5000;
    world_put("a", "3");
    cr_assert_eq(publisher(), RLT_DIRECT_KNOCK, "the event thread has just sent");
    world.now_ns += LONG_AGO;
    cr_assert_eq(publisher(), RLT_DIRECT_DONE);
    world_assert_sent(0, "PUB a 1|3|");
    world_awake();
}

DirectTest(many_bytes_are_left_to_the_event_thread)
{
    static char payload[20001];
    memset(payload, 'x', sizeof(payload) - 1);
    world_sleep();
    world_put("a", payload);
    world_put("a", payload);
    cr_assert_eq(publisher(), RLT_DIRECT_KNOCK);
    cr_assert_lt(world.slots[0].sent_len, 40000);
    world_awake();
    cr_assert_gt(world.slots[0].sent_len, 40000);
}

DirectTest(message_above_the_limit_is_left_to_the_event_thread_which_gives_it_up)
{
    world_say(0, "INFO {\"max_payload\":4}\r\n");
    world_sleep();
    world_put("a", "too large");
    cr_assert_eq(publisher(), RLT_DIRECT_KNOCK);
    world_awake();
    world_assert_sent(0, "");
    cr_assert_eq(ledger().failed, 1);
}

DirectTest(event_thread_goes_on_where_the_kernel_took_no_more)
{
    world.slots[0].room = 7;
    world_sleep();
    world_put("a", "1");
    world_put("a", "2");
    cr_assert_eq(publisher(), RLT_DIRECT_WAKE);
    world_assert_sent(0, "PUB a 1");
    cr_assert_eq(publisher(), RLT_DIRECT_KNOCK, "it is not lent any more");
    world_awake();
    world_assert_sent(0, "|1|PUB a 1|2|");
    confirm();
    cr_assert_eq(ledger().confirmed, 2);
}

DirectTest(message_overtakes_no_subscription_of_its_thread)
{
    struct rlt_command command = {.kind = RLT_COMMAND_FENCE};
    world_sleep();
    (void)rlt_stack_push(&world.cluster->commands, &command.node);
    world_put("a", "1");
    cr_assert_eq(publisher(), RLT_DIRECT_KNOCK);
    world_assert_sent(0, "");
    cr_assert_eq(rlt_stack_take(&world.cluster->commands), &command.node);
    world_awake();
    world_assert_sent(0, "PUB a 1|1|");
}

/* As above, where the event thread has just taken the command. */
DirectTest(nothing_is_sent_once_the_loan_is_recalled)
{
    enum rlt_direct_result result;
    world_sleep();
    world_put("a", "1");
    cr_assert_eq(rlt_loan_borrow(&world.cluster->paths[0].loan), RLT_LOAN_LENT);
    cr_assert_not(rlt_direct_send_begin(world.cluster, 0, world.now_ns, &result));
    cr_assert_eq(result, RLT_DIRECT_DONE, "the other borrower will look");
    rlt_cluster_awake(world.cluster, world.now_ns);
    cr_assert_not(rlt_loan_give_back(&world.cluster->paths[0].loan));
    world_awake();
    world_assert_sent(0, "PUB a 1|1|");
}

/* Begin a direct send, and leave it open. */
static void borrow(void)
{
    enum rlt_direct_result result;
    world_sleep();
    world_put("a", "1");
    cr_assert(rlt_direct_send_begin(world.cluster, 0, world.now_ns, &result));
}

DirectTest(what_is_put_meanwhile_is_seen)
{
    borrow();
    world_put("a", "2");
    cr_assert_eq(publisher(), RLT_DIRECT_DONE, "left to the first");
    cr_assert_eq(rlt_direct_send_end(world.cluster, 0, strlen("PUB a 1\r\n1\r\n")),
                 RLT_DIRECT_KNOCK);
    world_awake();
    world_assert_sent(0, "PUB a 1|2|");
}

DirectTest(event_thread_serves_all_but_sends_meanwhile)
{
    borrow();
    struct world_member *member = world_subscribe("m", "m", NULL, 0);
    world_say(0, "PING\r\n");
    world_assert_sent(0, "");
    cr_assert_eq(rlt_direct_send_end(world.cluster, 0, strlen("PUB a 1\r\n1\r\n")),
                 RLT_DIRECT_WAKE);
    world_awake();
    world_assert_sent(0, "PONG|SUB m 1|");
    world_message(0, member, "x");
    world_assert_told("m:x ");
}

DirectTest(closing_waits_for_the_borrower)
{
    borrow();
    world_cut(0);
    cr_assert_not(world.slots[0].closing);
    cr_assert(world.slots[0].open);
    cr_assert_eq(rlt_direct_send_end(world.cluster, 0, 0), RLT_DIRECT_WAKE);
    world_awake();
    cr_assert_not(world.slots[0].open);
    cr_assert_eq(ledger().in_doubt, 0, "the kernel took nothing");
    world_pass(RLT_NS_PER_S);
    world_accept(0);
    world_assert_sent(0, "PUB a 1|1|");
    cr_assert_eq(ledger().accepted, 1);
}

DirectTest(handover_waits_for_the_borrower)
{
    borrow();
    world_say(0, WORLD_LAME_DUCK);
    cr_assert_eq(world.cluster->paths[0].handover.phase, RLT_HANDOVER_NONE);
    cr_assert_eq(rlt_direct_send_end(world.cluster, 0, strlen("PUB a 1\r\n1\r\n")),
                 RLT_DIRECT_WAKE);
    world_awake();
    cr_assert_neq(world.cluster->paths[0].handover.phase, RLT_HANDOVER_NONE);
    world_sleep();
    world_put("a", "2");
    cr_assert_eq(publisher(), RLT_DIRECT_KNOCK, "nothing is lent during a handover");
    world_awake();
}

Test(direct_send, at_least_once_is_left_to_the_event_thread, .fini = world_close)
{
    connect_world(ROULETTE_AT_LEAST_ONCE);
    world_sleep();
    world_put("a", "1");
    cr_assert_eq(publisher(), RLT_DIRECT_KNOCK);
    world_awake();
    world_assert_sent(0, "PUB a 1|1|PING|");
}
