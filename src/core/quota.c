/* SPDX-License-Identifier: MIT */
#include "core/quota.h"

#include "base/assert.h"
#include "core/cluster.h"
#include "proto/encode.h"

/* A PING, which may stand before a SUB, the SUB, and the UNSUB behind it. */
#define LINES_MAX (6 + RLT_SUB_LEN_MAX + RLT_UNSUB_LEN_MAX)

static struct rlt_portion *portion_of(const struct rlt_connection *connection,
                                      struct rlt_subscription *subscription)
{
    struct rlt_member *member = rlt_container_of(subscription, struct rlt_member, own);
    int side = connection->slot == connection->position ? 0 : 1;
    return &rlt_quota_of(subscription)->portions[member->number][side];
}

/* 0 would be no limit. If none is left, another cluster has just brought the last one. */
static uint64_t wanted(struct rlt_subscription *subscription)
{
    return rlt_max_u64(rlt_quota_left(subscription), 1);
}

uint64_t rlt_quota_restate(struct rlt_connection *connection, struct rlt_subscription *subscription,
                           bool anew)
{
    struct rlt_portion *portion = portion_of(connection, subscription);
    if (anew) {
        *portion = (struct rlt_portion){.told = wanted(subscription)};
    }
    return portion->told;
}

bool rlt_quota_write_sub(struct rlt_connection *connection, struct rlt_subscription *subscription)
{
    struct rlt_sender *sender = &connection->sender;
    struct rlt_topic_key key = rlt_subscription_key(subscription);
    if (!subscription->counted) {
        return rlt_sender_write_sub(sender, &key, subscription->sid);
    }
    /* If the server still has the sid after all, it would ignore the SUB and count on. */
    if (subscription->again && !rlt_connection_write_unsub(connection, subscription->sid)) {
        return false;
    }
    uint64_t max = wanted(subscription);
    if (rlt_sender_control_claim(sender, LINES_MAX) == NULL ||
        !rlt_sender_write_sub(sender, &key, subscription->sid)) {
        return false;
    }
    /* It ends the subscription at some time: as any UNSUB it is the end of a window of SUBs. */
    uint8_t *out = rlt_sender_control_claim(sender, RLT_UNSUB_LEN_MAX);
    RLT_ASSERT(out != NULL);
    rlt_sender_control_commit(sender, rlt_encode_unsub(out, subscription->sid, max));
    rlt_sub_marks_close(&sender->subs);
    *portion_of(connection, subscription) = (struct rlt_portion){.told = max};
    return true;
}

static void take(struct rlt_subscription *subscription, uint64_t count)
{
    _Atomic(uint64_t) *left = &rlt_quota_of(subscription)->left;
    uint64_t before = atomic_load_explicit(left, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(left, &before,
                                                  before - rlt_min_u64(before, count),
                                                  memory_order_relaxed, memory_order_relaxed)) {
        /* `before` was read again. */
    }
}

/* The server has sent all that it was told, and some did not reach the user. */
static void on_forgotten(struct rlt_cluster *cluster, struct rlt_subscription *subscription)
{
    struct rlt_connection *active = cluster->active[subscription->connection];
    subscription->again = true;
    if (cluster->source != active) {
        subscription->on_second = false;
    } else if (subscription->on_server) {
        subscription->on_server = false;
        rlt_counter_add(&cluster->metrics.subscriptions, (uint64_t)-1);
        rlt_subscription_queue_push(&active->pending, subscription);
    }
}

void rlt_quota_on_arrival(struct rlt_cluster *cluster, struct rlt_subscription *subscription,
                          uint32_t arrived, uint32_t kept)
{
    struct rlt_connection *active = cluster->active[subscription->connection];
    struct rlt_portion *portion = portion_of(cluster->source, subscription);
    portion->arrived += arrived;
    take(subscription, kept);
    if (rlt_quota_left(subscription) == 0) {
        /* The server has forgotten it if it brought the last one, but not in every case. */
        if (subscription->on_server) {
            rlt_subscription_queue_push(&active->pending, subscription);
        }
    } else if (portion->arrived >= portion->told) {
        on_forgotten(cluster, subscription);
    }
}
