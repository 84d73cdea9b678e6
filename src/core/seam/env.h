/* SPDX-License-Identifier: MIT */
/**
 * The environment that all parts of one cluster share: its configuration and transport, the time,
 * the counters, the lines for the log.
 *
 * Owner: the event thread, except the metrics that are called shared, and the text cells, which
 * any thread reads.
 */
#ifndef RLT_CORE_SEAM_ENV_H
#define RLT_CORE_SEAM_ENV_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "core/seam/config.h"
#include "core/seam/metrics.h"
#include "core/seam/report.h"
#include "core/seam/transport.h"
#include "lockfree/text_cell.h"
#include "proto/address.h"

struct rlt_env {
    /* Immutable. */
    const struct rlt_config *config;
    const struct rlt_address *address;
    struct rlt_transport *transport;
    uint32_t index; /* of the cluster */

    bool stopping;
    uint64_t now_ns;        /* of the step, event or awakening in progress */
    uint64_t crowd_ns;      /* when many messages were last sent at once */
    uint32_t failures_told; /* by code, a bit each: since a connection was ready
                               (core/connection/failure.h) */
    struct rlt_reports reports;

    /* The cause of the last lost connection or failed attempt. Event thread writes. */
    struct rlt_text_cell failure;

    /* The server's last -ERR about a refused message (event thread writes), and how many refused
     * messages flushes have reported (flushing threads write). */
    struct rlt_text_cell denial;
    _Atomic(uint64_t) denied_told;

    alignas(RLT_CACHE_LINE) struct rlt_metrics metrics;
};

#endif
