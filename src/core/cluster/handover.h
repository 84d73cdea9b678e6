/* SPDX-License-Identifier: MIT */
/**
 * Lame duck: a server that will shut down soon says so (INFO with "ldm"), and the connection
 * moves to another server of its cluster, make before break.
 *
 *     NONE -> CONNECTING -> RECORDING -> SUBSCRIBING -> FENCING -> SETTLING -> DRAINING
 *          -> CROSSING -> LINGERING -> NONE
 *
 * In CONNECTING the second connection is opened, after a random part of half a second (all clients
 * of the server are told at once); it retries like any other. Without any subscription it goes on
 * at SETTLING, which is over then.
 *
 * In RECORDING messages of the old one are remembered from now on (core/merging/overlap.h): their
 * copies may still be in flight to the second one's server. That takes RECORD_NS from the old one's
 * PONG on, which proves that its server knows the interests that are recorded.
 *
 * In SUBSCRIBING the second one is told of all interests that the old one has had since RECORDING
 * began: of others the new server could bring messages that the old one did not. From here on both
 * bring all messages. The old one's copies are delivered, and copies that the second one brings
 * first wait (core/merging/merge.h); members of queue groups get one copy from the server anyway.
 * FENCING waits for the PONG that proves that its server knows them all.
 *
 * In SETTLING the rest of the NATS cluster learns of the interests: SETTLE_NS, until all that has
 * come by then is read. The old one brings the messages that the second one had brought before.
 * Then the handover begins again at RECORDING, for interests made meanwhile; after SETTLES_MAX
 * times these are only fenced, since a client that never ceases to subscribe must leave too.
 *
 * In DRAINING the old connection publishes no more, leaves its queue groups, and sends a PING: its
 * PONG confirms all it has sent, and is behind the last message for a group. In CROSSING its last
 * messages cross the cluster: CROSS_NS, in which nothing is published, so that messages on the
 * second connection do not overtake them. CROSSING is skipped if nothing was published for that
 * long.
 *
 * In LINGERING the second connection is active, and publishes; the old one is closed. Copies that
 * the second one still brings are dropped, until all have come, or LINGER_NS.
 *
 * Limits. Nothing is lost, nothing comes twice and order is kept as long as
 *  - the cluster carries a message to the second one's server within RECORD_NS of the old one's
 *    copy, if that came before the subscription there; within SETTLE_NS, if it came before the
 *    proof; and within LINGER_NS in the end. Later copies come twice.
 *  - it carries a message to the old one's server within SETTLE_NS, if that was published before
 *    the second one subscribed, and else within RLT_MERGE_WAIT_NS of the second one's copy; and
 *    to every server within CROSS_NS of the PONG for it.
 *  - at most 98,304 frames are remembered at a time: all that the old one brings from RECORDING to
 *    the end of SETTLING and the other does not, and those in flight. More come twice, and are
 *    counted (`unmatched`).
 *  - equal messages of one topic do not follow each other faster than copies come: see
 *    core/merging/overlap.h.
 *  - a message that is too large for receive memory is told as dropped, whatever the other
 *    connection does with its copy.
 * A server that becomes a lame duck while the connection to it still lingers waits for that.
 *
 * If the old connection is lost before its time, the second takes over at once, as it is. All
 * interests of the old one are lost and restored like on any reconnect: messages in flight on it
 * may be on no other. If the second one is lost, it starts again, and the old one goes on
 * meanwhile; members of queue groups, and interests that only the second one was told of yet, have
 * lost the messages in flight to them.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CLUSTER_HANDOVER_H
#define RLT_CORE_CLUSTER_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/merging/merge.h"
#include "core/sending/fence.h"

struct rlt_connection;
struct rlt_path;
struct rlt_interest;

enum rlt_handover_phase {
    RLT_HANDOVER_NONE,
    RLT_HANDOVER_CONNECTING,
    RLT_HANDOVER_RECORDING,
    RLT_HANDOVER_SUBSCRIBING,
    RLT_HANDOVER_FENCING,
    RLT_HANDOVER_SETTLING,
    RLT_HANDOVER_DRAINING,
    RLT_HANDOVER_CROSSING,
    RLT_HANDOVER_LINGERING,
};

/** How long the active connection has had an interest, as the second one must know. */
enum rlt_handover_age {
    RLT_HANDOVER_OLD,   /* since before RECORDING */
    RLT_HANDOVER_YOUNG, /* for a shorter time, and */
    RLT_HANDOVER_AGING, /* its copies have been recorded since RECORDING began */
};

/** The handover of one path. */
struct rlt_handover {
    enum rlt_handover_phase phase;
    struct rlt_connection *second; /* takes over; the active one is the path's */
    bool started;                  /* CONNECTING: the second one was started */
    bool group_told;               /* DRAINING: the old one has left its groups */
    /* Of CONNECTING (start), RECORDING, SETTLING, CROSSING and LINGERING. */
    uint64_t deadline_ns;
    bool proved;                 /* RECORDING: the old one's server knows its interests */
    uint32_t cursor;             /* SUBSCRIBING: the next index of the table */
    bool wrote;                  /* ... something since the last fence */
    uint32_t settles;            /* SETTLING: how many times it was reached */
    uint64_t settled_ns;         /* ... when it was reached the last time */
    uint64_t sent;               /* ... messages that the old one had sent by then */
    struct rlt_fence *fence;     /* RECORDING, FENCING, DRAINING: whose PONG is waited for */
    struct rlt_fence_link *held; /* DRAINING: flushes that wait for the second connection */
    struct rlt_merge merge;
};

/** Begin a handover if the active connection's server is a lame duck, and go on as far as possible
 *  now. Called at each step of the cluster. */
void rlt_handover_step(struct rlt_path *path, uint64_t now_ns);

/** When rlt_handover_step() has a timer to serve. */
uint64_t rlt_handover_deadline(const struct rlt_handover *handover);

/** Whether the second connection may take over at any time, and publish from then on. */
static inline bool rlt_handover_is_leaving(const struct rlt_handover *handover)
{
    return handover->phase == RLT_HANDOVER_DRAINING || handover->phase == RLT_HANDOVER_CROSSING;
}

/** Whether rlt_handover_step() would find something to do. */
bool rlt_handover_has_work(const struct rlt_path *path);

/** Note that the active connection has written a SUB. */
void rlt_handover_on_subscribed(const struct rlt_path *path, struct rlt_interest *interest);

/** Write an UNSUB on the second connection too: the active one is going to write it. */
void rlt_handover_on_unsubscribe(struct rlt_path *path, struct rlt_interest *interest);

/** End the handover: the cluster stops. */
void rlt_handover_stop(struct rlt_path *path);

#endif
