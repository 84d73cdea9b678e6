/* SPDX-License-Identifier: MIT */
/**
 * An intrusive stack: any thread pushes, one thread takes everything at once, in push order.
 *
 * Producers:  any number; lock-free (a failed CAS means that another push succeeded; a preempted
 *             producer delays nobody).
 * Consumer:   one; wait-free, O(n) in what it takes.
 * Full:       never; the nodes are the callers'. Empty: take returns NULL.
 * Reclaiming: a node is the consumer's from the moment it takes it. Nodes are never compared
 *             after they were taken (the head is exchanged whole), so there is no ABA problem.
 */
#ifndef RLT_LOCKFREE_STACK_H
#define RLT_LOCKFREE_STACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct rlt_stack_node {
    struct rlt_stack_node *next;
};

struct rlt_stack {
    /* Release in push publishes the node and all written before; acquire in take observes it.
     * Release in take, acquire in is_empty: see there. */
    _Atomic(struct rlt_stack_node *) head;
};

/** Threads: any thread. */
static inline void rlt_stack_push(struct rlt_stack *stack, struct rlt_stack_node *node)
{
    /* Relaxed: the value is only linked to, not dereferenced. */
    struct rlt_stack_node *head = atomic_load_explicit(&stack->head, memory_order_relaxed);
    do {
        node->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&stack->head, &head, node, memory_order_release,
                                                    memory_order_relaxed));
}

/** Whether a take would find nothing. Threads: any thread. */
static inline bool rlt_stack_is_empty(struct rlt_stack *stack)
{
    /* Acquire: who finds that the consumer has taken all sees what it did before. */
    return atomic_load_explicit(&stack->head, memory_order_acquire) == NULL;
}

/** Take all nodes as a list in push order; NULL if there is none. Threads: the consumer. */
static inline struct rlt_stack_node *rlt_stack_take(struct rlt_stack *stack)
{
    if (rlt_stack_is_empty(stack)) {
        return NULL;
    }
    struct rlt_stack_node *node =
        atomic_exchange_explicit(&stack->head, NULL, memory_order_acq_rel);
    struct rlt_stack_node *reversed = NULL;
    while (node != NULL) {
        struct rlt_stack_node *next = node->next;
        node->next = reversed;
        reversed = node;
        node = next;
    }
    return reversed;
}

#endif
