/* SPDX-License-Identifier: MIT */
#include "core/connection/refused_sub.h"

#include <string.h>

#include "core/connection/connection.h"
#include "core/seam/ring.h"

/* End a refused interest. Returns: false if the server was not told of it. */
static bool end_refused(struct rlt_connection *connection, struct rlt_interest *interest, int error)
{
    struct rlt_exchange *exchange = connection->exchange;
    bool active = rlt_connection_is_active(connection);
    bool told = active ? interest->on_server : interest->on_second;
    if (interest->path != connection->path || !told) {
        return false;
    }
    rlt_sub_marks_settle(&connection->sender.subs, rlt_ping_marks_pongs(&connection->sender.pings),
                         interest->sid);
    if (active) {
        rlt_exchange_set_on_server(exchange, interest, false);
    } else {
        interest->on_second = false;
    }
    rlt_exchange_undefer(exchange, interest);
    if (interest->on_server) {
        rlt_exchange_defer(exchange, interest);
    }
    rlt_exchange_end(exchange, interest, error);
    return true;
}

void rlt_refused_sub_end_named(struct rlt_connection *connection,
                               const struct rlt_server_error *what)
{
    struct rlt_interests *table = &connection->exchange->interests;
    if (what->queue == NULL) {
        uint64_t hash = rlt_ring_hash(what->topic, what->topic_len);
        struct rlt_interest *interest =
            rlt_interests_find_topic(table, what->topic, what->topic_len, hash);
        if (interest != NULL) {
            (void)end_refused(connection, interest, what->error);
        }
        return;
    }
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_interest *interest = rlt_interests_at(table, i);
        if (interest == NULL || !interest->exclusive) {
            continue;
        }
        struct rlt_topic_key key = rlt_interest_key(interest);
        if (key.len == what->topic_len + 1 + what->queue_len &&
            memcmp(key.topic, what->topic, what->topic_len) == 0 &&
            memcmp(key.topic + what->topic_len + 1, what->queue, what->queue_len) == 0) {
            (void)end_refused(connection, interest, what->error);
        }
    }
}

void rlt_refused_sub_end(struct rlt_connection *connection, uint64_t sid, int error)
{
    struct rlt_interest *interest = rlt_interests_find(&connection->exchange->interests, sid);
    if (interest != NULL && end_refused(connection, interest, error)) {
        /* Without room the UNSUB is not written, which does no harm. */
        (void)rlt_connection_write_unsub(connection, sid);
    }
}
