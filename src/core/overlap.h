/* SPDX-License-Identifier: MIT */
/**
 * While two connections of one cluster hold the same subscriptions, each message arrives twice,
 * once on each. An overlap lets through the copy that comes first.
 *
 * It counts, for each distinct frame (subscription, topic, reply, headers and payload), how many
 * more copies one side has delivered than the other. A copy of the side that is behind is one
 * that the other side has delivered already. Messages that are equal to the last byte and
 * published twice are two on each side, so both are delivered. Order is kept: on each side a
 * publisher's messages come in order, and so do the first copies.
 *
 * Frames are told apart by XXH3_128.
 *
 * Memory: RLT_OVERLAP_ENTRIES * 32 bytes while it is open, allocated at its begin. When it is
 * full, further messages are let through unseen, and may come twice; they are counted.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_OVERLAP_H
#define RLT_CORE_OVERLAP_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/parser.h"

#define RLT_OVERLAP_ENTRIES ((uint32_t)1 << 17)

struct rlt_overlap_entry;

struct rlt_overlap {
    struct rlt_overlap_entry *entries; /* NULL: closed */
    uint32_t used;                     /* entries that were ever taken */
    uint64_t unseen;                   /* messages let through because it was full */
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_overlap_open(struct rlt_overlap *overlap);

/** Forget everything. */
void rlt_overlap_close(struct rlt_overlap *overlap);

/** Nothing more arrives on a side: copies that it has not brought do not come. */
void rlt_overlap_end_side(struct rlt_overlap *overlap, int side);

/**
 * A MSG frame arrived on side 0 or 1.
 *
 * Returns: true if it is the second copy, to be dropped.
 */
bool rlt_overlap_is_second(struct rlt_overlap *overlap, const struct rlt_frame *frame, int side);

#endif
