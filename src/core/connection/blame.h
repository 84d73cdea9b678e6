/* SPDX-License-Identifier: MIT */
/**
 * A server that closes a connection may have been sent something that it does not take: a SUB
 * (core/connection/sub_suspects.h) or a message (core/sending/suspect.h). Messages follow behind
 * all SUBs, so while SUBs are unconfirmed it is they that are looked at.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_BLAME_H
#define RLT_CORE_CONNECTION_BLAME_H

struct rlt_connection;

/** The transport is closed, and rlt_sender_on_lost() was called; the SUB marks are still there. */
void rlt_blame_on_closed(struct rlt_connection *connection);

/** What was subscribed is lost, and waits for the next connection. */
void rlt_blame_end_found(struct rlt_connection *connection);

#endif
