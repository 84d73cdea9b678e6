/* SPDX-License-Identifier: MIT */
/**
 * The PINGs of a connection that are without PONG, each with a mark of what its PONG will confirm:
 * messages, and fences. And the fences that wait for a PING:
 *
 *     waiting -> armed -> in a mark -> passed, with the PONG; or failed, with the connection
 *
 * Armed fences wait until all that was accepted before them is sent; that is their sender's to
 * know. A server answers in order, so the n-th PONG is for the n-th PING. There are PINGs without a
 * mark too: they stand between SUBs (core/sending/sub_marks.h).
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_SENDING_PING_MARKS_H
#define RLT_CORE_SENDING_PING_MARKS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/sending/fence.h"
#include "lockfree/wire_queue.h"

/** Marked PINGs without PONG at most; more flushes wait. */
#define RLT_PING_MARKS_MAX 16

/** A PING without PONG: what its PONG will confirm. */
struct rlt_ping_mark {
    uint64_t number; /* of the PING */
    uint64_t sent;   /* messages sent before it on this connection */
    struct rlt_fence_link *fences;
    /* At least once: up to where its PONG confirms each lane. */
    struct rlt_lane_mark covers[RLT_WIRE_LANES + 1];
};

struct rlt_ping_marks {
    struct rlt_ping_mark marks[RLT_PING_MARKS_MAX];
    uint32_t first;
    uint32_t count;
    uint64_t written;               /* PINGs on this connection, behind that of the handshake */
    uint64_t answered;              /* of these */
    bool in_batch;                  /* the last one's PING is in the batch in flight */
    bool early;                     /* and its PONG is here already */
    struct rlt_fence_link *waiting; /* not looked at yet */
    struct rlt_fence_link **waiting_end;
    struct rlt_fence_link *armed; /* ride on the next PING once what is before them is sent */
};

void rlt_ping_marks_init(struct rlt_ping_marks *marks);

/** A fence link begins to wait. */
void rlt_ping_marks_add_fence(struct rlt_ping_marks *marks, struct rlt_fence_link *link);

/** Arm the fences that wait, unless others are armed. Returns: whether that was done. */
bool rlt_ping_marks_arm(struct rlt_ping_marks *marks);

/** Take all fence links that wait and are not armed. */
struct rlt_fence_link *rlt_ping_marks_take_waiting(struct rlt_ping_marks *marks);

/** Take all fence links that have no PING yet. */
struct rlt_fence_link *rlt_ping_marks_take_unsent(struct rlt_ping_marks *marks);

/**
 * A PING ends the batch that is being made. `with_armed`: the armed fences ride on it.
 *
 * Returns: its mark, with the rest to be filled in; NULL if enough are without PONG.
 */
struct rlt_ping_mark *rlt_ping_marks_push(struct rlt_ping_marks *marks, bool with_armed);

/** A PING without a mark is written. */
static inline void rlt_ping_marks_skip(struct rlt_ping_marks *marks)
{
    marks->written++;
}

/** How many PONGs have arrived. */
static inline uint64_t rlt_ping_marks_pongs(const struct rlt_ping_marks *marks)
{
    return marks->answered + (marks->early ? 1 : 0);
}

/** Whether a PONG that arrives now answers nothing: behind an early one no PING is sent. */
static inline bool rlt_ping_marks_owe_none(const struct rlt_ping_marks *marks)
{
    return marks->answered == marks->written || marks->early;
}

/** Whether no PONG is to come and no fence waits. */
static inline bool rlt_ping_marks_are_quiet(const struct rlt_ping_marks *marks)
{
    return rlt_ping_marks_pongs(marks) == marks->written && marks->waiting == NULL &&
           marks->armed == NULL;
}

/** The batch in flight is sent, or lost. */
static inline void rlt_ping_marks_end_batch(struct rlt_ping_marks *marks)
{
    marks->in_batch = false;
}

/**
 * A PONG arrived. If its PING is in the batch in flight (a receive may complete before the send
 * that it answers, and a server may say anything), it counts once the batch is done: see
 * rlt_ping_marks_pop_early().
 *
 * Returns: the mark of its PING, valid until the next push; NULL if it confirms nothing (yet).
 */
struct rlt_ping_mark *rlt_ping_marks_pop(struct rlt_ping_marks *marks);

/** When a batch is done: as rlt_ping_marks_pop(), for a PONG that came before that. */
struct rlt_ping_mark *rlt_ping_marks_pop_early(struct rlt_ping_marks *marks);

/**
 * The connection is gone. `with_waiting`: what the waiting fences wait for is in doubt.
 *
 * Returns: the fence links that have failed, as a list.
 */
struct rlt_fence_link *rlt_ping_marks_fail(struct rlt_ping_marks *marks, bool with_waiting);

#endif
