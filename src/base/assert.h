/* SPDX-License-Identifier: MIT */
/**
 * Assertions: for our own bugs, never for user input, server bytes or kernel results. And for rules
 * of the header that an application has broken, in words that it understands.
 */
#ifndef RLT_BASE_ASSERT_H
#define RLT_BASE_ASSERT_H

#include <assert.h>

/** Print where an assertion failed, and abort. Returns: never. Threads: any thread. */
_Noreturn void rlt_assert_fail(const char *condition, const char *file, int line);

/** Print which rule a caller of `call` has broken, and abort. Returns: never. Threads: any thread.
 */
_Noreturn void rlt_misuse(const char *call, const char *mistake);

/**
 * A rule for the application whose breach no error code could tell it: going on would end worse.
 * `mistake` says what it did, and what to do. Stays on in release builds.
 */
#define RLT_REQUIRE(condition, call, mistake) \
    (__builtin_expect(!!(condition), 1) ? (void)0 : rlt_misuse((call), (mistake)))

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
