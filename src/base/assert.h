/* SPDX-License-Identifier: MIT */
/**
 * Assertions: for our own bugs, never for user input, server bytes or kernel results.
 */
#ifndef RLT_BASE_ASSERT_H
#define RLT_BASE_ASSERT_H

#include <assert.h>

/** Print where an assertion failed, and abort. Returns: never. Threads: any thread. */
_Noreturn void rlt_assert_fail(const char *condition, const char *file, int line);

/** Stays on in release builds. */
#define RLT_ASSERT(condition) \
    (__builtin_expect(!!(condition), 1) ? (void)0 : rlt_assert_fail(#condition, __FILE__, __LINE__))

/** For the innermost loops: off when NDEBUG is defined. */
#ifdef NDEBUG
#define RLT_DASSERT(condition) ((void)sizeof(condition))
#else
#define RLT_DASSERT(condition) RLT_ASSERT(condition)
#endif

#endif
