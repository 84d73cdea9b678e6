/* SPDX-License-Identifier: MIT */
/**
 * An intrusive stack: any thread pushes, one thread takes everything at once, in push order.
 * Concurrency Kit's ck_stack, with the fences that its callers here rely on and it does not have.
 *
 * Producers:  any number; lock-free (a failed CAS means that another push succeeded; a preempted
 *             producer delays nobody).
 * Consumer:   one; wait-free, O(n) in the nodes taken.
 * Full:       never; the nodes are the callers'. Empty: take returns NULL.
 * Reclaiming: a node is the consumer's once it is taken. Nodes are never compared after they were
 *             taken (the head is exchanged whole), so there is no ABA problem.
 *
 * Memory of zeros is an empty stack. The fences are instructions on weakly ordered machines only
 * (aarch64); on x86-64 each is a barrier for the compiler.
 */
#ifndef RLT_LOCKFREE_STACK_H
#define RLT_LOCKFREE_STACK_H

#include <ck_pr.h>
#include <ck_stack.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/defs.h"

struct rlt_stack_node {
    struct ck_stack_entry entry;
};

struct rlt_stack {
    struct ck_stack ck;
};

/** Push a node. Threads: any thread. */
static inline void rlt_stack_push(struct rlt_stack *stack, struct rlt_stack_node *node)
{
    /* Partner of the fence behind the pop: publishes all that this thread did before, its reads of
     * the node's memory included. ck orders the stores alone. */
    ck_pr_fence_release();
    ck_stack_push_upmc(&stack->ck, &node->entry);
}

/** Whether a take would find nothing. Threads: any thread. */
static inline bool rlt_stack_is_empty(struct rlt_stack *stack)
{
    bool is_empty = ck_pr_load_ptr(&stack->ck.head) == NULL;
    /* Partner of the fence before the pop: a thread that finds all nodes taken sees what the
     * consumer did before. */
    ck_pr_fence_acquire();
    return is_empty;
}

/** The node behind a taken node; NULL behind the last. Threads: the consumer. */
static inline struct rlt_stack_node *rlt_stack_next(const struct rlt_stack_node *node)
{
    struct ck_stack_entry *next = node->entry.next;
    return next != NULL ? rlt_container_of(next, struct rlt_stack_node, entry) : NULL;
}

/** Take all nodes as a list in push order; NULL if there is none. Threads: the consumer. */
static inline struct rlt_stack_node *rlt_stack_take(struct rlt_stack *stack)
{
    if (rlt_stack_is_empty(stack)) {
        return NULL;
    }
    ck_pr_fence_release(); /* see rlt_stack_is_empty() */
    struct ck_stack_entry *entry = ck_stack_batch_pop_upmc(&stack->ck);
    ck_pr_fence_acquire(); /* see rlt_stack_push() */
    struct ck_stack_entry *reversed = NULL;
    while (entry != NULL) {
        struct ck_stack_entry *next = entry->next;
        entry->next = reversed;
        reversed = entry;
        entry = next;
    }
    return reversed != NULL ? rlt_container_of(reversed, struct rlt_stack_node, entry) : NULL;
}

#endif
