/* SPDX-License-Identifier: MIT */
/**
 * Direct sends: while the event thread sleeps, a publishing thread sends by itself what is in the
 * lanes, instead of waking the event thread for it. That saves a wake-up on the way of each message
 * of a client that publishes now and then; one that publishes without a pause leaves it to the
 * event thread, which sends many messages at once.
 *
 * Who may touch the socket's sending side and the sender is decided by one loan for each path
 * of the pool (lockfree/loan.h): the event thread lends it before it sleeps and recalls it when it
 * is awake. While it is lent:
 *  - the sender is busy for the event thread (`sender.lent`), as if a send were in progress. It
 *    still writes control lines, takes PONGs (PING and SUB marks, `confirmed`, `stalled`) and notes
 *    a new max_payload; a borrower touches none of these but the last, which is atomic;
 *  - the transport's slot stays open: closing waits (`connection.close_due`);
 *  - no handover goes on.
 * A borrower never waits for the kernel: what the kernel does not take at once is left in the
 * sender as a batch in flight, and the event thread sends it.
 *
 * A message overtakes no subscription that its own thread made before: see rlt_sender_look(). The
 * borrower looks at the lanes, then at the command queue, then whether it is recalled, and sends
 * only if there is no command and no recall. The event thread recalls before it takes commands.
 *
 * A borrower that is not scheduled for long, or stopped, holds up what the connection sends, and
 * its close: not longer than a system call that does not wait, else. The event thread, what it
 * receives and the other connections go on.
 *
 * Not lent: with at_least_once (each message needs a PING), with TLS, and while anything is left
 * to do.
 */
#ifndef RLT_CORE_CLUSTER_DIRECT_SEND_H
#define RLT_CORE_CLUSTER_DIRECT_SEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rlt_cluster;

/** What is left to do for the publisher. */
enum rlt_direct_result {
    RLT_DIRECT_DONE,  /* sent, or another publisher sends it */
    RLT_DIRECT_KNOCK, /* ring the doorbell: the event thread sends it, or a PING behind it later */
    RLT_DIRECT_WAKE,  /* wake the event thread: it wants back what was lent, or has to go on */
};

/** Lend what can be lent. Threads: the event thread, about to sleep. */
void rlt_direct_send_lend(struct rlt_cluster *cluster);

/** Take back what was lent, and go on with it. Threads: the event thread, awake. */
void rlt_direct_send_recall(struct rlt_cluster *cluster, uint64_t now_ns);

/**
 * Whether a borrower has given back what was recalled: then there is something to go on with. It
 * tells the event thread by rlt_cluster_call(), which leaves no trace if the cluster is awake.
 * Threads: the event thread, awake.
 */
bool rlt_direct_send_is_back(const struct rlt_cluster *cluster);

/** Something was put into a wire queue and the event thread sleeps. Threads: any thread. */
enum rlt_direct_result rlt_direct_send(struct rlt_cluster *cluster, uint32_t path, uint64_t now_ns);

/**
 * The two halves of rlt_direct_send(), before and after the kernel has taken something. If begin()
 * returns true, the sender's spans are to be sent, and end() follows on the same thread.
 */
bool rlt_direct_send_begin(struct rlt_cluster *cluster, uint32_t path, uint64_t now_ns,
                           enum rlt_direct_result *result);
enum rlt_direct_result rlt_direct_send_end(struct rlt_cluster *cluster, uint32_t path,
                                           size_t taken);

#endif
