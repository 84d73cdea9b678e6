/* SPDX-License-Identifier: MIT */
/**
 * Ending an interest whose SUB a server has refused on this connection.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_REFUSED_SUB_H
#define RLT_CORE_CONNECTION_REFUSED_SUB_H

#include <stdint.h>

#include "proto/server_error.h"

struct rlt_connection;

/**
 * End the interest of a sid, which the server named, or which belongs to the SUB that the -ERR
 * answers. The server may hold the SUB all the same: a server that lowers a limit sends an -ERR of
 * its own accord, before it closes the connection. So an UNSUB is written.
 */
void rlt_refused_sub_end(struct rlt_connection *connection, uint64_t sid, int error);

/** End the interests that the server's text names: the shared one, or all of a queue group. */
void rlt_refused_sub_end_named(struct rlt_connection *connection,
                               const struct rlt_server_error *what);

#endif
