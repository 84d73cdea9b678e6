/* SPDX-License-Identifier: MIT */
/**
 * The streams of a path's two connections, merged: each message once, and each publisher's messages
 * of a topic in order.
 *
 * During a handover (core/cluster/handover.h) the old connection and the new one both bring the
 * subscribed messages. The copies of the old server may come later than those of the new one, and
 * the new connection is subscribed in the middle of the stream: its first messages may be newer
 * than some that the old connection has still to bring. So as long as the old connection brings the
 * subscribed messages, the stream is the old one's. A message that the new one brings first waits:
 *
 *  - until the old connection brings its copy, which is delivered in its place; or
 *  - until the old connection is over: then all that waits is delivered in the order of arrival.
 *    Messages that have not come on the old connection are newer than those that have.
 *
 * A message for a member of a queue group has no copy and does not wait: the server spreads the
 * group's messages over both connections, and their order of publishing is unknown. Nor do messages
 * of interests that the old server was not told of wait.
 *
 * Bounds. A message is released RLT_MERGE_WAIT_NS after it came; the oldest is released as soon as
 * three quarters of RLT_HOLDBACK_MAX wait, or a quarter of the receive memory is left. Then its
 * topic may be out of order (`held_early` counts such messages).
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

/** The old server may bring a message so much later than the new one. */
#define RLT_MERGE_WAIT_NS RLT_NS_PER_S

struct rlt_merge {
    struct rlt_overlap overlap;
    struct rlt_holdback waiting;
};

/** Begin to merge; `old` is the side that is left, 0 or 1. Returns: 0 or ROULETTE_ENOMEM. */
int rlt_merge_open(struct rlt_merge *merge, int old);

/** Deliver the messages that wait, and forget everything. May be closed already. */
void rlt_merge_close(struct rlt_merge *merge, struct rlt_exchange *exchange);

static inline bool rlt_merge_is_open(const struct rlt_merge *merge)
{
    return merge->overlap.entries != NULL;
}

/** Whether one side has ended and the other has brought all copies that it owed. */
static inline bool rlt_merge_is_over(const struct rlt_merge *merge)
{
    return merge->overlap.ended && merge->overlap.owed == 0;
}

/** Take a MSG frame that arrived on a side, and count it. Returns: whether to deliver it now. */
bool rlt_merge_take(struct rlt_merge *merge, struct rlt_exchange *exchange, int side,
                    const struct rlt_frame *frame, struct rlt_slab *slab, uint64_t now_ns);

/** Release messages that have waited long enough; `seen_ns`: until when the old side was read. */
void rlt_merge_step(struct rlt_merge *merge, struct rlt_exchange *exchange, uint64_t seen_ns);

/** When rlt_merge_step() has a timer to serve. */
uint64_t rlt_merge_deadline(const struct rlt_merge *merge);

/** Deliver all messages that wait. */
void rlt_merge_release_all(struct rlt_merge *merge, struct rlt_exchange *exchange);

/** Drop the waiting messages of an interest that ends on both sides. The old side brings those that
 *  came before its end. */
void rlt_merge_drop_of(struct rlt_merge *merge, struct rlt_exchange *exchange, uint64_t sid);

/** Mark: from now on the new side brings all that the old one brings. Replaces an earlier mark. */
void rlt_merge_mark(struct rlt_merge *merge);

/** Whether the old side has brought all that the new one had brought at the mark. */
static inline bool rlt_merge_has_caught_up(const struct rlt_merge *merge)
{
    return merge->waiting.marked == 0;
}

/** Forget the copies that were missing on the new side ever since the mark: they do not come. */
static inline void rlt_merge_forget(struct rlt_merge *merge)
{
    rlt_overlap_forget(&merge->overlap);
}

/**
 * End a side, on which nothing more arrives. The old one: messages that wait are delivered. The new
 * one: they are dropped, as the old side brings them.
 */
void rlt_merge_end_side(struct rlt_merge *merge, struct rlt_exchange *exchange, int side);

#endif
