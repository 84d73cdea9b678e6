/* SPDX-License-Identifier: MIT */
#include "core/connection/away.h"

#include "core/connection/connection.h"

/* The result of a waiting link: an error, 0, or PENDING: it waits on. */
#define PENDING 1

static bool is_unreachable(const struct rlt_connection *connection)
{
    return atomic_load_explicit(&connection->wire->state, memory_order_relaxed) ==
           RLT_WIRE_UNREACHABLE;
}

/* Whether each message accepted so far is in a final state. */
static bool is_settled(const struct rlt_connection *connection)
{
    return rlt_wire_queue_bytes(connection->wire) == 0;
}

static int result_of(const struct rlt_connection *connection, enum rlt_fence_scope scope)
{
    switch (scope) {
    case RLT_FENCE_ALL:
        return is_unreachable(connection) && is_settled(connection) ? ROULETTE_EUNREACHABLE
                                                                    : PENDING;
    case RLT_FENCE_MESSAGES:
        return is_settled(connection) ? 0 : PENDING;
    case RLT_FENCE_SUBSCRIPTION:
        /* The interest has ended meanwhile, and has its own error. */
        return rlt_connection_has_told_all(connection) ? 0 : PENDING;
    case RLT_FENCE_DRAIN:
        return 0;
    }
    return PENDING;
}

void rlt_away_end_fences(struct rlt_connection *connection)
{
    struct rlt_ping_marks *pings = &connection->sender.pings;
    if (connection->session.state == RLT_SESSION_READY || connection->session.established) {
        return; /* a PONG or the loss ends them: sent messages have no final state before */
    }
    struct rlt_fence_link *link = rlt_ping_marks_take_waiting(pings);
    while (link != NULL) {
        struct rlt_fence_link *next = link->next;
        int result = result_of(connection, link->part->fence->scope);
        link->next = NULL;
        if (result == PENDING) {
            rlt_ping_marks_add_fence(pings, link);
        } else {
            rlt_connection_finish_fences(connection, link, result);
        }
        link = next;
    }
}

void rlt_away_on_closed(struct rlt_connection *connection)
{
    struct rlt_ping_marks *pings = &connection->sender.pings;
    struct rlt_fence_link *link = rlt_ping_marks_take_waiting(pings);
    while (link != NULL) {
        struct rlt_fence_link *next = link->next;
        link->next = NULL;
        if (link->part->fence->scope == RLT_FENCE_DRAIN) {
            rlt_connection_finish_fences(connection, link, ROULETTE_EDISCONNECTED);
        } else {
            rlt_ping_marks_add_fence(pings, link);
        }
        link = next;
    }
}

void rlt_away_on_given_up(struct rlt_connection *connection)
{
    struct rlt_fence_link *link = connection->sender.pings.waiting;
    for (; link != NULL; link = link->next) {
        enum rlt_fence_scope scope = link->part->fence->scope;
        if (scope == RLT_FENCE_ALL || scope == RLT_FENCE_MESSAGES) {
            rlt_fence_link_note(link, ROULETTE_EUNREACHABLE);
        }
    }
}
