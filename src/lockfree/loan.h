/* SPDX-License-Identifier: MIT */
/**
 * A loan: the owner of something lends it while it sleeps; one borrower at a time may use it, and
 * the owner may ask for it back.
 *
 *     HOME ---lend---> LENT ---borrow---> TAKEN ---recall---> RECALLED
 *      ^  <--recall---      <--give back-                        |
 *      +---------------------------- give back ------------------+
 *
 * Whoever has it (the owner at HOME, a borrower while TAKEN or RECALLED) sees everything that the
 * ones before wrote to it. The owner need not wait: while a borrower has it, the owner may do
 * other work, and the borrower wakes it when it gives back.
 *
 * A borrower that finds it TAKEN may leave its work to the one who has it: that one gives it back,
 * then looks for work once more, with a seq_cst fence between, while the other has put its work
 * there, then, behind the fence of rlt_loan_borrow(), found it TAKEN. One of the two sees the other
 * (the Dekker pattern of doorbell.h).
 *
 * Threads:  one owner, any number of borrowers.
 * Progress: wait-free but for recall(), which is lock-free. A preempted borrower delays what is
 *           lent, nothing else.
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
    /* Release by the one who lets go, acquire by the one who gets it: passes on what is lent. */
    alignas(RLT_CACHE_LINE) _Atomic(uint32_t) state;
};

/** Let others borrow it. Threads: the owner, at HOME. */
static inline void rlt_loan_lend(struct rlt_loan *loan)
{
    atomic_store_explicit(&loan->state, RLT_LOAN_LENT, memory_order_release);
}

/** Take it back, or ask for it. Threads: the owner. Returns: whether it is HOME. */
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
 * Threads: any thread, behind putting its work where others look for it.
 * Returns: RLT_LOAN_LENT if the caller has it now, or why not: RLT_LOAN_HOME, or (somebody else
 *          has it) RLT_LOAN_TAKEN or RLT_LOAN_RECALLED.
 */
static inline enum rlt_loan_state rlt_loan_borrow(struct rlt_loan *loan)
{
    uint32_t state = RLT_LOAN_LENT;
    /* Orders the caller's work before the look: see above. A doorbell's ringers need not fence. */
    atomic_thread_fence(memory_order_seq_cst);
    (void)atomic_compare_exchange_strong_explicit(&loan->state, &state, RLT_LOAN_TAKEN,
                                                  memory_order_acquire, memory_order_relaxed);
    return (enum rlt_loan_state)state;
}

/** Threads: the owner. */
static inline bool rlt_loan_is_home(const struct rlt_loan *loan)
{
    return atomic_load_explicit(&loan->state, memory_order_acquire) == RLT_LOAN_HOME;
}

/** Whether the owner wants it back. Threads: who has borrowed it. */
static inline bool rlt_loan_is_recalled(const struct rlt_loan *loan)
{
    /* Relaxed: what else must have been seen, the caller has acquired. */
    return atomic_load_explicit(&loan->state, memory_order_relaxed) == RLT_LOAN_RECALLED;
}

/**
 * Others may borrow it again, or if it is recalled it is HOME. Afterwards look for work that was
 * left to the caller.
 *
 * Threads: who has borrowed it.
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

/** Leave the rest to the owner, and wake it. Threads: who has borrowed it. */
static inline void rlt_loan_bring_home(struct rlt_loan *loan)
{
    atomic_store_explicit(&loan->state, RLT_LOAN_HOME, memory_order_release);
}

#endif
