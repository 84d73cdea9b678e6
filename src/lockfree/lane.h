/* SPDX-License-Identifier: MIT */
/**
 * A lane: a bounded ring of ready wire bytes from one publishing thread to the event thread.
 *
 * The producer claims room for a whole frame, encodes in place and commits; the consumer peeks
 * at contiguous committed bytes (always whole frames), hands them to the kernel in place, and
 * releases them when the kernel has taken them. A frame is never split: a frame that does not fit
 * before the end of the ring starts at the ring's beginning, and the gap is skipped.
 *
 * Positions count bytes since the lane was made (gaps included) and never wrap; the offset in
 * the ring is the position modulo the capacity. The tail is one 64-bit word that holds the low
 * 34 bits of the position and the low 30 bits of the message count, so that the consumer always
 * reads a pair that belongs together: that makes the publish ledger exact. Both are widened
 * against the last values the consumer knows; that is unambiguous because at most 2^30 bytes,
 * hence fewer messages (NATS has no frame of one byte), are between the two.
 *
 * Producers:  one at a time; wait-free. Handing a lane to another thread needs an
 *             acquire/release pair outside (wire_queue.h has it).
 * Consumers:  one; wait-free. A producer preempted between claim and commit delays nobody: its
 *             frame is not visible yet, and it shares the lane with no other.
 * Full:       claim returns NULL, after one look at the consumer's position.
 * Empty:      peek returns false.
 * Wrap:       as above; 64-bit positions last longer than the hardware.
 * Reclaiming: bytes are the producer's again once released.
 * Not ck:     it has no ring of bytes; its rings hold one word or one fixed size for each entry.
 */
#ifndef RLT_LOCKFREE_LANE_H
#define RLT_LOCKFREE_LANE_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/defs.h"

#define RLT_LANE_POSITION_BITS 34
#define RLT_LANE_POSITION_MASK ((UINT64_C(1) << RLT_LANE_POSITION_BITS) - 1)
#define RLT_LANE_COUNT_MASK    ((UINT64_C(1) << (64 - RLT_LANE_POSITION_BITS)) - 1)
/** Each block of this many bytes remembers its first frame, so that peek can cut there. */
#define RLT_LANE_BLOCK_BITS 16

#define RLT_LANE_CAPACITY_MIN ((size_t)1 << RLT_LANE_BLOCK_BITS)
#define RLT_LANE_CAPACITY_MAX ((size_t)1 << 30)

/** A place in a lane: at a frame boundary, with the number of messages before it. */
struct rlt_lane_mark {
    uint64_t position;
    uint64_t count;
};

/** Contiguous whole frames; valid until they are released. */
struct rlt_lane_chunk {
    const uint8_t *bytes;
    size_t len;
    struct rlt_lane_mark start;
    struct rlt_lane_mark end;
};

struct rlt_lane {
    /* Set by the producer before its first commit, then immutable. The consumer reads both only
     * after it has acquired a tail that is not its own position. */
    uint8_t *bytes;
    size_t capacity;
    /* Packed mark of the first frame that starts in each block; where none starts, of the next
     * frame, which lies in another block. Relaxed: published by the tail; a mark that is newer
     * than the tail the consumer knows lies beyond that tail and is ignored. */
    _Atomic(uint64_t) *checkpoints;

    /* Written by the producer. */
    alignas(RLT_CACHE_LINE) _Atomic(uint64_t) tail; /* packed; release here, acquire in peek */
    _Atomic(uint64_t) accepted; /* messages committed, 64 bits; relaxed: read by statistics */
    uint64_t position;
    uint64_t block_seen;
    uint64_t head_seen;
    /* Where the last lap's frames ended. Published by the tail; not written again before the
     * consumer has released beyond the lap's end (claim checks it). */
    struct rlt_lane_mark lap_end;
    size_t gap; /* between claim and commit: bytes skipped at the end of the ring */

    /* Written by the consumer. */
    alignas(RLT_CACHE_LINE) _Atomic(uint64_t) head; /* release here, acquire in claim */
    struct rlt_lane_mark cursor;                    /* next frame to be peeked at */
    uint64_t fence_position;                        /* a flush waits until the cursor is here */

    /* 1: a producer sleeps until there is room. Written by both sides; partner: itself. */
    alignas(RLT_CACHE_LINE) _Atomic(uint32_t) waiting;
};

/**
 * Make an empty lane without memory.
 *
 * Threads: before the lane is shared.
 */
void rlt_lane_init(struct rlt_lane *lane);

/**
 * Give the lane its memory: `capacity`, a power of two.
 *
 * Threads: the producer, before its first claim. Allocates.
 * Returns: 0 or ROULETTE_ENOMEM.
 */
int rlt_lane_allocate(struct rlt_lane *lane, size_t capacity);

/** Free the memory. Threads: after both ends have stopped. */
void rlt_lane_fini(struct rlt_lane *lane);

static inline uint64_t rlt_lane_pack(uint64_t position, uint64_t count)
{
    return (count << RLT_LANE_POSITION_BITS) | (position & RLT_LANE_POSITION_MASK);
}

/** Widen `packed` to the mark at or after `base`. */
static inline struct rlt_lane_mark rlt_lane_unpack(uint64_t packed, struct rlt_lane_mark base)
{
    uint64_t ahead = (packed - base.position) & RLT_LANE_POSITION_MASK;
    uint64_t more = ((packed >> RLT_LANE_POSITION_BITS) - base.count) & RLT_LANE_COUNT_MASK;
    return (struct rlt_lane_mark){base.position + ahead, base.count + more};
}

/**
 * Claim room for a frame of `len` contiguous bytes, 1 to half the capacity.
 *
 * Threads: the producer. Each claim is followed by one commit or by another claim (which
 *          replaces it).
 * Returns: where to write, or NULL if the lane is full.
 */
static inline uint8_t *rlt_lane_claim(struct rlt_lane *lane, size_t len)
{
    RLT_DASSERT(len > 0 && len <= lane->capacity / 2);
    size_t offset = (size_t)lane->position & (lane->capacity - 1);
    size_t gap = offset + len > lane->capacity ? lane->capacity - offset : 0;
    if (rlt_unlikely(lane->position + gap + len - lane->head_seen > lane->capacity)) {
        /* Acquire: the consumer's reads of the released bytes come before the producer's writes. */
        lane->head_seen = atomic_load_explicit(&lane->head, memory_order_acquire);
        if (lane->position + gap + len - lane->head_seen > lane->capacity) {
            return NULL;
        }
    }
    lane->gap = gap;
    return lane->bytes + (gap != 0 ? 0 : offset);
}

/**
 * Write the checkpoint of a block whose first frame, at `start`, is being committed, and in a new
 * lap where the last one ended. Part of rlt_lane_commit().
 */
void rlt_lane_enter_block(struct rlt_lane *lane, uint64_t start, uint64_t count);

/** Make the claimed frame of `len` bytes visible. Threads: the producer. */
static inline void rlt_lane_commit(struct rlt_lane *lane, size_t len)
{
    /* Relaxed: the producer's own value. */
    uint64_t count = atomic_load_explicit(&lane->accepted, memory_order_relaxed);
    uint64_t start = lane->position + lane->gap;
    if (rlt_unlikely((start >> RLT_LANE_BLOCK_BITS) != lane->block_seen)) {
        rlt_lane_enter_block(lane, start, count);
    }
    lane->position = start + len;
    atomic_store_explicit(&lane->accepted, count + 1, memory_order_relaxed);
    /* Release: publishes the frame's bytes, the lap's end and the checkpoints. */
    atomic_store_explicit(&lane->tail, rlt_lane_pack(lane->position, count + 1),
                          memory_order_release);
}

/** Read the end of the committed frames. Threads: the consumer. */
static inline struct rlt_lane_mark rlt_lane_tail(struct rlt_lane *lane)
{
    /* Acquire: partner of the release in commit. */
    return rlt_lane_unpack(atomic_load_explicit(&lane->tail, memory_order_acquire), lane->cursor);
}

/** Whether peek would find nothing. Threads: the consumer. */
static inline bool rlt_lane_is_empty(struct rlt_lane *lane)
{
    /* Relaxed: a hint, read after a doorbell's fence or before a peek. */
    uint64_t packed = atomic_load_explicit(&lane->tail, memory_order_relaxed);
    return ((packed ^ lane->cursor.position) & RLT_LANE_POSITION_MASK) == 0;
}

/**
 * Look at the next committed frames: up to about `limit` contiguous bytes (at least one frame; cut
 * at a block's first frame). Does not move the cursor: see rlt_lane_advance().
 *
 * Threads: the consumer.
 * Returns: false if there are none.
 */
bool rlt_lane_peek(struct rlt_lane *lane, size_t limit, struct rlt_lane_chunk *chunk);

/** As rlt_lane_peek(), but not behind `end`, an earlier rlt_lane_tail(). Threads: the consumer. */
bool rlt_lane_peek_until(struct rlt_lane *lane, struct rlt_lane_mark end, size_t limit,
                         struct rlt_lane_chunk *chunk);

/** Move the cursor behind a peeked chunk, or back to the start of an unreleased one. */
static inline void rlt_lane_advance(struct rlt_lane *lane, struct rlt_lane_mark mark)
{
    lane->cursor = mark;
}

/** Give everything before `position` back to the producer. Threads: the consumer. */
static inline void rlt_lane_release(struct rlt_lane *lane, uint64_t position)
{
    /* Release: the consumer's and the kernel's reads come before the producer's next writes. */
    atomic_store_explicit(&lane->head, position, memory_order_release);
}

/** Drop and release all committed frames; returns the number of messages. Threads: consumer. */
uint64_t rlt_lane_discard(struct rlt_lane *lane);

/** Count committed and unreleased bytes. Threads: any thread; a moment's value. */
static inline uint64_t rlt_lane_queued_bytes(const struct rlt_lane *lane)
{
    /* Acquire: the consumer released the head after it had acquired a tail at or behind it, so the
     * tail read next is not older than the head, and the difference never negative. */
    uint64_t head = atomic_load_explicit(&lane->head, memory_order_acquire);
    /* Acquire: partner of the release in commit. A tail that is not the head: there is memory. */
    uint64_t tail = atomic_load_explicit(&lane->tail, memory_order_acquire);
    return (tail - head) & RLT_LANE_POSITION_MASK;
}

/**
 * Whether a producer that announced its sleep (rlt_lane_wait_begin) must be woken: a quarter of
 * the lane is free, or all of it. If true, the announcement is taken back and the caller wakes
 * all threads that sleep on `lane->waiting`.
 *
 * Threads: the consumer, after rlt_lane_release().
 */
bool rlt_lane_take_waiter(struct rlt_lane *lane);

/**
 * Announce that the producer is about to sleep on `lane->waiting` (while it is 1). Afterwards
 * claim once more, and sleep only if that fails.
 *
 * Threads: the producer.
 */
static inline void rlt_lane_wait_begin(struct rlt_lane *lane)
{
    /* Relaxed before a fence: the Dekker pattern of doorbell.h, with the head as the queue. */
    atomic_store_explicit(&lane->waiting, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}

#endif
