/* SPDX-License-Identifier: MIT */
#include "core/delivery/exchange.h"

#include "core/delivery/refused_login.h"

/* ---- Life --------------------------------------------------------------------------------- */

int rlt_exchange_init(struct rlt_exchange *exchange, struct rlt_env *env, uint32_t slot_count)
{
    const struct rlt_config *config = env->config;
    exchange->env = env;
    for (uint32_t i = 0; i < RLT_POOL_MAX; i++) {
        exchange->pending[i].table = &exchange->interests;
    }
    int result = rlt_interests_init(&exchange->interests);
    if (result < 0) {
        return result;
    }
    return rlt_slab_pool_init(&exchange->slabs, config->slab_bytes, config->slab_count, slot_count);
}

void rlt_exchange_fini(struct rlt_exchange *exchange)
{
    rlt_interests_fini(&exchange->interests);
    rlt_slab_pool_fini(&exchange->slabs);
}

/* ---- Mailboxes ---------------------------------------------------------------------------- */

void rlt_exchange_publish_dirty(struct rlt_exchange *exchange)
{
    struct rlt_transport *transport = exchange->env->transport;
    while (!CK_SLIST_EMPTY(&exchange->dirty)) {
        struct rlt_mailbox *mailbox = CK_SLIST_FIRST(&exchange->dirty);
        CK_SLIST_REMOVE_HEAD(&exchange->dirty, dirty_link);
        mailbox->dirty = false;
        exchange->last_mailbox = mailbox->member_count != 0 ? mailbox : exchange->last_mailbox;
        if (rlt_mailbox_publish(mailbox)) {
            transport->ops->signal(transport, mailbox->descriptor);
        }
    }
}

void rlt_exchange_show(struct rlt_exchange *exchange)
{
    struct rlt_metrics *metrics = &exchange->env->metrics;
    /* Before the messages are visible: no subscriber receives a message that is not counted. */
    rlt_counter_add(&metrics->received_messages, exchange->batch_received);
    rlt_counter_add(&metrics->delivered_messages, exchange->batch_delivered);
    exchange->batch_received = 0;
    exchange->batch_delivered = 0;
    rlt_exchange_publish_dirty(exchange);
}

void rlt_exchange_tell_watched(struct rlt_exchange *exchange)
{
    struct rlt_mailbox *mailbox = exchange->watched_count != 0 ? exchange->last_mailbox : NULL;
    /* Release: publishes what the transport made in order to watch. */
    atomic_store_explicit(&exchange->watched_for, mailbox, memory_order_release);
}

/* ---- Members ------------------------------------------------------------------------------ */

int rlt_exchange_join(struct rlt_exchange *exchange, struct rlt_member *member)
{
    int result = rlt_interests_join(&exchange->interests, member);
    if (result < 0) {
        return result;
    }
    exchange->mailbox_count += member->mailbox->member_count++ == 0 ? 1 : 0;
    exchange->counted += member->own.counted ? 1 : 0;
    rlt_refused_login_enlist(exchange, member->mailbox);
    return 0;
}

void rlt_exchange_leave(struct rlt_exchange *exchange, struct rlt_interest *interest,
                        struct rlt_member *member)
{
    struct rlt_mailbox *mailbox = member->mailbox;
    rlt_interests_leave(interest, member);
    exchange->counted -= member->own.counted ? 1 : 0;
    if (--mailbox->member_count == 0) {
        exchange->mailbox_count--;
        exchange->last_mailbox = NULL;
        rlt_exchange_tell_watched(exchange);
    }
}

void rlt_exchange_notify_member(struct rlt_exchange *exchange, struct rlt_member *member,
                                enum rlt_notice notice, int error)
{
    rlt_exchange_mark_dirty(exchange, member->mailbox);
    rlt_mailbox_notify(member->mailbox, member, notice, error);
}

/* ---- Interests ---------------------------------------------------------------------------- */

void rlt_exchange_notify(struct rlt_exchange *exchange, struct rlt_interest *interest,
                         enum rlt_notice notice, int error)
{
    struct rlt_member **members = rlt_interest_members(interest);
    for (uint32_t i = 0; i < interest->member_count; i++) {
        struct rlt_member *member = members[i];
        if (notice == RLT_NOTICE_RESTORED && !member->lost) {
            continue; /* the member joined while the interest was lost, and knows of no gap */
        }
        member->lost = notice == RLT_NOTICE_LOST;
        rlt_exchange_notify_member(exchange, member, notice, error);
    }
}

void rlt_exchange_set_on_server(struct rlt_exchange *exchange, struct rlt_interest *interest,
                                bool on_server)
{
    int64_t change = (on_server ? 1 : 0) - (interest->on_server ? 1 : 0);
    interest->on_server = on_server;
    rlt_counter_add(&exchange->env->metrics.subscriptions, (uint64_t)change);
}

void rlt_exchange_defer(struct rlt_exchange *exchange, struct rlt_interest *interest)
{
    rlt_interest_queue_push(&exchange->pending[interest->path], interest);
}

void rlt_exchange_undefer(struct rlt_exchange *exchange, struct rlt_interest *interest)
{
    rlt_interest_queue_remove(&exchange->pending[interest->path], interest);
}

void rlt_exchange_forget(struct rlt_exchange *exchange, struct rlt_interest *interest)
{
    if (interest->member_count == 0 && !interest->on_server && !interest->on_second) {
        rlt_interests_remove(&exchange->interests, interest);
    }
}

void rlt_exchange_end(struct rlt_exchange *exchange, struct rlt_interest *interest, int error)
{
    while (interest->member_count != 0) {
        struct rlt_member *member = rlt_interest_members(interest)[interest->member_count - 1];
        rlt_exchange_leave(exchange, interest, member);
        rlt_exchange_notify_member(exchange, member, RLT_NOTICE_ENDED, error);
    }
    rlt_exchange_forget(exchange, interest);
}
