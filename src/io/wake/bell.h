/* SPDX-License-Identifier: MIT */
/**
 * A bell: a doorbell (lockfree/doorbell.h) whose ringers make a descriptor readable, which can be
 * polled with others. The two are two steps of a ringer, and a thread may lose its CPU between
 * them: a signal may be due that was rung for long ago. The sleeper counts them, so that it clears
 * each, however late it is, and makes no system call when none is due. A signal without a ring
 * stays: that is for something that is over for good.
 *
 * Sleeper: rlt_bell_arm(); look at every queue once more; poll the descriptor if all are empty.
 * Ringer:  put something in; if (rlt_doorbell_knock(&bell->doorbell, 1)), then
 *          rlt_park_descriptor_signal(bell->descriptor).
 *
 * Caller:  rlt_bell_call() wakes the sleeper whatever it waits for, without a ring.
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
    bool armed;           /* by the sleeper, and not seen rung or taken back since */
    uint64_t due;         /* signals that were rung for, and not cleared */
    uint32_t calls_due;   /* of `calls`: are in `due` */
    uint32_t calls_taken; /* of `calls`: rlt_bell_take_call() told of them */

    alignas(RLT_CACHE_LINE) struct rlt_doorbell doorbell;
    /* By any thread, before it signals. Release and acquire: what the caller did before the call is
     * visible to whom it wakes. */
    _Atomic(uint32_t) calls;
};

/** Returns: 0; ROULETTE_ESYSTEM (no descriptor). rlt_bell_fini() is allowed then. */
int rlt_bell_init(struct rlt_bell *bell);
void rlt_bell_fini(struct rlt_bell *bell);

/** Make the descriptor tell. Afterwards look at every queue again. Threads: the sleeper. */
void rlt_bell_arm(struct rlt_bell *bell);

/** Nobody needs to ring until the next rlt_bell_arm(). Threads: the sleeper. */
void rlt_bell_disarm(struct rlt_bell *bell);

/** Wake the sleeper, or let its next sleep end at once. Threads: any thread; a signal handler. */
void rlt_bell_call(struct rlt_bell *bell);

/** Whether there was a call that rlt_bell_take_call() has not told of. Threads: the sleeper. */
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

/** Make the descriptor readable, and let an edge-triggered poll tell of it once more. The next
 *  rlt_bell_arm() takes it back. Threads: the sleeper. */
void rlt_bell_signal(struct rlt_bell *bell);

#endif
