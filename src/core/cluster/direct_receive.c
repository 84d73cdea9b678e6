/* SPDX-License-Identifier: MIT */
#include "core/cluster/direct_receive.h"

#include "base/defs.h"
#include "core/cluster/inbound.h"
#include "core/connection/connection.h"

/* A message that comes less than this behind another is part of a burst, which the event thread
 * receives better. About the time of a wake-up. */
#define GAP_NS UINT64_C(10000)
/* The largest receive that counts as small. */
#define SPARSE_BYTES ((size_t)4 * 1024)
#define BURST_BYTES  ((size_t)16 * 1024)
/* Small receives in a row after which a watch begins. */
#define SPARSE_MIN 4
/* Receives in a row by the event thread on a watched connection, after which the watch ends: the
 * subscriber does not wait in roulette_receive(). */
#define UNATTENDED_MAX 8

/* ---- The event thread --------------------------------------------------------------------- */

void rlt_direct_receive_note(struct rlt_connection *connection, size_t count, uint64_t now_ns)
{
    bool sparse = count <= SPARSE_BYTES && now_ns - connection->received_ns >= GAP_NS;
    connection->received_ns = now_ns;
    connection->sparse = sparse ? rlt_min_u32(connection->sparse + 1, SPARSE_MIN) : 0;
}

static bool should_watch(struct rlt_connection *connection)
{
    const struct rlt_env *env = connection->env;
    const struct rlt_exchange *exchange = connection->exchange;
    return connection->sparse == SPARSE_MIN && exchange->mailbox_count == 1 &&
           exchange->counted == 0 && /* only the event thread ends counted interests */
           exchange->last_mailbox != NULL && env->config->spin_ns == 0 &&
           env->transport->ops->watch != NULL && connection->session.state == RLT_SESSION_READY &&
           connection->session.unanswered_ns == RLT_NEVER && rlt_connection_is_active(connection) &&
           rlt_path_of(connection)->handover.phase == RLT_HANDOVER_NONE &&
           rlt_ping_marks_are_quiet(&connection->sender.pings) &&
           rlt_receiver_is_at_rest(&connection->receiver) &&
           (connection->watched || rlt_mailbox_is_awaited(exchange->last_mailbox));
}

bool rlt_direct_receive_settle(struct rlt_connection *connection)
{
    struct rlt_exchange *exchange = connection->exchange;
    struct rlt_transport *transport = connection->env->transport;
    if (!should_watch(connection)) {
        rlt_connection_unwatch(connection);
        return false;
    }
    if (!connection->watched) {
        exchange->unattended = 0;
        if (transport->ops->watch(transport, connection->slot, true)) {
            rlt_mailbox_forget_awaited(exchange->last_mailbox);
            connection->watched = true;
            exchange->watched_count++;
        } else {
            connection->sparse = SPARSE_MIN - 1; /* watched again after the next message */
        }
    }
    rlt_exchange_tell_watched(exchange);
    return connection->watched;
}

/* Receive once, into one span not more than `max`. Returns: as the transport's receive_now(). */
static int64_t receive(struct rlt_connection *connection, size_t max)
{
    struct rlt_transport *transport = connection->env->transport;
    struct rlt_span spans[2];
    uint32_t count = rlt_receiver_spans(&connection->receiver, spans);
    spans[0].len = count == 1 ? rlt_min_size(spans[0].len, max) : spans[0].len;
    return transport->ops->receive_now(transport, connection->slot, spans, count);
}

void rlt_direct_receive_on_readable(struct rlt_connection *connection, int error, uint64_t now_ns)
{
    if (!connection->watched) {
        return;
    }
    int64_t count = error == 0 ? receive(connection, SIZE_MAX) : -1;
    bool goes_on = count == 0 || (count > 0 && (size_t)count < BURST_BYTES &&
                                  ++connection->exchange->unattended <= UNATTENDED_MAX);
    connection->sparse = goes_on ? connection->sparse : 0;
    if (count > 0) {
        rlt_inbound_on_bytes(connection, (size_t)count, now_ns);
    }
}

void rlt_direct_receive_lend(struct rlt_cluster *cluster)
{
    if (cluster->exchange.watched_count != 0) {
        rlt_loan_lend(&cluster->receiving);
    }
}

void rlt_direct_receive_go_on(struct rlt_cluster *cluster, uint64_t now_ns)
{
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        struct rlt_connection *connection = cluster->paths[i].active;
        if (connection->left_over) {
            connection->left_over = false;
            rlt_inbound_go_on(connection, now_ns);
            rlt_exchange_show(&cluster->exchange);
        }
    }
}

/* ---- Subscribers -------------------------------------------------------------------------- */

static enum rlt_receipt receive_messages(struct rlt_connection *connection)
{
    int64_t count = receive(connection, BURST_BYTES);
    if (count <= 0) {
        return count == 0 ? RLT_RECEIPT_DONE : RLT_RECEIPT_LEFT;
    }
    connection->exchange->unattended = 0;
    rlt_counter_add(&connection->env->metrics.direct_receives, 1);
    if (!rlt_inbound_take_messages(connection, (size_t)count)) {
        connection->left_over = true;
        return RLT_RECEIPT_WAKE;
    }
    if ((size_t)count == BURST_BYTES) {
        connection->sparse =
            0; /* More than one burst waits: hand the connection back to the event thread. */
        return RLT_RECEIPT_LEFT;
    }
    return RLT_RECEIPT_DONE;
}

static bool has_left_over(const struct rlt_cluster *cluster)
{
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        if (cluster->paths[i].active->left_over) {
            return true;
        }
    }
    return false;
}

static enum rlt_receipt receive_from_all(struct rlt_cluster *cluster)
{
    if (has_left_over(cluster)) {
        return RLT_RECEIPT_LEFT; /* the event thread is waking up */
    }
    enum rlt_receipt result = RLT_RECEIPT_DONE;
    /* Left-over bytes come before those of the next connection. */
    for (uint32_t i = 0; i < cluster->pool_size && result != RLT_RECEIPT_WAKE; i++) {
        if (cluster->paths[i].active->watched) {
            enum rlt_receipt receipt = receive_messages(cluster->paths[i].active);
            result = receipt > result ? receipt : result;
        }
    }
    rlt_exchange_show(&cluster->exchange);
    return result;
}

enum rlt_receipt rlt_direct_receive(struct rlt_cluster *cluster, const struct rlt_mailbox *mailbox)
{
    struct rlt_transport *transport = cluster->env.transport;
    if (rlt_loan_borrow(&cluster->receiving) != RLT_LOAN_LENT) {
        return RLT_RECEIPT_LEFT;
    }
    enum rlt_receipt result =
        rlt_direct_receive_is_for(cluster, mailbox) ? receive_from_all(cluster) : RLT_RECEIPT_LEFT;
    rlt_exchange_note_slabs(&cluster->exchange);
    if (!rlt_loan_give_back(&cluster->receiving)) {
        /* The event thread waits for the loan: see io/event_thread.c. */
        transport->ops->wake(transport, &cluster->receiving.state);
        return RLT_RECEIPT_LEFT;
    }
    return result;
}
