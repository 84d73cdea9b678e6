/* SPDX-License-Identifier: MIT */
#include "core/cluster/inbound.h"

#include <stdio.h>
#include <string.h>

#include "core/cluster/path.h"
#include "core/connection/failure.h"
#include "core/connection/handshake.h"
#include "core/connection/refusal.h"
#include "core/delivery/fan_out.h"
#include "core/delivery/refused_login.h"
#include "core/seam/ring.h"

/* ---- Operations of the server ------------------------------------------------------------- */

/*
 * Check whether two entries of the server list lead to one NATS cluster: a wildcard subscription,
 * made on both, would get each message twice. Servers of a cluster share its name; a server without
 * one is known by its id. Those of a cluster that was given no name begin with one each, at random,
 * and agree on one of these when they have found each other: then an INFO has it.
 */
static void check_identity(const struct rlt_connection *connection, bool connected)
{
    struct rlt_env *env = connection->env;
    const struct rlt_config *config = env->config;
    const struct rlt_info *info = &connection->info;
    const char *name = info->cluster[0] != '\0' ? info->cluster : info->server_id;
    if (config->identities == NULL || name[0] == '\0') {
        return;
    }
    uint64_t identity = rlt_ring_hash(name, strlen(name)) | 1;
    if (!connected && rlt_counter_get(&config->identities[env->index]) == identity) {
        return; /* a later INFO with the same identity */
    }
    rlt_counter_set(&config->identities[env->index], identity);
    /* Between this thread's store and the loads, as on the other event threads: of two clusters
     * that connect at once, one sees the other. */
    atomic_thread_fence(memory_order_seq_cst);
    for (uint32_t i = 0; i < config->cluster_count; i++) {
        if (i != env->index && rlt_counter_get(&config->identities[i]) == identity) {
            char detail[512];
            (void)snprintf(detail, sizeof(detail),
                           "entries %u and %u of servers are both of %s %s: if that is one NATS "
                           "cluster, wildcard subscriptions get each message twice; list it once",
                           i + 1, env->index + 1,
                           info->cluster[0] != '\0' ? "the cluster" : "the server", name);
            rlt_report(env, RLT_REPORT_SAME_NAME, detail);
        }
    }
}

static void become_ready(struct rlt_connection *connection)
{
    struct rlt_env *env = connection->env;
    struct rlt_metrics *metrics = &env->metrics;
    rlt_counter_add(&metrics->connects, 1);
    rlt_counter_add(&metrics->connected, 1);
    atomic_store_explicit(&connection->wire->state, RLT_WIRE_OPEN, memory_order_relaxed);
    rlt_refused_login_on_ready(connection->exchange);
    rlt_failure_on_ready(env);
    if (connection->away && env->config->reconnect_hold_ns != 0) {
        rlt_hold_on_return(&connection->hold, env->now_ns + env->config->reconnect_hold_ns);
    }
    connection->away = false;
    rlt_report(env, RLT_REPORT_CONNECTED, connection->info.server_name);
    check_identity(connection, true);
}

static void on_pong(struct rlt_connection *connection, uint64_t now_ns)
{
    if (rlt_session_on_pong(&connection->session, now_ns) == RLT_SESSION_BECOME) {
        if (connection->probing) {
            rlt_probe_on_answer(connection, now_ns);
        } else {
            become_ready(connection);
        }
        return;
    }
    /* A thread that waited for this PONG finds the messages before it. */
    rlt_exchange_show(connection->exchange);
    bool stray = rlt_ping_marks_owe_none(&connection->sender.pings);
    rlt_counter_add(&connection->env->metrics.stray_pongs, stray ? 1 : 0);
    struct rlt_fence_link *passed = rlt_sender_on_pong(&connection->sender);
    rlt_inquiry_on_pong(connection);
    if (connection->sub_suspects.losses != 0) {
        rlt_sub_suspects_on_pong(connection);
    }
    rlt_inquiry_pass(connection, passed);
}

static void on_ping(struct rlt_connection *connection)
{
    static const char pong[] = "PONG\r\n";
    uint8_t *out = rlt_control_claim(&connection->sender.control, sizeof(pong));
    /* A peer that pings faster than it reads gets fewer answers, not more memory. */
    if (out != NULL) {
        memcpy(out, pong, sizeof(pong) - 1);
        rlt_control_commit(&connection->sender.control, out + sizeof(pong) - 1);
    }
}

static void fail_for_clear_bytes(struct rlt_connection *connection)
{
    rlt_failure_report(connection, RLT_REPORT_CLEAR_BYTES,
                       "somebody between the server and us may have put them there");
    rlt_connection_fail(connection, ROULETTE_ETLS);
}

static void fail_for_no_server(struct rlt_connection *connection)
{
    rlt_failure_report(connection, RLT_REPORT_NOT_NATS,
                       "it did not begin with INFO; correct the port");
    rlt_connection_fail(connection, ROULETTE_EPROTOCOL);
}

/* Fail the connection for an error of the receiver. */
static void fail_for_bytes(struct rlt_connection *connection, int result)
{
    if (result == RLT_RECEIVER_NO_MEMORY) {
        rlt_connection_fail(connection, ROULETTE_ENOMEM);
        return;
    }
    if (connection->session.state == RLT_SESSION_GREETING && result != -RLT_PARSE_INFO_TOO_LONG) {
        fail_for_no_server(connection);
        return;
    }
    rlt_failure_report(connection, RLT_REPORT_BAD_BYTES, rlt_parse_error_text(-result));
    rlt_connection_fail(connection,
                        result == -RLT_PARSE_INFO_TOO_LONG ? ROULETTE_EINFO : ROULETTE_EPROTOCOL);
}

/* Nothing is subscribed before the connection is ready, so no sid can be right. */
static void on_early_message(struct rlt_connection *connection)
{
    connection->exchange->batch_received++;
    rlt_counter_add(&connection->env->metrics.unknown_sid, 1);
}

static void on_operation(struct rlt_connection *connection, const struct rlt_frame *frame,
                         uint64_t now_ns)
{
    bool greeting = connection->session.state == RLT_SESSION_GREETING;
    if (connection->session.state == RLT_SESSION_SECURING) {
        fail_for_clear_bytes(connection);
        return;
    }
    if (greeting && frame->op != RLT_OP_INFO && frame->op != RLT_OP_ERR) {
        fail_for_no_server(connection);
        return;
    }
    switch (frame->op) {
    case RLT_OP_MSG:
        on_early_message(connection);
        break;
    case RLT_OP_INFO:
        rlt_handshake_on_info(connection, frame);
        if (connection->session.state == RLT_SESSION_READY) {
            check_identity(connection, false);
        }
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
        if (rlt_refusal_on_error(connection, frame)) {
            rlt_probe_on_answer(connection, now_ns);
        }
        break;
    }
}

/* The next messages, as many as possible, or one operation. Returns: as rlt_receiver_next(). */
static int next_streaks(struct rlt_connection *connection, bool many, struct rlt_streak *streaks,
                        uint32_t *count, struct rlt_slab **slab)
{
    struct rlt_receiver *receiver = &connection->receiver;
    if (rlt_likely(many)) {
        *count = rlt_receiver_take_streaks(receiver, streaks, RLT_FAN_OUT_STREAKS_MAX, slab);
        if (*count != 0) {
            return 1;
        }
    }
    *count = 1;
    streaks[0].more = 0;
    return rlt_receiver_next(receiver, &streaks[0].frame, slab);
}

static void note_bytes(struct rlt_connection *connection, size_t count)
{
    struct rlt_metrics *metrics = &connection->env->metrics;
    rlt_session_on_bytes(&connection->session);
    rlt_counter_add(&metrics->receives, 1);
    rlt_counter_add(&metrics->received_bytes, count);
    rlt_receiver_on_bytes(&connection->receiver, count);
    connection->exchange->round++;
}

static void note_joins(struct rlt_connection *connection)
{
    struct rlt_metrics *metrics = &connection->env->metrics;
    rlt_counter_add(&metrics->joins, connection->receiver.joins);
    rlt_counter_add(&metrics->joined_bytes, connection->receiver.joined_bytes);
    connection->receiver.joins = 0;
    connection->receiver.joined_bytes = 0;
}

void rlt_inbound_on_bytes(struct rlt_connection *connection, size_t count, uint64_t now_ns)
{
    note_bytes(connection, count);
    rlt_inbound_go_on(connection, now_ns);
}

void rlt_inbound_go_on(struct rlt_connection *connection, uint64_t now_ns)
{
    struct rlt_exchange *exchange = connection->exchange;
    struct rlt_merge *merge = &rlt_path_of(connection)->handover.merge;
    exchange->source = (struct rlt_source){
        .path = (uint8_t)connection->path,
        .side = (uint8_t)connection->side,
        .active = rlt_connection_is_active(connection),
    };
    struct rlt_streak streaks[RLT_FAN_OUT_STREAKS_MAX];
    struct rlt_slab *slab;
    bool ready = connection->session.state == RLT_SESSION_READY;
    uint32_t streak_count;
    int result;
    while ((result = next_streaks(connection, ready && !rlt_merge_is_open(merge), streaks,
                                  &streak_count, &slab)) > 0) {
        const struct rlt_frame *frame = &streaks[0].frame;
        if (rlt_unlikely(result == RLT_RECEIVER_OVERSIZED && ready)) {
            rlt_fan_out_oversized(exchange, frame);
        } else if (rlt_likely(frame->op == RLT_OP_MSG && ready)) {
            if (rlt_likely(!rlt_merge_is_open(merge)) ||
                rlt_merge_take(merge, exchange, connection->side, frame, slab, now_ns)) {
                rlt_fan_out(exchange, streaks, streak_count, slab);
            }
        } else {
            on_operation(connection, frame, now_ns);
            ready = connection->session.state == RLT_SESSION_READY;
            if (connection->session.state == RLT_SESSION_CLOSING) {
                break;
            }
        }
    }
    if (result < 0) {
        fail_for_bytes(connection, result);
    } else if (connection->session.state == RLT_SESSION_SECURING &&
               rlt_receiver_has_fragment(&connection->receiver)) {
        fail_for_clear_bytes(connection); /* TLS would complete it */
    }
    note_joins(connection);
}

bool rlt_inbound_take_messages(struct rlt_connection *connection, size_t count)
{
    struct rlt_streak streaks[RLT_FAN_OUT_STREAKS_MAX];
    struct rlt_receiver *receiver = &connection->receiver;
    struct rlt_slab *slab;
    uint32_t streak_count;
    note_bytes(connection, count);
    while ((streak_count = rlt_receiver_take_streaks(receiver, streaks, RLT_FAN_OUT_STREAKS_MAX,
                                                     &slab)) != 0) {
        rlt_fan_out(connection->exchange, streaks, streak_count, slab);
    }
    note_joins(connection);
    return rlt_receiver_is_at_rest(receiver);
}
