/* SPDX-License-Identifier: MIT */
#include "core/refusal.h"

#include <stdio.h>
#include <string.h>

#include "core/cluster.h"
#include "core/failure.h"
#include "core/ring.h"
#include "proto/server_error.h"

/* The server refuses a subscription: it is over. False if the server was not told of it. */
static bool end_refused(struct rlt_connection *connection, struct rlt_subscription *subscription,
                        int error)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_connection *active = cluster->active[connection->position];
    bool told = connection == active ? subscription->on_server : subscription->on_second;
    if (subscription->connection != connection->position || !told) {
        return false;
    }
    rlt_sub_marks_settle(&connection->sender.subs, rlt_ping_marks_pongs(&connection->sender.pings),
                         subscription->sid);
    if (connection == active) {
        subscription->on_server = false;
        rlt_counter_add(&cluster->metrics.subscriptions, (uint64_t)-1);
    } else {
        subscription->on_second = false;
    }
    rlt_subscription_queue_remove(&active->pending, subscription);
    if (subscription->on_server) {
        rlt_subscription_queue_push(&active->pending, subscription);
    }
    rlt_cluster_end_subscription(cluster, subscription, error);
    return true;
}

/* End what the server's text names: a shared subscription, or all of one queue group. */
static void end_named(struct rlt_connection *connection, const struct rlt_server_error *what)
{
    struct rlt_subscriptions *table = &connection->cluster->subscriptions;
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

/*
 * End what a sid names: the server's text has it, or it is that of the SUB which the line answers.
 * The server may hold it all the same: one that lowers a limit says so of its own accord, before it
 * closes the connection. So it is told. Not having room for that is no harm.
 */
void rlt_refusal_end(struct rlt_connection *connection, uint64_t sid, int error)
{
    struct rlt_subscription *subscription =
        rlt_subscriptions_find(&connection->cluster->subscriptions, sid);
    if (subscription != NULL && end_refused(connection, subscription, error)) {
        (void)rlt_connection_write_unsub(connection, sid);
    }
}

static void end_subscription(struct rlt_connection *connection, const struct rlt_server_error *what)
{
    if (what->sid != 0) {
        rlt_refusal_end(connection, what->sid, what->error);
    } else if (what->topic != NULL) {
        end_named(connection, what);
    } else {
        rlt_inquiry_on_refusal(connection, what->error);
    }
}

/* Which login the server has refused. */
static const char *advise_login(const struct rlt_cluster *cluster)
{
    const struct rlt_address *own = cluster->address;
    const struct rlt_config *config = cluster->config;
    if (config->authenticator != NULL) {
        return "correct the credentials or the nkey, or let the server know them";
    }
    if (own->user != NULL || (own->token == NULL && config->user != NULL)) {
        return "correct user and password";
    }
    return own->token != NULL || config->token != NULL
               ? "correct the token"
               : "it wants a login: give user and password, a token, credentials or an nkey";
}

/* The connection is over: what the server says, and what to change. */
static void explain_farewell(struct rlt_connection *connection, const char *text,
                             const struct rlt_server_error *what)
{
    char detail[RLT_TEXT_CELL_BYTES];
    const char *advice =
        what->error == ROULETTE_EAUTH ? advise_login(connection->cluster) : what->advice;
    (void)snprintf(detail, sizeof(detail), "%s%s%s", text, advice[0] != '\0' ? "; " : "", advice);
    rlt_failure_report(connection, RLT_REPORT_FAREWELL, detail);
}

static const enum rlt_report reports[] = {
    [RLT_REACTION_REPORT] = RLT_REPORT_COMPLAINT,
    [RLT_REACTION_SUBSCRIPTION] = RLT_REPORT_REFUSAL,
    [RLT_REACTION_RECONNECT] = RLT_REPORT_FAREWELL,
};

void rlt_refusal_on_error(struct rlt_connection *connection, const struct rlt_frame *frame)
{
    struct rlt_cluster *cluster = connection->cluster;
    char text[256];
    size_t len = rlt_min_size(frame->text_len, sizeof(text) - 1);
    memcpy(text, frame->text, len);
    text[len] = '\0';
    struct rlt_server_error what =
        rlt_server_error_classify((const char *)frame->text, frame->text_len);
    rlt_counter_add(&cluster->metrics.server_errors, 1);
    /* Of subscriptions they end one. */
    bool denied = what.reaction == RLT_REACTION_REPORT && what.error == ROULETTE_EPERMISSION;
    if (denied) {
        rlt_counter_add(&cluster->metrics.denied_publishes, 1);
        rlt_text_cell_set(&cluster->denial, ROULETTE_EPERMISSION, text);
        rlt_sender_on_denied(&connection->sender,
                             rlt_denials_key(what.quoted, what.quoted_len, what.by_reply));
    }
    if (what.reaction == RLT_REACTION_RECONNECT && !connection->probing) {
        explain_farewell(connection, text, &what);
    } else {
        rlt_report(cluster, reports[what.reaction], text);
    }
    if (connection->probing && connection->session.state != RLT_SESSION_GREETING) {
        rlt_probe_on_answer(connection, cluster->now_ns); /* who refuses lives */
        return;
    }
    if (what.reaction == RLT_REACTION_RECONNECT) {
        connection->line_fault = what.fault;
        rlt_connection_fail(connection, what.error);
    }
    if (what.reaction == RLT_REACTION_SUBSCRIPTION) {
        end_subscription(connection, &what);
    }
}
