/* SPDX-License-Identifier: MIT */
#include "core/takeover.h"

#include "core/cluster.h"

#define LINGER_NS (2 * RLT_NS_PER_S)

/* What the second connection's server was told is what "the server" knows from now on. */
static void adopt_subscriptions(struct rlt_cluster *cluster, uint32_t position)
{
    struct rlt_subscriptions *table = &cluster->subscriptions;
    struct rlt_connection *active = cluster->active[position];
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_subscription *subscription = rlt_subscriptions_at(table, i);
        if (subscription == NULL || subscription->connection != position) {
            continue;
        }
        bool wanted = rlt_subscription_is_wanted(subscription);
        int change = (subscription->on_second ? 1 : 0) - (subscription->on_server ? 1 : 0);
        rlt_counter_add(&cluster->metrics.subscriptions, (uint64_t)(int64_t)change);
        subscription->on_server = subscription->on_second;
        subscription->on_second = false;
        if (subscription->on_server) {
            /* Only those that were told LOST are told, when the old connection was lost. */
            rlt_cluster_notify(cluster, subscription, RLT_NOTICE_RESTORED, 0);
        }
        if (wanted != subscription->on_server) {
            rlt_subscription_queue_push(&active->pending, subscription);
        } else {
            rlt_cluster_forget(cluster, subscription);
        }
    }
}

/* Empty a queue of subscriptions: adopting them looks at all of them anyway. */
static void clear(struct rlt_subscription_queue *queue)
{
    while (queue->first != NULL) {
        rlt_subscription_queue_remove(queue, queue->first);
    }
}

void rlt_takeover_swap(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = &cluster->handovers[position];
    struct rlt_connection *old = cluster->active[position];
    struct rlt_connection *second = handover->second;
    rlt_handover_drop_fence(handover);
    clear(&old->pending);
    cluster->active[position] = second;
    second->sender.lanes_off = false;
    old->sender.lanes_off = true;
    /* Flushes go with the lanes that they wait for. */
    struct rlt_fence_link *lists[] = {handover->held,
                                      rlt_ping_marks_take_unsent(&old->sender.pings)};
    handover->held = NULL;
    for (int i = 0; i < 2; i++) {
        while (lists[i] != NULL) {
            struct rlt_fence_link *link = lists[i];
            lists[i] = link->next;
            rlt_ping_marks_add_fence(&second->sender.pings, link);
        }
    }
    rlt_sender_adopt_lanes(&second->sender, &old->sender);
    atomic_store_explicit(&second->wire->payload_max, rlt_sender_payload_max(&second->sender),
                          memory_order_relaxed);
    if (second->session.state != RLT_SESSION_READY) {
        second->session.attempts = 0; /* those that failed until now put nothing out of reach */
    }
    adopt_subscriptions(cluster, position);
    rlt_merge_end_side(&handover->merge, cluster, rlt_handover_side_of(old));
    handover->phase = RLT_HANDOVER_LINGERING;
    handover->deadline_ns = now_ns + LINGER_NS;
    handover->second = old;
    handover->started = false;
}

bool rlt_takeover_on_active_lost(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = &cluster->handovers[position];
    if (handover->phase == RLT_HANDOVER_RECORDING && handover->settles == 0) {
        rlt_merge_close(&handover->merge,
                        cluster); /* the second one is subscribed later than that */
    }
    if (handover->phase == RLT_HANDOVER_NONE || handover->phase == RLT_HANDOVER_LINGERING) {
        /* Second copies that were on their way on it do not come any more. */
        rlt_handover_end(cluster, handover);
        return false;
    }
    if (!handover->started && handover->second->session.state == RLT_SESSION_IDLE) {
        rlt_connection_start(handover->second, now_ns);
    } else if (!handover->started) {
        return false;
    }
    /* They wait behind messages that are in doubt now. */
    rlt_cluster_finish_fences(cluster, handover->held, ROULETTE_EDISCONNECTED);
    handover->held = NULL;
    rlt_takeover_swap(cluster, position, now_ns);
    return true;
}

/* Messages for a member of a queue group, or for what the active connection was not told of, went
 * to the second one only, and may be lost with it. The active one is still subscribed, unless it
 * has left its groups. */
static void lose_on_second(struct rlt_cluster *cluster, struct rlt_subscription *subscription,
                           bool has_left)
{
    struct rlt_connection *active = cluster->active[subscription->connection];
    bool permanent = cluster->config->restart == ROULETTE_RESTART_PERMANENT;
    int error = ROULETTE_EDISCONNECTED;
    if (has_left && subscription->on_server) {
        subscription->on_server = false;
        rlt_counter_add(&cluster->metrics.subscriptions, (uint64_t)-1);
    }
    rlt_subscription_queue_remove(&active->pending, subscription);
    if (permanent && subscription->member_count != 0) {
        rlt_cluster_notify(cluster, subscription, RLT_NOTICE_LOST, error);
        if (subscription->on_server) {
            rlt_cluster_notify(cluster, subscription, RLT_NOTICE_RESTORED, 0);
        } else {
            /* The active one may still bring what it was sent before it left. */
            rlt_subscriptions_renew(&cluster->subscriptions, subscription);
        }
    }
    if (rlt_subscription_is_wanted(subscription) != subscription->on_server || !permanent) {
        rlt_subscription_queue_push(&active->pending, subscription);
    }
    if (!permanent || subscription->member_count == 0) {
        if (!subscription->on_server) {
            rlt_subscription_queue_remove(&active->pending, subscription);
        }
        rlt_cluster_end_subscription(cluster, subscription, error);
    }
}

void rlt_takeover_on_second_lost(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = &cluster->handovers[position];
    struct rlt_subscriptions *table = &cluster->subscriptions;
    rlt_handover_drop_fence(handover);
    bool was_leaving = rlt_handover_is_leaving(handover);
    if (was_leaving) {
        /* The old one goes on as if nothing had been begun; it is told of its groups again. */
        struct rlt_connection *active = cluster->active[position];
        active->sender.lanes_off = false;
        while (handover->held != NULL) {
            struct rlt_fence_link *link = handover->held;
            handover->held = link->next;
            rlt_ping_marks_add_fence(&active->sender.pings, link);
        }
    }
    /* The active one may still bring what the second one has brought. */
    rlt_merge_end_side(&handover->merge, cluster, rlt_handover_side_of(handover->second));
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_subscription *subscription = rlt_subscriptions_at(table, i);
        if (subscription == NULL || subscription->connection != position) {
            continue;
        }
        bool may_miss =
            subscription->on_second && (subscription->exclusive || !subscription->on_server);
        subscription->on_second = false;
        if (may_miss) {
            lose_on_second(cluster, subscription, was_leaving);
        } else if (!subscription->on_server && !subscription->queued) {
            rlt_cluster_forget(cluster, subscription);
        }
    }
    handover->phase = RLT_HANDOVER_CONNECTING;
    handover->deadline_ns = now_ns + LINGER_NS;
}
