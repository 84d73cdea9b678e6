/* SPDX-License-Identifier: MIT */
/**
 * Lame duck: a server that will shut down soon says so (INFO with "ldm"), and the connection
 * moves to another server of its cluster, make before break.
 *
 *     NONE -> CONNECTING -> RECORDING -> SUBSCRIBING -> FENCING -> SETTLING -> DRAINING
 *          -> LINGERING -> NONE
 *
 *  CONNECTING   the second connection is opened, after a random part of half a second (all clients
 *               of the server are told at once); it retries like any other.
 *  RECORDING    what the old one delivers is remembered from now on (core/overlap.h): its copies
 *               may still be on their way to the second one's server. RECORD_NS.
 *  SUBSCRIBING  it is told of all subscriptions. From here on both deliver, and an overlap drops
 *               the second copies; members of queue groups get one copy from the server anyway.
 *  FENCING      its PONG proves that its server knows them all.
 *  SETTLING     the rest of its cluster learns of them: SETTLE_NS. Then subscriptions made
 *               meanwhile are made up for, fenced and settled again; after SETTLES_MAX times only
 *               fenced, since a client that never ceases to subscribe must leave too.
 *  DRAINING     the old connection publishes no more, leaves its queue groups, and sends a PING:
 *               its PONG confirms all it has sent, and is behind the last message for a group.
 *  LINGERING    the second connection is the one now, and publishes; the old one is closed. The
 *               copies that it owes are dropped, until all have come, or LINGER_NS.
 *
 * Limits. Nothing is lost and nothing comes twice as long as
 *  - the cluster carries a message to the second one's server within RECORD_NS of the old one's
 *    copy, if that came before the subscription there; within SETTLE_NS, if it came before the
 *    proof; and within LINGER_NS in the end. Later copies come twice.
 *  - at most 98,304 frames are remembered at a time: all that the old one brings from RECORDING to
 *    the end of SETTLING and the other does not, and what is on its way. Beyond that they come
 *    twice, and are counted (`unmatched`).
 *  - equal messages of one topic do not follow each other faster than copies come: see
 *    core/overlap.h.
 *  - a message that is too large for receive memory is told as dropped, whatever the other
 *    connection does with its copy.
 * A server that becomes a lame duck while the connection to it still lingers waits for that.
 *
 * If the old connection is lost before its time, the second takes over at once, as it is. All that
 * was subscribed on the old one is lost and restored like on any reconnect: what was on its way may
 * be on no other. If the second one is lost, it starts again, and the old one goes on meanwhile;
 * members of queue groups, and what only the second one was told of yet, have lost what was on its
 * way to them.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_HANDOVER_H
#define RLT_CORE_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/fence.h"
#include "core/overlap.h"

struct rlt_cluster;
struct rlt_connection;
struct rlt_frame;
struct rlt_subscription;

enum rlt_handover_phase {
    RLT_HANDOVER_NONE,
    RLT_HANDOVER_CONNECTING,
    RLT_HANDOVER_RECORDING,
    RLT_HANDOVER_SUBSCRIBING,
    RLT_HANDOVER_FENCING,
    RLT_HANDOVER_SETTLING,
    RLT_HANDOVER_DRAINING,
    RLT_HANDOVER_LINGERING,
};

/** The handover of one position of a cluster's pool. */
struct rlt_handover {
    enum rlt_handover_phase phase;
    struct rlt_connection *second; /* it takes over; the active one is the cluster's */
    bool started;                  /* CONNECTING: the second one was started */
    bool group_told;               /* DRAINING: the old one has left its groups */
    uint64_t deadline_ns;          /* of CONNECTING (start), RECORDING, SETTLING and LINGERING */
    uint32_t cursor;               /* SUBSCRIBING: the next index of the table */
    bool wrote;                    /* ... something since the last fence */
    uint32_t settles;              /* SETTLING: how many times it was reached */
    struct rlt_fence *fence;       /* FENCING, DRAINING: whose PONG is waited for */
    struct rlt_fence_link *held;   /* DRAINING: flushes that wait for the second connection */
    struct rlt_overlap overlap;
};

/** Begin if the active connection's server is a lame duck, and go on as far as possible now. Called
 *  whenever the cluster runs. */
void rlt_handover_run(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns);

/** When rlt_handover_run() has a timer to serve. */
uint64_t rlt_handover_deadline(const struct rlt_handover *handover);

/** Whether rlt_handover_run() would find something to do. */
bool rlt_handover_has_work(const struct rlt_cluster *cluster, uint32_t position);

/** The second connection is lost. */
void rlt_handover_on_second_lost(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns);

/** The active connection is lost, and its subscriptions were dealt with: the second takes over.
 *  Returns: false if there is none, and the active one has to reconnect by itself. */
bool rlt_handover_on_active_lost(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns);

/** Whether the two connections of a position deliver, for a while. */
bool rlt_handover_overlaps(const struct rlt_connection *connection);

/** While they do: whether the other one has brought this message already. Counts it. */
bool rlt_handover_is_copy(struct rlt_connection *connection, const struct rlt_frame *frame);

/** The cluster stops. */
void rlt_handover_stop(struct rlt_cluster *cluster, uint32_t position);

#endif
