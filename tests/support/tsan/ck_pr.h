/* SPDX-License-Identifier: MIT */
/**
 * Concurrency Kit's ck_pr.h for ThreadSanitizer, which does not see into inline assembly and would
 * report races between threads that ck orders. In trees with -DROULETTE_SANITIZE=thread this file
 * is found before ck's own: it includes that, and puts the compiler's atomics in place of the
 * operations that ck_stack.h, ck_queue.h and the sources make.
 *
 * They are seq_cst: such a tree finds faults in our use of ck, not in ck itself. What is not listed
 * here stays assembly: a race that is reported in a ck function that is new here asks for a line
 * more. canary/stack_race.c proves that a race beside a push is still seen.
 */
#ifndef RLT_TESTS_SUPPORT_TSAN_CK_PR_H
#define RLT_TESTS_SUPPORT_TSAN_CK_PR_H

#include_next <ck_pr.h>

#include <stdbool.h>

/* Pointers to any type, as ck's `void *` arguments are. */
typedef void *tsan_any_pointer __attribute__((may_alias));

static inline bool tsan_cas_ptr_value(void *target, void *compare, void *set, void *value)
{
    bool done = __atomic_compare_exchange_n((tsan_any_pointer *)target, &compare, set, false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    *(tsan_any_pointer *)value = compare;
    return done;
}

static inline void *tsan_fas_ptr(void *target, void *value)
{
    return __atomic_exchange_n((tsan_any_pointer *)target, value, __ATOMIC_SEQ_CST);
}

static inline bool tsan_bts_uint(unsigned int *target, unsigned int bit)
{
    return (__atomic_fetch_or(target, 1U << bit, __ATOMIC_SEQ_CST) & 1U << bit) != 0;
}

#undef ck_pr_load_ptr
#undef ck_pr_store_ptr
#undef ck_pr_load_uint
#undef ck_pr_store_uint
#define ck_pr_load_ptr(source)         __atomic_load_n((source), __ATOMIC_SEQ_CST)
#define ck_pr_store_ptr(target, value) __atomic_store_n((target), (value), __ATOMIC_SEQ_CST)
#define ck_pr_load_uint                ck_pr_load_ptr
#define ck_pr_store_uint               ck_pr_store_ptr
#define ck_pr_or_uint(target, value)   ((void)__atomic_fetch_or((target), (value), __ATOMIC_SEQ_CST))
#define ck_pr_and_uint(target, value) \
    ((void)__atomic_fetch_and((target), (value), __ATOMIC_SEQ_CST))
#define ck_pr_cas_ptr_value tsan_cas_ptr_value
#define ck_pr_fas_ptr       tsan_fas_ptr
#define ck_pr_bts_uint      tsan_bts_uint

#endif
