/* SPDX-License-Identifier: MIT */
#include "core/cluster/takeover.h"

#include "core/cluster/path.h"

#define LINGER_NS (2 * RLT_NS_PER_S)

void rlt_takeover_drop_fence(struct rlt_path *path)
{
    struct rlt_handover *handover = &path->handover;
    if (handover->fence != NULL) {
        rlt_fence_release(handover->fence);
        handover->fence = NULL;
    }
}

void rlt_takeover_end(struct rlt_path *path)
{
    struct rlt_handover *handover = &path->handover;
    rlt_merge_close(&handover->merge, path->exchange);
    handover->phase = RLT_HANDOVER_NONE;
    handover->deadline_ns = RLT_NEVER;
}

/* Take the second connection's SUBs as those of "the server" from now on. */
static void adopt_subscriptions(struct rlt_path *path)
{
    const struct rlt_interests *table = &path->exchange->interests;
    struct rlt_interest *interest;
    for (uint32_t i = 0; (interest = rlt_interests_next(table, path->index, &i)) != NULL; i++) {
        bool wanted = rlt_interest_is_wanted(interest);
        rlt_exchange_set_on_server(path->exchange, interest, interest->on_second);
        interest->on_second = false;
        if (interest->on_server) {
            /* RESTORED goes only to those that were told LOST, when the old connection was lost. */
            rlt_exchange_notify(path->exchange, interest, RLT_NOTICE_RESTORED, 0);
        }
        if (wanted != interest->on_server) {
            rlt_exchange_defer(path->exchange, interest);
        } else {
            rlt_exchange_forget(path->exchange, interest);
        }
    }
}

/* Empty a queue of interests: adopting them looks at all of them anyway. */
static void clear(struct rlt_interest_queue *queue)
{
    while (queue->first != NULL) {
        rlt_interest_queue_remove(queue, queue->first);
    }
}

void rlt_takeover_swap(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    struct rlt_connection *old = path->active;
    struct rlt_connection *second = handover->second;
    rlt_takeover_drop_fence(path);
    clear(old->pending);
    path->active = second;
    /* Flushes move with the lanes that they wait for. */
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
        second->session.attempts = 0; /* earlier failures do not count against max_retry */
    }
    adopt_subscriptions(path);
    rlt_merge_end_side(&handover->merge, path->exchange, old->side);
    handover->phase = RLT_HANDOVER_LINGERING;
    handover->deadline_ns = now_ns + LINGER_NS;
    handover->second = old;
    handover->started = false;
}

bool rlt_takeover_on_active_lost(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    if (handover->phase == RLT_HANDOVER_RECORDING && handover->settles == 0) {
        rlt_merge_close(&handover->merge,
                        path->exchange); /* the second one has subscribed later than that */
    }
    if (handover->phase == RLT_HANDOVER_NONE || handover->phase == RLT_HANDOVER_LINGERING) {
        /* Second copies in flight on the lost connection do not come any more. */
        rlt_takeover_end(path);
        return false;
    }
    if (!handover->started && handover->second->session.state == RLT_SESSION_IDLE) {
        rlt_connection_start(handover->second, now_ns);
    } else if (!handover->started) {
        return false;
    }
    /* These fences wait behind messages that are in doubt now. */
    rlt_connection_finish_fences(path->active, handover->held, ROULETTE_EDISCONNECTED);
    handover->held = NULL;
    rlt_takeover_swap(path, now_ns);
    return true;
}

/* Lose an interest of the second connection: messages for a member of a queue group, or for an
 * interest that the active one was not told of, went to the second one only, and may be lost. The
 * active one is still subscribed, unless it has left its groups. */
static void lose_on_second(struct rlt_path *path, struct rlt_interest *interest, bool has_left)
{
    bool permanent = path->env->config->restart == ROULETTE_RESTART_PERMANENT;
    int error = ROULETTE_EDISCONNECTED;
    if (has_left) {
        rlt_exchange_set_on_server(path->exchange, interest, false);
    }
    rlt_exchange_undefer(path->exchange, interest);
    if (permanent && interest->member_count != 0) {
        rlt_exchange_notify(path->exchange, interest, RLT_NOTICE_LOST, error);
        if (interest->on_server) {
            rlt_exchange_notify(path->exchange, interest, RLT_NOTICE_RESTORED, 0);
        } else {
            /* The active one may still bring messages that were sent to it before it left. */
            rlt_interests_renew(&path->exchange->interests, interest);
        }
    }
    if (rlt_interest_is_wanted(interest) != interest->on_server || !permanent) {
        rlt_exchange_defer(path->exchange, interest);
    }
    if (!permanent || interest->member_count == 0) {
        if (!interest->on_server) {
            rlt_exchange_undefer(path->exchange, interest);
        }
        rlt_exchange_end(path->exchange, interest, error);
    }
}

void rlt_takeover_on_second_lost(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    const struct rlt_interests *table = &path->exchange->interests;
    struct rlt_interest *interest;
    rlt_takeover_drop_fence(path);
    bool was_leaving = rlt_handover_is_leaving(handover);
    if (was_leaving) {
        /* The old one goes on as before the handover; it subscribes to its groups again. */
        struct rlt_connection *active = path->active;
        active->sender.role = RLT_ROLE_ACTIVE;
        while (handover->held != NULL) {
            struct rlt_fence_link *link = handover->held;
            handover->held = link->next;
            rlt_ping_marks_add_fence(&active->sender.pings, link);
        }
    }
    /* The active one may still bring copies of messages that the second one has brought. */
    rlt_merge_end_side(&handover->merge, path->exchange, handover->second->side);
    for (uint32_t i = 0; (interest = rlt_interests_next(table, path->index, &i)) != NULL; i++) {
        bool may_miss = interest->on_second && (interest->exclusive || !interest->on_server);
        interest->on_second = false;
        if (may_miss) {
            lose_on_second(path, interest, was_leaving);
        } else if (!interest->on_server && !interest->queued) {
            rlt_exchange_forget(path->exchange, interest);
        }
    }
    handover->phase = RLT_HANDOVER_CONNECTING;
    handover->deadline_ns = now_ns + LINGER_NS;
}
