/* SPDX-License-Identifier: MIT */
/*
 * Who is told why a client is not let in, and how often.
 */
#include "core/delivery/refused_login.h"

#include "base/defs.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

#define WRONG WORLD_INFO "-ERR 'Authorization Violation'\r\n"
#define FULL  WORLD_INFO "-ERR 'maximum connections exceeded'\r\n"

static void set_up(void)
{
    world_open(1, ROULETTE_RESTART_TEMPORARY, ROULETTE_AT_MOST_ONCE);
}

#define RefusedTest(name) Test(refused_login, name, .init = set_up, .fini = world_close)

/* The next attempt to connect reaches a server, which says something. */
static void answer(const char *text)
{
    world_pass(10 * RLT_NS_PER_S);
    cr_assert(world.slots[0].open);
    world_say(0, text);
}

RefusedTest(each_reason_is_told_once_until_a_connection_succeeds)
{
    (void)world_subscribe("p", "p", NULL, 0);
    world_cut(0);
    world_assert_told("p-ended ");
    for (int round = 0; round < 2; round++) {
        answer(WRONG);
        world_assert_told("refused-15 ");
        answer(WRONG);
        world_assert_told("");
        answer(FULL);
        world_assert_told("refused-17 ");
        answer(WRONG);
        answer(FULL);
        world_assert_told("");
        answer(WORLD_INFO "PONG\r\n");
        world_cut(0);
        world_assert_told("");
    }
}

RefusedTest(silence_is_no_reason)
{
    (void)world_subscribe("p", "p", NULL, 0);
    world_cut(0);
    world_assert_told("p-ended ");
    world_pass(10 * RLT_NS_PER_S);
    world_cut(0); /* before INFO */
    world_pass(10 * RLT_NS_PER_S);
    world_say(0, WORLD_INFO);
    world_cut(0); /* before PONG */
    world.slots[0].refuse = true;
    world_pass(60 * RLT_NS_PER_S);
    world.slots[0].refuse = false;
    world_assert_told("");
    answer(WRONG);
    world_assert_told("refused-15 ");
}

RefusedTest(mailbox_that_never_subscribed_or_has_left_is_not_told)
{
    world_cut(0);
    answer(WRONG);
    world_assert_told("");
    struct world_member *member = world_subscribe("p", "p", NULL, 0);
    answer(WRONG);
    world_assert_told("refused-15 ");
    world_ask(member, RLT_ASK_UNSUBSCRIBE);
    world_assert_told("p-removed ");
    answer(FULL);
    world_assert_told("refused-17 "); /* it may subscribe again */
    world_submit(&world.mailbox.leave);
    answer(WORLD_INFO "PONG\r\n");
    world_cut(0);
    answer(WRONG);
    world_assert_told("");
}

/* The server that is left still carries everything. */
RefusedTest(second_connection_of_a_lame_duck_is_not_told)
{
    (void)world_subscribe("p", "p", NULL, 0);
    world_say(0, WORLD_LAME_DUCK);
    world_pass(RLT_NS_PER_S);
    cr_assert(world.slots[1].open);
    world_say(1, WRONG);
    world_pass(10 * RLT_NS_PER_S);
    world_assert_told("");
    world_say(1, WORLD_INFO);
    world_accept(1);
}
