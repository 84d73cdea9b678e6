/* SPDX-License-Identifier: MIT */
#include "core/connection.h"

#include <string.h>

#include "base/assert.h"
#include "core/away.h"
#include "core/blame.h"
#include "core/cluster.h"
#include "core/direct_receive.h"
#include "core/failure.h"
#include "core/handshake.h"
#include "core/inbound.h"
#include "core/refused_login.h"
#include "core/takeover.h"
#include "proto/encode.h"

void rlt_connection_fini(struct rlt_connection *connection)
{
    rlt_sub_suspects_fini(&connection->sub_suspects);
    rlt_sender_fini(&connection->sender);
    rlt_wire_queue_fini(&connection->queue);
}

static void wake_producers(void *context, _Atomic(uint32_t) *word)
{
    struct rlt_transport *transport = ((struct rlt_connection *)context)->cluster->transport;
    transport->ops->wake(transport, word);
}

/* A session that has not begun. */
static void init_session(struct rlt_connection *connection, uint64_t seed)
{
    struct rlt_cluster *cluster = connection->cluster;
    rlt_session_init(&connection->session, cluster->config, seed);
    if (cluster->config->tls || cluster->address->tls) {
        rlt_session_require_tls(&connection->session, cluster->config->tls_first
                                                          ? RLT_SESSION_TLS_FIRST
                                                          : RLT_SESSION_TLS_AFTER_INFO);
    }
}

int rlt_connection_init(struct rlt_connection *connection, struct rlt_cluster *cluster,
                        uint32_t slot, uint64_t seed)
{
    connection->cluster = cluster;
    connection->slot = slot;
    connection->position = slot % cluster->config->pool_size;
    connection->wire = &cluster->connections[connection->position].queue;
    connection->pending.table = &cluster->subscriptions;
    init_session(connection, seed);
    rlt_wire_queue_init(&connection->queue, cluster->config->lane_capacity);
    rlt_receiver_init(&connection->receiver, &cluster->slabs, slot);
    int result = rlt_sender_init(&connection->sender, connection->wire, &cluster->metrics);
    connection->sender.owner = slot == connection->position;
    connection->sender.lanes_off = slot != connection->position;
    if (result == 0 && cluster->config->guarantee == ROULETTE_AT_LEAST_ONCE) {
        rlt_sender_keep(&connection->sender, wake_producers, connection);
    } else {
        rlt_confirm_timer_init(&connection->sender.confirm_timer, cluster->config->confirm_ns);
    }
    return result;
}

/* ---- Closing ------------------------------------------------------------------------------ */

static void close_transport(struct rlt_connection *connection)
{
    struct rlt_transport *transport = connection->cluster->transport;
    rlt_direct_receive_end(connection);
    rlt_hold_on_closed(&connection->hold);
    if (connection->sender.lent) {
        connection->close_due = true;
    } else {
        transport->ops->close(transport, connection->slot);
    }
}

/* A probe is no connection of the application's: what becomes of it is not counted. */
static void count_failure(struct rlt_connection *connection, enum rlt_session_state state,
                          int error)
{
    struct rlt_metrics *metrics = &connection->cluster->metrics;
    bool was_ready = state == RLT_SESSION_READY;
    if (connection->probing) {
        return;
    }
    rlt_failure_note(connection, state, error);
    rlt_counter_set(&metrics->last_error, (uint64_t)(int64_t)error);
    if (error == ROULETTE_EPROTOCOL || error == ROULETTE_EINFO) {
        rlt_counter_add(&metrics->protocol_errors, 1);
    }
    if (was_ready) {
        rlt_counter_add(&metrics->connected, (uint64_t)-1);
        rlt_counter_add(&metrics->lost_by_server, error == ROULETTE_EDISCONNECTED ? 1 : 0);
        rlt_counter_add(&metrics->lost_by_ping, error == ROULETTE_ESTALE ? 1 : 0);
    }
}

void rlt_connection_fail(struct rlt_connection *connection, int error)
{
    enum rlt_session_state state = connection->session.state;
    if (rlt_session_on_failure(&connection->session, error) == RLT_SESSION_CLOSE) {
        count_failure(connection, state, error);
        close_transport(connection);
    }
}

/* What was subscribed on the lost connection ends, or waits for the next one; also if another one
 * that takes over has it already: what was on its way on this one may be on no other. */
static void lose_subscriptions(struct rlt_connection *connection, int error)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_subscriptions *table = &cluster->subscriptions;
    bool permanent = cluster->config->restart == ROULETTE_RESTART_PERMANENT;
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_subscription *subscription = rlt_subscriptions_at(table, i);
        if (subscription == NULL || subscription->connection != connection->position ||
            !subscription->on_server) {
            continue;
        }
        subscription->on_server = false;
        rlt_counter_add(&cluster->metrics.subscriptions, (uint64_t)-1);
        if (permanent && subscription->member_count != 0) {
            rlt_cluster_notify(cluster, subscription, RLT_NOTICE_LOST, error);
            rlt_subscription_queue_push(&connection->pending, subscription);
        } else {
            rlt_subscription_queue_remove(&connection->pending, subscription);
            rlt_cluster_end_subscription(cluster, subscription, error);
        }
    }
}

/* Nothing of the old connection is in progress any more. */
static void on_closed(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_cluster *cluster = connection->cluster;
    int error = connection->session.last_error;
    connection->receiving = false;
    struct rlt_fence_link *failed =
        rlt_sender_on_lost(&connection->sender, wake_producers, connection);
    rlt_cluster_finish_fences(cluster, failed, ROULETTE_EDISCONNECTED);
    rlt_away_on_closed(connection);
    rlt_blame_on_closed(connection);
    rlt_inquiry_end(connection);
    rlt_receiver_reset(&connection->receiver);
    rlt_hold_on_closed(&connection->hold);

    if ((connection->retiring || connection->probing) && !connection->session.stopping) {
        connection->retiring = false;
        rlt_sub_suspects_fini(&connection->sub_suspects);
        connection->probing = false;
        init_session(connection, rlt_random_next(&connection->session.random));
        return;
    }
    enum rlt_session_action action = rlt_session_on_closed(&connection->session, now_ns);
    bool active = cluster->active[connection->position] == connection;
    connection->away = active;
    if (action == RLT_SESSION_STOPPED) {
        rlt_sender_give_up_unconfirmed(&connection->sender);
        connection->stopped = true;
        return;
    }
    if (action == RLT_SESSION_LOST) {
        rlt_counter_add(&cluster->metrics.disconnects, 1);
        rlt_report(cluster, RLT_REPORT_LOST, connection->failure);
        if (!active) {
            rlt_takeover_on_second_lost(cluster, connection->position, now_ns);
            return;
        }
        lose_subscriptions(connection, error);
        rlt_blame_end_found(connection);
        if (rlt_takeover_on_active_lost(cluster, connection->position, now_ns)) {
            struct rlt_connection *other = cluster->active[connection->position];
            other->away = other->session.state != RLT_SESSION_READY;
            connection->away = false;
            rlt_sub_suspects_fini(&connection->sub_suspects);
            init_session(connection, rlt_random_next(&connection->session.random));
            return;
        }
    } else {
        rlt_counter_add(&cluster->metrics.connect_failures, 1);
        rlt_failure_tell_missed(connection, error);
        if (active) {
            rlt_refused_login_on_failure(cluster, error);
        }
    }
    if (active && connection->session.attempts >= cluster->config->max_retry) {
        /* Relaxed: publishers may see it late; those that wait are woken below. */
        atomic_store_explicit(&connection->wire->state, RLT_WIRE_UNREACHABLE, memory_order_relaxed);
        rlt_sender_fail_queued(&connection->sender, wake_producers, connection);
        rlt_away_on_given_up(connection);
        /* Those too for whom there is no room yet: behind a frame that is not committed. */
        rlt_sender_wake_all(&connection->sender, wake_producers, connection);
    }
}

/* ---- Doing what is wanted ----------------------------------------------------------------- */

bool rlt_connection_may_subscribe(const struct rlt_connection *connection)
{
    return !rlt_inquiry_is_under_way(&connection->inquiry) &&
           !rlt_sub_marks_is_full(&connection->sender.subs);
}

bool rlt_connection_write_unsub(struct rlt_connection *connection, uint64_t sid)
{
    uint8_t *out = rlt_sender_control_claim(&connection->sender, RLT_UNSUB_LEN_MAX);
    if (out == NULL) {
        return false;
    }
    rlt_sender_control_commit(&connection->sender, rlt_encode_unsub(out, sid, 0));
    rlt_sub_marks_close(&connection->sender.subs);
    return true;
}

/* SUB or UNSUB. False if there was no room. */
static bool write_change(struct rlt_connection *connection, struct rlt_subscription *what)
{
    if (what->on_server) {
        return rlt_connection_write_unsub(connection, what->sid);
    }
    return rlt_quota_write_sub(connection, what);
}

/* Tell the server what it does not know yet. False if there was no room for all of it. */
static bool write_subscriptions(struct rlt_connection *connection)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_subscription *subscription;
    if (connection->sender.lanes_off) {
        return true; /* they wait for the connection that takes over */
    }
    if (rlt_inquiry_is_under_way(&connection->inquiry)) {
        return connection->pending.first == NULL;
    }
    while ((subscription = connection->pending.first) != NULL) {
        bool wanted = rlt_subscription_is_wanted(subscription);
        if (!wanted) {
            rlt_handover_on_unsubscribe(cluster, subscription);
        }
        if (wanted != subscription->on_server && !write_change(connection, subscription)) {
            return false;
        }
        rlt_subscription_queue_remove(&connection->pending, subscription);
        if (!wanted && subscription->on_server) {
            subscription->on_server = false;
            subscription->again = true;
            rlt_counter_add(&cluster->metrics.subscriptions, (uint64_t)-1);
            rlt_cluster_forget(cluster, subscription);
        } else if (wanted && !subscription->on_server) {
            subscription->on_server = true;
            rlt_handover_on_subscribed(connection, subscription);
            rlt_counter_add(&cluster->metrics.subscriptions, 1);
            rlt_cluster_notify(cluster, subscription, RLT_NOTICE_RESTORED, 0);
        }
    }
    return rlt_sub_suspects_run(connection);
}

/* Whether the server knows of all that is subscribed. */
static bool is_all_told(const struct rlt_connection *connection)
{
    return connection->pending.first == NULL &&
           rlt_sub_suspects_are_none(&connection->sub_suspects);
}

bool rlt_connection_wants_lanes(const struct rlt_connection *connection)
{
    return connection->session.state == RLT_SESSION_READY && is_all_told(connection) &&
           !rlt_sender_is_busy(&connection->sender) && !connection->sender.stalled &&
           !connection->sender.lanes_off && !rlt_hold_is_on(&connection->hold);
}

/* Whether what was published may be held back: nobody waits for it, and nothing moves. */
static bool may_hold(const struct rlt_connection *connection)
{
    const struct rlt_ping_marks *pings = &connection->sender.pings;
    return connection->session.state == RLT_SESSION_READY && pings->waiting == NULL &&
           pings->armed == NULL &&
           connection->cluster->handovers[connection->position].phase == RLT_HANDOVER_NONE;
}

/* A batch was made: perhaps hold what comes behind it. */
static void note_batch(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_sender *sender = &connection->sender;
    uint64_t messages = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < sender->span_count; i++) {
        const struct rlt_sender_part *part = &sender->parts[i];
        if (part->lane >= 0) {
            messages += part->end.count - part->start.count;
            bytes += part->end.position - part->start.position;
        }
    }
    if (messages >= RLT_HOLD_COUNT) {
        connection->cluster->crowd_ns = now_ns;
    }
    if (messages != 0 && !sender->pings.in_batch) {
        rlt_confirm_timer_on_sent(&sender->confirm_timer, now_ns);
    }
    if (messages != 0 && may_hold(connection)) {
        rlt_hold_on_send(&connection->hold, messages, (size_t)bytes,
                         connection->wire->lane_capacity / 4, now_ns);
    }
}

static void look_at_hold(struct rlt_connection *connection, uint64_t now_ns)
{
    if (!may_hold(connection)) {
        rlt_hold_end(&connection->hold);
    } else {
        struct rlt_wire_queue *queue = connection->wire;
        rlt_hold_look(&connection->hold, rlt_wire_queue_ahead(queue), queue->lane_capacity / 4,
                      now_ns);
    }
}

static void send_batch(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_sender *sender = &connection->sender;
    bool ready = connection->session.state == RLT_SESSION_READY;
    if (ready) {
        rlt_inquiry_run(connection);
        sender->confirm_due = rlt_sender_confirm_ns(sender) <= now_ns;
    }
    bool with_lanes =
        ready && write_subscriptions(connection) && !rlt_hold_is_on(&connection->hold);
    bool pings = sender->ping_due;
    uint32_t count = rlt_sender_gather(sender, with_lanes);
    if (pings && !sender->ping_due) {
        rlt_session_on_pinged(&connection->session, now_ns);
    }
    note_batch(connection, now_ns);
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += sender->spans[i].len;
    }
    if (count != 0 && total == 0) {
        /* Only frames that are given up: nothing for the kernel. */
        (void)rlt_sender_on_sent(sender, 0, wake_producers, connection);
    } else if (count != 0) {
        rlt_counter_add_shared(&cluster->metrics.sends, 1);
        rlt_session_on_send(&connection->session, now_ns);
        cluster->transport->ops->send(cluster->transport, connection->slot, sender->spans, count);
    }
}

static void receive_more(struct rlt_connection *connection)
{
    struct rlt_transport *transport = connection->cluster->transport;
    if (!connection->receiving && !rlt_direct_receive_settle(connection)) {
        struct rlt_span spans[2];
        uint32_t count = rlt_receiver_spans(&connection->receiver, spans);
        connection->receiving = true;
        rlt_reading_begin(&connection->reading, spans[0].len + (count > 1 ? spans[1].len : 0));
        transport->ops->receive(transport, connection->slot, spans, count);
    }
}

static bool is_open(const struct rlt_connection *connection)
{
    enum rlt_session_state state = connection->session.state;
    return state == RLT_SESSION_GREETING || state == RLT_SESSION_VERIFYING ||
           state == RLT_SESSION_READY;
}

static void serve_timers(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_cluster *cluster = connection->cluster;
    enum rlt_session_state state = connection->session.state;
    switch (rlt_session_on_timer(&connection->session, now_ns, connection->reading.seen_ns)) {
    case RLT_SESSION_OPEN:
        rlt_failure_forget(connection);
        cluster->transport->ops->open(cluster->transport, connection->slot, cluster->address->host,
                                      cluster->address->port);
        break;
    case RLT_SESSION_PING:
        connection->sender.ping_due = true;
        break;
    case RLT_SESSION_CLOSE:
        /* The session has failed by itself: a deadline. */
        count_failure(connection, state, connection->session.last_error);
        close_transport(connection);
        break;
    default:
        break;
    }
}

uint64_t rlt_connection_deadline(const struct rlt_connection *connection)
{
    bool ready = connection->session.state == RLT_SESSION_READY;
    uint64_t confirm_ns = ready ? rlt_sender_confirm_ns(&connection->sender) : RLT_NEVER;
    return rlt_min_u64(rlt_min_u64(rlt_session_deadline(&connection->session), confirm_ns),
                       rlt_hold_deadline(&connection->hold));
}

void rlt_connection_run(struct rlt_connection *connection, uint64_t now_ns)
{
    serve_timers(connection, now_ns);
    if (connection->sender.pings.waiting != NULL) {
        rlt_away_end_fences(connection);
    }
    if (is_open(connection)) {
        rlt_hold_run(&connection->hold, now_ns);
        if (connection->hold.active) {
            look_at_hold(connection, now_ns);
        }
        if (!rlt_sender_is_busy(&connection->sender)) {
            send_batch(connection, now_ns);
        }
        receive_more(connection);
    }
    if (connection->receiving || connection->watched || !is_open(connection)) {
        rlt_reading_pass(&connection->reading, now_ns);
    }
}

bool rlt_connection_has_work(struct rlt_connection *connection)
{
    if (!is_open(connection)) {
        return false;
    }
    bool ready = connection->session.state == RLT_SESSION_READY;
    bool can_send = !rlt_sender_is_busy(&connection->sender);
    bool lanes_off = connection->sender.lanes_off;
    bool all_told = is_all_told(connection) || lanes_off;
    bool may_tell = !lanes_off && rlt_connection_may_subscribe(connection);
    bool can_tell = ready && ((may_tell && (connection->pending.first != NULL ||
                                            rlt_sub_suspects_have_work(connection))) ||
                              rlt_inquiry_has_work(connection));
    /* Messages and fences wait for what is not told, or this thread would never sleep. */
    return !(connection->receiving || connection->watched) || (can_send && can_tell) ||
           (can_send &&
            rlt_sender_has_work(&connection->sender,
                                ready && all_told && !rlt_hold_is_on(&connection->hold)));
}

static void on_sent(struct rlt_connection *connection, size_t count, uint64_t now_ns)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_sender *sender = &connection->sender;
    uint32_t left = rlt_sender_on_sent(sender, count, wake_producers, connection);
    if (left == 0) {
        sender->sent_ns = now_ns;
        rlt_session_on_sent(&connection->session);
        rlt_inquiry_pass(connection, rlt_sender_take_early_pong(sender));
    } else if (connection->session.state != RLT_SESSION_CLOSING) {
        rlt_counter_add_shared(&cluster->metrics.sends, 1);
        rlt_session_on_send(&connection->session, now_ns);
        cluster->transport->ops->send(cluster->transport, connection->slot,
                                      sender->spans + sender->span_done, left);
    }
}

/* The transport knows more about some failures than a code can say. */
static void explain(struct rlt_connection *connection, int error)
{
    struct rlt_transport *transport = connection->cluster->transport;
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

void rlt_connection_on_event(struct rlt_connection *connection, const struct rlt_io_event *event,
                             uint64_t now_ns)
{
    switch (event->kind) {
    case RLT_IO_OPENED:
        if (event->error == 0) {
            rlt_handshake_act(connection, rlt_session_on_opened(&connection->session));
        } else {
            explain(connection, event->error);
            rlt_connection_fail(connection, event->error);
        }
        break;
    case RLT_IO_SECURED:
        if (event->error == 0) {
            rlt_handshake_act(connection, rlt_session_on_secured(&connection->session));
        } else {
            explain(connection, event->error);
            rlt_connection_fail(connection, event->error);
        }
        break;
    case RLT_IO_RECEIVED:
        connection->receiving = false;
        if (event->error != 0) {
            explain(connection, event->error);
            rlt_connection_fail(connection, event->error);
        } else if (is_open(connection)) {
            rlt_reading_end(&connection->reading, event->bytes);
            rlt_direct_receive_note(connection, event->bytes, now_ns);
            rlt_inbound_on_bytes(connection, event->bytes, now_ns);
        }
        break;
    case RLT_IO_SENT:
        if (event->error != 0) {
            explain(connection, event->error);
            rlt_connection_fail(connection, event->error);
        } else {
            on_sent(connection, event->bytes, now_ns);
        }
        break;
    case RLT_IO_CLOSED:
        on_closed(connection, now_ns);
        break;
    case RLT_IO_READABLE:
        rlt_direct_receive_on_readable(connection, event->error, now_ns);
        break;
    }
}

/* ---- Life --------------------------------------------------------------------------------- */

void rlt_connection_start(struct rlt_connection *connection, uint64_t now_ns)
{
    rlt_session_start(&connection->session, now_ns);
}

void rlt_connection_retire(struct rlt_connection *connection)
{
    bool was_ready = connection->session.state == RLT_SESSION_READY && !connection->probing;
    connection->retiring = true;
    if (rlt_session_on_failure(&connection->session, ROULETTE_ECLOSED) == RLT_SESSION_CLOSE) {
        rlt_counter_add(&connection->cluster->metrics.connected, was_ready ? (uint64_t)-1 : 0);
        close_transport(connection);
    }
}

void rlt_connection_stop(struct rlt_connection *connection)
{
    bool was_ready = connection->session.state == RLT_SESSION_READY && !connection->probing;
    /* Relaxed: a publisher that sees it late is counted as discarded by the ledger. */
    atomic_store_explicit(&connection->wire->state, RLT_WIRE_CLOSED, memory_order_relaxed);
    rlt_sender_wake_all(&connection->sender, wake_producers, connection);
    connection->probing = false;
    switch (rlt_session_stop(&connection->session)) {
    case RLT_SESSION_CLOSE:
        rlt_counter_add(&connection->cluster->metrics.connected, was_ready ? (uint64_t)-1 : 0);
        close_transport(connection);
        break;
    case RLT_SESSION_STOPPED:
        rlt_sender_give_up_unconfirmed(&connection->sender);
        connection->stopped = true;
        break;
    default:
        break;
    }
}
