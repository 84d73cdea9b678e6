/* SPDX-License-Identifier: MIT */
/**
 * Ending a subscription whose SUB a server has refused, on the connection that says so.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_REFUSED_SUB_H
#define RLT_CORE_CONNECTION_REFUSED_SUB_H

#include <stdint.h>

#include "proto/server_error.h"

struct rlt_connection;

/**
 * End what a sid names: the server's text has it, or it is that of the SUB which the line answers.
 * The server may hold it all the same: one that lowers a limit says so of its own accord, before it
 * closes the connection. So it is told.
 */
void rlt_refused_sub_end(struct rlt_connection *connection, uint64_t sid, int error);

/** End what the server's text names: a shared subscription, or all of one queue group. */
void rlt_refused_sub_end_named(struct rlt_connection *connection,
                               const struct rlt_server_error *what);

#endif
