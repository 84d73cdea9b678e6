/* SPDX-License-Identifier: MIT */
#include "core/refused_sub.h"

#include <string.h>

#include "core/connection.h"
#include "core/ring.h"

/* The server refuses a subscription: it is over. False if the server was not told of it. */
static bool end_refused(struct rlt_connection *connection, struct rlt_subscription *subscription,
                        int error)
{
    struct rlt_exchange *exchange = connection->exchange;
    bool active = rlt_connection_is_active(connection);
    bool told = active ? subscription->on_server : subscription->on_second;
    if (subscription->connection != connection->path || !told) {
        return false;
    }
    rlt_sub_marks_settle(&connection->sender.subs, rlt_ping_marks_pongs(&connection->sender.pings),
                         subscription->sid);
    if (active) {
        rlt_exchange_set_on_server(exchange, subscription, false);
    } else {
        subscription->on_second = false;
    }
    rlt_exchange_undefer(exchange, subscription);
    if (subscription->on_server) {
        rlt_exchange_defer(exchange, subscription);
    }
    rlt_exchange_end(exchange, subscription, error);
    return true;
}

void rlt_refused_sub_end_named(struct rlt_connection *connection,
                               const struct rlt_server_error *what)
{
    struct rlt_subscriptions *table = &connection->exchange->subscriptions;
    if (what->queue == NULL) {
        uint64_t hash = rlt_ring_hash(what->topic, what->topic_len);
        struct rlt_subscription *subscription =
            rlt_subscriptions_find_topic(table, what->topic, what->topic_len, hash);
        if (subscription != NULL) {
            (void)end_refused(connection, subscription, what->error);
        }
        return;
    }
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_subscription *subscription = rlt_subscriptions_at(table, i);
        if (subscription == NULL || !subscription->exclusive) {
            continue;
        }
        struct rlt_topic_key key = rlt_subscription_key(subscription);
        if (key.len == what->topic_len + 1 + what->queue_len &&
            memcmp(key.topic, what->topic, what->topic_len) == 0 &&
            memcmp(key.topic + what->topic_len + 1, what->queue, what->queue_len) == 0) {
            (void)end_refused(connection, subscription, what->error);
        }
    }
}

void rlt_refused_sub_end(struct rlt_connection *connection, uint64_t sid, int error)
{
    struct rlt_subscription *subscription =
        rlt_subscriptions_find(&connection->exchange->subscriptions, sid);
    if (subscription != NULL && end_refused(connection, subscription, error)) {
        /* Not having room for it is no harm. */
        (void)rlt_connection_write_unsub(connection, sid);
    }
}
