/* SPDX-License-Identifier: MIT */
/**
 * Messages that a server has refused, of those that no PONG has confirmed. With the next PONG they
 * leave the connection's books as denied. When the connection is lost before, it is the same with
 * at_most_once. With at_least_once the unconfirmed messages stay in their lanes, to be sent again,
 * but for those that were refused: their frames are struck out where they lie, and passed over
 * from then on.
 *
 * Which ones they are the server says by the topic, or the reply. Of several with the same one that
 * are on their way, the first of the first lane is taken: the others will be refused as well. Of
 * more than RLT_DENIALS_NAMES names between two PONGs the rest is sent, and refused, again, and is
 * booked then.
 *
 * Owner: the event thread (with at_least_once nothing is lent).
 */
#ifndef RLT_CORE_SENDING_DENIALS_H
#define RLT_CORE_SENDING_DENIALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lockfree/wire_queue.h"

#define RLT_DENIALS_NAMES 64

struct rlt_sender;

/** Of a topic or reply, and how often it was refused. */
struct rlt_denied_name {
    uint64_t key;
    uint64_t count;
};

/** All zero: none. */
struct rlt_denials {
    uint64_t count; /* since the last PONG */
    uint32_t name_count;
    struct rlt_denied_name names[RLT_DENIALS_NAMES]; /* at least once: what they are */

    /* In messages, behind the last frame of each lane that is struck out. */
    uint64_t struck_end[RLT_WIRE_LANES + 1];
    bool any_struck;
};

/** A name as the server has written it, between quotes; 0: it is none. */
uint64_t rlt_denials_key(const char *quoted, size_t len, bool by_reply);

/** One more is refused. `key` may be 0. */
void rlt_denials_add(struct rlt_denials *denials, uint64_t key, bool keep);

/** What was said is booked. */
static inline void rlt_denials_forget(struct rlt_denials *denials)
{
    denials->count = 0;
    denials->name_count = 0;
}

/** At least once, and the connection is lost: strike out what was refused of what was sent, up to
 *  the lanes' cursors. Returns: how many. */
uint64_t rlt_denials_strike(struct rlt_sender *sender);

/** Frames that are struck out and still lie in the lanes. */
uint64_t rlt_denials_count_struck(struct rlt_sender *sender);

/** The place behind all frames at `mark` that are struck out. The cursor is not before it then. */
struct rlt_lane_mark rlt_denials_pass(struct rlt_sender *sender, int lane,
                                      struct rlt_lane_mark mark);

/** As rlt_wire_queue_peek(), of what rlt_sender_look() saw, without frames that are struck out. */
bool rlt_denials_peek(struct rlt_sender *sender, int lane, size_t limit,
                      struct rlt_lane_chunk *chunk);

/** Another sender owns the lanes now. */
void rlt_denials_move(struct rlt_denials *to, struct rlt_denials *from);

#endif
