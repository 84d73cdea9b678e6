/* SPDX-License-Identifier: MIT */
/**
 * The streams of two connections of one place in the pool, made into one: each message once, and
 * each publisher's messages of a topic in order.
 *
 * While a connection moves (core/cluster/handover.h), the old one and the second one both bring
 * what is subscribed. The copies of the old server may come later than those of the new one, and
 * the second connection is subscribed in the middle of the stream: what it brings first may be
 * newer than what the old one has still to bring. So as long as the old one brings what is
 * subscribed, the stream is the old one's. A message that the second one brings first waits:
 *
 *  - until the old one brings its copy, which is delivered in its place; or
 *  - until the old one is over: then all that waits is delivered in the order in which it came.
 *    What has not come on the old one is newer than what has.
 *
 * A message for a member of a queue group has no copy and does not wait: the server spreads the
 * group's messages over both connections, and nobody can tell how they were published. Nor does
 * what the old server was not told of.
 *
 * Bounds. A message is let go RLT_MERGE_WAIT_NS after it came, and the oldest is when
 * three quarters of RLT_HOLDBACK_MAX wait, or a quarter of the receive memory is left: then its
 * topic may be out of order (`held_early` counts them).
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_MERGING_MERGE_H
#define RLT_CORE_MERGING_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "core/merging/holdback.h"
#include "core/merging/overlap.h"

struct rlt_exchange;

/** So much later than the new server may the old one bring a message. */
#define RLT_MERGE_WAIT_NS RLT_NS_PER_S

struct rlt_merge {
    struct rlt_overlap overlap;
    struct rlt_holdback waiting;
};

/** `old` is the side that is left, 0 or 1. Returns: 0 or ROULETTE_ENOMEM. */
int rlt_merge_open(struct rlt_merge *merge, int old);

/** Deliver what waits, and forget everything. May be closed already. */
void rlt_merge_close(struct rlt_merge *merge, struct rlt_exchange *exchange);

static inline bool rlt_merge_is_open(const struct rlt_merge *merge)
{
    return merge->overlap.entries != NULL;
}

/** Whether all has come that a side that ended left to the other one. */
static inline bool rlt_merge_is_over(const struct rlt_merge *merge)
{
    return merge->overlap.ended && merge->overlap.owed == 0;
}

/** A MSG frame arrived on a side. Counts it. Returns: whether it is to be delivered now. */
bool rlt_merge_take(struct rlt_merge *merge, struct rlt_exchange *exchange, int side,
                    const struct rlt_frame *frame, struct rlt_slab *slab, uint64_t now_ns);

/** Let go what has waited long enough; `seen_ns`: until when the old side was read. */
void rlt_merge_step(struct rlt_merge *merge, struct rlt_exchange *exchange, uint64_t seen_ns);

/** When rlt_merge_step() has a timer to serve. */
uint64_t rlt_merge_deadline(const struct rlt_merge *merge);

/** Deliver all that waits. */
void rlt_merge_release_all(struct rlt_merge *merge, struct rlt_exchange *exchange);

/** A subscription ends on both sides: what waits of it is dropped. The old one brings what
 *  came before its end. */
void rlt_merge_drop_of(struct rlt_merge *merge, struct rlt_exchange *exchange, uint64_t sid);

/** From now on the new side brings what the old one brings. Replaces an earlier mark. */
void rlt_merge_mark(struct rlt_merge *merge);

/** Whether the old side has brought all that the new one had brought at the mark. */
static inline bool rlt_merge_has_caught_up(const struct rlt_merge *merge)
{
    return merge->waiting.marked == 0;
}

/** What was missing on the new side all the time since the mark does not come any more. */
static inline void rlt_merge_forget(struct rlt_merge *merge)
{
    rlt_overlap_forget(&merge->overlap);
}

/**
 * Nothing more arrives on a side. The old one: what waits is delivered. The new one: what waits
 * is left to the old side.
 */
void rlt_merge_end_side(struct rlt_merge *merge, struct rlt_exchange *exchange, int side);

#endif
