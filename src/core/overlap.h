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
 * It is open for some time before the new side is subscribed: of a message that the old side has
 * delivered then, the copy may still be on its way to the new side's server. Most of the others
 * have none: their frames stay ahead, and a later message that equals one of them would be taken
 * for its copy. As long as the old side delivers everything that does no harm. Before it ends, what
 * it was ahead both at rlt_overlap_mark() and at rlt_overlap_forget() is forgotten: copies that did
 * not come in that time do not come. What the new side then owes when the old one ends is what was
 * on its way, and when it has come the overlap is over.
 *
 * What cannot be told: where the new side begins in a run of equal messages that is so fast that
 * some are on their way at both moments. As many may be lost, or come twice.
 *
 * Frames are told apart by 127 bits of XXH3_128.
 *
 * Memory: RLT_OVERLAP_ENTRIES * 32 bytes while it is open, allocated at its begin. Frames that
 * both sides have brought take none. When it is full, further messages are let through unseen,
 * and may come twice; the caller counts them.
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
    uint32_t used;                     /* entries that are taken */
    int old;                           /* the side that is left, 0 or 1 */
    bool ended;                        /* one side brings nothing more; nothing is taken up */
    uint64_t owed;                     /* then: copies that the other one will bring */
};

/** What a frame is. */
enum rlt_overlap_copy {
    RLT_OVERLAP_FIRST,
    RLT_OVERLAP_SECOND, /* to be dropped */
    RLT_OVERLAP_UNSEEN, /* there was no room to remember it */
};

/** `old` is the side that is left. Returns: 0 or ROULETTE_ENOMEM. */
int rlt_overlap_open(struct rlt_overlap *overlap, int old);

/** Forget everything. */
void rlt_overlap_close(struct rlt_overlap *overlap);

/** From now on the new side brings what the old one brings. Replaces an earlier mark. */
void rlt_overlap_mark(struct rlt_overlap *overlap);

/** What was missing on the new side all the time since the mark does not come any more. */
void rlt_overlap_forget(struct rlt_overlap *overlap);

/** Nothing more arrives on a side: copies that it has not brought do not come. */
void rlt_overlap_end_side(struct rlt_overlap *overlap, int side);

/** A MSG frame arrived on side 0 or 1. */
enum rlt_overlap_copy rlt_overlap_take(struct rlt_overlap *overlap, const struct rlt_frame *frame,
                                       int side);

#endif
