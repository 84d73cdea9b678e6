/* SPDX-License-Identifier: MIT */
/**
 * A doorbell: a wake-up flag. One thread sleeps on lock-free queues without missing an entry, and
 * the threads that enqueue skip the system call while it is awake.
 *
 * Sleeper:  arm(wanted); look at every queue once more; sleep if all are empty; disarm().
 * Knocker:  enqueue; if (knock(what)) wake the sleeper by a system call.
 *
 * Why nothing is missed. The sleeper stores `armed`, then loads the queues; a knocker stores to
 * its queue, then loads `armed`. With a seq_cst fence between the store and the load on both
 * sides, at least one of the two sees the other's store (the Dekker pattern): either the sleeper
 * finds the entry, or the knocker finds `armed` set. Release and acquire alone would allow both to
 * miss, since a store may be delayed past a later load of another address, also on x86.
 *
 * The knockers' fence waits until all their stores are in the cache, which is a third of what a
 * publish costs. A sleeper that can make every thread of the process execute a fence
 * (membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED: io/system/barrier.h) can do that for them: the
 * sleeper announces it by rlt_doorbell_set_asymmetric(), then calls that barrier between its store
 * and its load, instead of a fence of its own. Each knocker then has executed a fence either before
 * its store to the queue (then its load of `armed` comes behind the sleeper's store, and finds
 * `armed` set), or behind that store (then the sleeper finds the entry). The compiler must keep the
 * knocker's order. A knocker that reads `asymmetric` behind that barrier reads the value that holds
 * from there on.
 *
 * Threads:    one sleeper, any number of knockers.
 * Progress:   wait-free on both sides; a preempted thread delays nobody.
 * Reclaiming: the owner frees a doorbell when no knocker can reach it any more.
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
    /* 1: the sleeper's barrier replaces the knockers' fences. Release and acquire: a knocker that
     * reads 1 sees all that was armed before. */
    _Atomic(uint32_t) asymmetric;
};

/** Announce sleep. Afterwards fence, or call the barrier; then look at every queue again. Threads:
 *  the sleeper. */
static inline void rlt_doorbell_arm_unfenced(struct rlt_doorbell *doorbell, uint32_t wanted)
{
    /* Relaxed: the fence or barrier that follows orders this before the second look. */
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
 * Say whether the sleeper's barrier replaces the knockers' fences. It may end at any time: before a
 * barrier, or the sleeper must not sleep until every knocker that read the old value is through.
 *
 * Threads: the sleeper.
 */
static inline void rlt_doorbell_set_asymmetric(struct rlt_doorbell *doorbell, bool asymmetric)
{
    atomic_store_explicit(&doorbell->asymmetric, asymmetric, memory_order_release);
}

/** Announce that the sleeper is awake. Threads: the sleeper. */
static inline void rlt_doorbell_disarm(struct rlt_doorbell *doorbell)
{
    /* Relaxed: a knocker that still reads `armed` as set only wakes once too often. */
    atomic_store_explicit(&doorbell->armed, 0, memory_order_relaxed);
}

/** Whether nobody has knocked since the doorbell was armed. Threads: the sleeper. */
static inline bool rlt_doorbell_is_untouched(const struct rlt_doorbell *doorbell)
{
    /* Relaxed: behind the fence of another doorbell's arm, or a look that may come too early. */
    return atomic_load_explicit(&doorbell->armed, memory_order_relaxed) != 0;
}

/** Disarm. Returns: whether nobody had knocked since the doorbell was armed. Threads: the sleeper,
 *  or a thread that wakes the sleeper whatever it waits for. */
static inline bool rlt_doorbell_take(struct rlt_doorbell *doorbell)
{
    /* Relaxed: as rlt_doorbell_disarm(). */
    return atomic_exchange_explicit(&doorbell->armed, 0, memory_order_relaxed) != 0;
}

/** Whether the sleeper waits for an entry that was enqueued. Threads: any thread. */
static inline bool rlt_doorbell_is_armed(struct rlt_doorbell *doorbell, uint32_t what)
{
    if (rlt_likely(atomic_load_explicit(&doorbell->asymmetric, memory_order_acquire) != 0)) {
        atomic_signal_fence(memory_order_seq_cst);
    } else {
        atomic_thread_fence(memory_order_seq_cst);
    }
    /* Relaxed: behind the fence; what the caller then does has its own order. */
    return (atomic_load_explicit(&doorbell->armed, memory_order_relaxed) & what) != 0;
}

/**
 * Knock, after an entry was enqueued: true if the caller must wake the sleeper. Of several
 * knockers one gets true.
 *
 * Threads: any thread.
 */
static inline bool rlt_doorbell_knock(struct rlt_doorbell *doorbell, uint32_t what)
{
    if (!rlt_doorbell_is_armed(doorbell, what)) {
        return false;
    }
    /* Since the load the sleeper may have armed again, for other bits only. This exchange
     * takes that announcement away from their knockers all the same, so the caller must wake for
     * them; the sleeper then finds nothing and arms anew. Relaxed: the sleeper acquires what it
     * reads next through the queues themselves. */
    return atomic_exchange_explicit(&doorbell->armed, 0, memory_order_relaxed) != 0;
}

#endif
