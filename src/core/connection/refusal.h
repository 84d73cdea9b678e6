/* SPDX-License-Identifier: MIT */
/**
 * Refusals of a server (-ERR), which end the connection, one interest, or nothing.
 * Source: the table nats-clients.md A.7 (proto/server_error.h).
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_REFUSAL_H
#define RLT_CORE_CONNECTION_REFUSAL_H

#include <stdbool.h>

#include "core/connection/connection.h"
#include "proto/parser.h"

/** Handle an -ERR: count and log it, and end the connection or interest that it ends. Returns:
 * whether it answers a probe (core/cluster/probe.h) instead. */
bool rlt_refusal_on_error(struct rlt_connection *connection, const struct rlt_frame *frame);

#endif
