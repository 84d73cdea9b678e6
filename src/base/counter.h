/* SPDX-License-Identifier: MIT */
/**
 * A statistics counter: one thread writes (or several, all by rlt_counter_add_shared()), any thread
 * reads.
 *
 * Not ck: ck_pr_load_64() and ck_pr_store_64() are the same instructions, which ThreadSanitizer
 * does not see.
 */
#ifndef RLT_BASE_COUNTER_H
#define RLT_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

/* Relaxed: a reader needs the number only, nothing is published with it. Load and store instead
 * of a read-modify-write: there is one writer, and a plain store costs it nothing. */
typedef _Atomic(uint64_t) rlt_counter;

/** Threads: the counter's one writer. */
static inline void rlt_counter_add(rlt_counter *counter, uint64_t amount)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + amount, memory_order_relaxed);
}

/** Threads: the counter's one writer. */
static inline void rlt_counter_set(rlt_counter *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

/** For a counter with several writers. Threads: any thread. */
static inline void rlt_counter_add_shared(rlt_counter *counter, uint64_t amount)
{
    atomic_fetch_add_explicit(counter, amount, memory_order_relaxed);
}

/** Threads: any thread. */
static inline uint64_t rlt_counter_get(const rlt_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#endif
