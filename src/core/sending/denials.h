/* SPDX-License-Identifier: MIT */
/**
 * Messages that a server has refused, of those that no PONG has confirmed. The next PONG books them
 * as denied; with at_most_once the loss of the connection does, too. With at_least_once a loss
 * leaves unconfirmed messages in their lanes, to be sent again, but not the refused ones: their
 * frames are struck out in the lane, and skipped from then on.
 *
 * The server names the topic, or the reply, of a refused message. Of several messages in flight
 * with that name, the first of the first lane is taken: the others will be refused as well. Of more
 * than RLT_DENIALS_NAMES names between two PONGs the rest is sent, and refused, again, and is
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

/** A topic or reply, by its key, and how often it was refused. */
struct rlt_denied_name {
    uint64_t key;
    uint64_t count;
};

/** All zero: none. */
struct rlt_denials {
    uint64_t count; /* since the last PONG */
    uint32_t name_count;
    struct rlt_denied_name names[RLT_DENIALS_NAMES]; /* at least once: their names */

    /* In messages: the end of the last struck-out frame of each lane. */
    uint64_t struck_end[RLT_WIRE_LANES + 1];
    bool any_struck;
};

/** The key of a name as the server wrote it, between quotes; 0: it is no name. */
uint64_t rlt_denials_key(const char *quoted, size_t len, bool by_reply);

/** Note one more refused message. `key` may be 0. */
void rlt_denials_add(struct rlt_denials *denials, uint64_t key, bool keep);

/** Forget the refusals, which were booked. */
static inline void rlt_denials_forget(struct rlt_denials *denials)
{
    denials->count = 0;
    denials->name_count = 0;
}

/** Strike out the refused messages among those sent, up to the lanes' cursors (at_least_once, after
 *  a loss). Returns: how many. */
uint64_t rlt_denials_strike(struct rlt_sender *sender);

/** Count the struck-out frames that are still in the lanes. */
uint64_t rlt_denials_count_struck(struct rlt_sender *sender);

/** The place behind all struck-out frames at `mark`. The cursor is moved there if it was before. */
struct rlt_lane_mark rlt_denials_pass(struct rlt_sender *sender, int lane,
                                      struct rlt_lane_mark mark);

/** As rlt_wire_queue_peek(), of what rlt_sender_look() saw, without frames that are struck out. */
bool rlt_denials_peek(struct rlt_sender *sender, int lane, size_t limit,
                      struct rlt_lane_chunk *chunk);

/** Move the state with the lanes, to the sender that owns them now. */
void rlt_denials_move(struct rlt_denials *to, struct rlt_denials *from);

#endif
