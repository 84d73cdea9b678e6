/* SPDX-License-Identifier: MIT */
/*
 * What a server is told of a limit, and what becomes of what comes all the same.
 */
#include "core/delivery/quota.h"

#include <stdio.h>

#include "base/defs.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

static struct world_member *member;

static void set_up(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
    member = world_subscribe_limited("q", "q", 5);
    world_assert_sent(0, "SUB q g 1|UNSUB 1 5|");
}

#define QuotaTest(name) Test(quota, name, .init = set_up, .fini = world_close)

/* `bodies` are characters, one for each message. */
static void say(uint32_t slot, const char *bodies)
{
    char text[2] = {0};
    for (; *bodies != '\0'; bodies++) {
        text[0] = *bodies;
        world_message(slot, member, text);
    }
}

static uint64_t excess(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.dropped_limit);
}

static uint64_t on_server(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.subscriptions);
}

QuotaTest(used_up_subscription_is_left_and_not_made_again)
{
    say(0, "abcd");
    world_assert_sent(0, "");
    cr_assert_eq(on_server(), 1);
    say(0, "e");
    world_assert_told("q:a q:b q:c q:d q:e ");
    world_assert_sent(0, "UNSUB 1|"); /* it does no harm if the server has forgotten it */
    cr_assert_eq(on_server(), 0);
    world_cut(0);
    world_pass(RLT_NS_PER_S);
    world_accept(0);
    world_assert_sent(0, "");
    world_assert_told("");
    world_ask(member, RLT_ASK_UNSUBSCRIBE);
    world_assert_told("q-removed ");
    cr_assert_eq(world.cluster->exchange.counted, 0);
}

QuotaTest(limit_is_restated_on_the_next_connection_less_what_came)
{
    say(0, "ab");
    world_cut(0);
    world_pass(RLT_NS_PER_S);
    world_accept(0);
    world_assert_sent(0, "SUB q g 1|UNSUB 1 3|");
    world_assert_told("q:a q:b q-lost q-restored ");
    say(0, "cde");
    world_assert_sent(0, "UNSUB 1|");
    world_assert_told("q:c q:d q:e ");
}

QuotaTest(server_that_sends_more_is_told_and_counted)
{
    say(0, "abcdefg");
    world_assert_told("q:a q:b q:c q:d q:e ");
    cr_assert_eq(excess(), 2);
    /* And of equal messages, which are one run. */
    world_ask(member, RLT_ASK_UNSUBSCRIBE);
    world_assert_told("dropped:2 q-removed ");
    member = world_subscribe_limited("r", "r", 5);
    char runs[512];
    int len = 0;
    for (int i = 0; i < 8; i++) {
        len += snprintf(runs + len, sizeof(runs) - (size_t)len, "MSG r %llu 1\r\nx\r\n",
                        (unsigned long long)member->member->own.sid);
    }
    world_say(0, runs);
    world_assert_told("r:x r:x r:x r:x r:x ");
    cr_assert_eq(excess(), 5);
    cr_assert_eq(on_server(), 0);
}

/* What was dropped here the server has counted: it is asked for as many more. */
QuotaTest(full_ring_is_made_up_for)
{
    world_ask(member, RLT_ASK_UNSUBSCRIBE);
    world_ignore_told();
    world_assert_sent(0, "UNSUB 1|");
    uint64_t slots = world.mailbox.ring.capacity;
    member = world_subscribe_limited("s", "s", slots + 8);
    char line[64];
    (void)snprintf(line, sizeof(line), "PING|SUB s g 2|UNSUB 2 %llu|",
                   (unsigned long long)slots + 8);
    world_assert_sent(0, line);
    for (uint64_t i = 0; i < slots + 8; i++) {
        /* Different lengths: no runs. */
        world_message(0, member, i % 2 == 0 ? "x" : "yy");
    }
    uint64_t dropped = rlt_counter_get(&world.cluster->env.metrics.dropped_ring_full);
    cr_assert_eq(dropped, 9); /* a slot is left for the notice */
    world_assert_sent(0, "UNSUB 2|PING|SUB s g 2|UNSUB 2 9|");
    world_ignore_told();
    for (uint64_t i = 0; i < dropped; i++) {
        world_message(0, member, "z");
    }
    world_assert_sent(0, "UNSUB 2|");
    cr_assert_eq(excess(), 0);
    cr_assert_eq(on_server(), 0);
}

/* No server does that, but one that does decides nothing about another connection's SUB. */
Test(quota, message_on_another_path_ends_no_sub, .fini = world_close)
{
    world_open(2, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
    uint64_t slots = world.mailbox.ring.capacity;
    member = world_subscribe_limited("s", "s", slots + 8);
    char line[64];
    (void)snprintf(line, sizeof(line), "SUB s g 1|UNSUB 1 %llu|", (unsigned long long)slots + 8);
    world_assert_sent(0, line);
    for (uint64_t i = 0; i < slots + 8; i++) {
        world_message(1, member, i % 2 == 0 ? "x" : "yy");
    }
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.dropped_ring_full), 9);
    world_assert_sent(0, "");
    cr_assert_eq(on_server(), 1);
    world_ignore_told();
}

QuotaTest(members_without_a_limit_are_as_ever)
{
    struct world_member *other = world_subscribe("o", "o", "g", 0);
    world_assert_sent(0, "PING|SUB o g 2|");
    for (int i = 0; i < 10; i++) {
        world_message(0, other, "x");
    }
    world_assert_told("o:x o:x o:x o:x o:x o:x o:x o:x o:x o:x ");
    cr_assert_eq(world.cluster->exchange.counted, 1);
}

/* ---- A lame duck -------------------------------------------------------------------------- */

/* Up to where both connections are members. */
static void overlap(void)
{
    world_say(0, WORLD_LAME_DUCK);
    world_pass(RLT_NS_PER_S);
    world_accept(1);
    world_pong(0); /* it knows what is recorded */
    world_pass(RLT_NS_PER_S);
}

static void end_overlap(void)
{
    world_pong(1); /* of the SUB */
    world_pass(RLT_NS_PER_S / 2);
    world_pong(0); /* behind the last message for the group */
    cr_assert_eq(world.cluster->paths[0].active, rlt_cluster_connection(world.cluster, 1));
}

QuotaTest(second_connection_is_told_what_is_left)
{
    say(0, "ab");
    overlap();
    world_assert_sent(1, "SUB q g 1|UNSUB 1 3|PING|");
    say(0, "c");
    say(1, "d");
    end_overlap();
    world_assert_told("q:a q:b q:c q:d ");
    say(1, "e");
    world_assert_told("q:e ");
    cr_assert_eq(on_server(), 0);
    cr_assert_eq(excess(), 0);
}

QuotaTest(limit_reached_on_two_connections_is_not_exceeded)
{
    overlap();
    say(0, "abc");
    say(1, "de");
    world_assert_told("q:a q:b q:c q:d q:e ");
    say(0, "f");
    say(1, "gh");
    world_assert_told("");
    cr_assert_eq(excess(), 3);
    end_overlap();
    cr_assert_eq(on_server(), 0);
    world_assert_told("");
}
