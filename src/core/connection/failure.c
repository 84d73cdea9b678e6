/* SPDX-License-Identifier: MIT */
#include "core/connection/failure.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"

/* ---- What is said of it ------------------------------------------------------------------- */

void rlt_failure_forget(struct rlt_connection *connection)
{
    connection->failure[0] = '\0';
    connection->failure_told = false;
}

void rlt_failure_explain(struct rlt_connection *connection, const char *text)
{
    if (connection->failure[0] == '\0') {
        (void)snprintf(connection->failure, sizeof(connection->failure), "%s", text);
    }
}

void rlt_failure_report(struct rlt_connection *connection, enum rlt_report what, const char *detail)
{
    char text[RLT_TEXT_CELL_BYTES];
    rlt_report(connection->env, what, detail);
    (void)snprintf(text, sizeof(text), "%s%s%s", rlt_report_text(what),
                   detail[0] != '\0' ? ": " : "", detail);
    rlt_failure_explain(connection, text);
    connection->failure_told = true;
}

/* ---- The sentence ------------------------------------------------------------------------- */

/* Describe an attempt whose time was over, by the state that it had reached. */
static const char *describe_timeout(enum rlt_session_state state)
{
    switch (state) {
    case RLT_SESSION_OPENING:
        return "it was not reached in time (options.connection_timeout_ms): see the network, "
               "firewalls and name servers, or correct the address";
    case RLT_SESSION_GREETING:
        return "it is connected to, but says no INFO: no NATS server listens at that port (correct "
               "it), or one that wants TLS first (set options.tls_handshake_first)";
    case RLT_SESSION_SECURING:
        return "the TLS handshake was not over in time (options.connection_timeout_ms): correct "
               "the port if no NATS server listens there, or raise the time";
    case RLT_SESSION_VERIFYING:
        return "the server has not answered CONNECT in time: see how busy it is, or raise "
               "options.connection_timeout_ms";
    default:
        return roulette_error_text(ROULETTE_ETIMEDOUT);
    }
}

static const char *describe_end(enum rlt_session_state state)
{
    switch (state) {
    case RLT_SESSION_GREETING:
        return "it closed the connection before INFO: no NATS server listens at that port "
               "(correct it), or a proxy has no server behind it (start one)";
    case RLT_SESSION_SECURING:
        return "it closed the connection in the TLS handshake: see the server's log";
    case RLT_SESSION_VERIFYING:
        return "it closed the connection without an answer to CONNECT: see the server's log";
    default:
        return "it closed the connection and did not say why: see the server's log";
    }
}

static const char *describe(enum rlt_session_state state, int error)
{
    switch (error) {
    case ROULETTE_ETIMEDOUT:
        return describe_timeout(state);
    case ROULETTE_EDISCONNECTED:
        return describe_end(state);
    case ROULETTE_ESTALE:
        return "the server stopped answering: see whether it, or the network to it, stands still";
    case ROULETTE_ESELF:
        return "the connection led back to itself: no server listens at that port; start it, or "
               "correct the port";
    default:
        return roulette_error_text(error);
    }
}

void rlt_failure_note(struct rlt_connection *connection, enum rlt_session_state state, int error)
{
    char *text = connection->failure;
    if (text[0] == '\0') {
        (void)snprintf(text, sizeof(connection->failure), "%s", describe(state, error));
    } else if (error == ROULETTE_EDISCONNECTED && !connection->failure_told) {
        char detail[RLT_TEXT_CELL_BYTES / 2]; /* the system's reason */
        (void)snprintf(detail, sizeof(detail), "%.200s", text);
        (void)snprintf(text, sizeof(connection->failure), "%s (%s)", describe(state, error),
                       detail);
    }
    rlt_text_cell_set(&connection->env->failure, error, text);
}

/* ---- The log ------------------------------------------------------------------------------ */

void rlt_failure_tell_missed(struct rlt_connection *connection, int error)
{
    struct rlt_env *env = connection->env;
    RLT_ASSERT(error < 0 && error > -32);
    uint32_t reason = UINT32_C(1) << -error;
    bool active = rlt_connection_is_active(connection);
    bool first = active && (env->failures_told & reason) == 0;
    env->failures_told |= active ? reason : 0;
    rlt_report(env,
               first && !connection->failure_told ? RLT_REPORT_MISSED : RLT_REPORT_MISSED_AGAIN,
               connection->failure);
}

void rlt_failure_on_ready(struct rlt_env *env)
{
    env->failures_told = 0;
}
