/* SPDX-License-Identifier: MIT */
#include "io/tls/events.h"

uint32_t rlt_tls_events_take(struct rlt_tls_events *events, struct rlt_io_event *taken,
                             uint32_t max)
{
    /* RLT_IO_SENT comes before bytes that may answer the send. */
    static const enum rlt_io_kind order[RLT_TLS_EVENT_KINDS] = {
        RLT_IO_OPENED, RLT_IO_SECURED, RLT_IO_SENT, RLT_IO_RECEIVED, RLT_IO_CLOSED,
    };
    uint32_t count = 0;
    for (uint32_t i = 0; i < RLT_TLS_EVENT_KINDS && count < max; i++) {
        enum rlt_io_kind kind = order[i];
        if (events->waits[kind]) {
            events->waits[kind] = false;
            taken[count++] = events->list[kind];
        }
    }
    return count;
}
