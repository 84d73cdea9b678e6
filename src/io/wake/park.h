/* SPDX-License-Identifier: MIT */
/**
 * Putting threads to sleep and waking them: futexes for words, eventfds for descriptors.
 */
#ifndef RLT_IO_WAKE_PARK_H
#define RLT_IO_WAKE_PARK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/**
 * Sleep while `*word` is `expected`, at most until `deadline_ns` (CLOCK_MONOTONIC; RLT_NEVER:
 * none). May wake early.
 *
 * Threads: any thread. Blocks.
 * Returns: false if the deadline has passed.
 */
bool rlt_park_wait(_Atomic(uint32_t) *word, uint32_t expected, uint64_t deadline_ns);

/** Wake all threads that sleep on a word. Threads: any thread. */
void rlt_park_wake(_Atomic(uint32_t) *word);

/** Make an eventfd, non-blocking, close-on-exec. Returns: it, or ROULETTE_ESYSTEM. */
int rlt_park_descriptor_create(void);
void rlt_park_descriptor_destroy(int descriptor);

/** Make a descriptor readable. Threads: any thread. */
void rlt_park_descriptor_signal(int descriptor);

/** Make a descriptor unreadable. Threads: its reader. Returns: how often it was signalled. */
uint64_t rlt_park_descriptor_clear(int descriptor);

/** A descriptor that is waited for. */
struct rlt_park_entry {
    int descriptor; /* -1: passed over */
    bool readable;  /* set by the wait */
};

/** Descriptors of one wait, at most. */
#define RLT_PARK_ENTRIES_MAX 32

/**
 * Sleep until one of `count` descriptors is readable. A cancellation point.
 *
 * Returns: false if the deadline has passed; true perhaps with none of them readable.
 */
bool rlt_park_descriptors_wait(struct rlt_park_entry *entries, uint32_t count,
                               uint64_t deadline_ns);

#endif
