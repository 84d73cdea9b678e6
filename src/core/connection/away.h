/* SPDX-License-Identifier: MIT */
/**
 * Fences of a connection that is away. A fence does not wait for a server that may never come back
 * when that server could answer nothing more. By scope, a fence waits for:
 *
 *  ALL           messages that are in no final state; and the next connection itself, until
 *                max_retry attempts have failed (ROULETTE_EUNREACHABLE): a flush waits for a
 *                cluster that is just starting, or just coming back, but not for one given up
 *  MESSAGES      messages that are in no final state
 *  SUBSCRIPTION  interests that the server is to be told of
 *  DRAIN         nothing: messages in flight on the lost connection do not come any more
 *
 * Messages move to a final state when the connection is lost, or when max_retry attempts have
 * failed, so a wait for them has an end.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_AWAY_H
#define RLT_CORE_CONNECTION_AWAY_H

struct rlt_connection;

/** Finish the fences that have nothing to wait for. Called at each step of the connection. */
void rlt_away_end_fences(struct rlt_connection *connection);

/** Finish the fences of draining subscriptions: the transport is closed, messages in flight to them
 *  are lost. */
void rlt_away_on_closed(struct rlt_connection *connection);

/** Note that max_retry attempts have failed, and so have the messages. Fences that wait for later
 *  messages, or uncommitted ones, report the error in the end. */
void rlt_away_on_given_up(struct rlt_connection *connection);

#endif
