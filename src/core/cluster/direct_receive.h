/* SPDX-License-Identifier: MIT */
/**
 * Direct receives: while the event thread sleeps, a subscriber that waits for messages receives
 * them by itself, without the event thread on their way. That saves a wake-up for each message of a
 * client that gets one now and then; where messages come without a pause, the event thread receives
 * while the subscriber works on what it has.
 *
 * A connection is either received by the event thread (a receive is in progress as long as it is
 * open), or watched: no receive is in progress, and whoever is told that it can be read takes what
 * is there. That is the subscriber while it waits (io/wake/watch.h), and the event thread
 * otherwise.
 *
 * A connection is watched while all of this holds:
 *  - All that the cluster delivers is for one subscriber, which waits in roulette_receive() when it
 *    has nothing. So nobody's messages depend on when another one's thread gets its CPU.
 *  - Messages came now and then: SPARSE_MIN receives in a row were small and had a pause before.
 *  - The connection is ready, and nothing is to come but messages: no PONG, no sign of life that a
 *    PING asked for, no handover.
 *  - Not with TLS, and not with options.spin_us, which is for what this is for too.
 *
 * Who may touch what the cluster receives (receivers, subscriptions, slabs, mailboxes, and their
 * counters) is decided by one loan for the cluster (lockfree/loan.h): the event thread lends it
 * before it sleeps, and recalls it before it does anything else. A subscriber has it for one
 * receive: it takes the messages that the bytes begin with, and leaves the rest to the event thread
 * (`left_over`): operations of the server, cut frames, bad bytes. The end of the stream it leaves
 * in the socket, where the event thread finds it.
 *
 * Unlike with direct sends the event thread waits for a loan that it has recalled, since there is
 * nothing that it could do without: for a system call that does not wait and for the delivery of
 * what that brought; for longer only if the subscriber's thread loses its CPU in there.
 */
#ifndef RLT_CORE_CLUSTER_DIRECT_RECEIVE_H
#define RLT_CORE_CLUSTER_DIRECT_RECEIVE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cluster/cluster.h"

struct rlt_connection;

/* ---- The event thread --------------------------------------------------------------------- */

/** The event thread has received `count` bytes on a connection. */
void rlt_direct_receive_note(struct rlt_connection *connection, size_t count, uint64_t now_ns);

/** Begin or cease to watch the connection, as the list above says. No receive may be in progress.
 *  Returns: whether it is watched. */
bool rlt_direct_receive_settle(struct rlt_connection *connection);

/** A watched connection can be read, and no subscriber attends; or (`error`) watching it has
 *  failed. */
void rlt_direct_receive_on_readable(struct rlt_connection *connection, int error, uint64_t now_ns);

/** Lend what the cluster receives, if a subscriber could use it. Threads: about to sleep. */
void rlt_direct_receive_lend(struct rlt_cluster *cluster);

/** After rlt_loan_recall() has brought it home: go on with what was left. Threads: awake. */
void rlt_direct_receive_go_on(struct rlt_cluster *cluster, uint64_t now_ns);

/* ---- Subscribers -------------------------------------------------------------------------- */

/** What became of a receive by a subscriber. */
enum rlt_receipt {
    RLT_RECEIPT_DONE, /* it has what was there */
    RLT_RECEIPT_LEFT, /* the event thread is to be told when there is something */
    RLT_RECEIPT_WAKE, /* ... and has to be woken for what is left over */
};

/** Whether the subscriber of a mailbox may receive by itself. Threads: its owner thread. */
static inline bool rlt_direct_receive_is_for(const struct rlt_cluster *cluster,
                                             const struct rlt_mailbox *mailbox)
{
    /* Acquire: what the transport made in order to watch. Looked at again with the loan. */
    return atomic_load_explicit(&cluster->exchange.watched_for, memory_order_acquire) == mailbox;
}

/** Receive what is there on watched connections. Threads: the mailbox's owner thread. */
enum rlt_receipt rlt_direct_receive(struct rlt_cluster *cluster, const struct rlt_mailbox *mailbox);

#endif
