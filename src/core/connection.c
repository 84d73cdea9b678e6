/* SPDX-License-Identifier: MIT */
#include "core/connection.h"

#include <string.h>

#include "base/assert.h"
#include "base/log.h"
#include "core/cluster.h"
#include "core/ring.h"
#include "proto/encode.h"
#include "proto/server_error.h"

/* CONNECT counts against the server's control line limit, 4096 bytes by default. */
#define CONNECT_LEN_MAX 4200

int rlt_connection_init(struct rlt_connection *connection, struct rlt_cluster *cluster,
                        uint32_t slot, uint64_t seed)
{
    connection->cluster = cluster;
    connection->slot = slot;
    rlt_session_init(&connection->session, cluster->config, seed);
    rlt_wire_queue_init(&connection->queue, cluster->config->lane_capacity, &cluster->doorbell);
    rlt_receiver_init(&connection->receiver, &cluster->slabs, slot);
    return rlt_sender_init(&connection->sender, &connection->queue, &cluster->metrics);
}

void rlt_connection_fini(struct rlt_connection *connection)
{
    rlt_sender_fini(&connection->sender);
    rlt_wire_queue_fini(&connection->queue);
}

static void report(const struct rlt_connection *connection, enum roulette_log_level level,
                   const char *what, const char *detail)
{
    rlt_log(&connection->cluster->config->log, level, "cluster %u (%s): %s%s%s",
            connection->cluster->index, connection->cluster->address->label, what,
            detail[0] != '\0' ? ": " : "", detail);
}

static void wake_producers(void *context, _Atomic(uint32_t) *word)
{
    struct rlt_transport *transport = ((struct rlt_connection *)context)->cluster->transport;
    transport->ops->wake(transport, word);
}

/* ---- Closing ------------------------------------------------------------------------------ */

static void close_transport(struct rlt_connection *connection)
{
    struct rlt_transport *transport = connection->cluster->transport;
    transport->ops->close(transport, connection->slot);
}

/* The connection cannot go on; `error` says why. */
static void fail(struct rlt_connection *connection, int error)
{
    struct rlt_metrics *metrics = &connection->cluster->metrics;
    bool was_ready = connection->session.state == RLT_SESSION_READY;
    if (rlt_session_on_failure(&connection->session, error) != RLT_SESSION_CLOSE) {
        return;
    }
    rlt_counter_set(&metrics->last_error, (uint64_t)(int64_t)error);
    if (error == ROULETTE_EPROTOCOL) {
        rlt_counter_add(&metrics->protocol_errors, 1);
    }
    if (was_ready) {
        bool by_server = error == ROULETTE_EDISCONNECTED;
        rlt_counter_add(&metrics->connected, (uint64_t)-1);
        rlt_counter_add(&metrics->lost_by_server, by_server ? 1 : 0);
        rlt_counter_add(&metrics->lost_by_ping, error == ROULETTE_ESTALE ? 1 : 0);
    }
    close_transport(connection);
}

/* What was subscribed on the lost connection ends, or waits for the next one. */
static void lose_subscriptions(struct rlt_connection *connection, int error)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_subscriptions *table = &cluster->subscriptions;
    bool permanent = cluster->config->restart == ROULETTE_RESTART_PERMANENT;
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_subscription *subscription = table->by_index[i];
        if (subscription == NULL || subscription->connection != connection->slot ||
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
    rlt_receiver_reset(&connection->receiver);

    enum rlt_session_action action = rlt_session_on_closed(&connection->session, now_ns);
    if (action == RLT_SESSION_STOPPED) {
        connection->stopped = true;
        return;
    }
    if (action == RLT_SESSION_LOST) {
        rlt_counter_add(&cluster->metrics.disconnects, 1);
        report(connection, ROULETTE_LOG_WARNING, "connection lost", roulette_error_text(error));
        lose_subscriptions(connection, error);
    } else {
        rlt_counter_add(&cluster->metrics.connect_failures, 1);
        report(connection, ROULETTE_LOG_INFO, "could not connect", roulette_error_text(error));
    }
    if (connection->session.attempts >= cluster->config->max_retry) {
        /* Relaxed: publishers may see it late. */
        atomic_store_explicit(&connection->queue.state, RLT_WIRE_UNREACHABLE, memory_order_relaxed);
        rlt_sender_fail_queued(&connection->sender, wake_producers, connection);
    }
}

/* ---- Connecting --------------------------------------------------------------------------- */

static void send_connect(struct rlt_connection *connection)
{
    const struct rlt_config *config = connection->cluster->config;
    const struct rlt_address *address = connection->cluster->address;
    bool own = address->user != NULL || address->token != NULL;
    struct rlt_connect connect = {
        .name = config->name,
        .version = roulette_version(),
        .user = own ? address->user : config->user,
        .password = own ? address->password : config->password,
        .token = own ? address->token : config->token,
        .headers = connection->info.headers,
    };
    static const char ping[] = "PING\r\n";
    uint8_t *out = rlt_sender_control_claim(&connection->sender, CONNECT_LEN_MAX + sizeof(ping));
    RLT_ASSERT(out != NULL); /* nothing else is sent before CONNECT */
    int len = rlt_encode_connect(&connect, (char *)out, CONNECT_LEN_MAX);
    if (len < 0) {
        report(connection, ROULETTE_LOG_ERROR, "name or credentials do not fit into CONNECT",
               roulette_error_text(len));
        fail(connection, len);
        return;
    }
    memcpy(out + len, ping, sizeof(ping) - 1);
    rlt_sender_control_commit(&connection->sender, out + len + sizeof(ping) - 1);
}

static void become_ready(struct rlt_connection *connection)
{
    struct rlt_metrics *metrics = &connection->cluster->metrics;
    rlt_counter_add(&metrics->connects, 1);
    rlt_counter_add(&metrics->connected, 1);
    atomic_store_explicit(&connection->queue.state, RLT_WIRE_OPEN, memory_order_relaxed);
    report(connection, ROULETTE_LOG_INFO, "connected to server", connection->info.server_name);
}

static void on_info(struct rlt_connection *connection, const struct rlt_frame *frame)
{
    int result = rlt_info_parse((const char *)frame->text, frame->text_len, &connection->info);
    if (result < 0) {
        fail(connection, result);
        return;
    }
    const struct rlt_info *info = &connection->info;
    if (info->tls_required) {
        report(connection, ROULETTE_LOG_ERROR, "the server requires TLS",
               "this client does not speak it yet");
        fail(connection, ROULETTE_ENOTSUP);
        return;
    }
    bool unlimited = info->max_payload <= 0 || info->max_payload > RLT_SIZE_MAX;
    uint32_t payload_max = unlimited ? RLT_SIZE_MAX : (uint32_t)info->max_payload;
    atomic_store_explicit(&connection->queue.payload_max, payload_max, memory_order_relaxed);
    rlt_sender_set_payload_max(&connection->sender, payload_max);
    if (rlt_session_on_info(&connection->session) == RLT_SESSION_CONNECT) {
        send_connect(connection);
    }
}

/* ---- Operations of the server ------------------------------------------------------------- */

static void on_server_error(struct rlt_connection *connection, const struct rlt_frame *frame)
{
    struct rlt_cluster *cluster = connection->cluster;
    char text[256];
    size_t len = rlt_min_size(frame->text_len, sizeof(text) - 1);
    memcpy(text, frame->text, len);
    text[len] = '\0';
    struct rlt_server_error what =
        rlt_server_error_classify((const char *)frame->text, frame->text_len);
    rlt_counter_add(&cluster->metrics.server_errors, 1);
    rlt_counter_set(&cluster->metrics.last_error, (uint64_t)(int64_t)what.error);
    report(connection, ROULETTE_LOG_WARNING, "the server says", text);
    if (what.reaction == RLT_REACTION_RECONNECT) {
        fail(connection, what.error);
    }
    if (what.reaction != RLT_REACTION_SUBSCRIPTION || what.topic == NULL) {
        return;
    }
    uint64_t hash = rlt_ring_hash(what.topic, what.topic_len);
    struct rlt_subscription *subscription =
        rlt_subscriptions_find_topic(&cluster->subscriptions, what.topic, what.topic_len, hash);
    if (subscription != NULL && subscription->connection == connection->slot &&
        subscription->on_server) {
        rlt_counter_add(&cluster->metrics.subscriptions, (uint64_t)-1);
        rlt_subscription_queue_remove(&connection->pending, subscription);
        rlt_cluster_end_subscription(cluster, subscription, what.error);
    }
}

static void on_pong(struct rlt_connection *connection, uint64_t now_ns)
{
    if (rlt_session_on_pong(&connection->session, now_ns) == RLT_SESSION_BECOME) {
        become_ready(connection);
        return;
    }
    rlt_cluster_finish_fences(connection->cluster, rlt_sender_on_pong(&connection->sender), 0);
}

static void on_ping(struct rlt_connection *connection)
{
    static const char pong[] = "PONG\r\n";
    uint8_t *out = rlt_sender_control_claim(&connection->sender, sizeof(pong));
    /* A peer that pings faster than it reads gets fewer answers, not more of our memory. */
    if (out != NULL) {
        memcpy(out, pong, sizeof(pong) - 1);
        rlt_sender_control_commit(&connection->sender, out + sizeof(pong) - 1);
    }
}

static void on_operation(struct rlt_connection *connection, const struct rlt_frame *frame,
                         struct rlt_slab *slab, uint64_t now_ns)
{
    bool greeting = connection->session.state == RLT_SESSION_GREETING;
    if (greeting && frame->op != RLT_OP_INFO && frame->op != RLT_OP_ERR) {
        report(connection, ROULETTE_LOG_WARNING, "not a NATS server", "it did not begin with INFO");
        fail(connection, ROULETTE_EPROTOCOL);
        return;
    }
    switch (frame->op) {
    case RLT_OP_MSG:
        rlt_cluster_deliver(connection->cluster, frame, slab);
        break;
    case RLT_OP_INFO:
        on_info(connection, frame);
        break;
    case RLT_OP_PING:
        on_ping(connection);
        break;
    case RLT_OP_PONG:
        on_pong(connection, now_ns);
        break;
    case RLT_OP_OK:
        break;
    case RLT_OP_ERR:
        on_server_error(connection, frame);
        break;
    }
}

static void on_received(struct rlt_connection *connection, size_t count, uint64_t now_ns)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_frame frame;
    struct rlt_slab *slab;
    rlt_session_on_bytes(&connection->session);
    rlt_counter_add(&cluster->metrics.receives, 1);
    rlt_counter_add(&cluster->metrics.received_bytes, count);
    rlt_receiver_on_bytes(&connection->receiver, count);
    cluster->round++;
    bool ready = connection->session.state == RLT_SESSION_READY;
    int result;
    while ((result = rlt_receiver_next(&connection->receiver, &frame, &slab)) > 0) {
        if (rlt_unlikely(result == RLT_RECEIVER_OVERSIZED)) {
            rlt_cluster_drop_oversized(cluster, &frame);
        } else if (rlt_likely(frame.op == RLT_OP_MSG && ready)) {
            rlt_cluster_deliver(cluster, &frame, slab);
        } else {
            on_operation(connection, &frame, slab, now_ns);
            ready = connection->session.state == RLT_SESSION_READY;
            if (connection->session.state == RLT_SESSION_CLOSING) {
                break;
            }
        }
    }
    if (result < 0) {
        report(connection, ROULETTE_LOG_WARNING, "protocol error", rlt_parse_error_text(-result));
        fail(connection, ROULETTE_EPROTOCOL);
    }
    rlt_counter_add(&cluster->metrics.joins, connection->receiver.joins);
    rlt_counter_add(&cluster->metrics.joined_bytes, connection->receiver.joined_bytes);
    connection->receiver.joins = 0;
    connection->receiver.joined_bytes = 0;
}

/* ---- Doing what is wanted ----------------------------------------------------------------- */

/* Tell the server what it does not know yet. False if there was no room for all of it. */
static bool write_subscriptions(struct rlt_connection *connection)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_subscription *subscription;
    while ((subscription = connection->pending.first) != NULL) {
        uint8_t *out = rlt_sender_control_claim(&connection->sender, RLT_SUB_LEN_MAX);
        if (out == NULL) {
            return false;
        }
        rlt_subscription_queue_remove(&connection->pending, subscription);
        if (subscription->member_count == 0) {
            RLT_ASSERT(subscription->on_server);
            out = rlt_encode_unsub(out, subscription->sid);
            rlt_counter_add(&cluster->metrics.subscriptions, (uint64_t)-1);
            rlt_subscriptions_remove(&cluster->subscriptions, subscription);
        } else if (!subscription->on_server) {
            out = rlt_encode_sub(out, subscription->key.topic, subscription->key.len, NULL, 0,
                                 subscription->sid);
            subscription->on_server = true;
            rlt_counter_add(&cluster->metrics.subscriptions, 1);
            rlt_cluster_notify(cluster, subscription, RLT_NOTICE_RESTORED, 0);
        }
        rlt_sender_control_commit(&connection->sender, out);
    }
    return true;
}

bool rlt_connection_wants_lanes(const struct rlt_connection *connection)
{
    return connection->session.state == RLT_SESSION_READY && connection->pending.first == NULL &&
           !rlt_sender_is_busy(&connection->sender);
}

static void send_batch(struct rlt_connection *connection)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_sender *sender = &connection->sender;
    bool ready = connection->session.state == RLT_SESSION_READY;
    bool with_lanes = ready && write_subscriptions(connection);
    uint32_t count = rlt_sender_gather(sender, with_lanes);
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        total += sender->spans[i].len;
    }
    if (count != 0 && total == 0) {
        /* Only frames that are given up: nothing for the kernel. */
        (void)rlt_sender_on_sent(sender, 0, wake_producers, connection);
    } else if (count != 0) {
        rlt_counter_add(&cluster->metrics.sends, 1);
        cluster->transport->ops->send(cluster->transport, connection->slot, sender->spans, count);
    }
}

static void receive_more(struct rlt_connection *connection)
{
    struct rlt_transport *transport = connection->cluster->transport;
    if (!connection->receiving) {
        struct rlt_span spans[2];
        uint32_t count = rlt_receiver_spans(&connection->receiver, spans);
        connection->receiving = true;
        transport->ops->receive(transport, connection->slot, spans, count);
    }
}

static bool is_open(const struct rlt_connection *connection)
{
    enum rlt_session_state state = connection->session.state;
    return state == RLT_SESSION_GREETING || state == RLT_SESSION_VERIFYING ||
           state == RLT_SESSION_READY;
}

void rlt_connection_run(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_cluster *cluster = connection->cluster;
    switch (rlt_session_on_timer(&connection->session, now_ns)) {
    case RLT_SESSION_OPEN:
        cluster->transport->ops->open(cluster->transport, connection->slot, cluster->address->host,
                                      cluster->address->port);
        break;
    case RLT_SESSION_PING:
        connection->sender.ping_due = true;
        break;
    case RLT_SESSION_CLOSE: {
        /* The session has failed by itself: a deadline. Count it as fail() does. */
        int error = connection->session.last_error;
        bool was_ready = connection->session.established;
        rlt_counter_set(&cluster->metrics.last_error, (uint64_t)(int64_t)error);
        rlt_counter_add(&cluster->metrics.lost_by_ping, error == ROULETTE_ESTALE ? 1 : 0);
        rlt_counter_add(&cluster->metrics.connected, was_ready ? (uint64_t)-1 : 0);
        close_transport(connection);
        break;
    }
    default:
        break;
    }
    if (!is_open(connection)) {
        return;
    }
    if (!rlt_sender_is_busy(&connection->sender)) {
        send_batch(connection);
    }
    receive_more(connection);
}

bool rlt_connection_has_work(struct rlt_connection *connection)
{
    if (!is_open(connection)) {
        return false;
    }
    bool ready = connection->session.state == RLT_SESSION_READY;
    bool can_send = !rlt_sender_is_busy(&connection->sender);
    return !connection->receiving || (can_send && ready && connection->pending.first != NULL) ||
           (can_send && rlt_sender_has_work(&connection->sender, ready));
}

static void on_sent(struct rlt_connection *connection, size_t count)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_sender *sender = &connection->sender;
    uint32_t left = rlt_sender_on_sent(sender, count, wake_producers, connection);
    if (left == 0) {
        rlt_cluster_finish_fences(cluster, rlt_sender_take_early_pong(sender), 0);
    } else if (connection->session.state != RLT_SESSION_CLOSING) {
        rlt_counter_add(&cluster->metrics.sends, 1);
        cluster->transport->ops->send(cluster->transport, connection->slot,
                                      sender->spans + sender->span_done, left);
    }
}

void rlt_connection_on_event(struct rlt_connection *connection, const struct rlt_io_event *event,
                             uint64_t now_ns)
{
    switch (event->kind) {
    case RLT_IO_OPENED:
        if (event->error == 0) {
            rlt_session_on_opened(&connection->session);
        } else {
            fail(connection, event->error);
        }
        break;
    case RLT_IO_SECURED:
        break; /* never asked for */
    case RLT_IO_RECEIVED:
        connection->receiving = false;
        if (event->error != 0) {
            fail(connection, event->error);
        } else if (is_open(connection)) {
            on_received(connection, event->bytes, now_ns);
        }
        break;
    case RLT_IO_SENT:
        if (event->error != 0) {
            fail(connection, event->error);
        } else {
            on_sent(connection, event->bytes);
        }
        break;
    case RLT_IO_CLOSED:
        on_closed(connection, now_ns);
        break;
    }
}

/* ---- Life --------------------------------------------------------------------------------- */

void rlt_connection_start(struct rlt_connection *connection, uint64_t now_ns)
{
    rlt_session_start(&connection->session, now_ns);
}

void rlt_connection_stop(struct rlt_connection *connection)
{
    bool was_ready = connection->session.state == RLT_SESSION_READY;
    /* Relaxed: a publisher that sees it late is counted as discarded by the ledger. */
    atomic_store_explicit(&connection->queue.state, RLT_WIRE_CLOSED, memory_order_relaxed);
    rlt_sender_wake_all(&connection->sender, wake_producers, connection);
    switch (rlt_session_stop(&connection->session)) {
    case RLT_SESSION_CLOSE:
        rlt_counter_add(&connection->cluster->metrics.connected, was_ready ? (uint64_t)-1 : 0);
        close_transport(connection);
        break;
    case RLT_SESSION_STOPPED:
        connection->stopped = true;
        break;
    default:
        break;
    }
}
