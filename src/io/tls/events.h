/* SPDX-License-Identifier: MIT */
/**
 * The events of one TLS connection that wait for the core: one of each kind at the most, since an
 * operation has one event. Zeroed memory holds none.
 *
 * Owner: the event thread.
 */
#ifndef RLT_IO_TLS_EVENTS_H
#define RLT_IO_TLS_EVENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "core/seam/transport.h"

#define RLT_TLS_EVENT_KINDS (RLT_IO_CLOSED + 1)

struct rlt_tls_events {
    bool waits[RLT_TLS_EVENT_KINDS];
    struct rlt_io_event list[RLT_TLS_EVENT_KINDS]; /* by kind */
};

/** Add an event, of a kind that does not wait yet. */
static inline void rlt_tls_events_add(struct rlt_tls_events *events, struct rlt_io_event event)
{
    RLT_ASSERT(!events->waits[event.kind]);
    events->waits[event.kind] = true;
    events->list[event.kind] = event;
}

/** Take up to `max` events, in the order in which the core must see them. Returns: their number. */
uint32_t rlt_tls_events_take(struct rlt_tls_events *events, struct rlt_io_event *taken,
                             uint32_t max);

static inline bool rlt_tls_events_has(const struct rlt_tls_events *events, enum rlt_io_kind kind)
{
    return events->waits[kind];
}

#endif
