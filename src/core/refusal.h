/* SPDX-License-Identifier: MIT */
/**
 * What a server refuses (-ERR), and what that ends: the connection, one subscription, or nothing.
 * Source: the table nats-clients.md A.7 (proto/server_error.h).
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_REFUSAL_H
#define RLT_CORE_REFUSAL_H

#include "core/connection.h"

/** The server refuses the subscription of a sid: it is over. It is unsubscribed nevertheless. */
void rlt_refusal_end(struct rlt_connection *connection, uint64_t sid, int error);

/** An -ERR arrived: it is counted and logged, and what it ends is ended. */
void rlt_refusal_on_error(struct rlt_connection *connection, const struct rlt_frame *frame);

#endif
