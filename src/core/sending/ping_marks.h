/* SPDX-License-Identifier: MIT */
/**
 * The PINGs of a connection that are without PONG, each with a mark of the messages and fences that
 * its PONG will confirm. And the fences that wait for a PING:
 *
 *     waiting -> armed -> in a mark -> passed, with the PONG; or failed, with the connection
 *
 * Armed fences wait until all that was accepted before them is sent; the sender knows when. A
 * server answers in order, so the n-th PONG is for the n-th PING. PINGs between SUBs have no mark
 * (core/sending/sub_marks.h).
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

/** A PING without PONG, and all that its PONG will confirm. */
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
    uint64_t written;               /* PINGs on this connection, after that of the handshake */
    uint64_t answered;              /* of these */
    bool in_batch;                  /* the last one's PING is in the batch in flight */
    bool early;                     /* and its PONG has arrived already */
    struct rlt_fence_link *waiting; /* not armed yet */
    struct rlt_fence_link **waiting_end;
    struct rlt_fence_link *armed; /* ride on the next PING once all before them is sent */
};

void rlt_ping_marks_init(struct rlt_ping_marks *marks);

/** Add a fence link to those that wait. */
void rlt_ping_marks_add_fence(struct rlt_ping_marks *marks, struct rlt_fence_link *link);

/** Arm the waiting fences, unless others are armed. Returns: whether they were armed. */
bool rlt_ping_marks_arm(struct rlt_ping_marks *marks);

/** Take all fence links that wait and are not armed. */
struct rlt_fence_link *rlt_ping_marks_take_waiting(struct rlt_ping_marks *marks);

/** Take all fence links that have no PING yet. */
struct rlt_fence_link *rlt_ping_marks_take_unsent(struct rlt_ping_marks *marks);

/**
 * Mark the PING that ends the batch being made. `with_armed`: the armed fences ride on it.
 *
 * Returns: its mark, for the caller to complete; NULL if enough PINGs are without PONG.
 */
struct rlt_ping_mark *rlt_ping_marks_push(struct rlt_ping_marks *marks, bool with_armed);

/** Count a PING that has no mark. */
static inline void rlt_ping_marks_skip(struct rlt_ping_marks *marks)
{
    marks->written++;
}

/** How many PONGs have arrived. */
static inline uint64_t rlt_ping_marks_pongs(const struct rlt_ping_marks *marks)
{
    return marks->answered + (marks->early ? 1 : 0);
}

/** Whether a PONG that arrives now answers no PING: after an early PONG no PING is sent. */
static inline bool rlt_ping_marks_owe_none(const struct rlt_ping_marks *marks)
{
    return marks->answered == marks->written || marks->early;
}

/** Whether no PONG is awaited and no fence waits. */
static inline bool rlt_ping_marks_are_quiet(const struct rlt_ping_marks *marks)
{
    return rlt_ping_marks_pongs(marks) == marks->written && marks->waiting == NULL &&
           marks->armed == NULL;
}

/** Note that the batch in flight is sent, or lost. */
static inline void rlt_ping_marks_end_batch(struct rlt_ping_marks *marks)
{
    marks->in_batch = false;
}

/**
 * Take a PONG. If its PING is in the batch in flight (a receive may complete before the send that
 * it answers, and a server may say anything), the PONG counts once the batch is done: see
 * rlt_ping_marks_pop_early().
 *
 * Returns: the mark of its PING, valid until the next push; NULL if the PONG confirms nothing
 *          (yet).
 */
struct rlt_ping_mark *rlt_ping_marks_pop(struct rlt_ping_marks *marks);

/** Take a PONG that came before its batch was done: as rlt_ping_marks_pop(), once the batch is
 *  done. */
struct rlt_ping_mark *rlt_ping_marks_pop_early(struct rlt_ping_marks *marks);

/**
 * Fail fences, since the connection is lost. `with_waiting`: also those that wait, since messages
 * before them are in doubt.
 *
 * Returns: the fence links that have failed, as a list.
 */
struct rlt_fence_link *rlt_ping_marks_fail(struct rlt_ping_marks *marks, bool with_waiting);

#endif
