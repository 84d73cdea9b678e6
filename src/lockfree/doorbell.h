/* SPDX-License-Identifier: MIT */
/**
 * A doorbell: lets one thread sleep on lock-free queues without missing what is put into them,
 * and lets those who put something in skip the system call while it is awake.
 *
 * Sleeper:  arm(interests); look at every queue once more; sleep if all are empty; disarm().
 * Ringer:   put something in; if (ring(interest)) wake the sleeper by a system call.
 *
 * Why nothing is missed. The sleeper stores `armed`, then loads the queues; a ringer stores to
 * its queue, then loads `armed`. With a seq_cst fence between the store and the load on both
 * sides, at least one of the two sees the other's store (the Dekker pattern): either the sleeper
 * finds the entry, or the ringer finds it armed. Release and acquire alone would allow both to
 * miss, since a store may be delayed past a later load of another address, also on x86.
 *
 * Threads:    one sleeper, any number of ringers.
 * Progress:   wait-free on both sides; a preempted thread delays nobody.
 * Reclaiming: the owner frees it when no ringer can reach it any more.
 */
#ifndef RLT_LOCKFREE_DOORBELL_H
#define RLT_LOCKFREE_DOORBELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rlt_doorbell {
    /* Bits of what the sleeper waits for; 0: awake. Partner: itself, in the other thread. */
    _Atomic(uint32_t) armed;
};

/** Announce sleep. Afterwards look at every queue again. Threads: the sleeper. */
static inline void rlt_doorbell_arm(struct rlt_doorbell *doorbell, uint32_t interests)
{
    /* Relaxed: the fence below orders it before the second look. */
    atomic_store_explicit(&doorbell->armed, interests, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

/** Awake again. Threads: the sleeper. */
static inline void rlt_doorbell_disarm(struct rlt_doorbell *doorbell)
{
    /* Relaxed: a ringer that still sees it armed only wakes once too often. */
    atomic_store_explicit(&doorbell->armed, 0, memory_order_relaxed);
}

/** Whether nobody has rung since it was armed. Threads: the sleeper. */
static inline bool rlt_doorbell_is_untouched(const struct rlt_doorbell *doorbell)
{
    /* Relaxed: behind the fence of another doorbell's arm, or a look that may come too early. */
    return atomic_load_explicit(&doorbell->armed, memory_order_relaxed) != 0;
}

/** Awake again, or to be. Returns: whether nobody has rung since it was armed. Threads: the
 *  sleeper, or one who wakes it whatever it waits for. */
static inline bool rlt_doorbell_take(struct rlt_doorbell *doorbell)
{
    /* Relaxed: as rlt_doorbell_disarm(). */
    return atomic_exchange_explicit(&doorbell->armed, 0, memory_order_relaxed) != 0;
}

/** After putting something into a queue: whether the sleeper waits for it. Threads: any thread. */
static inline bool rlt_doorbell_is_armed(struct rlt_doorbell *doorbell, uint32_t interest)
{
    atomic_thread_fence(memory_order_seq_cst);
    /* Relaxed: behind the fence; what is done about it has its own order. */
    return (atomic_load_explicit(&doorbell->armed, memory_order_relaxed) & interest) != 0;
}

/**
 * After putting something into a queue: true if the caller must wake the sleeper. Of several
 * ringers one gets true.
 *
 * Threads: any thread.
 */
static inline bool rlt_doorbell_ring(struct rlt_doorbell *doorbell, uint32_t interest)
{
    if (!rlt_doorbell_is_armed(doorbell, interest)) {
        return false;
    }
    /* Since the load the sleeper may have armed itself again for other interests only. We take that
     * announcement away from their ringers all the same, so we must wake for them; the sleeper then
     * finds nothing and arms itself anew. Relaxed: what the sleeper reads next it acquires through
     * the queues themselves. */
    return atomic_exchange_explicit(&doorbell->armed, 0, memory_order_relaxed) != 0;
}

#endif
