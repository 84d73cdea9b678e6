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

#include "core/hold.h"
#include "core/inquiry.h"
#include "core/reading.h"
#include "core/receiver.h"
#include "core/sender.h"
#include "core/session.h"
#include "core/sub_suspects.h"
#include "core/subscriptions.h"
#include "core/transport.h"
#include "lockfree/text_cell.h"
#include "lockfree/wire_queue.h"
#include "proto/info.h"
#include "proto/server_error.h"

struct rlt_cluster;

struct rlt_connection {
    struct rlt_cluster *cluster;
    uint32_t slot;     /* in the cluster and in its transport */
    uint32_t position; /* in the pool: it has two connections, one of which is active */
    struct rlt_session session;
    struct rlt_sender sender;
    struct rlt_receiver receiver;
    struct rlt_hold hold;                  /* on what is published */
    bool away;                             /* its position had none since, or at the first try */
    struct rlt_subscription_queue pending; /* server and table differ about these */
    struct rlt_inquiry inquiry;
    struct rlt_sub_suspects sub_suspects;
    enum rlt_line_fault line_fault; /* what the server said of what it was sent, before it closed */
    struct rlt_info info;
    char failure[RLT_TEXT_CELL_BYTES]; /* why it fails, or has; "" (core/failure.h) */
    bool failure_told;                 /* by a line of its own */
    bool receiving;                    /* a receive is in progress */
    bool watched;                      /* or none, but it is watched (direct_receive.h) */
    bool left_over;       /* a subscriber has received what the event thread has to go on with */
    uint32_t sparse;      /* receives in a row that were small and had a pause before */
    uint64_t received_ns; /* when the event thread last received something */
    struct rlt_reading reading;
    bool stopped;
    bool close_due; /* the transport is to be closed, once what is lent is back (direct_send.h) */
    bool probing;   /* it only asks whether its server lives (core/probe.h) */
    bool retiring;  /* another one has taken over: closing, to be used again */

    struct rlt_wire_queue *wire; /* of the position */
    struct rlt_wire_queue queue; /* it, in the first connection of the position */
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_connection_init(struct rlt_connection *connection, struct rlt_cluster *cluster,
                        uint32_t slot, uint64_t seed);
void rlt_connection_fini(struct rlt_connection *connection);

/** Begin to connect. */
void rlt_connection_start(struct rlt_connection *connection, uint64_t now_ns);

/** Another connection has taken over: close this one, and be ready to start again. */
void rlt_connection_retire(struct rlt_connection *connection);

/** End for good; rlt_connection.stopped is set at once or after the transport's last event. */
void rlt_connection_stop(struct rlt_connection *connection);

/** When rlt_connection_run() has a timer to serve; RLT_NEVER: none. */
uint64_t rlt_connection_deadline(const struct rlt_connection *connection);

/** Serve timers, then send and receive what can be. */
void rlt_connection_run(struct rlt_connection *connection, uint64_t now_ns);

void rlt_connection_on_event(struct rlt_connection *connection, const struct rlt_io_event *event,
                             uint64_t now_ns);

/** The connection cannot go on; `error` says why. The first reason is kept. */
void rlt_connection_fail(struct rlt_connection *connection, int error);

/** Whether a SUB may be written, if there is room. */
bool rlt_connection_may_subscribe(const struct rlt_connection *connection);

/** Write an UNSUB. Returns: false if there is no room: send first. */
bool rlt_connection_write_unsub(struct rlt_connection *connection, uint64_t sid);

/** Whether rlt_connection_run() would find something to do. */
bool rlt_connection_has_work(struct rlt_connection *connection);

/** Whether published messages would be sent now: then the lanes are worth waking up for. */
bool rlt_connection_wants_lanes(const struct rlt_connection *connection);

#endif
