/* SPDX-License-Identifier: MIT */
/**
 * A bell: a doorbell (lockfree/doorbell.h) whose ringers make a descriptor readable, which can be
 * polled with others. Ringing is two steps: take the armed flag, write the eventfd. A thread can be
 * preempted between them, so a write may come long after its ring. The sleeper counts the writes
 * that are due, clears each, however late, and makes no system call when none is due. A write
 * without a ring stays readable: it marks a stopped client.
 *
 * Sleeper: rlt_bell_arm(); look at every queue once more; poll the descriptor if all are empty.
 * Ringer:  put something in; if (rlt_doorbell_knock(&bell->doorbell, 1)), then
 *          rlt_park_descriptor_signal(bell->descriptor).
 *
 * Caller: rlt_bell_call() wakes the sleeper unconditionally, without a ring.
 *
 * Threads: one sleeper, any number of ringers.
 */
#ifndef RLT_IO_WAKE_BELL_H
#define RLT_IO_WAKE_BELL_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "lockfree/doorbell.h"

struct rlt_bell {
    int descriptor; /* immutable */

    /* Sleeper. */
    bool armed;           /* by the sleeper; not yet seen rung, or disarmed */
    uint64_t due;         /* signals of rings that are not cleared yet */
    uint32_t calls_due;   /* of `calls`: counted in `due` */
    uint32_t calls_taken; /* of `calls`: reported by rlt_bell_take_call() */

    alignas(RLT_CACHE_LINE) struct rlt_doorbell doorbell;
    /* Raised by any thread before its signal. Release and acquire: the caller's writes before the
     * call are visible to the sleeper that it wakes. */
    _Atomic(uint32_t) calls;
};

/** Returns: 0; ROULETTE_ESYSTEM (no descriptor). rlt_bell_fini() is allowed then. */
int rlt_bell_init(struct rlt_bell *bell);
void rlt_bell_fini(struct rlt_bell *bell);

/** Arm the doorbell, so that the descriptor becomes readable. Afterwards look at every queue again.
 *  Threads: the sleeper. */
void rlt_bell_arm(struct rlt_bell *bell);

/** Disarm the doorbell: no thread rings until the next rlt_bell_arm(). Threads: the sleeper. */
void rlt_bell_disarm(struct rlt_bell *bell);

/** Wake the sleeper, or let its next sleep end at once. Threads: any thread; a signal handler. */
void rlt_bell_call(struct rlt_bell *bell);

/** Whether there was a call that rlt_bell_take_call() has not reported. Threads: the sleeper. */
static inline bool rlt_bell_is_called(const struct rlt_bell *bell)
{
    return atomic_load_explicit(&bell->calls, memory_order_acquire) != bell->calls_taken;
}

/** As rlt_bell_is_called(), once for all calls until now. */
static inline bool rlt_bell_take_call(struct rlt_bell *bell)
{
    uint32_t calls = atomic_load_explicit(&bell->calls, memory_order_acquire);
    bool called = calls != bell->calls_taken;
    bell->calls_taken = calls;
    return called;
}

/** Make the descriptor readable, and let an edge-triggered poll report it once more. The next
 *  rlt_bell_arm() takes it back. Threads: the sleeper. */
void rlt_bell_signal(struct rlt_bell *bell);

#endif
