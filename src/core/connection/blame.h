/* SPDX-License-Identifier: MIT */
/**
 * Looking for the line because of which a server closes a connection: a SUB
 * (core/connection/sub_suspects.h) or a message (core/sending/suspect.h). Messages follow behind
 * all SUBs, so while SUBs are unconfirmed these are the suspects.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_BLAME_H
#define RLT_CORE_CONNECTION_BLAME_H

struct rlt_connection;

/** Look for a culprit once the transport is closed, behind rlt_sender_on_lost(); the SUB marks are
 *  still there. */
void rlt_blame_on_closed(struct rlt_connection *connection);

/** End the interest that was found, once all are lost and wait for the next connection. */
void rlt_blame_end_found(struct rlt_connection *connection);

#endif
