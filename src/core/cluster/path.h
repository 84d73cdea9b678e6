/* SPDX-License-Identifier: MIT */
/**
 * One place in the pool of a cluster: the wire queue that publishers fill, and two connections, of
 * which one is active: it publishes and subscribes. The other one takes over when the active one's
 * server shuts down (core/cluster/handover.h), or asks whether that server lives
 * (core/cluster/probe.h).
 *
 * Owner: the event thread, except the wire queue and the loan, which it shares with publishers.
 */
#ifndef RLT_CORE_CLUSTER_PATH_H
#define RLT_CORE_CLUSTER_PATH_H

#include <stdalign.h>
#include <stdint.h>

#include "base/defs.h"
#include "core/cluster/handover.h"
#include "core/cluster/probe.h"
#include "core/connection/connection.h"
#include "lockfree/loan.h"
#include "lockfree/wire_queue.h"

struct rlt_path {
    /* The active connection's sending side, lent to publishers. */
    alignas(RLT_CACHE_LINE) struct rlt_loan loan;
    /* A borrower of the sending side reads it; it does not change while lent. */
    struct rlt_connection *active;

    alignas(RLT_CACHE_LINE) struct rlt_env *env; /* immutable */
    struct rlt_exchange *exchange;               /* immutable */
    uint32_t index;                              /* in the pool; immutable */
    struct rlt_handover handover;
    struct rlt_probe probe;
    struct rlt_wire_queue queue;
    struct rlt_connection connections[2]; /* by side */
};

/** The path that a connection belongs to. */
static inline struct rlt_path *rlt_path_of(struct rlt_connection *connection)
{
    return rlt_container_of(connection - connection->side, struct rlt_path, connections);
}

/** The other connection of the same path. */
static inline struct rlt_connection *rlt_path_other(struct rlt_path *path,
                                                    const struct rlt_connection *connection)
{
    return &path->connections[1 - connection->side];
}

#endif
