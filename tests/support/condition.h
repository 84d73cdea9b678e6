/* SPDX-License-Identifier: MIT */
/**
 * Conditions that tests with threads and servers wait for or demand.
 */
#ifndef RLT_TESTS_SUPPORT_CONDITION_H
#define RLT_TESTS_SUPPORT_CONDITION_H

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "support/net.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TEST_ADDRESS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ADDRESS_SANITIZED 1
#endif
#endif

/** A count or a limit: one for release builds, one for builds with sanitizers. */
#ifdef TEST_SANITIZED
#define SCALED(release, sanitized) (sanitized)
#else
#define SCALED(release, sanitized) (release)
#endif

/** How long EVENTUALLY() waits. */
#define EVENTUALLY_MS SCALED(15000, 60000)

/** As cr_assert(), but in any thread: Criterion's assertions belong to the test's own thread. */
#define REQUIRE(condition, ...)                                                      \
    do {                                                                             \
        if (!(condition)) {                                                          \
            fprintf(stderr, "%s:%d: required: %s:", __FILE__, __LINE__, #condition); \
            fprintf(stderr, " " __VA_ARGS__);                                        \
            fputc('\n', stderr);                                                     \
            abort();                                                                 \
        }                                                                            \
    } while (0)

/** Look at a condition until it holds; end the test if it does not in time. */
#define EVENTUALLY(condition)                                                                 \
    do {                                                                                      \
        uint64_t eventually_deadline_ms = net_now_ms() + EVENTUALLY_MS;                       \
        while (!(condition)) {                                                                \
            REQUIRE(net_now_ms() < eventually_deadline_ms, "not in %d ms: %s", EVENTUALLY_MS, \
                    #condition);                                                              \
            (void)poll(NULL, 0, 1);                                                           \
        }                                                                                     \
    } while (0)

#endif
