/* SPDX-License-Identifier: MIT */
/**
 * A queue of a transport's events that did not come from the kernel.
 *
 * Owner: the event thread.
 */
#ifndef RLT_IO_EVENT_QUEUE_H
#define RLT_IO_EVENT_QUEUE_H

#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "core/seam/transport.h"

struct rlt_event_queue {
    struct rlt_io_event *events; /* the owner's, for `capacity` of them */
    uint32_t capacity;
    uint32_t count;
};

/** Append an event; there is room. */
static inline void rlt_event_queue_add(struct rlt_event_queue *queue, uint32_t slot,
                                       enum rlt_io_kind kind, int error)
{
    RLT_ASSERT(queue->count < queue->capacity);
    queue->events[queue->count++] =
        (struct rlt_io_event){.slot = slot, .kind = kind, .error = error};
}

/** Take the first events, up to `max`. Returns: their number. */
static inline uint32_t rlt_event_queue_take(struct rlt_event_queue *queue,
                                            struct rlt_io_event *events, uint32_t max)
{
    uint32_t count = queue->count < max ? queue->count : max;
    memcpy(events, queue->events, count * sizeof(*events));
    queue->count -= count;
    memmove(queue->events, queue->events + count, queue->count * sizeof(*events));
    return count;
}

#endif
