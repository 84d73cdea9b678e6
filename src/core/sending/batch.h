/* SPDX-License-Identifier: MIT */
/**
 * The batch that a connection has in flight: spans for the kernel, which may take any part of them
 * at a time, and the source of each span. Every span ends at the end of a line or a frame.
 *
 * Owner: the event thread, or a publisher to whom it is lent (core/cluster/direct_send.h).
 */
#ifndef RLT_CORE_SENDING_BATCH_H
#define RLT_CORE_SENDING_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "core/seam/transport.h"
#include "lockfree/wire_queue.h"

/** Control, PING, and two parts (before and behind the buffer's end) for each lane. */
#define RLT_BATCH_SPANS (2 + 2 * (RLT_WIRE_LANES + 1))

/** A span that came from no lane. */
#define RLT_NO_LANE (-1)

/** The source of a span. */
struct rlt_batch_part {
    int lane; /* index; RLT_WIRE_LANES: the shared lane; RLT_NO_LANE */
    struct rlt_lane_mark start;
    struct rlt_lane_mark end;
};

struct rlt_batch {
    struct rlt_span spans[RLT_BATCH_SPANS]; /* of length 0: frames that are given up */
    struct rlt_batch_part parts[RLT_BATCH_SPANS];
    uint32_t count;  /* 0: nothing is in flight */
    uint32_t done;   /* spans taken in full */
    size_t progress; /* bytes taken of the next one */
};

/** Append a span. */
void rlt_batch_add(struct rlt_batch *batch, const void *bytes, size_t len,
                   struct rlt_batch_part part);

/** Book `count` bytes of the next span, which the kernel took in part. */
void rlt_batch_advance(struct rlt_batch *batch, size_t count);

/** Count the messages that the batch's completion counts as sent: not those that are given up. */
uint64_t rlt_batch_messages(const struct rlt_batch *batch);

/** Count messages and their bytes, also of those that are given up. */
void rlt_batch_measure(const struct rlt_batch *batch, uint64_t *messages, uint64_t *bytes);

/** The spans still to be sent: rlt_batch_left() of them. */
static inline const struct rlt_span *rlt_batch_rest(const struct rlt_batch *batch)
{
    return batch->spans + batch->done;
}

static inline uint32_t rlt_batch_left(const struct rlt_batch *batch)
{
    return batch->count - batch->done;
}

/** Empty the batch: nothing is in flight. */
static inline void rlt_batch_clear(struct rlt_batch *batch)
{
    batch->count = 0;
    batch->done = 0;
    batch->progress = 0;
}

#endif
