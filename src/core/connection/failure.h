/* SPDX-License-Identifier: MIT */
/**
 * Why a connection or an attempt to connect has failed: one sentence with the fault and the advice.
 * It goes to the log, and stays readable for any thread as the cluster's last failure
 * (rlt_env.failure).
 *
 * Code that knows more than the error code calls rlt_failure_explain() before
 * rlt_connection_fail(); otherwise the sentence is made of the code and the state that the
 * connection had reached. The first line of an episode (from the loss of a connection to the next
 * one) for each code is a WARNING, later ones INFO: a server that is away for a day is no news.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_FAILURE_H
#define RLT_CORE_CONNECTION_FAILURE_H

#include "core/connection/connection.h"
#include "core/seam/report.h"

/** Forget the last failure: an attempt begins. */
void rlt_failure_forget(struct rlt_connection *connection);

/** Say why the connection is about to fail. The first text is kept. */
void rlt_failure_explain(struct rlt_connection *connection, const char *text);

/** As rlt_failure_explain(), and write it to the log as a line of its own. */
void rlt_failure_report(struct rlt_connection *connection, enum rlt_report what,
                        const char *detail);

/** Make the sentence of a failure with `error` in `state`, and the cluster's last failure. */
void rlt_failure_note(struct rlt_connection *connection, enum rlt_session_state state, int error);

/** Log an attempt that ended with `error`. */
void rlt_failure_tell_missed(struct rlt_connection *connection, int error);

/** End the episode: a connection of the cluster is ready. */
void rlt_failure_on_ready(struct rlt_env *env);

#endif
