/* SPDX-License-Identifier: MIT */
/**
 * What the stress tests share: a seed, threads, checks that work in any thread, and frames that
 * describe themselves. RLT_SEED chooses another run.
 */
#ifndef RLT_TESTS_UNIT_LOCKFREE_STRESS_H
#define RLT_TESTS_UNIT_LOCKFREE_STRESS_H

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "base/random.h"
#include "io/system/clock.h"
#include "support/env.h"
#include "support/test.h"

/* Sanitizers slow these tests down by their factor, and see a race in few rounds. */
#if defined(TEST_OWN_RUNNER)
#define STRESS_SCALE 8
#elif defined(__SANITIZE_ADDRESS__)
#define STRESS_SCALE 4
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define STRESS_SCALE 4
#endif
#endif
#ifndef STRESS_SCALE
#define STRESS_SCALE 1
#endif

/** cr_assert() may only be used in the test's own thread. */
#define stress_check(condition) \
    ((condition) ? (void)0 : stress_fail(__FILE__, __LINE__, #condition))

static inline void stress_fail(const char *file, int line, const char *condition)
{
    fprintf(stderr, "[----] %s:%d: Assertion failed in a thread: %s\n", file, line, condition);
    fflush(NULL);
    abort();
}

/** The seed of this run, printed. */
static inline uint64_t stress_seed(const char *test)
{
    uint64_t seed = env_number("RLT_SEED", 1);
    printf("%s: RLT_SEED=%" PRIu64 "\n", test, seed);
    fflush(stdout);
    return seed;
}

static inline pthread_t stress_start(void *(*run)(void *), void *argument)
{
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, run, argument), 0);
    return thread;
}

/* ---- Two threads at the same point -------------------------------------------------------- */

/**
 * Two threads that do their halves of a round at the same time, so that what one of them stores
 * last is still on its way when the other looks: where a fence is missing, both see nothing.
 * Rounds end after a second: on a busy machine two threads do not often meet.
 */
struct stress_pair {
    _Atomic(uint64_t) arrived[2];
    _Atomic(uint32_t) ended;
    uint64_t rounds;
    uint64_t deadline_ns;
};

static inline void stress_pair_init(struct stress_pair *pair, uint64_t rounds)
{
    memset(pair, 0, sizeof(*pair));
    pair->rounds = rounds;
    pair->deadline_ns = rlt_clock_ns() + RLT_NS_PER_S;
}

/** Wait for the other thread. What either did before is visible to both behind it. */
static inline void stress_meet(struct stress_pair *pair, unsigned me)
{
    uint64_t mine = atomic_load_explicit(&pair->arrived[me], memory_order_relaxed) + 1;
    atomic_store_explicit(&pair->arrived[me], mine, memory_order_release);
    for (unsigned spins = 0;
         atomic_load_explicit(&pair->arrived[1 - me], memory_order_acquire) < mine; spins++) {
        if (spins > 2000) {
            (void)sched_yield();
        }
    }
}

/**
 * Start a round, a moment early or late. Thread 0 decides when it was the last, and both must call
 * stress_meet() behind their half.
 *
 * Returns: false if there is no other round.
 */
static inline bool stress_round(struct stress_pair *pair, unsigned me, struct rlt_random *random)
{
    if (me == 0) {
        uint64_t meetings = atomic_load_explicit(&pair->arrived[0], memory_order_relaxed);
        bool ended = meetings / 2 >= pair->rounds || rlt_clock_ns() > pair->deadline_ns;
        atomic_store_explicit(&pair->ended, ended, memory_order_relaxed);
    }
    uint64_t delay = rlt_random_below(random, 300);
    stress_meet(pair, me);
    for (; delay > 0; delay--) {
        atomic_signal_fence(memory_order_seq_cst); /* keeps the compiler from dropping the loop */
    }
    return atomic_load_explicit(&pair->ended, memory_order_relaxed) == 0;
}

/* ---- Frames ------------------------------------------------------------------------------- */

/** A frame: this head, then bytes that follow from it. */
struct stress_head {
    uint32_t len; /* of the whole frame */
    uint32_t producer;
    uint64_t sequence;
    uint64_t checksum; /* of the fields above; the bytes behind continue it */
};

#define STRESS_FRAME_MIN sizeof(struct stress_head)

static inline uint64_t stress_checksum(const struct stress_head *head)
{
    struct rlt_random random = {
        .state = head->len ^ (uint64_t)head->producer << 32 ^ head->sequence << 40,
    };
    return rlt_random_next(&random) ^ head->sequence;
}

/** Write a frame of `len` bytes, at least STRESS_FRAME_MIN. */
static inline void stress_write(uint8_t *out, size_t len, uint32_t producer, uint64_t sequence)
{
    struct stress_head head = {.len = (uint32_t)len, .producer = producer, .sequence = sequence};
    head.checksum = stress_checksum(&head);
    memcpy(out, &head, sizeof(head));
    uint64_t word = head.checksum;
    for (size_t offset = sizeof(head); offset < len; offset += sizeof(word)) {
        word += UINT64_C(0x9e3779b97f4a7c15);
        size_t left = len - offset;
        memcpy(out + offset, &word, left < sizeof(word) ? left : sizeof(word));
    }
}

/** Check all bytes of the frame at `bytes`, which must end within `room`. Returns: its head. */
static inline struct stress_head stress_read(const uint8_t *bytes, size_t room)
{
    struct stress_head head;
    stress_check(room >= sizeof(head));
    memcpy(&head, bytes, sizeof(head));
    stress_check(head.len >= sizeof(head) && head.len <= room);
    stress_check(head.checksum == stress_checksum(&head));
    uint64_t word = head.checksum;
    for (size_t offset = sizeof(head); offset < head.len; offset += sizeof(word)) {
        word += UINT64_C(0x9e3779b97f4a7c15);
        size_t left = head.len - offset;
        stress_check(memcmp(bytes + offset, &word, left < sizeof(word) ? left : sizeof(word)) == 0);
    }
    return head;
}

/** A length for a frame in a lane: mostly small, sometimes up to half of the lane. */
static inline size_t stress_len(struct rlt_random *random, size_t capacity)
{
    uint64_t kind = rlt_random_below(random, 64);
    size_t max = kind == 0 ? capacity / 2 : kind < 8 ? 4096 : 200;
    return STRESS_FRAME_MIN + rlt_random_below(random, max - STRESS_FRAME_MIN + 1);
}

#endif
