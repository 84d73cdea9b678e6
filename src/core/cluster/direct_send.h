/* SPDX-License-Identifier: MIT */
/**
 * Direct sends: while the event thread sleeps, a publisher sends the frames in the lanes by itself,
 * instead of waking the event thread. That saves a wake-up for each message of a client that
 * publishes now and then; a thread that publishes without a pause leaves sending to the event
 * thread, which sends many messages at once.
 *
 * One loan for each path of the pool (lockfree/loan.h) decides who may touch the socket's sending
 * side and the sender: the event thread lends them before it sleeps and recalls them when it is
 * awake. While they are lent:
 *  - the sender is busy for the event thread (`sender.lent`), as if a send were in progress. It
 *    still writes control lines, takes PONGs (PING and SUB marks, `confirmed`, `stalled`) and notes
 *    a new max_payload; a borrower touches none of these but max_payload, which is atomic;
 *  - the transport's slot stays open: closing waits (`connection.close_due`);
 *  - no handover goes on. A borrower never waits for the kernel: bytes that the kernel does not
 * take at once stay in the sender as a batch in flight, and the event thread sends them.
 *
 * A message overtakes no subscription that its own thread made before: see rlt_sender_look(). The
 * borrower looks at the lanes, then at the command queue, then whether it is recalled, and sends
 * only if there is no command and no recall. The event thread recalls before it takes commands.
 *
 * A borrower that is preempted for long, or stopped, holds up the connection's sends, and its
 * close; otherwise a loan lasts no longer than a non-blocking system call. The event thread, its
 * receives and the other connections go on.
 *
 * Not lent: with at_least_once (each message needs a PING), with TLS, and while the event thread
 * has other work on the connection.
 */
#ifndef RLT_CORE_CLUSTER_DIRECT_SEND_H
#define RLT_CORE_CLUSTER_DIRECT_SEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rlt_cluster;

/** What the publisher must do next. */
enum rlt_direct_result {
    RLT_DIRECT_DONE,  /* sent, or another publisher sends it */
    RLT_DIRECT_KNOCK, /* knock: the event thread sends the rest, or a PING behind it later */
    RLT_DIRECT_WAKE,  /* wake the event thread: it has recalled the loan, or has to go on */
};

/** Lend the paths' sending sides. Threads: the event thread, about to sleep. */
void rlt_direct_send_lend(struct rlt_cluster *cluster);

/** Recall the loans, and go on with those that are back. Threads: the event thread, awake. */
void rlt_direct_send_recall(struct rlt_cluster *cluster, uint64_t now_ns);

/**
 * Whether a borrower has given back a recalled loan, so that its path can go on. The borrower tells
 * the event thread by rlt_cluster_call(), which leaves no trace if the cluster is awake.
 * Threads: the event thread, awake.
 */
bool rlt_direct_send_is_back(const struct rlt_cluster *cluster);

/** Send what was enqueued on a path while the event thread sleeps. Threads: any thread. */
enum rlt_direct_result rlt_direct_send(struct rlt_cluster *cluster, uint32_t path, uint64_t now_ns);

/**
 * The two halves of rlt_direct_send(), before and after the kernel takes bytes. If begin() returns
 * true, the caller sends the sender's spans, and calls end() on the same thread.
 */
bool rlt_direct_send_begin(struct rlt_cluster *cluster, uint32_t path, uint64_t now_ns,
                           enum rlt_direct_result *result);
enum rlt_direct_result rlt_direct_send_end(struct rlt_cluster *cluster, uint32_t path,
                                           size_t taken);

#endif
