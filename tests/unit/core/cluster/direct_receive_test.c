/* SPDX-License-Identifier: MIT */
#include "core/cluster/direct_receive.h"

#include <string.h>

#include "base/defs.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

static struct world_member *m; /* whose messages come now and then */

/* The subscriber of the mailbox waits, as it does in roulette_receive(). */
static void wait_for_messages(void)
{
    rlt_mailbox_note_awaited(&world.mailbox);
}

/* Messages as far apart that they count as now and then. */
static void come_now_and_then(uint32_t slot, const struct world_member *member, int count)
{
    for (int i = 0; i < count; i++) {
        world.now_ns += RLT_NS_PER_MS;
        world_message(slot, member, "x");
    }
    world_ignore_told();
}

static bool is_watched(uint32_t slot)
{
    struct world_slot *it = &world.slots[slot];
    cr_assert_eq(it->watched, rlt_cluster_connection(world.cluster, slot)->watched);
    cr_assert(!it->open || it->closing || it->watched != it->receiving);
    return it->watched;
}

static void open_unwatched(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
    m = world_subscribe("m", "m", NULL, 0);
    wait_for_messages();
}

static void open_watched(void)
{
    open_unwatched();
    come_now_and_then(0, m, 4);
    cr_assert(is_watched(0));
    world_assert_sent(0, "SUB m 1|");
}

#define UnwatchedTest(name) Test(direct_receive, name, .init = open_unwatched, .fini = world_close)
#define WatchedTest(name)   Test(direct_receive, name, .init = open_watched, .fini = world_close)

static enum rlt_receipt subscriber(void)
{
    return rlt_direct_receive(world.cluster, &world.mailbox);
}

static uint64_t direct_receives(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.direct_receives);
}

/* ---- When a connection is watched --------------------------------------------------------- */

UnwatchedTest(connection_is_watched_once_messages_come_now_and_then)
{
    come_now_and_then(0, m, 3);
    cr_assert_not(is_watched(0));
    cr_assert_not(rlt_direct_receive_is_for(world.cluster, &world.mailbox));
    come_now_and_then(0, m, 1);
    cr_assert(is_watched(0));
    cr_assert(rlt_direct_receive_is_for(world.cluster, &world.mailbox));
}

UnwatchedTest(burst_begins_the_count_anew)
{
    come_now_and_then(0, m, 3);
    world_message(0, m, "just behind");
    come_now_and_then(0, m, 3);
    cr_assert_not(is_watched(0));
    come_now_and_then(0, m, 1);
    cr_assert(is_watched(0));
}

UnwatchedTest(many_bytes_begin_the_count_anew)
{
    static char body[4097];
    memset(body, 'x', sizeof(body) - 1);
    come_now_and_then(0, m, 3);
    world.now_ns += RLT_NS_PER_MS;
    world_message(0, m, body);
    come_now_and_then(0, m, 3);
    cr_assert_not(is_watched(0));
}

UnwatchedTest(subscriber_that_does_not_wait_is_not_counted_on)
{
    rlt_mailbox_forget_awaited(&world.mailbox);
    come_now_and_then(0, m, 10);
    cr_assert_not(is_watched(0));
    wait_for_messages();
    come_now_and_then(0, m, 1);
    cr_assert(is_watched(0));
}

UnwatchedTest(spinning_threads_need_it_not)
{
    world.config.spin_ns = 1000;
    come_now_and_then(0, m, 10);
    cr_assert_not(is_watched(0));
}

UnwatchedTest(transport_may_refuse)
{
    world.slots[0].no_watch = true;
    come_now_and_then(0, m, 10);
    cr_assert_not(is_watched(0));
}

/* A mailbox of another subscriber, with one member. */
struct other {
    struct rlt_mailbox mailbox;
    struct rlt_doorbell doorbell;
    struct rlt_subscription *subscription;
};

static void subscribe_other(struct other *other)
{
    struct rlt_mailbox_options options = {
        .ring_slots = 16,
        .slab_bytes = world.config.slab_bytes,
        .slab_indexes = world.config.slab_count,
        .pinned_max = world.config.slab_count,
        .doorbell = &other->doorbell,
    };
    cr_assert_eq(rlt_mailbox_init(&other->mailbox, &options), 0);
    other->subscription = rlt_subscription_create("o", 1, NULL, 0, 1, 0);
    other->subscription->members[0].mailbox = &other->mailbox;
    (void)rlt_cluster_ask(world.cluster, &other->subscription->members[0], RLT_ASK_SUBSCRIBE);
    world_go();
}

static void end_other(struct other *other)
{
    (void)rlt_cluster_ask(world.cluster, &other->subscription->members[0], RLT_ASK_UNSUBSCRIBE);
    world_go();
    rlt_subscription_release(other->subscription);
    rlt_mailbox_fini(&other->mailbox);
}

WatchedTest(it_is_for_one_subscriber_alone)
{
    static struct other other;
    subscribe_other(&other);
    cr_assert_not(is_watched(0));
    cr_assert_not(rlt_direct_receive_is_for(world.cluster, &world.mailbox));
    wait_for_messages();
    come_now_and_then(0, m, 10);
    cr_assert_not(is_watched(0));
    end_other(&other);
    come_now_and_then(0, m, 1);
    cr_assert(is_watched(0));
}

WatchedTest(other_subscriber_takes_nothing)
{
    static struct rlt_mailbox other;
    world_sleep();
    world_arrive_message(0, m, "1");
    cr_assert_eq(rlt_direct_receive(world.cluster, &other), RLT_RECEIPT_LEFT);
    cr_assert_eq(subscriber(), RLT_RECEIPT_DONE);
    world_assert_told("m:1 ");
    world_awake();
}

WatchedTest(end_of_the_last_subscription_ends_it)
{
    world_ask(m, RLT_ASK_UNSUBSCRIBE);
    cr_assert_not(is_watched(0));
    world_assert_told("m-removed ");
}

WatchedTest(subscription_leaves_it_watched)
{
    struct world_member *n = world_subscribe("n", "n", NULL, 0);
    cr_assert(is_watched(0));
    world_sleep();
    world_arrive_message(0, n, "1");
    cr_assert_eq(subscriber(), RLT_RECEIPT_DONE);
    world_assert_told("n:1 ");
    world_awake();
}

WatchedTest(refusal_of_a_subscription_is_for_the_event_thread)
{
    (void)world_subscribe("n", "n", NULL, 0);
    (void)world_subscribe("o", "o", NULL, 0);
    world_sleep();
    world_arrive(0, "-ERR 'Invalid Subject'\r\n");
    cr_assert_eq(subscriber(), RLT_RECEIPT_WAKE);
    world_awake();
    world_pong(0);
    world_assert_sent(0, "SUB n 2|SUB o 3|PING|SUB m 1|PING|SUB n 2|PING|SUB o 3|PING|");
    world_say(0, "PONG\r\nPONG\r\n-ERR 'Invalid Subject'\r\nPONG\r\n");
    world_assert_told("o-ended ");
}

WatchedTest(ping_of_ours_is_answered_to_the_event_thread)
{
    world.cluster->paths[0].active->sender.ping_due = true;
    world_go();
    world_assert_sent(0, "PING|");
    cr_assert_not(is_watched(0));
    wait_for_messages();
    world_pong(0);
    come_now_and_then(0, m, 4);
    cr_assert(is_watched(0));
}

WatchedTest(handover_ends_it)
{
    world_sleep();
    world_arrive(0, WORLD_LAME_DUCK);
    cr_assert_eq(subscriber(), RLT_RECEIPT_WAKE);
    world_awake();
    cr_assert_neq(world.cluster->paths[0].handover.phase, RLT_HANDOVER_NONE);
    cr_assert_not(is_watched(0));
}

/* ---- What a subscriber receives ----------------------------------------------------------- */

WatchedTest(subscriber_receives_while_the_event_thread_sleeps)
{
    world_sleep();
    world_arrive_message(0, m, "1");
    world_arrive_message(0, m, "2");
    cr_assert_eq(subscriber(), RLT_RECEIPT_DONE);
    world_assert_told("m:1 m:2 ");
    cr_assert_eq(subscriber(), RLT_RECEIPT_DONE, "there is nothing");
    world_awake();
    world_assert_told("");
    cr_assert_eq(direct_receives(), 1);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.receives), 1 + 1 + 4 + 1,
                 "INFO, PONG, 4, and that");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.delivered_messages), 6);
}

WatchedTest(awake_event_thread_keeps_it_for_itself)
{
    world_arrive_message(0, m, "1");
    cr_assert_eq(subscriber(), RLT_RECEIPT_LEFT);
    world_assert_told("");
    world_go();
    world_assert_told("m:1 ");
    cr_assert_eq(direct_receives(), 0);
}

WatchedTest(attended_connection_does_not_wake_the_event_thread)
{
    world.attended = true;
    world_arrive_message(0, m, "1");
    world_go();
    world_assert_told("");
    world.attended = false;
    world_go();
    world_assert_told("m:1 ");
}

WatchedTest(connection_that_nobody_attends_is_received_by_the_event_thread_again)
{
    for (int i = 0; i < 8; i++) {
        world_arrive_message(0, m, "1");
        world_go();
        world_assert_told("m:1 ");
        cr_assert(is_watched(0));
    }
    world_sleep();
    world_arrive_message(0, m, "2");
    cr_assert_eq(subscriber(), RLT_RECEIPT_DONE);
    world_awake();
    for (int i = 0; i < 8; i++) {
        world_arrive_message(0, m, "3");
        world_go();
        cr_assert(is_watched(0), "the subscriber was there meanwhile");
    }
    world_arrive_message(0, m, "4");
    world_go();
    cr_assert_not(is_watched(0));
    world_assert_told("m:2 m:3 m:3 m:3 m:3 m:3 m:3 m:3 m:3 m:4 ");
}

/* Of a burst the subscriber takes no more than the event thread can wait for. */
WatchedTest(burst_ends_it)
{
    static char body[16384 - 17 + 1]; /* one frame, of all that a subscriber takes */
    memset(body, 'x', sizeof(body) - 1);
    world_sleep();
    world_arrive_message(0, m, body);
    world_arrive_message(0, m, "2");
    cr_assert_eq(subscriber(), RLT_RECEIPT_LEFT);
    world_assert_told("m:xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx ");
    cr_assert_eq(direct_receives(), 1);
    world_awake();
    cr_assert_not(is_watched(0));
    world_assert_told("m:2 ");
}

WatchedTest(watch_that_fails_is_given_up)
{
    struct rlt_io_event event = {.kind = RLT_IO_READABLE, .error = ROULETTE_ESYSTEM};
    world_arrive_message(0, m, "1");
    rlt_cluster_on_event(world.cluster, &event, world.now_ns);
    world_assert_told("");
    world_go();
    cr_assert_not(is_watched(0));
    world_assert_told("m:1 ");
}

WatchedTest(slabs_in_use_are_told)
{
    world_sleep();
    world_arrive_message(0, m, "1");
    rlt_counter_set(&world.cluster->env.metrics.slabs_in_use, 99);
    cr_assert_eq(subscriber(), RLT_RECEIPT_DONE);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.slabs_in_use), 1);
    world_awake();
    world_ignore_told();
}

/* What follows is for another subscriber, although one of the first still attends. */
WatchedTest(mailbox_that_ends_is_forgotten_at_once)
{
    (void)rlt_cluster_ask(world.cluster, m->member, RLT_ASK_UNSUBSCRIBE);
    rlt_cluster_step(world.cluster, world.now_ns);
    cr_assert_not(rlt_direct_receive_is_for(world.cluster, &world.mailbox));
    world_go();
    world_assert_told("m-removed ");
}

/* ---- What it leaves ----------------------------------------------------------------------- */

WatchedTest(operation_of_the_server_is_left_to_the_event_thread)
{
    world_sleep();
    world_arrive_message(0, m, "1");
    world_arrive(0, "PING\r\n");
    world_arrive_message(0, m, "2");
    cr_assert_eq(subscriber(), RLT_RECEIPT_WAKE);
    world_assert_told("m:1 ");
    cr_assert_eq(subscriber(), RLT_RECEIPT_LEFT, "the event thread is on its way");
    world_assert_sent(0, "");
    world_awake();
    world_assert_told("m:2 ");
    world_assert_sent(0, "PONG|");
    cr_assert(is_watched(0));
}

WatchedTest(cut_frame_is_left_to_the_event_thread)
{
    world_sleep();
    world_arrive(0, "MSG m 1 2\r\nx");
    cr_assert_eq(subscriber(), RLT_RECEIPT_WAKE);
    world_awake();
    cr_assert_not(is_watched(0));
    world_say(0, "y\r\n");
    world_assert_told("m:xy ");
}

WatchedTest(bad_bytes_are_left_to_the_event_thread)
{
    world_sleep();
    world_arrive(0, "nonsense\r\n");
    cr_assert_eq(subscriber(), RLT_RECEIPT_WAKE);
    world_awake();
    cr_assert_not(is_watched(0));
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.protocol_errors), 1);
    world_assert_told("m-lost ");
}

WatchedTest(end_of_the_stream_is_left_to_the_event_thread)
{
    world_sleep();
    world.slots[0].over = true;
    cr_assert_eq(subscriber(), RLT_RECEIPT_LEFT);
    world_awake();
    cr_assert_not(is_watched(0));
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.disconnects), 1);
    world_assert_told("m-lost ");
    world_pass(RLT_NS_PER_S);
    world_accept(0);
    world_assert_sent(0, "SUB m 1|");
    world_assert_told("m-restored ");
}

WatchedTest(unknown_subscription_is_counted)
{
    world_sleep();
    world_arrive(0, "MSG z 99 1\r\nx\r\n");
    cr_assert_eq(subscriber(), RLT_RECEIPT_DONE);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.unknown_sid), 1);
    world_awake();
}

/* ---- The loan ----------------------------------------------------------------------------- */

WatchedTest(event_thread_waits_for_the_subscriber)
{
    struct rlt_loan *loan = &world.cluster->receiving;
    world_sleep();
    cr_assert_eq(rlt_loan_borrow(loan), RLT_LOAN_LENT);
    cr_assert_not(rlt_loan_recall(loan));
    cr_assert_eq(subscriber(), RLT_RECEIPT_LEFT, "it is borrowed");
    cr_assert_not(rlt_loan_give_back(loan));
    world_awake();
}

WatchedTest(nothing_is_lent_unless_something_is_watched)
{
    world_ask(m, RLT_ASK_UNSUBSCRIBE);
    world_ignore_told();
    world_sleep();
    cr_assert_eq(rlt_loan_borrow(&world.cluster->receiving), RLT_LOAN_HOME);
    world_awake();
}

WatchedTest(sending_side_may_be_lent_at_the_same_time)
{
    world_sleep();
    cr_assert_eq(rlt_loan_borrow(&world.cluster->paths[0].loan), RLT_LOAN_LENT);
    world_arrive(0, "PING\r\n");
    cr_assert_eq(subscriber(), RLT_RECEIPT_WAKE);
    cr_assert(rlt_loan_recall(&world.cluster->receiving));
    rlt_cluster_awake(world.cluster, world.now_ns);
    cr_assert_not(rlt_loan_give_back(&world.cluster->paths[0].loan));
    world_awake();
    world_assert_sent(0, "PONG|");
}

/* Two connections, of which one has all the messages. */
static void open_two(void)
{
    world_open(2, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
    m = world_subscribe("m", "m", NULL, 1);
    wait_for_messages();
    come_now_and_then(1, m, 4);
}

Test(direct_receive, each_connection_is_watched_by_itself, .init = open_two, .fini = world_close)
{
    cr_assert_not(is_watched(0));
    cr_assert(is_watched(1));
    world_sleep();
    world_arrive_message(1, m, "1");
    cr_assert_eq(subscriber(), RLT_RECEIPT_DONE);
    world_assert_told("m:1 ");
    world_awake();
    world_say(0, "PING\r\n");
    cr_assert(is_watched(1));
    world_cut(0);
    world_assert_told("");
    cr_assert(is_watched(1));
}

WatchedTest(stuck_send_of_a_watched_connection_is_given_up)
{
    world.slots[0].stuck = true;
    world_publish("t", "x");
    cr_assert(is_watched(0));
    world_pass(3 * 3600 * RLT_NS_PER_S);
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.lost_by_ping), 1);
}
