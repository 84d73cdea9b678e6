/* SPDX-License-Identifier: MIT */
/**
 * Fences of a connection that is away. None of them depends on a server that may never come back
 * when nothing is left that it could answer. What is left, by scope:
 *
 *  ALL           messages that are in no final state; and the next connection itself, until
 *                max_retry attempts have failed (ROULETTE_EUNREACHABLE): a flush waits for a
 * cluster that is just starting, or just coming back, but not for one that is given up MESSAGES
 * messages that are in no final state SUBSCRIPTION  subscriptions that the server is to be told of
 *  DRAIN         nothing: what was on its way on the lost connection does not come any more
 *
 * Messages move to a final state when the connection is lost, or when max_retry attempts have
 * failed, so a wait for them has an end.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_AWAY_H
#define RLT_CORE_CONNECTION_AWAY_H

struct rlt_connection;

/** Finish the fences that wait and have nothing to wait for. Called whenever it runs. */
void rlt_away_end_fences(struct rlt_connection *connection);

/** The transport is closed: what was on its way to those that drain is lost with it. */
void rlt_away_on_closed(struct rlt_connection *connection);

/** max_retry attempts have failed, and so have the messages. Fences that wait for some that came
 *  meanwhile, or are not committed, tell of it in the end. */
void rlt_away_on_given_up(struct rlt_connection *connection);

#endif
