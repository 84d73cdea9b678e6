/* SPDX-License-Identifier: MIT */
/**
 * While two connections of one path hold the same interests, each message arrives twice, once on
 * each. An overlap tells first copies from second ones.
 *
 * It counts, for each distinct frame (sid, topic, reply, headers and payload), how many more copies
 * one side has brought than the other. A copy on the side that is behind has come on the other side
 * already. Messages that are equal to the last byte and published twice are two on each side, so
 * both are delivered.
 *
 * A first copy of the new side may have to wait for older messages of the old side
 * (core/merging/merge.h). The overlap knows the waiting copy by a number, and finds it when the old
 * side brings the same frame: then the old side's copy is delivered, and the waiting one is not.
 *
 * An overlap is open for some time before the new side is subscribed: of a message that the old
 * side has delivered then, the copy may still be in flight to the new side's server. Most of the
 * others have no copy: their frames stay ahead, and a later message that equals one of them would
 * be taken for its copy. As long as the old side delivers everything, that does no harm. Before the
 * old side ends, its lead both at rlt_overlap_mark() and at rlt_overlap_forget() is forgotten:
 * copies that did not come in that time do not come. The copies that the new side owes when the old
 * one ends are those in flight, and when they have come the overlap is over.
 *
 * Not known: where the new side begins in a fast sequence of equal messages, of which some are in
 * flight at both moments. As many may be lost, or come twice.
 *
 * Frames are told apart by 127 bits of XXH3_128.
 *
 * Memory: RLT_OVERLAP_ENTRIES * 48 bytes while the overlap is open, allocated by open. Frames that
 * both sides have brought take none. When it is full, further messages are delivered unseen, and
 * may come twice; the caller counts them.
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
    bool ended;                        /* one side brings nothing more; no entry is added */
    uint64_t owed;                     /* then: copies that the other side will bring */
};

/** Which copy a frame is. */
enum rlt_overlap_copy {
    RLT_OVERLAP_FIRST,
    RLT_OVERLAP_SECOND, /* to be dropped */
    RLT_OVERLAP_UNSEEN, /* there was no room to remember it */
    RLT_OVERLAP_WAITED, /* of the old side: the new side's copy waits, and is to be dropped */
};

/** A frame's hash. */
struct rlt_overlap_key {
    uint64_t low;
    uint64_t high;
};

/** Open an overlap; `old` is the side that is left. Returns: 0 or ROULETTE_ENOMEM. */
int rlt_overlap_open(struct rlt_overlap *overlap, int old);

/** Forget everything. */
void rlt_overlap_close(struct rlt_overlap *overlap);

/** Mark: from now on the new side brings all that the old one brings. Replaces an earlier mark. */
void rlt_overlap_mark(struct rlt_overlap *overlap);

/** Forget the copies that were missing on the new side ever since the mark: they do not come. */
void rlt_overlap_forget(struct rlt_overlap *overlap);

/** End a side, on which nothing more arrives: copies that it has not brought do not come. */
void rlt_overlap_end_side(struct rlt_overlap *overlap, int side);

struct rlt_overlap_key rlt_overlap_key(const struct rlt_frame *frame);

/** Tell which copy a MSG frame is that arrived on side 0 or 1. */
enum rlt_overlap_copy rlt_overlap_take(struct rlt_overlap *overlap, struct rlt_overlap_key key,
                                       int side);

/**
 * Note that the new side's last frame, which is a first copy, waits under `number`.
 *
 * Returns: the number of the equal frame that began to wait before; `number` itself if there is
 *          none. The caller links the two.
 */
uint64_t rlt_overlap_wait(struct rlt_overlap *overlap, struct rlt_overlap_key key, uint64_t number);

/** Find the number of the equal frame that has waited longest. There is one. */
uint64_t rlt_overlap_waiting(struct rlt_overlap *overlap, struct rlt_overlap_key key);

/**
 * End the wait of that frame, which is delivered; or not, since the old side brings its copy.
 * `next` is the number of the equal frame that began to wait next, if there is one.
 */
void rlt_overlap_end_wait(struct rlt_overlap *overlap, struct rlt_overlap_key key, uint64_t next,
                          bool delivered);

#endif
