/* SPDX-License-Identifier: MIT */
/**
 * Direct receives: while the event thread sleeps, a subscriber that waits for messages receives
 * them by itself. That saves a wake-up for each message of a client that gets one now and then;
 * where messages come without a pause, the event thread receives while the subscriber works on
 * earlier ones.
 *
 * The event thread receives on a connection (a receive is in progress as long as it is open), or
 * watches it: no receive is in progress, and the thread that is told of its readability receives.
 * That is the subscriber's thread while it waits (io/wake/watch.h), and the event thread otherwise.
 *
 * A connection is watched while all of this holds:
 *  - The cluster delivers to one subscriber only, which waits in roulette_receive() when it has
 *    nothing. So no subscriber's messages wait for another subscriber's thread to be scheduled.
 *  - Messages came now and then: SPARSE_MIN small receives in a row, with a pause before each.
 *  - The connection is ready, and only messages are awaited: no PONG, no sign of life after a PING,
 *    no handover.
 *  - No TLS, and no options.spin_us, which serves the same purpose.
 *
 * One loan for the cluster (lockfree/loan.h) decides who may touch the receive side (receivers,
 * interests, slabs, mailboxes, and their counters): the event thread lends it before it sleeps, and
 * recalls it before it does anything else. A borrower has it for one receive: it takes the messages
 * that the bytes begin with, and leaves the rest to the event thread (`left_over`): operations of
 * the server, cut frames, bad bytes. It leaves the end of the stream in the socket, where the event
 * thread finds it.
 *
 * Unlike with direct sends the event thread waits for a loan that it has recalled, since it can do
 * nothing without: for a non-blocking system call and the delivery of its messages; longer only if
 * the borrower is preempted meanwhile.
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

/** Note that the event thread has received `count` bytes on a connection. */
void rlt_direct_receive_note(struct rlt_connection *connection, size_t count, uint64_t now_ns);

/** Start or stop the connection's watch, as the list above says. No receive may be in progress.
 *  Returns: whether it is watched. */
bool rlt_direct_receive_settle(struct rlt_connection *connection);

/** Handle the readability of a watched connection that no subscriber attends; or (`error`) the
 *  failure of its watch. */
void rlt_direct_receive_on_readable(struct rlt_connection *connection, int error, uint64_t now_ns);

/** Lend the receive side, if a subscriber could use it. Threads: event thread, about to sleep. */
void rlt_direct_receive_lend(struct rlt_cluster *cluster);

/** Go on with left-over bytes, once rlt_loan_recall() has brought the loan home. Threads: awake. */
void rlt_direct_receive_go_on(struct rlt_cluster *cluster, uint64_t now_ns);

/* ---- Subscribers -------------------------------------------------------------------------- */

/** The result of a receive by a subscriber. */
enum rlt_receipt {
    RLT_RECEIPT_DONE, /* the subscriber has all that was there */
    RLT_RECEIPT_LEFT, /* the event thread takes over: leave the watch */
    RLT_RECEIPT_WAKE, /* ... and must be woken for left-over bytes */
};

/** Whether the subscriber of a mailbox may receive by itself. Threads: its owner thread. */
static inline bool rlt_direct_receive_is_for(const struct rlt_cluster *cluster,
                                             const struct rlt_mailbox *mailbox)
{
    /* Acquire: the descriptors that the transport made to watch. Checked again with the loan. */
    return atomic_load_explicit(&cluster->exchange.watched_for, memory_order_acquire) == mailbox;
}

/** Receive on all watched connections. Threads: the mailbox's owner thread. */
enum rlt_receipt rlt_direct_receive(struct rlt_cluster *cluster, const struct rlt_mailbox *mailbox);

#endif
