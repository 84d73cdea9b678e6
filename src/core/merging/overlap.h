/* SPDX-License-Identifier: MIT */
/**
 * While two connections of one cluster hold the same subscriptions, each message arrives twice,
 * once on each. An overlap tells first copies from second ones.
 *
 * It counts, for each distinct frame (subscription, topic, reply, headers and payload), how many
 * more copies one side has brought than the other. A copy of the side that is behind is one
 * that the other side has brought already. Messages that are equal to the last byte and
 * published twice are two on each side, so both are delivered.
 *
 * A first copy of the new side may have to wait for older messages of the old side
 * (core/merging/merge.h). The overlap knows it by a number, and finds it when the old side brings
 * the same frame: then the copy of the old side is delivered, and the one that waited is not.
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
 * Memory: RLT_OVERLAP_ENTRIES * 48 bytes while it is open, allocated at its begin. Frames that
 * both sides have brought take none. When it is full, further messages are let through unseen,
 * and may come twice; the caller counts them.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_MERGING_OVERLAP_H
#define RLT_CORE_MERGING_OVERLAP_H

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
    RLT_OVERLAP_WAITED, /* of the old side: a copy of the new one waits, and is to be ended */
};

/** A frame's hash. */
struct rlt_overlap_key {
    uint64_t low;
    uint64_t high;
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

struct rlt_overlap_key rlt_overlap_key(const struct rlt_frame *frame);

/** A MSG frame arrived on side 0 or 1. */
enum rlt_overlap_copy rlt_overlap_take(struct rlt_overlap *overlap, struct rlt_overlap_key key,
                                       int side);

/**
 * The frame of the new side that was taken last, and is a first copy, waits under `number`.
 *
 * Returns: the number of the one that is equal to it and began to wait before it; `number` itself
 *          if there is none. The caller links them.
 */
uint64_t rlt_overlap_wait(struct rlt_overlap *overlap, struct rlt_overlap_key key, uint64_t number);

/** The number of the equal frame that has waited longest. There is one. */
uint64_t rlt_overlap_waiting(struct rlt_overlap *overlap, struct rlt_overlap_key key);

/**
 * That frame waits no longer: it is delivered; or it is not, since the old side brings its copy.
 * `next` is the number of the equal one that began to wait next, if there is one.
 */
void rlt_overlap_end_wait(struct rlt_overlap *overlap, struct rlt_overlap_key key, uint64_t next,
                          bool delivered);

#endif
