/* SPDX-License-Identifier: MIT */
#include "core/cluster/serve.h"

#include "core/cluster/direct_receive.h"
#include "core/cluster/inbound.h"
#include "core/cluster/loss.h"
#include "core/cluster/path.h"
#include "core/connection/away.h"
#include "core/connection/failure.h"
#include "core/connection/handshake.h"

/* ---- Telling the server ------------------------------------------------------------------- */

/* Write the SUB or UNSUB of an interest. Returns: false if there was no room. */
static bool write_change(struct rlt_connection *connection, struct rlt_interest *what)
{
    if (what->on_server) {
        return rlt_connection_write_unsub(connection, what->sid);
    }
    return rlt_connection_write_sub(connection, what);
}

/* Write the SUBs and UNSUBs that the server does not know yet. Returns: false if there was no room
 * for all. */
static bool write_subscriptions(struct rlt_path *path, struct rlt_connection *connection)
{
    struct rlt_exchange *exchange = path->exchange;
    struct rlt_interest *interest;
    if (!rlt_sender_takes_lanes(&connection->sender)) {
        return true; /* they wait for the takeover */
    }
    if (rlt_inquiry_is_under_way(&connection->inquiry)) {
        return connection->pending->first == NULL;
    }
    while ((interest = connection->pending->first) != NULL) {
        bool wanted = rlt_interest_is_wanted(interest);
        if (!wanted) {
            rlt_handover_on_unsubscribe(path, interest);
        }
        if (wanted != interest->on_server && !write_change(connection, interest)) {
            return false;
        }
        rlt_exchange_undefer(exchange, interest);
        if (!wanted && interest->on_server) {
            rlt_exchange_set_on_server(exchange, interest, false);
            interest->again = true;
            rlt_exchange_forget(exchange, interest);
        } else if (wanted && !interest->on_server) {
            rlt_exchange_set_on_server(exchange, interest, true);
            rlt_handover_on_subscribed(path, interest);
            rlt_exchange_notify(exchange, interest, RLT_NOTICE_RESTORED, 0);
        }
    }
    return rlt_sub_suspects_step(connection);
}

/* ---- Sending and receiving ---------------------------------------------------------------- */

/* Whether messages may be held back: no flush waits, and no handover goes on. */
static bool may_hold(const struct rlt_path *path, const struct rlt_connection *connection)
{
    const struct rlt_ping_marks *pings = &connection->sender.pings;
    return connection->session.state == RLT_SESSION_READY && pings->waiting == NULL &&
           pings->armed == NULL && path->handover.phase == RLT_HANDOVER_NONE;
}

/* Note a new batch: perhaps hold the messages behind it. */
static void note_batch(struct rlt_path *path, struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_sender *sender = &connection->sender;
    uint64_t messages;
    uint64_t bytes;
    rlt_batch_measure(&sender->batch, &messages, &bytes);
    if (messages >= RLT_HOLD_COUNT) {
        path->env->crowd_ns = now_ns;
    }
    if (messages != 0 && !sender->pings.in_batch) {
        rlt_confirm_timer_on_sent(&sender->confirm_timer, now_ns);
    }
    if (messages != 0 && may_hold(path, connection)) {
        rlt_hold_on_send(&connection->hold, messages, (size_t)bytes,
                         connection->wire->lane_capacity / 4, now_ns);
    }
}

static void look_at_hold(struct rlt_path *path, struct rlt_connection *connection, uint64_t now_ns)
{
    if (!may_hold(path, connection)) {
        rlt_hold_end(&connection->hold);
    } else {
        struct rlt_wire_queue *queue = connection->wire;
        rlt_hold_look(&connection->hold, rlt_wire_queue_ahead(queue), queue->lane_capacity / 4,
                      now_ns);
    }
}

static void send_batch(struct rlt_path *path, struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_sender *sender = &connection->sender;
    bool ready = connection->session.state == RLT_SESSION_READY;
    if (ready) {
        rlt_inquiry_step(connection);
        sender->confirm_due = rlt_sender_confirm_ns(sender) <= now_ns;
    }
    bool with_lanes =
        ready && write_subscriptions(path, connection) && !rlt_hold_is_on(&connection->hold);
    bool pings = sender->ping_due;
    uint32_t count = rlt_sender_gather(sender, with_lanes);
    if (pings && !sender->ping_due) {
        rlt_session_on_pinged(&connection->session, now_ns);
    }
    note_batch(path, connection, now_ns);
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += sender->batch.spans[i].len;
    }
    if (count != 0 && total == 0) {
        /* The batch has only frames that are given up: nothing for the kernel. */
        (void)rlt_sender_on_sent(sender, 0, rlt_connection_wake_producers, connection);
    } else if (count != 0) {
        rlt_connection_send(connection, now_ns);
    }
}

static void receive_more(struct rlt_connection *connection)
{
    struct rlt_transport *transport = connection->env->transport;
    if (!connection->receiving && !rlt_direct_receive_settle(connection)) {
        struct rlt_span spans[2];
        uint32_t count = rlt_receiver_spans(&connection->receiver, spans);
        connection->receiving = true;
        rlt_reading_begin(&connection->reading, spans[0].len + (count > 1 ? spans[1].len : 0));
        transport->ops->receive(transport, connection->slot, spans, count);
    }
}

/* ---- Driving ------------------------------------------------------------------------------ */

static void serve_timers(struct rlt_connection *connection, uint64_t now_ns)
{
    const struct rlt_env *env = connection->env;
    enum rlt_session_state state = connection->session.state;
    switch (rlt_session_on_timer(&connection->session, now_ns, connection->reading.seen_ns)) {
    case RLT_SESSION_OPEN:
        rlt_failure_forget(connection);
        env->transport->ops->open(env->transport, connection->slot, env->address->host,
                                  env->address->port);
        break;
    case RLT_SESSION_PING:
        connection->sender.ping_due = true;
        break;
    case RLT_SESSION_CLOSE:
        rlt_connection_on_timeout(connection, state);
        break;
    default:
        break;
    }
}

uint64_t rlt_serve_deadline(const struct rlt_connection *connection)
{
    bool ready = connection->session.state == RLT_SESSION_READY;
    uint64_t confirm_ns = ready ? rlt_sender_confirm_ns(&connection->sender) : RLT_NEVER;
    return rlt_min_u64(rlt_min_u64(rlt_session_deadline(&connection->session), confirm_ns),
                       rlt_hold_deadline(&connection->hold));
}

void rlt_serve_step(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_path *path = rlt_path_of(connection);
    serve_timers(connection, now_ns);
    if (connection->sender.pings.waiting != NULL) {
        rlt_away_end_fences(connection);
    }
    if (rlt_connection_is_open(connection)) {
        rlt_hold_step(&connection->hold, now_ns);
        if (connection->hold.active) {
            look_at_hold(path, connection, now_ns);
        }
        if (!rlt_sender_is_busy(&connection->sender)) {
            send_batch(path, connection, now_ns);
        }
        receive_more(connection);
    }
    if (connection->receiving || connection->watched || !rlt_connection_is_open(connection)) {
        rlt_reading_pass(&connection->reading, now_ns);
    }
}

bool rlt_serve_has_work(struct rlt_connection *connection)
{
    if (!rlt_connection_is_open(connection)) {
        return false;
    }
    bool ready = connection->session.state == RLT_SESSION_READY;
    bool can_send = !rlt_sender_is_busy(&connection->sender);
    bool takes_lanes = rlt_sender_takes_lanes(&connection->sender);
    bool all_told = rlt_connection_has_told_all(connection) || !takes_lanes;
    bool may_tell = takes_lanes && rlt_connection_may_subscribe(connection);
    bool can_tell = ready && ((may_tell && (connection->pending->first != NULL ||
                                            rlt_sub_suspects_have_work(connection))) ||
                              rlt_inquiry_has_work(connection));
    /* Messages and fences wait for untold interests, or this thread would never sleep. */
    return !(connection->receiving || connection->watched) || (can_send && can_tell) ||
           (can_send &&
            rlt_sender_has_work(&connection->sender,
                                ready && all_told && !rlt_hold_is_on(&connection->hold)));
}

static void on_sent(struct rlt_connection *connection, size_t count, uint64_t now_ns)
{
    struct rlt_sender *sender = &connection->sender;
    uint32_t left = rlt_sender_on_sent(sender, count, rlt_connection_wake_producers, connection);
    if (left == 0) {
        sender->sent_ns = now_ns;
        rlt_session_on_sent(&connection->session);
        rlt_inquiry_pass(connection, rlt_sender_take_early_pong(sender));
    } else if (connection->session.state != RLT_SESSION_CLOSING) {
        rlt_connection_send(connection, now_ns);
    }
}

/* Explain a failure with the transport's text, which says more than the code. */
static void explain(struct rlt_connection *connection, int error)
{
    struct rlt_transport *transport = connection->env->transport;
    const char *text =
        transport->ops->explain != NULL ? transport->ops->explain(transport, connection->slot) : "";
    if (error == ROULETTE_ETLS && transport->ops->explain != NULL) {
        rlt_failure_report(connection, RLT_REPORT_TLS, text);
    } else if (error == ROULETTE_ESYSTEM && text[0] != '\0') {
        rlt_failure_report(connection, RLT_REPORT_SYSTEM, text);
    } else {
        rlt_failure_explain(connection, text);
    }
}

static void on_received(struct rlt_connection *connection, size_t count, uint64_t now_ns)
{
    if (rlt_connection_is_open(connection)) {
        rlt_reading_end(&connection->reading, count);
        rlt_direct_receive_note(connection, count, now_ns);
        rlt_inbound_on_bytes(connection, count, now_ns);
    }
}

void rlt_serve_on_event(struct rlt_connection *connection, const struct rlt_io_event *event,
                        uint64_t now_ns)
{
    connection->receiving = connection->receiving && event->kind != RLT_IO_RECEIVED;
    if (event->error != 0 && event->kind != RLT_IO_CLOSED && event->kind != RLT_IO_READABLE) {
        explain(connection, event->error);
        rlt_connection_fail(connection, event->error);
        return;
    }
    switch (event->kind) {
    case RLT_IO_OPENED:
        rlt_handshake_act(connection, rlt_session_on_opened(&connection->session));
        break;
    case RLT_IO_SECURED:
        rlt_handshake_act(connection, rlt_session_on_secured(&connection->session));
        break;
    case RLT_IO_RECEIVED:
        on_received(connection, event->bytes, now_ns);
        break;
    case RLT_IO_SENT:
        on_sent(connection, event->bytes, now_ns);
        break;
    case RLT_IO_CLOSED:
        rlt_loss_on_closed(connection, now_ns);
        break;
    case RLT_IO_READABLE:
        rlt_direct_receive_on_readable(connection, event->error, now_ns);
        break;
    }
}
