/* SPDX-License-Identifier: MIT */
/**
 * Lanes that are not new: at positions and counts shortly before their packed bits wrap.
 */
#ifndef RLT_TESTS_UNIT_LOCKFREE_LANES_H
#define RLT_TESTS_UNIT_LOCKFREE_LANES_H

#include "lockfree/lane.h"
#include "lockfree/shared_lane.h"
#include "support/test.h"

#define KIB ((size_t)1024)

/** Slots of a shared lane of 64 KiB. */
#define SHARED_SLOTS 1024

/** A lane with memory, as if `mark` lay behind it already. */
static inline void lane_start_at(struct rlt_lane *lane, size_t capacity, struct rlt_lane_mark mark)
{
    rlt_lane_init(lane);
    cr_assert_eq(rlt_lane_allocate(lane, capacity), 0);
    lane->position = mark.position;
    lane->head_seen = mark.position;
    lane->block_seen = (mark.position >> RLT_LANE_BLOCK_BITS) - 1;
    lane->cursor = mark;
    atomic_store_explicit(&lane->accepted, mark.count, memory_order_relaxed);
    atomic_store_explicit(&lane->head, mark.position, memory_order_relaxed);
    atomic_store_explicit(&lane->tail, rlt_lane_pack(mark.position, mark.count),
                          memory_order_relaxed);
}

/** A lane with 64 KiB, as if `mark` lay behind it already (its count is a slot number). */
static inline void shared_lane_start_at(struct rlt_shared_lane *lane, struct rlt_lane_mark mark)
{
    rlt_shared_lane_init(lane);
    cr_assert_eq(rlt_shared_lane_allocate(lane, 64 * KIB), 0);
    cr_assert_eq(lane->slot_count, SHARED_SLOTS);
    lane->cursor = mark;
    atomic_store_explicit(&lane->head_position, mark.position, memory_order_relaxed);
    atomic_store_explicit(&lane->head_slot, mark.count, memory_order_relaxed);
    atomic_store_explicit(&lane->claimed,
                          mark.count << 40 | (mark.position & ((UINT64_C(1) << 40) - 1)),
                          memory_order_relaxed);
}

static inline uint64_t messages(struct rlt_lane_chunk chunk)
{
    return chunk.end.count - chunk.start.count;
}

#endif
