/* SPDX-License-Identifier: MIT */
/**
 * One connection of a cluster: a session (when to do what), a sender and a receiver (bytes), and
 * the wire queue that publishers fill. It turns transport events into their calls, and their
 * wishes into transport operations.
 *
 * Owner: the event thread, except the wire queue.
 */
#ifndef RLT_CORE_CONNECTION_H
#define RLT_CORE_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>

#include "core/receiver.h"
#include "core/sender.h"
#include "core/session.h"
#include "core/subscriptions.h"
#include "core/transport.h"
#include "lockfree/wire_queue.h"
#include "proto/info.h"

struct rlt_cluster;

struct rlt_connection {
    struct rlt_cluster *cluster;
    uint32_t slot; /* in the cluster and in its transport */
    struct rlt_session session;
    struct rlt_sender sender;
    struct rlt_receiver receiver;
    struct rlt_subscription_queue pending; /* server and table differ about these */
    struct rlt_info info;
    bool receiving; /* a receive is in progress */
    bool stopped;

    struct rlt_wire_queue queue;
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_connection_init(struct rlt_connection *connection, struct rlt_cluster *cluster,
                        uint32_t slot, uint64_t seed);
void rlt_connection_fini(struct rlt_connection *connection);

/** Begin to connect. */
void rlt_connection_start(struct rlt_connection *connection, uint64_t now_ns);

/** End for good; rlt_connection.stopped is set at once or after the transport's last event. */
void rlt_connection_stop(struct rlt_connection *connection);

/** Serve timers, then send and receive what can be. */
void rlt_connection_run(struct rlt_connection *connection, uint64_t now_ns);

void rlt_connection_on_event(struct rlt_connection *connection, const struct rlt_io_event *event,
                             uint64_t now_ns);

/** Whether rlt_connection_run() would find something to do. */
bool rlt_connection_has_work(struct rlt_connection *connection);

/** Whether published messages would be sent now: then the lanes are worth waking up for. */
bool rlt_connection_wants_lanes(const struct rlt_connection *connection);

#endif
