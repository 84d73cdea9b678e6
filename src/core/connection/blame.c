/* SPDX-License-Identifier: MIT */
#include "core/connection/blame.h"

#include <stdio.h>

#include "core/connection/connection.h"

/* Whether the server closed an established, active connection of its own accord. */
static bool is_closed_by_server(const struct rlt_connection *connection)
{
    const struct rlt_session *session = &connection->session;
    return session->established && !session->stopping && !connection->retiring &&
           rlt_connection_is_active(connection) &&
           (session->last_error == ROULETTE_EDISCONNECTED ||
            connection->line_fault != RLT_LINE_FAULT_NONE);
}

static void report_message(struct rlt_connection *connection, const struct rlt_suspect_found *found)
{
    char text[256];
    int error =
        connection->line_fault == RLT_LINE_FAULT_PAYLOAD ? ROULETTE_EPAYLOAD : ROULETTE_ESERVER;
    (void)snprintf(text, sizeof(text), "%s (%zu bytes), payload of %u bytes", found->topic,
                   found->topic_len, found->payload_len);
    rlt_counter_set(&connection->env->metrics.last_error, (uint64_t)(int64_t)error);
    rlt_report(connection->env, RLT_REPORT_POISON, text);
}

static void blame(struct rlt_connection *connection)
{
    bool named = connection->line_fault != RLT_LINE_FAULT_NONE;
    struct rlt_suspect_found found = {0};
    bool by_server = is_closed_by_server(connection);
    /* No SUB has a payload. */
    bool may_be_sub = by_server && connection->line_fault != RLT_LINE_FAULT_PAYLOAD;
    if (!may_be_sub) {
        rlt_sub_suspects_on_lost(&connection->sub_suspects);
    } else if (rlt_sub_suspects_on_closed(connection, named)) {
        return;
    }
    if (by_server && rlt_suspect_on_closed(&connection->sender, named, &found)) {
        report_message(connection, &found);
    }
}

void rlt_blame_on_closed(struct rlt_connection *connection)
{
    if (connection->line_fault == RLT_LINE_FAULT_NONE) {
        rlt_suspect_note_unknown(&connection->sender);
    }
    blame(connection);
    if (connection->line_fault == RLT_LINE_FAULT_PAYLOAD) {
        /* A limit was lowered: a message that is refused next may have been accepted here. */
        rlt_suspect_note_unknown(&connection->sender);
    }
}

void rlt_blame_end_found(struct rlt_connection *connection)
{
    int error =
        connection->line_fault == RLT_LINE_FAULT_LENGTH ? ROULETTE_ETOPIC : ROULETTE_ESERVER;
    rlt_sub_suspects_hold(connection, error);
    connection->line_fault = RLT_LINE_FAULT_NONE;
}
