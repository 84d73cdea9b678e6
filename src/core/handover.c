/* SPDX-License-Identifier: MIT */
#include "core/handover.h"

#include "base/assert.h"
#include "core/cluster.h"

#define START_JITTER_NS (RLT_NS_PER_S / 2)
#define RECORD_NS       (RLT_NS_PER_S / 4)
#define SETTLE_NS       (RLT_NS_PER_S / 2)
#define SETTLES_MAX     8
#define LINGER_NS       (2 * RLT_NS_PER_S)
#define MEMORY_RETRY_NS RLT_NS_PER_S

static struct rlt_handover *of(struct rlt_cluster *cluster, uint32_t position)
{
    return &cluster->handovers[position];
}

static bool is_lame_duck(const struct rlt_connection *connection)
{
    return connection->session.state == RLT_SESSION_READY && connection->info.lame_duck;
}

static void begin(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = of(cluster, position);
    struct rlt_connection *active = cluster->active[position];
    uint64_t jitter_ns = rlt_random_below(&active->session.random, START_JITTER_NS);
    handover->phase = RLT_HANDOVER_CONNECTING;
    handover->second = rlt_cluster_twin(cluster, active);
    handover->started = false;
    handover->settles = 0;
    handover->deadline_ns = now_ns + jitter_ns;
    rlt_report(cluster, RLT_REPORT_LAME_DUCK, "moving to another one");
}

static void end(struct rlt_handover *handover)
{
    rlt_overlap_close(&handover->overlap);
    handover->phase = RLT_HANDOVER_NONE;
    handover->deadline_ns = RLT_NEVER;
}

/* The side of its position's overlap on which a connection is: 0 or 1. */
static int side_of(const struct rlt_connection *connection)
{
    return connection->slot == connection->position ? 0 : 1;
}

bool rlt_handover_overlaps(const struct rlt_connection *connection)
{
    return connection->cluster->handovers[connection->position].overlap.entries != NULL;
}

bool rlt_handover_is_copy(struct rlt_connection *connection, const struct rlt_frame *frame)
{
    struct rlt_cluster *cluster = connection->cluster;
    struct rlt_overlap *overlap = &cluster->handovers[connection->position].overlap;
    const struct rlt_subscription *subscription =
        rlt_subscriptions_find(&cluster->subscriptions, frame->sid);
    /* Of a queue group's messages the server sends one copy only. */
    if (subscription == NULL || subscription->exclusive) {
        return false;
    }
    enum rlt_overlap_copy copy = rlt_overlap_take(overlap, frame, side_of(connection));
    rlt_counter_add(&cluster->metrics.suppressed, copy == RLT_OVERLAP_SECOND ? 1 : 0);
    rlt_counter_add(&cluster->metrics.unmatched, copy == RLT_OVERLAP_UNSEEN ? 1 : 0);
    return copy == RLT_OVERLAP_SECOND;
}

/* ---- The phases --------------------------------------------------------------------------- */

/* Whether the timer of the phase has run out, which it does once. */
static bool is_due(const struct rlt_handover *handover, uint64_t now_ns)
{
    return handover->deadline_ns == RLT_NEVER || now_ns >= handover->deadline_ns;
}

static bool run_connecting(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = of(cluster, position);
    struct rlt_connection *second = handover->second;
    if (!handover->started && is_due(handover, now_ns)) {
        /* It may still be closing, as the old one of the last handover: then that is waited for. */
        if (second->session.state == RLT_SESSION_IDLE) {
            handover->started = true;
            rlt_connection_start(second, now_ns);
        }
        handover->deadline_ns = RLT_NEVER;
    }
    const struct rlt_overlap *overlap = &handover->overlap;
    uint64_t seen_ns = cluster->active[position]->seen_ns;
    if (handover->started &&
        (is_due(handover, seen_ns) || (overlap->ended && overlap->owed == 0))) {
        rlt_overlap_close(&handover->overlap); /* of a second connection that was lost */
        handover->deadline_ns = RLT_NEVER;
    }
    if (second->session.state != RLT_SESSION_READY || handover->deadline_ns != RLT_NEVER) {
        return false;
    }
    if (rlt_overlap_open(&handover->overlap, side_of(cluster->active[position])) < 0) {
        handover->deadline_ns = now_ns + MEMORY_RETRY_NS; /* the old connection goes on */
        return false;
    }
    handover->deadline_ns = now_ns + RECORD_NS;
    handover->phase = RLT_HANDOVER_RECORDING;
    return true;
}

static bool run_recording(struct rlt_handover *handover, uint64_t now_ns)
{
    if (!is_due(handover, now_ns)) {
        return false;
    }
    handover->deadline_ns = RLT_NEVER;
    handover->phase = RLT_HANDOVER_SUBSCRIBING;
    handover->cursor = 0;
    return true;
}

/* Wait for a PONG of a connection to a PING that is sent from now on. */
static bool begin_fence(struct rlt_handover *handover, struct rlt_connection *connection)
{
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    if (fence == NULL) {
        return false; /* tried again at the next run */
    }
    struct rlt_fence_part *part = &fence->parts[0];
    part->pending = 1;
    part->links[0].part = part;
    handover->fence = fence;
    rlt_ping_marks_add_fence(&connection->sender.pings, &part->links[0]);
    return true;
}

/* Whether the fence was passed; a failed one stays until the loss of its connection is handled. */
static bool end_fence(struct rlt_handover *handover)
{
    struct rlt_fence *fence = handover->fence;
    /* Relaxed: this thread wrote it. */
    if (atomic_load_explicit(&fence->done, memory_order_relaxed) == 0 ||
        fence->parts[0].error != 0) {
        return false;
    }
    rlt_fence_release(fence);
    handover->fence = NULL;
    return true;
}

static void drop_fence(struct rlt_handover *handover)
{
    if (handover->fence != NULL) {
        rlt_fence_release(handover->fence);
        handover->fence = NULL;
    }
}

/* Tell the second connection of what it does not know. True when it was told of everything. */
static bool write_all(struct rlt_cluster *cluster, uint32_t position)
{
    struct rlt_handover *handover = of(cluster, position);
    struct rlt_subscriptions *table = &cluster->subscriptions;
    if (rlt_inquiry_is_under_way(&handover->second->inquiry)) {
        return false;
    }
    for (; handover->cursor < table->index_count; handover->cursor++) {
        struct rlt_subscription *subscription = rlt_subscriptions_at(table, handover->cursor);
        if (subscription == NULL || subscription->connection != position ||
            subscription->on_second || !rlt_subscription_is_wanted(subscription)) {
            continue;
        }
        struct rlt_topic_key key = rlt_subscription_key(subscription);
        if (!rlt_sender_write_sub(&handover->second->sender, &key, subscription->sid)) {
            return false;
        }
        subscription->on_second = true;
        handover->wrote = true;
        /* It delivers from here on, also what the active one was not told of yet. */
        rlt_cluster_notify(cluster, subscription, RLT_NOTICE_RESTORED, 0);
    }
    return true;
}

static bool run_subscribing(struct rlt_cluster *cluster, uint32_t position)
{
    struct rlt_handover *handover = of(cluster, position);
    if (!write_all(cluster, position) || !begin_fence(handover, handover->second)) {
        return false;
    }
    handover->wrote = false;
    handover->phase = RLT_HANDOVER_FENCING;
    return true;
}

static bool run_fencing(struct rlt_handover *handover, uint64_t now_ns)
{
    if (!end_fence(handover)) {
        return false;
    }
    bool is_last = handover->settles >= SETTLES_MAX;
    handover->settles++;
    handover->phase = RLT_HANDOVER_SETTLING;
    handover->deadline_ns = now_ns + (is_last ? 0 : SETTLE_NS);
    if (!is_last) {
        rlt_overlap_mark(&handover->overlap);
    }
    return true;
}

static bool run_settling(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = of(cluster, position);
    if (!is_due(handover, now_ns)) {
        return false;
    }
    handover->deadline_ns = RLT_NEVER;
    /* What the old one is to leave it leaves before: who joins later would find it subscribed. */
    const struct rlt_connection *active = cluster->active[position];
    if (active->pending.first != NULL || rlt_inquiry_is_under_way(&active->inquiry)) {
        return false;
    }
    handover->cursor = 0;
    if (!write_all(cluster, position) || handover->wrote) {
        handover->phase = RLT_HANDOVER_SUBSCRIBING;
        return true;
    }
    rlt_overlap_forget(&handover->overlap);
    struct rlt_sender *old = &cluster->active[position]->sender;
    old->lanes_off = true;
    handover->held = rlt_ping_marks_take_unsent(&old->pings);
    handover->group_told = false;
    handover->cursor = 0;
    handover->phase = RLT_HANDOVER_DRAINING;
    return true;
}

/* The old connection leaves its queue groups. True when it was told to leave all. */
static bool leave_groups(struct rlt_cluster *cluster, uint32_t position)
{
    struct rlt_handover *handover = of(cluster, position);
    struct rlt_subscriptions *table = &cluster->subscriptions;
    for (; handover->cursor < table->index_count; handover->cursor++) {
        const struct rlt_subscription *subscription = rlt_subscriptions_at(table, handover->cursor);
        if (subscription == NULL || subscription->connection != position ||
            !subscription->exclusive || !subscription->on_server) {
            continue;
        }
        if (!rlt_connection_write_unsub(cluster->active[position], subscription->sid)) {
            return false;
        }
    }
    return true;
}

static void swap(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns);

static bool run_draining(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = of(cluster, position);
    struct rlt_connection *old = cluster->active[position];
    if (handover->fence == NULL) {
        handover->group_told = handover->group_told || leave_groups(cluster, position);
        if (!handover->group_told || !begin_fence(handover, old)) {
            return false;
        }
    }
    /* If the second one is being closed, its loss is dealt with first. */
    if (rlt_sender_is_busy(&old->sender) || handover->second->session.state != RLT_SESSION_READY ||
        !end_fence(handover)) {
        return false;
    }
    swap(cluster, position, now_ns);
    rlt_connection_retire(old);
    return true;
}

/* Copies that have come by then are dropped, also if this thread is late. */
static bool run_lingering(struct rlt_handover *handover, uint64_t seen_ns)
{
    if (is_due(handover, seen_ns) || handover->overlap.owed == 0) {
        end(handover);
        return true;
    }
    return false;
}

void rlt_handover_run(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = of(cluster, position);
    /* While its sending side is lent nothing is begun; its return wakes the event thread. */
    bool more = !cluster->active[position]->sender.lent;
    while (more) {
        switch (handover->phase) {
        case RLT_HANDOVER_NONE:
            more = is_lame_duck(cluster->active[position]);
            if (more) {
                begin(cluster, position, now_ns);
            }
            break;
        case RLT_HANDOVER_CONNECTING:
            more = run_connecting(cluster, position, now_ns);
            break;
        case RLT_HANDOVER_RECORDING:
            more = run_recording(handover, now_ns);
            break;
        case RLT_HANDOVER_SUBSCRIBING:
            more = run_subscribing(cluster, position);
            break;
        case RLT_HANDOVER_FENCING:
            more = run_fencing(handover, now_ns);
            break;
        case RLT_HANDOVER_SETTLING:
            more = run_settling(cluster, position, now_ns);
            break;
        case RLT_HANDOVER_DRAINING:
            more = run_draining(cluster, position, now_ns);
            break;
        case RLT_HANDOVER_LINGERING:
            more = run_lingering(handover, cluster->active[position]->seen_ns);
            break;
        }
    }
}

/* ---- Taking over -------------------------------------------------------------------------- */

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

static void swap(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = of(cluster, position);
    struct rlt_connection *old = cluster->active[position];
    struct rlt_connection *second = handover->second;
    drop_fence(handover);
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
    rlt_overlap_end_side(&handover->overlap, side_of(old));
    atomic_store_explicit(&second->wire->payload_max, rlt_sender_payload_max(&second->sender),
                          memory_order_relaxed);
    if (second->session.state != RLT_SESSION_READY) {
        second->session.attempts = 0; /* those that failed until now put nothing out of reach */
    }
    adopt_subscriptions(cluster, position);
    handover->phase = RLT_HANDOVER_LINGERING;
    handover->deadline_ns = now_ns + LINGER_NS;
    handover->second = old;
    handover->started = false;
}

bool rlt_handover_on_active_lost(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = of(cluster, position);
    if (handover->phase == RLT_HANDOVER_RECORDING) {
        rlt_overlap_close(&handover->overlap); /* the second one is subscribed later than that */
    }
    if (handover->phase == RLT_HANDOVER_NONE || handover->phase == RLT_HANDOVER_LINGERING) {
        /* Second copies that were on their way on it do not come any more. */
        end(handover);
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
    swap(cluster, position, now_ns);
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

void rlt_handover_on_second_lost(struct rlt_cluster *cluster, uint32_t position, uint64_t now_ns)
{
    struct rlt_handover *handover = of(cluster, position);
    struct rlt_subscriptions *table = &cluster->subscriptions;
    drop_fence(handover);
    if (handover->phase == RLT_HANDOVER_DRAINING) {
        /* The old one goes on as if nothing had been begun; it is told of its groups again. */
        struct rlt_connection *active = cluster->active[position];
        active->sender.lanes_off = false;
        while (handover->held != NULL) {
            struct rlt_fence_link *link = handover->held;
            handover->held = link->next;
            rlt_ping_marks_add_fence(&active->sender.pings, link);
        }
    }
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_subscription *subscription = rlt_subscriptions_at(table, i);
        if (subscription == NULL || subscription->connection != position) {
            continue;
        }
        bool may_miss =
            subscription->on_second && (subscription->exclusive || !subscription->on_server);
        subscription->on_second = false;
        if (may_miss) {
            lose_on_second(cluster, subscription, handover->phase == RLT_HANDOVER_DRAINING);
        } else if (!subscription->on_server && !subscription->queued) {
            rlt_cluster_forget(cluster, subscription);
        }
    }
    /* The active one may still bring what the second one has brought. */
    rlt_overlap_end_side(&handover->overlap, side_of(handover->second));
    handover->phase = RLT_HANDOVER_CONNECTING;
    handover->deadline_ns = now_ns + LINGER_NS;
}

/* ---- Waiting ------------------------------------------------------------------------------ */

uint64_t rlt_handover_deadline(const struct rlt_handover *handover)
{
    return handover->phase == RLT_HANDOVER_NONE ? RLT_NEVER : handover->deadline_ns;
}

static bool can_write(const struct rlt_connection *connection)
{
    return connection->session.state == RLT_SESSION_READY &&
           !rlt_sender_is_busy(&connection->sender);
}

bool rlt_handover_has_work(const struct rlt_cluster *cluster, uint32_t position)
{
    const struct rlt_handover *handover = &cluster->handovers[position];
    switch (handover->phase) {
    case RLT_HANDOVER_NONE:
        return !cluster->active[position]->sender.lent && is_lame_duck(cluster->active[position]);
    case RLT_HANDOVER_CONNECTING:
        return handover->started && handover->deadline_ns == RLT_NEVER &&
               handover->second->session.state == RLT_SESSION_READY;
    case RLT_HANDOVER_SUBSCRIBING:
        return can_write(handover->second) && rlt_connection_may_subscribe(handover->second);
    case RLT_HANDOVER_DRAINING:
        return handover->fence == NULL && can_write(cluster->active[position]);
    default:
        return false;
    }
}

void rlt_handover_stop(struct rlt_cluster *cluster, uint32_t position)
{
    struct rlt_handover *handover = of(cluster, position);
    drop_fence(handover);
    rlt_cluster_finish_fences(cluster, handover->held, ROULETTE_ECLOSED);
    handover->held = NULL;
    end(handover);
}
