/* SPDX-License-Identifier: MIT */
/*
 * A server that closes without a word for one message or subscription. What servers say of it is
 * tried in integration/poison_test.c.
 */
#include "core/sending/suspect.h"

#include <stdio.h>
#include <string.h>

#include "base/defs.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

enum { MESSAGES = 60, CLOSES_MAX = 16 };

static void open_keeping(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_LEAST_ONCE);
}

static void open_plain(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
}

#define KeepingTest(name) Test(suspect, name, .init = open_keeping, .fini = world_close)
#define PlainTest(name)   Test(suspect, name, .init = open_plain, .fini = world_close)

static uint64_t failed(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.failed);
}

/* What a server closes for without a word may have been processed by it: what is given up so. */
static uint64_t in_doubt(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.in_doubt);
}

static uint64_t confirmed(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.confirmed);
}

static uint64_t closes(void)
{
    return rlt_counter_get(&world.cluster->env.metrics.disconnects);
}

/* The server reads what was sent, and closes at `line`. Returns: whether there was anything. */
static bool serve(const char *line)
{
    struct world_slot *slot = &world.slots[0];
    if (!slot->open) {
        world_pass(10 * RLT_NS_PER_MS);
        if (slot->open) {
            world_accept(0);
        }
        return true;
    }
    bool poisoned = strstr(slot->sent, line) != NULL;
    bool any = slot->sent_len != 0;
    memset(slot->sent, 0, slot->sent_len);
    slot->sent_len = 0;
    if (poisoned) {
        world_cut(0);
    } else if (slot->pings != 0) {
        world_pong(0);
    }
    return any || poisoned;
}

static void serve_until_quiet(const char *line)
{
    for (int i = 0; serve(line); i++) {
        cr_assert(i < 5000, "%lu closed", closes());
    }
}

static void put_messages(const char *poison)
{
    for (int i = 0; i < MESSAGES; i++) {
        world_put("good", "x");
        if (i == MESSAGES / 3) {
            world_put(poison, "y");
        }
    }
    world_go();
}

KeepingTest(message_is_found_without_a_word)
{
    put_messages("bad");
    serve_until_quiet("PUB bad ");
    cr_assert_eq(confirmed(), MESSAGES);
    cr_assert_eq(failed(), 0);
    cr_assert_eq(in_doubt(), 1);
    cr_assert_leq(closes(), CLOSES_MAX, "%lu", closes());
    world_publish("good", "z");
    serve_until_quiet("PUB bad ");
    cr_assert_eq(confirmed(), MESSAGES + 1);
}

KeepingTest(two_messages_are_found_one_after_the_other)
{
    put_messages("bad");
    put_messages("bad");
    serve_until_quiet("PUB bad ");
    cr_assert_eq(confirmed(), 2 * MESSAGES);
    cr_assert_eq(in_doubt(), 2);
    cr_assert_leq(closes(), 2 * CLOSES_MAX, "%lu", closes());
}

KeepingTest(message_alone_is_found)
{
    world_publish("bad", "y");
    serve_until_quiet("PUB bad ");
    cr_assert_eq(in_doubt(), 1);
    cr_assert_leq(closes(), CLOSES_MAX);
}

/* The server ends twice in a row, and then takes all. */
KeepingTest(nothing_is_given_up_for_a_server_that_only_ended)
{
    put_messages("good");
    for (int i = 0; i < 4; i++) {
        world_cut(0);
        world_pass(RLT_NS_PER_S / 2);
        world_accept(0);
    }
    serve_until_quiet("nothing");
    cr_assert_eq(confirmed(), MESSAGES + 1);
    cr_assert_eq(failed() + in_doubt(), 0);
}

KeepingTest(message_whose_frame_was_sent_in_part_is_found)
{
    world.slots[0].stuck = true;
    for (int i = 0; i < 20 && in_doubt() == 0; i++) {
        if (i == 0) {
            world_publish("bad", "y");
        }
        world_cut(0);
        world_pass(RLT_NS_PER_S);
        world.slots[0].stuck = false;
        world_accept(0);
        memset(world.slots[0].sent, 0, world.slots[0].sent_len);
        world.slots[0].sent_len = 0;
    }
    cr_assert_eq(in_doubt(), 1);
}

PlainTest(subscription_is_found_without_a_word)
{
    static char names[20][2];
    struct world_member *members[20];
    for (int i = 0; i < 20; i++) {
        names[i][0] = (char)('a' + i);
        members[i] = world_subscribe(names[i], names[i], NULL, 0);
    }
    world_ignore_told();
    serve_until_quiet("SUB k ");
    cr_assert_leq(closes(), CLOSES_MAX, "%lu", closes());
    for (int i = 0; i < 20; i++) {
        bool is_bad = names[i][0] == 'k';
        const struct rlt_interest *interest =
            rlt_interests_of(&world.cluster->exchange.interests, members[i]->member);
        cr_assert_eq(interest != NULL && interest->on_server, !is_bad, "%s", names[i]);
    }
    world_ignore_told();
    world_publish("p", "1");
    serve_until_quiet("SUB k ");
    cr_assert_eq(rlt_counter_get(&world.cluster->env.metrics.in_doubt), 0);
}
