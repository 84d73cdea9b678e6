/* SPDX-License-Identifier: MIT */
#include "core/connection/connection.h"

#include "base/assert.h"
#include "core/connection/failure.h"
#include "proto/encode.h"
#include "roulette.h"

/* A PING, which may stand before a SUB, the SUB, and the UNSUB behind it. */
#define LINES_MAX (6 + RLT_SUB_LEN_MAX + RLT_UNSUB_LEN_MAX)

void rlt_connection_wake_producers(void *context, _Atomic(uint32_t) *word)
{
    struct rlt_transport *transport = ((struct rlt_connection *)context)->env->transport;
    transport->ops->wake(transport, word);
}

/* ---- Life --------------------------------------------------------------------------------- */

/* Make a session that has not begun. */
static void init_session(struct rlt_connection *connection, uint64_t seed)
{
    const struct rlt_env *env = connection->env;
    rlt_session_init(&connection->session, env->config, seed);
    if (env->config->tls || env->address->tls) {
        rlt_session_require_tls(&connection->session, env->config->tls_first
                                                          ? RLT_SESSION_TLS_FIRST
                                                          : RLT_SESSION_TLS_AFTER_INFO);
    }
}

int rlt_connection_init(struct rlt_connection *connection, const struct rlt_connection_place *place,
                        uint64_t seed)
{
    struct rlt_env *env = place->env;
    connection->env = env;
    connection->exchange = place->exchange;
    connection->slot = place->slot;
    connection->path = place->path;
    connection->side = place->side;
    connection->wire = place->wire;
    connection->pending = &place->exchange->pending[place->path];
    init_session(connection, seed);
    rlt_receiver_init(&connection->receiver, &place->exchange->slabs, place->slot);
    int result = rlt_sender_init(&connection->sender, connection->wire, &env->metrics);
    connection->sender.role = place->side == 0 ? RLT_ROLE_ACTIVE : RLT_ROLE_SECOND;
    if (result == 0 && env->config->guarantee == ROULETTE_AT_LEAST_ONCE) {
        rlt_sender_keep(&connection->sender, rlt_connection_wake_producers, connection);
    } else {
        rlt_confirm_timer_init(&connection->sender.confirm_timer, env->config->confirm_ns);
    }
    return result;
}

void rlt_connection_fini(struct rlt_connection *connection)
{
    rlt_sub_suspects_fini(&connection->sub_suspects);
    rlt_sender_fini(&connection->sender);
}

void rlt_connection_start(struct rlt_connection *connection, uint64_t now_ns)
{
    rlt_session_start(&connection->session, now_ns);
}

void rlt_connection_reset_session(struct rlt_connection *connection)
{
    rlt_sub_suspects_fini(&connection->sub_suspects);
    init_session(connection, rlt_random_next(&connection->session.random));
}

/* ---- Closing ------------------------------------------------------------------------------ */

void rlt_connection_unwatch(struct rlt_connection *connection)
{
    struct rlt_transport *transport = connection->env->transport;
    if (connection->watched) {
        (void)transport->ops->watch(transport, connection->slot, false);
        connection->watched = false;
        connection->exchange->watched_count--;
        rlt_exchange_tell_watched(connection->exchange);
    }
}

static void close_transport(struct rlt_connection *connection)
{
    struct rlt_transport *transport = connection->env->transport;
    rlt_connection_unwatch(connection);
    rlt_hold_on_closed(&connection->hold);
    if (connection->sender.lent) {
        connection->close_due = true;
    } else {
        transport->ops->close(transport, connection->slot);
    }
}

/* Count the end of a connection that was in `state`. Returns: whether that was READY. A probe is
 * not counted. */
static bool count_end(struct rlt_connection *connection, enum rlt_session_state state)
{
    bool was_ready = state == RLT_SESSION_READY && !connection->probing;
    rlt_counter_add(&connection->env->metrics.connected, was_ready ? (uint64_t)-1 : 0);
    return was_ready;
}

static void count_failure(struct rlt_connection *connection, enum rlt_session_state state,
                          int error)
{
    struct rlt_metrics *metrics = &connection->env->metrics;
    if (connection->probing) {
        return;
    }
    rlt_failure_note(connection, state, error);
    rlt_counter_set(&metrics->last_error, (uint64_t)(int64_t)error);
    if (error == ROULETTE_EPROTOCOL || error == ROULETTE_EINFO) {
        rlt_counter_add(&metrics->protocol_errors, 1);
    }
    if (count_end(connection, state)) {
        rlt_counter_add(&metrics->lost_by_server, error == ROULETTE_EDISCONNECTED ? 1 : 0);
        rlt_counter_add(&metrics->lost_by_ping, error == ROULETTE_ESTALE ? 1 : 0);
    }
}

void rlt_connection_on_timeout(struct rlt_connection *connection, enum rlt_session_state state)
{
    count_failure(connection, state, connection->session.last_error);
    close_transport(connection);
}

void rlt_connection_fail(struct rlt_connection *connection, int error)
{
    enum rlt_session_state state = connection->session.state;
    if (rlt_session_on_failure(&connection->session, error) == RLT_SESSION_CLOSE) {
        count_failure(connection, state, error);
        close_transport(connection);
    }
}

void rlt_connection_retire(struct rlt_connection *connection)
{
    enum rlt_session_state state = connection->session.state;
    connection->retiring = true;
    if (rlt_session_on_failure(&connection->session, ROULETTE_ECLOSED) == RLT_SESSION_CLOSE) {
        (void)count_end(connection, state);
        close_transport(connection);
    }
}

void rlt_connection_stop(struct rlt_connection *connection)
{
    enum rlt_session_state state = connection->session.state;
    /* Relaxed: messages of a publisher that sees it late are discarded in the ledger. */
    atomic_store_explicit(&connection->wire->state, RLT_WIRE_CLOSED, memory_order_relaxed);
    rlt_sender_wake_all(&connection->sender, rlt_connection_wake_producers, connection);
    switch (rlt_session_stop(&connection->session)) {
    case RLT_SESSION_CLOSE:
        (void)count_end(connection, state);
        close_transport(connection);
        break;
    case RLT_SESSION_STOPPED:
        rlt_sender_give_up_unconfirmed(&connection->sender);
        connection->stopped = true;
        break;
    default:
        break;
    }
    connection->probing = false;
}

void rlt_connection_send(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_transport *transport = connection->env->transport;
    const struct rlt_batch *batch = &connection->sender.batch;
    rlt_counter_add_shared(&connection->env->metrics.sends, 1);
    rlt_session_on_send(&connection->session, now_ns);
    transport->ops->send(transport, connection->slot, rlt_batch_rest(batch), rlt_batch_left(batch));
}

/* ---- Subscriptions ------------------------------------------------------------------------ */

bool rlt_connection_write_unsub(struct rlt_connection *connection, uint64_t sid)
{
    uint8_t *out = rlt_control_claim(&connection->sender.control, RLT_UNSUB_LEN_MAX);
    if (out == NULL) {
        return false;
    }
    rlt_control_commit(&connection->sender.control, rlt_encode_unsub(out, sid, 0));
    rlt_sub_marks_close(&connection->sender.subs);
    return true;
}

/* Write the SUB of a counted interest, with the UNSUB that limits its messages. */
static bool write_counted(struct rlt_connection *connection, struct rlt_interest *interest)
{
    struct rlt_sender *sender = &connection->sender;
    struct rlt_topic_key key = rlt_interest_key(interest);
    /* A server that still has the sid would ignore the SUB and count on. */
    if (interest->again && !rlt_connection_write_unsub(connection, interest->sid)) {
        return false;
    }
    uint64_t max = rlt_quota_wanted(interest);
    if (rlt_control_claim(&sender->control, LINES_MAX) == NULL ||
        !rlt_sender_write_sub(sender, &key, interest->sid)) {
        return false;
    }
    /* As any UNSUB, this one ends a window of SUBs. */
    uint8_t *out = rlt_control_claim(&sender->control, RLT_UNSUB_LEN_MAX);
    RLT_ASSERT(out != NULL);
    rlt_control_commit(&sender->control, rlt_encode_unsub(out, interest->sid, max));
    rlt_sub_marks_close(&sender->subs);
    rlt_quota_set_told(interest, connection->side, max);
    return true;
}

bool rlt_connection_write_sub(struct rlt_connection *connection, struct rlt_interest *interest)
{
    if (interest->counted) {
        return write_counted(connection, interest);
    }
    struct rlt_topic_key key = rlt_interest_key(interest);
    return rlt_sender_write_sub(&connection->sender, &key, interest->sid);
}
