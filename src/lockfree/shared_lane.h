/* SPDX-License-Identifier: MIT */
/**
 * A shared lane: as lane.h, but for any number of publishing threads at once. It serves the
 * threads beyond those that have a lane of their own.
 *
 * One 64-bit word holds the next slot (low 24 bits of its number) and the next position (low 40
 * bits). A producer takes a slot and its bytes with one CAS, encodes, then stores the frame's
 * length and the slot's lap into the slot. The consumer takes slots in order and stops at the
 * first that is not committed. Positions are not stored: producers and consumer compute gaps by
 * the same rule.
 *
 * Producers:  any number; lock-free: a CAS fails only because another producer's succeeded. A
 *             producer preempted between claim and commit delays the consumer at its slot, and
 *             through a full lane in the end the others' claims (they return NULL); nobody spins.
 * Consumers:  one; wait-free.
 * Full:       claim returns NULL (no bytes or no slots left). Empty: peek returns false.
 * Wrap:       a CAS could be fooled by a producer preempted for exactly 2^40 bytes and a
 *             multiple of 2^24 slots; that is taken as impossible.
 * Reclaiming: bytes and slots are free again once released.
 * Not ck:     frames have any length, and producers of ck_ring spin until those before them are
 *             done: a preempted producer delays all others.
 */
#ifndef RLT_LOCKFREE_SHARED_LANE_H
#define RLT_LOCKFREE_SHARED_LANE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "lockfree/lane.h"

/** Bytes of capacity for each slot: frames smaller than this on average fill the slots first. */
#define RLT_SHARED_LANE_BYTES_PER_SLOT 64

struct rlt_shared_lane {
    /* Immutable after rlt_shared_lane_allocate(); published by `ready`. */
    uint8_t *bytes;
    /* (lap + 1) << 32 | length. Release in commit publishes the frame; acquire in peek. */
    _Atomic(uint64_t) *slots;
    size_t capacity;
    size_t slot_count;
    /* 0: no memory, 1: one thread allocates, 2: ready (release, partner: acquire in claimers). */
    _Atomic(uint32_t) ready;

    /* Written by the producers. Claimed: acquire and release in claim, partner: itself. */
    alignas(RLT_CACHE_LINE) _Atomic(uint64_t) claimed; /* slot << 40 | position */
    _Atomic(uint64_t) accepted;                        /* committed messages; for statistics */

    /* Written by the consumer. Head: release here, acquire in claim. */
    alignas(RLT_CACHE_LINE) _Atomic(uint64_t) head_position;
    _Atomic(uint64_t) head_slot;
    struct rlt_lane_mark cursor; /* count = slot number */
    uint64_t fence_slot;         /* a flush waits until cursor.count is here */

    /* As in struct rlt_lane; here several producers may sleep. */
    alignas(RLT_CACHE_LINE) _Atomic(uint32_t) waiting;
};

/** A claimed frame: where to write it, and what commit needs. */
struct rlt_shared_claim {
    uint8_t *bytes;
    uint64_t slot;
};

/** Make an empty lane without memory. Threads: before it is shared. */
void rlt_shared_lane_init(struct rlt_shared_lane *lane);

/**
 * Give the lane its memory, once; later calls do nothing.
 *
 * Threads: any thread. Allocates.
 * Returns: 0; ROULETTE_ENOMEM; ROULETTE_EAGAIN (another thread is allocating).
 */
int rlt_shared_lane_allocate(struct rlt_shared_lane *lane, size_t capacity);

/** Free the memory. Threads: after both ends have stopped. */
void rlt_shared_lane_fini(struct rlt_shared_lane *lane);

/**
 * Claim `len` contiguous bytes, 1 to half the capacity. Each claim must be committed.
 *
 * Threads: any thread, after rlt_shared_lane_allocate() returned 0 to it.
 * Returns: false if the lane is full.
 */
bool rlt_shared_lane_claim(struct rlt_shared_lane *lane, size_t len,
                           struct rlt_shared_claim *claim);

/** Make a claimed frame visible. Threads: the thread that claimed it. */
void rlt_shared_lane_commit(struct rlt_shared_lane *lane, const struct rlt_shared_claim *claim,
                            size_t len);

/** Count the slots claimed so far. Threads: the consumer. */
uint64_t rlt_shared_lane_tail_slot(struct rlt_shared_lane *lane);

/** Whether peek would find nothing. Threads: the consumer. */
bool rlt_shared_lane_is_empty(struct rlt_shared_lane *lane);

/** As rlt_lane_peek(), cut at any frame. Threads: the consumer. */
bool rlt_shared_lane_peek(struct rlt_shared_lane *lane, size_t limit, struct rlt_lane_chunk *chunk);

/** As rlt_shared_lane_peek(), but only slots before `slot_end`. Threads: the consumer. */
bool rlt_shared_lane_peek_until(struct rlt_shared_lane *lane, uint64_t slot_end, size_t limit,
                                struct rlt_lane_chunk *chunk);

/** Move the cursor behind a peeked chunk, or back to an unreleased frame. Threads: consumer. */
static inline void rlt_shared_lane_advance(struct rlt_shared_lane *lane, struct rlt_lane_mark mark)
{
    lane->cursor = mark;
}

/** Give everything before `mark` back to the producers. Threads: the consumer. */
void rlt_shared_lane_release(struct rlt_shared_lane *lane, struct rlt_lane_mark mark);

/** Drop and release all frames up to the first uncommitted one. Threads: the consumer. */
uint64_t rlt_shared_lane_discard(struct rlt_shared_lane *lane);

/** Count claimed and unreleased bytes. Threads: any thread; a moment's value. */
uint64_t rlt_shared_lane_queued_bytes(const struct rlt_shared_lane *lane);

/** As rlt_lane_take_waiter(). Threads: the consumer. */
bool rlt_shared_lane_take_waiter(struct rlt_shared_lane *lane);

/** As rlt_lane_wait_begin(). Threads: any producer. */
static inline void rlt_shared_lane_wait_begin(struct rlt_shared_lane *lane)
{
    /* Relaxed before a fence: the Dekker pattern of doorbell.h. */
    atomic_store_explicit(&lane->waiting, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

#endif
