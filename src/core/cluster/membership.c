/* SPDX-License-Identifier: MIT */
#include "core/cluster/membership.h"

#include "core/cluster/cluster.h"
#include "roulette.h"

static void subscribe(struct rlt_cluster *cluster, struct rlt_member *member)
{
    struct rlt_exchange *exchange = &cluster->exchange;
    int result = cluster->env.stopping ? ROULETTE_ECLOSED : rlt_exchange_join(exchange, member);
    if (result < 0) {
        rlt_exchange_notify_member(exchange, member, RLT_NOTICE_ENDED, result);
        return;
    }
    struct rlt_interest *interest = rlt_interests_of(&exchange->interests, member);
    const struct rlt_connection *active = cluster->paths[interest->path].active;
    if (!interest->on_server && !rlt_sub_suspects_keep(&active->sub_suspects, interest->sid)) {
        rlt_exchange_defer(exchange, interest);
    }
}

static void drain(struct rlt_exchange *exchange, struct rlt_member *member)
{
    struct rlt_interest *interest = rlt_interests_of(&exchange->interests, member);
    if (interest == NULL || member->draining) {
        return;
    }
    member->draining = true;
    interest->draining_count++;
    if (!rlt_interest_is_wanted(interest)) {
        rlt_exchange_defer(exchange, interest);
    }
}

/* Take a member out of the table; after the last one, tell the server, or free the interest. */
static void leave(struct rlt_exchange *exchange, struct rlt_member *member)
{
    struct rlt_interest *interest = rlt_interests_of(&exchange->interests, member);
    if (interest == NULL) {
        return;
    }
    rlt_exchange_leave(exchange, interest, member);
    if (!rlt_interest_is_wanted(interest) && interest->on_server) {
        rlt_exchange_defer(exchange, interest);
    } else if (interest->member_count == 0) {
        rlt_exchange_undefer(exchange, interest);
        rlt_exchange_forget(exchange, interest);
    }
}

static void unsubscribe(struct rlt_exchange *exchange, struct rlt_member *member)
{
    leave(exchange, member);
    rlt_exchange_notify_member(exchange, member, RLT_NOTICE_REMOVED, 0);
}

static void finish(struct rlt_exchange *exchange, struct rlt_member *member)
{
    if (!member->finished) {
        leave(exchange, member);
        rlt_exchange_notify_member(exchange, member, RLT_NOTICE_ENDED, 0);
    }
}

void rlt_membership_change(struct rlt_cluster *cluster, struct rlt_member *member)
{
    struct rlt_exchange *exchange = &cluster->exchange;
    /* Partner of rlt_member_ask(). Acquire: writes before the request. Release: this thread is done
     * with the command's link, which the next request writes. */
    uint32_t asked = atomic_exchange_explicit(&member->command.asked, 0, memory_order_acq_rel);
    if (asked & RLT_ASK_SUBSCRIBE) {
        subscribe(cluster, member);
    }
    /* Notices are published after all this, so the owner thread has not freed the member. */
    if (asked & RLT_ASK_DRAIN) {
        drain(exchange, member);
    }
    if (asked & RLT_ASK_FINISH) {
        finish(exchange, member);
    }
    if (asked & RLT_ASK_UNSUBSCRIBE) {
        unsubscribe(exchange, member);
    }
}
