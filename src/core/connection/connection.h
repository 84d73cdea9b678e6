/* SPDX-License-Identifier: MIT */
/**
 * One connection of a cluster: a session (when to do what), a sender and a receiver (bytes), and
 * the SUBs that were written. This file opens, fails and closes a connection; core/cluster/serve.h
 * drives an open one.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_CONNECTION_H
#define RLT_CORE_CONNECTION_CONNECTION_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/connection/inquiry.h"
#include "core/connection/session.h"
#include "core/connection/sub_suspects.h"
#include "core/delivery/exchange.h"
#include "core/receiving/reading.h"
#include "core/receiving/receiver.h"
#include "core/seam/env.h"
#include "core/sending/hold.h"
#include "core/sending/sender.h"
#include "lockfree/text_cell.h"
#include "lockfree/wire_queue.h"
#include "proto/info.h"
#include "proto/server_error.h"

struct rlt_connection {
    alignas(RLT_CACHE_LINE) struct rlt_env *env;
    struct rlt_exchange *exchange;
    uint32_t slot; /* in the cluster and in its transport */
    uint32_t path; /* of the pool: a path has two connections, one of them active */
    int side;      /* of the path: 0 or 1 */
    struct rlt_session session;
    struct rlt_sender sender;
    struct rlt_receiver receiver;
    struct rlt_hold hold;               /* of published messages */
    bool away;                          /* no connection of its path since, or ever */
    struct rlt_interest_queue *pending; /* of the path: interests to tell the server of */
    struct rlt_inquiry inquiry;
    struct rlt_sub_suspects sub_suspects;
    enum rlt_line_fault line_fault; /* the fault that the server named before it closed */
    struct rlt_info info;
    char failure[RLT_TEXT_CELL_BYTES]; /* why it fails, or failed; "" (core/connection/failure.h) */
    bool failure_told;                 /* in a log line of its own */
    bool receiving;                    /* a receive is in progress */
    bool watched;    /* no receive is in progress: an epoll watch reports readability */
    bool left_over;  /* a borrower stopped inside the buffer: the event thread parses the rest */
    uint32_t sparse; /* small receives in a row, with a pause before each */
    uint64_t received_ns; /* when the event thread last received something */
    struct rlt_reading reading;
    bool stopped;
    bool close_due; /* close the transport once the loan is back (direct_send.h) */
    bool probing;   /* only asks whether its server lives (core/cluster/probe.h) */
    bool retiring;  /* the path's other connection has taken over: closing, for later use */

    struct rlt_wire_queue *wire; /* of the path */
};

/** The place of a connection: `wire` is its path's queue. */
struct rlt_connection_place {
    struct rlt_env *env;
    struct rlt_exchange *exchange;
    struct rlt_wire_queue *wire;
    uint32_t slot;
    uint32_t path;
    int side; /* 0: active at first */
};

/** Make a connection in zeroed memory. `seed` decides its jitter. Returns: 0 or ROULETTE_ENOMEM. */
int rlt_connection_init(struct rlt_connection *connection, const struct rlt_connection_place *place,
                        uint64_t seed);
void rlt_connection_fini(struct rlt_connection *connection);

/** Begin to connect. */
void rlt_connection_start(struct rlt_connection *connection, uint64_t now_ns);

/** Close the connection, since the path's other one has taken over; it may be started again. */
void rlt_connection_retire(struct rlt_connection *connection);

/** End for good; rlt_connection.stopped is set at once or after the transport's last event. */
void rlt_connection_stop(struct rlt_connection *connection);

/** Fail the connection with `error`. The first reason is kept. */
void rlt_connection_fail(struct rlt_connection *connection, int error);

/** Fail the connection, whose session ended by itself (RLT_SESSION_CLOSE) in `state`. */
void rlt_connection_on_timeout(struct rlt_connection *connection, enum rlt_session_state state);

/** Forget the session: the connection may be started again. */
void rlt_connection_reset_session(struct rlt_connection *connection);

/** An rlt_sender_wake_fn: wake the producers that wait for room. `context` is the connection.
 *  Threads: the event thread, or a borrower of the sending side. */
void rlt_connection_wake_producers(void *context, _Atomic(uint32_t) *word);

/** Stop the connection's watch, if there is one (core/cluster/direct_receive.h). */
void rlt_connection_unwatch(struct rlt_connection *connection);

/** Give the transport the rest of the batch. */
void rlt_connection_send(struct rlt_connection *connection, uint64_t now_ns);

/** Whether the connection publishes and subscribes for its path. */
static inline bool rlt_connection_is_active(const struct rlt_connection *connection)
{
    return rlt_sender_owns_lanes(&connection->sender);
}

/** Whether bytes may be sent and received. */
static inline bool rlt_connection_is_open(const struct rlt_connection *connection)
{
    enum rlt_session_state state = connection->session.state;
    return state == RLT_SESSION_GREETING || state == RLT_SESSION_VERIFYING ||
           state == RLT_SESSION_READY;
}

/** Finish fence links, all with the same result. */
static inline void rlt_connection_finish_fences(const struct rlt_connection *connection,
                                                struct rlt_fence_link *links, int error)
{
    rlt_fence_finish(links, error, connection->env->transport);
}

/* ---- Subscriptions ------------------------------------------------------------------------ */

/** Whether a SUB may be written, if there is room. */
static inline bool rlt_connection_may_subscribe(const struct rlt_connection *connection)
{
    return !rlt_inquiry_is_under_way(&connection->inquiry) &&
           !rlt_sub_marks_is_full(&connection->sender.subs);
}

/** Write the SUB of an interest, with the number of messages wanted if that is limited. Returns:
 *  false if there is no room: send first. */
bool rlt_connection_write_sub(struct rlt_connection *connection, struct rlt_interest *interest);

/** Write an UNSUB. Returns: false if there is no room: send first. */
bool rlt_connection_write_unsub(struct rlt_connection *connection, uint64_t sid);

/** Whether the server was told of all interests of the path. */
static inline bool rlt_connection_has_told_all(const struct rlt_connection *connection)
{
    return connection->pending->first == NULL &&
           rlt_sub_suspects_are_none(&connection->sub_suspects);
}

/** Whether messages would be sent now, so that publishers should wake the event thread. */
static inline bool rlt_connection_wants_lanes(const struct rlt_connection *connection)
{
    return connection->session.state == RLT_SESSION_READY &&
           rlt_connection_has_told_all(connection) && !rlt_sender_is_busy(&connection->sender) &&
           !connection->sender.stalled && rlt_sender_takes_lanes(&connection->sender) &&
           !rlt_hold_is_on(&connection->hold);
}

#endif
