/* SPDX-License-Identifier: MIT */
#include "core/cluster/loss.h"

#include "core/cluster/path.h"
#include "core/cluster/takeover.h"
#include "core/connection/away.h"
#include "core/connection/blame.h"
#include "core/connection/failure.h"
#include "core/delivery/refused_login.h"

/* End the interests of the lost connection, or let them wait for the next one; also if the
 * connection that takes over has them already: messages in flight on this one may be on no other.
 */
static void lose_subscriptions(struct rlt_connection *connection, int error)
{
    struct rlt_exchange *exchange = connection->exchange;
    const struct rlt_interests *table = &exchange->interests;
    struct rlt_interest *interest;
    bool permanent = connection->env->config->restart == ROULETTE_RESTART_PERMANENT;
    for (uint32_t i = 0; (interest = rlt_interests_next(table, connection->path, &i)) != NULL;
         i++) {
        if (!interest->on_server) {
            continue;
        }
        rlt_exchange_set_on_server(exchange, interest, false);
        if (permanent && interest->member_count != 0) {
            rlt_exchange_notify(exchange, interest, RLT_NOTICE_LOST, error);
            rlt_exchange_defer(exchange, interest);
        } else {
            rlt_exchange_undefer(exchange, interest);
            rlt_exchange_end(exchange, interest, error);
        }
    }
}

/* Handle a failed attempt to connect. */
static void on_missed(struct rlt_connection *connection, int error)
{
    bool active = rlt_connection_is_active(connection);
    rlt_counter_add(&connection->env->metrics.connect_failures, 1);
    rlt_failure_tell_missed(connection, error);
    if (active) {
        rlt_refused_login_on_failure(connection->exchange, error);
    }
}

/* Handle a lost connection. Returns: false if another one has taken over. */
static bool on_lost(struct rlt_path *path, struct rlt_connection *connection, int error,
                    uint64_t now_ns)
{
    rlt_counter_add(&path->env->metrics.disconnects, 1);
    rlt_report(path->env, RLT_REPORT_LOST, connection->failure);
    if (!rlt_connection_is_active(connection)) {
        rlt_takeover_on_second_lost(path, now_ns);
        return true;
    }
    lose_subscriptions(connection, error);
    rlt_blame_end_found(connection);
    if (!rlt_takeover_on_active_lost(path, now_ns)) {
        return true;
    }
    path->active->away = path->active->session.state != RLT_SESSION_READY;
    connection->away = false;
    rlt_connection_reset_session(connection);
    return false;
}

/* Give the path up: max_retry attempts have failed. */
static void give_up(struct rlt_connection *connection)
{
    /* Relaxed: publishers may see the state late; those that wait are woken below. */
    atomic_store_explicit(&connection->wire->state, RLT_WIRE_UNREACHABLE, memory_order_relaxed);
    rlt_sender_fail_queued(&connection->sender, rlt_connection_wake_producers, connection);
    rlt_away_on_given_up(connection);
    /* Also publishers that have no room yet, behind an uncommitted frame. */
    rlt_sender_wake_all(&connection->sender, rlt_connection_wake_producers, connection);
}

/* Clear the state of the old connection, which has no operation in progress any more. */
static void clear_connection(struct rlt_connection *connection)
{
    connection->receiving = false;
    struct rlt_fence_link *failed =
        rlt_sender_on_lost(&connection->sender, rlt_connection_wake_producers, connection);
    rlt_connection_finish_fences(connection, failed, ROULETTE_EDISCONNECTED);
    rlt_away_on_closed(connection);
    rlt_blame_on_closed(connection);
    rlt_inquiry_end(connection);
    rlt_receiver_reset(&connection->receiver);
    rlt_hold_on_closed(&connection->hold);
}

void rlt_loss_on_closed(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_path *path = rlt_path_of(connection);
    struct rlt_session *session = &connection->session;
    int error = session->last_error;
    clear_connection(connection);
    if ((connection->retiring || connection->probing) && !session->stopping) {
        connection->retiring = false;
        connection->probing = false;
        rlt_connection_reset_session(connection);
        return;
    }
    enum rlt_session_action action = rlt_session_on_closed(session, now_ns);
    connection->away = rlt_connection_is_active(connection);
    if (action == RLT_SESSION_STOPPED) {
        rlt_sender_give_up_unconfirmed(&connection->sender);
        connection->stopped = true;
        return;
    }
    if (action == RLT_SESSION_MISSED) {
        on_missed(connection, error);
    } else if (!on_lost(path, connection, error, now_ns)) {
        return;
    }
    if (rlt_connection_is_active(connection) && session->attempts >= path->env->config->max_retry) {
        give_up(connection);
    }
}
