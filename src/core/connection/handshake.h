/* SPDX-License-Identifier: MIT */
/**
 * The steps before a connection is ready: INFO, TLS, CONNECT.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_HANDSHAKE_H
#define RLT_CORE_CONNECTION_HANDSHAKE_H

#include "core/connection/connection.h"

/** Handle an INFO: the first of a connection or a later one. */
void rlt_handshake_on_info(struct rlt_connection *connection, const struct rlt_frame *frame);

/** Execute an action of the session: RLT_SESSION_SECURE, _CONNECT or _NOTHING. */
void rlt_handshake_act(struct rlt_connection *connection, enum rlt_session_action action);

#endif
