/* SPDX-License-Identifier: MIT */
/**
 * A doorbell: lets one thread sleep on lock-free queues without missing what is put into them,
 * and lets those who put something in skip the system call while it is awake.
 *
 * Sleeper:  arm(wanted); look at every queue once more; sleep if all are empty; disarm().
 * Ringer:   put something in; if (knock(what)) wake the sleeper by a system call.
 *
 * Why nothing is missed. The sleeper stores `armed`, then loads the queues; a ringer stores to
 * its queue, then loads `armed`. With a seq_cst fence between the store and the load on both
 * sides, at least one of the two sees the other's store (the Dekker pattern): either the sleeper
 * finds the entry, or the ringer finds it armed. Release and acquire alone would allow both to
 * miss, since a store may be delayed past a later load of another address, also on x86.
 *
 * The ringers' fence waits until all their stores are in the cache, which is a third of what a
 * publish costs. A sleeper that can make every thread of the process execute a fence
 * (membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED: io/system/barrier.h) takes it over: it
 * announces that by rlt_doorbell_set_asymmetric(), then between its store and its load it calls
 * that barrier instead of a fence of its own. Each ringer then has executed a fence either before
 * its store to the queue (then its load of `armed` comes behind the sleeper's store, and finds it
 * armed), or behind that store (then the sleeper finds the entry). The compiler must keep the
 * ringer's order. A ringer that reads `asymmetric` behind that barrier reads what it is from there
 * on.
 *
 * Threads:    one sleeper, any number of ringers.
 * Progress:   wait-free on both sides; a preempted thread delays nobody.
 * Reclaiming: the owner frees it when no ringer can reach it any more.
 * Not ck:     ck_ec sleeps on a futex of its own; our sleepers sleep in io_uring or in poll().
 */
#ifndef RLT_LOCKFREE_DOORBELL_H
#define RLT_LOCKFREE_DOORBELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"

struct rlt_doorbell {
    /* Bits of what the sleeper waits for; 0: awake. Partner: itself, in the other thread. */
    _Atomic(uint32_t) armed;
    /* 1: the sleeper's barrier stands for the ringers' fences. Release and acquire: a ringer that
     * sees it set sees all that was armed before. */
    _Atomic(uint32_t) asymmetric;
};

/** Announce sleep. Then a fence, or the barrier; then look at every queue again. Threads: the
 *  sleeper. */
static inline void rlt_doorbell_arm_unfenced(struct rlt_doorbell *doorbell, uint32_t wanted)
{
    /* Relaxed: what follows orders it before the second look. */
    atomic_store_explicit(&doorbell->armed, wanted, memory_order_relaxed);
}

/** Announce sleep. Afterwards look at every queue again. Threads: the sleeper of a doorbell that is
 *  not asymmetric. */
static inline void rlt_doorbell_arm(struct rlt_doorbell *doorbell, uint32_t wanted)
{
    rlt_doorbell_arm_unfenced(doorbell, wanted);
    atomic_thread_fence(memory_order_seq_cst);
}

/**
 * Whether the sleeper's barrier stands for the ringers' fences. To end it at any time: before a
 * barrier, or the sleeper must not sleep before every ringer that read the old value is through.
 *
 * Threads: the sleeper.
 */
static inline void rlt_doorbell_set_asymmetric(struct rlt_doorbell *doorbell, bool asymmetric)
{
    atomic_store_explicit(&doorbell->asymmetric, asymmetric, memory_order_release);
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
static inline bool rlt_doorbell_is_armed(struct rlt_doorbell *doorbell, uint32_t what)
{
    if (rlt_likely(atomic_load_explicit(&doorbell->asymmetric, memory_order_acquire) != 0)) {
        atomic_signal_fence(memory_order_seq_cst);
    } else {
        atomic_thread_fence(memory_order_seq_cst);
    }
    /* Relaxed: behind the fence; what is done about it has its own order. */
    return (atomic_load_explicit(&doorbell->armed, memory_order_relaxed) & what) != 0;
}

/**
 * After putting something into a queue: true if the caller must wake the sleeper. Of several
 * ringers one gets true.
 *
 * Threads: any thread.
 */
static inline bool rlt_doorbell_knock(struct rlt_doorbell *doorbell, uint32_t what)
{
    if (!rlt_doorbell_is_armed(doorbell, what)) {
        return false;
    }
    /* Since the load the sleeper may have armed itself again for other wanted only. We take that
     * announcement away from their ringers all the same, so we must wake for them; the sleeper then
     * finds nothing and arms itself anew. Relaxed: what the sleeper reads next it acquires through
     * the queues themselves. */
    return atomic_exchange_explicit(&doorbell->armed, 0, memory_order_relaxed) != 0;
}

#endif
