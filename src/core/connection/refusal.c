/* SPDX-License-Identifier: MIT */
#include "core/connection/refusal.h"

#include <stdio.h>
#include <string.h>

#include "core/connection/failure.h"
#include "core/connection/inquiry.h"
#include "core/connection/refused_sub.h"
#include "proto/server_error.h"

static void end_subscription(struct rlt_connection *connection, const struct rlt_server_error *what)
{
    if (what->sid != 0) {
        rlt_refused_sub_end(connection, what->sid, what->error);
    } else if (what->topic != NULL) {
        rlt_refused_sub_end_named(connection, what);
    } else {
        rlt_inquiry_on_refusal(connection, what->error);
    }
}

/* Advice for a refused login, by its kind. */
static const char *advise_login(const struct rlt_env *env)
{
    const struct rlt_address *own = env->address;
    const struct rlt_config *config = env->config;
    if (config->authenticator != NULL) {
        return "correct the credentials or the nkey, or let the server know them";
    }
    if (own->user != NULL || (own->token == NULL && config->user != NULL)) {
        return "correct user and password";
    }
    return own->token != NULL || config->token != NULL
               ? "correct the token"
               : "it wants a login: give user and password, a token, credentials or an nkey";
}

/* Explain the end of the connection: the server's text, and advice. */
static void explain_farewell(struct rlt_connection *connection, const char *text,
                             const struct rlt_server_error *what)
{
    char detail[RLT_TEXT_CELL_BYTES];
    const char *advice =
        what->error == ROULETTE_EAUTH ? advise_login(connection->env) : what->advice;
    (void)snprintf(detail, sizeof(detail), "%s%s%s", text, advice[0] != '\0' ? "; " : "", advice);
    rlt_failure_report(connection, RLT_REPORT_FAREWELL, detail);
}

static const enum rlt_report reports[] = {
    [RLT_REACTION_REPORT] = RLT_REPORT_COMPLAINT,
    [RLT_REACTION_SUBSCRIPTION] = RLT_REPORT_REFUSAL,
    [RLT_REACTION_RECONNECT] = RLT_REPORT_FAREWELL,
};

bool rlt_refusal_on_error(struct rlt_connection *connection, const struct rlt_frame *frame)
{
    struct rlt_env *env = connection->env;
    char text[256];
    size_t len = rlt_min_size(frame->text_len, sizeof(text) - 1);
    memcpy(text, frame->text, len);
    text[len] = '\0';
    struct rlt_server_error what =
        rlt_server_error_classify((const char *)frame->text, frame->text_len);
    rlt_counter_add(&env->metrics.server_errors, 1);
    /* An -ERR about a subscription ends one interest. */
    bool denied = what.reaction == RLT_REACTION_REPORT && what.error == ROULETTE_EPERMISSION;
    if (denied) {
        rlt_counter_add(&env->metrics.denied_publishes, 1);
        rlt_text_cell_set(&env->denial, ROULETTE_EPERMISSION, text);
        rlt_sender_on_denied(&connection->sender,
                             rlt_denials_key(what.quoted, what.quoted_len, what.by_reply));
    }
    if (what.reaction == RLT_REACTION_RECONNECT && !connection->probing) {
        explain_farewell(connection, text, &what);
    } else {
        rlt_report(env, reports[what.reaction], text);
    }
    if (connection->probing && connection->session.state != RLT_SESSION_GREETING) {
        return true; /* a server that refuses lives */
    }
    if (what.reaction == RLT_REACTION_RECONNECT) {
        connection->line_fault = what.fault;
        rlt_connection_fail(connection, what.error);
    }
    if (what.reaction == RLT_REACTION_SUBSCRIPTION) {
        end_subscription(connection, &what);
    }
    return false;
}
