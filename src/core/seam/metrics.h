/* SPDX-License-Identifier: MIT */
/**
 * The counters of one cluster, and its part of the publish ledger. Written by the event thread
 * (the shared ones by publishers too, those of received messages by a borrower of the receiving
 * side too: core/cluster/direct_receive.h), read by any thread.
 *
 * The ledger: `accepted` is counted by the lanes as publishers commit; the event thread moves
 * each message to exactly one of the other states. A message in flight is in none of them: those
 * are the difference accepted - confirmed - in_doubt - failed - denied - discarded.
 */
#ifndef RLT_CORE_SEAM_METRICS_H
#define RLT_CORE_SEAM_METRICS_H

#include "base/counter.h"

struct rlt_metrics {
    rlt_counter confirmed;
    rlt_counter in_doubt;
    rlt_counter failed;
    rlt_counter denied;
    rlt_counter published_bytes; /* shared */
    rlt_counter received_messages;
    rlt_counter received_bytes;
    rlt_counter delivered_messages;
    rlt_counter dropped_ring_full;
    rlt_counter dropped_pinned;
    rlt_counter dropped_oversized;
    rlt_counter dropped_limit; /* shared: also by subscribers */
    rlt_counter unknown_sid;
    rlt_counter joins;
    rlt_counter joined_bytes;
    rlt_counter connects;
    rlt_counter connect_failures;
    rlt_counter disconnects;
    rlt_counter lost_by_server;
    rlt_counter lost_by_ping;
    rlt_counter protocol_errors;
    rlt_counter server_errors;
    rlt_counter subscriptions;
    rlt_counter sends;        /* shared: see rlt_counter_add_shared() */
    rlt_counter direct_sends; /* shared */
    rlt_counter receives;
    rlt_counter direct_receives; /* of these */
    rlt_counter wakeups;
    rlt_counter slabs_in_use;
    rlt_counter connected;
    rlt_counter suppressed;
    rlt_counter unmatched;
    rlt_counter held;
    rlt_counter held_early;
    rlt_counter held_ns_max;
    rlt_counter denied_publishes;
    rlt_counter stray_pongs;
    rlt_counter probes;
    rlt_counter held_back;
    rlt_counter last_error; /* a negative error code, as two's complement */
};

#endif
