/* SPDX-License-Identifier: MIT */
/**
 * A test that goes on writing to what it has pushed to a stack, for tests/support/canary:
 * ThreadSanitizer must see it through Concurrency Kit's operations.
 */
#include "lockfree/stack.h"

#include <pthread.h>
#include <sched.h>

#include "support/test.h"

struct item {
    struct rlt_stack_node node;
    int number;
};

static struct rlt_stack stack;
static struct item item;

static void *push(void *unused)
{
    item.number = 1;
    rlt_stack_push(&stack, &item.node);
    item.number = 2; /* it is the consumer's by now */
    return unused;
}

Test(canary, writes_to_what_it_pushed_and_must_be_caught)
{
    pthread_t thread;
    const struct rlt_stack_node *node;
    cr_assert_eq(pthread_create(&thread, NULL, push, NULL), 0);
    while ((node = rlt_stack_take(&stack)) == NULL) {
        (void)sched_yield();
    }
    int number = rlt_container_of(node, struct item, node)->number;
    cr_assert(number == 1 || number == 2);
    cr_assert_eq(pthread_join(thread, NULL), 0);
}
