/* SPDX-License-Identifier: MIT */
#include "lockfree/stack.h"

#include <stdlib.h>

#include "base/defs.h"
#include "support/test.h"
#include "unit/lockfree/stress.h"

struct item {
    struct rlt_stack_node node;
    unsigned producer;
    uint64_t sequence;
};

Test(stack, take_from_an_empty_one_is_null)
{
    struct rlt_stack stack = {0};
    cr_assert(rlt_stack_is_empty(&stack));
    cr_assert_null(rlt_stack_take(&stack));
}

Test(stack, take_returns_all_in_push_order)
{
    struct rlt_stack stack = {0};
    struct item items[5];
    for (unsigned i = 0; i < 5; i++) {
        items[i].sequence = i;
        rlt_stack_push(&stack, &items[i].node);
        cr_assert_not(rlt_stack_is_empty(&stack));
    }
    struct rlt_stack_node *node = rlt_stack_take(&stack);
    for (unsigned i = 0; i < 5; i++) {
        cr_assert_eq(node, &items[i].node);
        node = rlt_stack_next(node);
    }
    cr_assert_null(node);
    cr_assert(rlt_stack_is_empty(&stack));
}

Test(stack, taken_node_can_be_pushed_again)
{
    struct rlt_stack stack = {0};
    struct item item;
    for (unsigned i = 0; i < 3; i++) {
        rlt_stack_push(&stack, &item.node);
        cr_assert_eq(rlt_stack_take(&stack), &item.node);
        cr_assert_null(rlt_stack_next(&item.node));
        cr_assert_null(rlt_stack_take(&stack));
    }
}

/* ---- Threads ------------------------------------------------------------------------------ */

#define PRODUCERS 3
/** Nodes of each producer; the consumer gives them back, so that they are pushed many times. */
#define NODES 16

struct race {
    struct rlt_stack stack;
    struct rlt_stack free[PRODUCERS]; /* the other way: one producer takes, the consumer pushes */
    struct item items[PRODUCERS][NODES];
    uint64_t rounds;
};

struct producer {
    struct race *race;
    unsigned number;
};

static void *produce(void *argument)
{
    struct producer *producer = argument;
    struct race *race = producer->race;
    struct rlt_stack_node *node = NULL;
    for (uint64_t i = 0; i < race->rounds; i++) {
        while (node == NULL && (node = rlt_stack_take(&race->free[producer->number])) == NULL) {
            (void)sched_yield();
        }
        struct item *item = rlt_container_of(node, struct item, node);
        node = rlt_stack_next(node);
        item->producer = producer->number;
        item->sequence = i;
        rlt_stack_push(&race->stack, &item->node);
    }
    return NULL;
}

Test(stack, nothing_is_lost_and_each_producer_keeps_its_order)
{
    static struct race race;
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    uint64_t next[PRODUCERS] = {0};
    race.rounds = 300000 / STRESS_SCALE;
    for (unsigned i = 0; i < PRODUCERS; i++) {
        for (unsigned j = 0; j < NODES; j++) {
            rlt_stack_push(&race.free[i], &race.items[i][j].node);
        }
        producers[i] = (struct producer){&race, i};
        threads[i] = stress_start(produce, &producers[i]);
    }
    for (uint64_t found = 0; found < PRODUCERS * race.rounds;) {
        struct rlt_stack_node *node = rlt_stack_take(&race.stack);
        if (node == NULL) {
            (void)sched_yield();
        }
        while (node != NULL) {
            struct item *item = rlt_container_of(node, struct item, node);
            node = rlt_stack_next(node);
            unsigned producer = item->producer;
            cr_assert_eq(item->sequence, next[producer]);
            next[producer]++;
            found++;
            rlt_stack_push(&race.free[producer], &item->node);
        }
    }
    for (unsigned i = 0; i < PRODUCERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_assert(rlt_stack_is_empty(&race.stack));
}
