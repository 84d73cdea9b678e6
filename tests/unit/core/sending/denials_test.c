/* SPDX-License-Identifier: MIT */
/*
 * With at_least_once a message that was refused is not sent again.
 */
#include "core/sending/denials.h"

#include <stdio.h>
#include <string.h>

#include "base/defs.h"
#include "roulette.h"
#include "unit/core/cluster/cluster_world.h"

static void open_it(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_LEAST_ONCE);
}

#define DenialsTest(name) Test(denials, name, .init = open_it, .fini = world_close)

static void require_ledger(uint64_t confirmed, uint64_t denied)
{
    struct roulette_ledger ledger;
    rlt_cluster_ledger(world.cluster, false, &ledger);
    cr_assert_eq(ledger.confirmed, confirmed);
    cr_assert_eq(ledger.denied, denied);
    cr_assert_eq(ledger.in_doubt + ledger.failed, 0);
}

static void refuse(const char *topic)
{
    char line[128];
    (void)snprintf(line, sizeof(line), "-ERR 'Permissions Violation for Publish to \"%s\"'\r\n",
                   topic);
    world_say(0, line);
}

static void reconnect(void)
{
    world_cut(0);
    world_pass(RLT_NS_PER_S);
    world_assert_sent(0, "");
    world_accept(0);
}

/* Several messages in one batch. */
static void publish_all(const char *topics)
{
    for (; *topics != '\0'; topics++) {
        world_put((const char[]){*topics, '\0'}, "1");
    }
    world_go();
}

DenialsTest(refused_message_is_not_sent_again)
{
    publish_all("abc");
    world_assert_sent(0, "PUB a 1|1|PUB b 1|1|PUB c 1|1|PING|");
    refuse("b");
    require_ledger(0, 0);
    reconnect();
    require_ledger(0, 1);
    world_assert_sent(0, "PUB a 1|1|PUB c 1|1|PING|");
    world_pong(0);
    require_ledger(2, 1);
    cr_assert_eq(rlt_wire_queue_bytes(&world.cluster->paths[0].queue), 0);
}

DenialsTest(first_and_last_messages_are_passed_over_too)
{
    publish_all("abca");
    world_assert_sent(0, "PUB a 1|1|PUB b 1|1|PUB c 1|1|PUB a 1|1|PING|");
    refuse("a");
    refuse("a");
    reconnect();
    world_assert_sent(0, "PUB b 1|1|PUB c 1|1|PING|");
    world_pong(0);
    require_ledger(2, 2);
    cr_assert_eq(rlt_wire_queue_bytes(&world.cluster->paths[0].queue), 0);
}

DenialsTest(queue_of_refused_messages_alone_is_empty_at_once)
{
    publish_all("aa");
    refuse("a");
    refuse("a");
    world_assert_sent(0, "PUB a 1|1|PUB a 1|1|PING|");
    world_cut(0);
    require_ledger(0, 2);
    cr_assert_eq(rlt_wire_queue_bytes(&world.cluster->paths[0].queue), 0);
}

/* As many as were refused, and no more. */
DenialsTest(others_of_the_same_topic_are_sent_again)
{
    publish_all("aaa");
    refuse("a");
    world_assert_sent(0, "PUB a 1|1|PUB a 1|1|PUB a 1|1|PING|");
    reconnect();
    world_assert_sent(0, "PUB a 1|1|PUB a 1|1|PING|");
    refuse("a");
    world_pong(0);
    require_ledger(1, 2);
}

DenialsTest(struck_out_messages_stay_so_over_several_losses)
{
    publish_all("abcd");
    refuse("b");
    world_assert_sent(0, "PUB a 1|1|PUB b 1|1|PUB c 1|1|PUB d 1|1|PING|");
    reconnect();
    world_assert_sent(0, "PUB a 1|1|PUB c 1|1|PUB d 1|1|PING|");
    refuse("c");
    world_cut(0);
    require_ledger(0, 2);
    world_pass(RLT_NS_PER_S);
    world_accept(0);
    /* After two losses one suspect goes at a time. */
    for (int i = 0; i < 4 && world.slots[0].pings != 0; i++) {
        world_pong(0);
    }
    world_assert_sent(0, "PUB a 1|1|PING|PUB d 1|1|PING|");
    require_ledger(2, 2);
    cr_assert_eq(rlt_wire_queue_bytes(&world.cluster->paths[0].queue), 0);
}

DenialsTest(what_is_left_when_the_cluster_is_given_up_is_in_doubt_but_for_the_refused)
{
    publish_all("abc");
    refuse("b");
    world.slots[0].refuse = true;
    world_cut(0);
    world_pass(60 * RLT_NS_PER_S);
    struct roulette_ledger ledger;
    rlt_cluster_ledger(world.cluster, false, &ledger);
    cr_assert_eq(ledger.in_doubt, 2);
    cr_assert_eq(ledger.denied, 1);
    cr_assert_eq(ledger.failed, 0);
}

DenialsTest(what_is_left_when_the_cluster_is_stopped_is_in_doubt_but_for_the_refused)
{
    publish_all("abc");
    refuse("b");
    world_submit(&world.cluster->stop);
    struct roulette_ledger ledger;
    rlt_cluster_ledger(world.cluster, true, &ledger);
    cr_assert_eq(ledger.in_doubt, 2);
    cr_assert_eq(ledger.denied, 1);
    cr_assert_eq(ledger.discarded, 0);
}
