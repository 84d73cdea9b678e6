/* SPDX-License-Identifier: MIT */
/**
 * Handling the received bytes of a connection: messages go to their subscribers, operations of the
 * server to the session, the sender, the inquiry or the refusal.
 *
 * Owner: the event thread, but for rlt_inbound_take_messages().
 */
#ifndef RLT_CORE_CLUSTER_INBOUND_H
#define RLT_CORE_CLUSTER_INBOUND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rlt_connection;

/** Handle `count` bytes that are in the receiver's memory. */
void rlt_inbound_on_bytes(struct rlt_connection *connection, size_t count, uint64_t now_ns);

/** Handle the bytes that rlt_inbound_take_messages() has left. */
void rlt_inbound_go_on(struct rlt_connection *connection, uint64_t now_ns);

/**
 * As rlt_inbound_on_bytes(), but only the messages that the bytes begin with, on a connection that
 * is ready and has no handover: nothing is sent, closed or logged.
 *
 * Threads: the borrower of the cluster's receive side (core/cluster/direct_receive.h).
 * Returns: false if something is left for rlt_inbound_go_on().
 */
bool rlt_inbound_take_messages(struct rlt_connection *connection, size_t count);

#endif
