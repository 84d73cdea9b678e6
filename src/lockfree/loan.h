/* SPDX-License-Identifier: MIT */
/**
 * A loan: an owner lends an object while the owner sleeps; one borrower at a time may use it, and
 * the owner may recall it.
 *
 *     HOME ---lend---> LENT ---borrow---> TAKEN ---recall---> RECALLED
 *      ^  <--recall---      <--give back-                        |
 *      +---------------------------- give back ------------------+
 *
 * The holder (the owner at HOME, a borrower while TAKEN or RECALLED) sees all that earlier holders
 * wrote to the object. The owner need not wait: while a borrower holds the object, the owner may do
 * other work, and the borrower wakes the owner when it gives back.
 *
 * A thread that finds the loan TAKEN may leave its work to the borrower. The borrower gives back,
 * then, behind a seq_cst fence, looks for work once more; the thread enqueues its work, then,
 * behind the fence of rlt_loan_borrow(), finds the loan TAKEN. One of the two sees the other's
 * store (the Dekker pattern of doorbell.h).
 *
 * Threads:  one owner, any number of borrowers.
 * Progress: wait-free but for recall(), which is lock-free. A preempted borrower delays the use of
 *           the lent object, nothing else.
 * Not ck:   it has no lock that its owner may ask back without waiting.
 */
#ifndef RLT_LOCKFREE_LOAN_H
#define RLT_LOCKFREE_LOAN_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"

enum rlt_loan_state {
    RLT_LOAN_HOME = 0,
    RLT_LOAN_LENT,
    RLT_LOAN_TAKEN,
    RLT_LOAN_RECALLED,
};

struct rlt_loan {
    /* Release by the holder that gives it up, acquire by the next: passes on the lent object. */
    alignas(RLT_CACHE_LINE) _Atomic(uint32_t) state;
};

/** Let others borrow. Threads: the owner, at HOME. */
static inline void rlt_loan_lend(struct rlt_loan *loan)
{
    atomic_store_explicit(&loan->state, RLT_LOAN_LENT, memory_order_release);
}

/** Take the object back, or ask for it. Threads: the owner. Returns: whether it is HOME. */
static inline bool rlt_loan_recall(struct rlt_loan *loan)
{
    uint32_t state = atomic_load_explicit(&loan->state, memory_order_acquire);
    while (state == RLT_LOAN_LENT || state == RLT_LOAN_TAKEN) {
        uint32_t next = state == RLT_LOAN_LENT ? RLT_LOAN_HOME : RLT_LOAN_RECALLED;
        if (atomic_compare_exchange_weak_explicit(&loan->state, &state, next, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            return next == RLT_LOAN_HOME;
        }
    }
    return state == RLT_LOAN_HOME;
}

/**
 * Borrow the object, if it is lent.
 *
 * Threads: any thread, after it has enqueued its work where the holder looks.
 * Returns: RLT_LOAN_LENT if the caller is the borrower now; otherwise why not: RLT_LOAN_HOME, or
 *          (another borrower) RLT_LOAN_TAKEN or RLT_LOAN_RECALLED.
 */
static inline enum rlt_loan_state rlt_loan_borrow(struct rlt_loan *loan)
{
    uint32_t state = RLT_LOAN_LENT;
    /* Orders the enqueued work before the look: see above. A doorbell's knockers need no fence. */
    atomic_thread_fence(memory_order_seq_cst);
    (void)atomic_compare_exchange_strong_explicit(&loan->state, &state, RLT_LOAN_TAKEN,
                                                  memory_order_acquire, memory_order_relaxed);
    return (enum rlt_loan_state)state;
}

/** Whether no borrower holds the object and none may. Threads: the owner. */
static inline bool rlt_loan_is_home(const struct rlt_loan *loan)
{
    return atomic_load_explicit(&loan->state, memory_order_acquire) == RLT_LOAN_HOME;
}

/** Whether the owner wants the object back. Threads: the borrower. */
static inline bool rlt_loan_is_recalled(const struct rlt_loan *loan)
{
    /* Relaxed: all else that the borrower reads, it acquired when it borrowed. */
    return atomic_load_explicit(&loan->state, memory_order_relaxed) == RLT_LOAN_RECALLED;
}

/**
 * Give the object back: others may borrow it again; if it was recalled, it is HOME. Afterwards look
 * for work that other threads left to the borrower.
 *
 * Threads: the borrower.
 * Returns: false if it is HOME: wake the owner.
 */
static inline bool rlt_loan_give_back(struct rlt_loan *loan)
{
    uint32_t state = RLT_LOAN_TAKEN;
    bool lent = atomic_compare_exchange_strong_explicit(&loan->state, &state, RLT_LOAN_LENT,
                                                        memory_order_release, memory_order_relaxed);
    if (!lent) {
        atomic_store_explicit(&loan->state, RLT_LOAN_HOME, memory_order_release);
    }
    /* Orders the store before the look for work: see above. */
    atomic_thread_fence(memory_order_seq_cst);
    return lent;
}

/** Leave the rest of the work to the owner, and wake the owner. Threads: the borrower. */
static inline void rlt_loan_bring_home(struct rlt_loan *loan)
{
    atomic_store_explicit(&loan->state, RLT_LOAN_HOME, memory_order_release);
}

#endif
