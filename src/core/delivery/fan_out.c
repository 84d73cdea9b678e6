/* SPDX-License-Identifier: MIT */
#include "core/delivery/fan_out.h"

#include "core/delivery/exchange.h"
#include "core/delivery/quota.h"

static void drop_for(struct rlt_exchange *exchange, struct rlt_interest *interest, uint32_t count,
                     enum roulette_bound bound, rlt_counter *reason)
{
    struct rlt_member **members = rlt_interest_members(interest);
    for (uint32_t i = 0; i < interest->member_count; i++) {
        rlt_mailbox_drop(members[i]->mailbox, count, bound);
        rlt_exchange_mark_dirty(exchange, members[i]->mailbox);
        rlt_counter_add(reason, count);
    }
    if (interest->counted) {
        rlt_quota_on_arrival(exchange, interest, count, 0);
    }
}

/* Push a streak to a member. Returns: the mailbox, if it took the streak. */
static struct rlt_mailbox *push(struct rlt_exchange *exchange, struct rlt_member *member,
                                const struct rlt_streak *streak, struct rlt_slab *slab)
{
    struct rlt_mailbox *mailbox = member->mailbox;
    struct rlt_metrics *metrics = &exchange->env->metrics;
    rlt_exchange_mark_dirty(exchange, mailbox);
    switch (rlt_mailbox_push(mailbox, member, streak, slab, exchange->round)) {
    case RLT_PUSH_DONE:
        exchange->batch_delivered += 1 + streak->more;
        return mailbox;
    case RLT_PUSH_RING_FULL:
        rlt_counter_add(&metrics->dropped_ring_full, 1 + streak->more);
        return NULL;
    case RLT_PUSH_PINNED:
        rlt_counter_add(&metrics->dropped_pinned, 1 + streak->more);
        return NULL;
    }
    return NULL;
}

/* Push the messages of a streak that are not in excess of the quota. */
static void push_counted(struct rlt_exchange *exchange, struct rlt_interest *interest,
                         const struct rlt_streak *streak, struct rlt_slab *slab)
{
    struct rlt_member *member = rlt_interest_members(interest)[0];
    uint32_t count = 1 + streak->more;
    uint32_t kept = (uint32_t)rlt_min_u64(rlt_quota_left(interest), count);
    uint32_t excess = count - kept;
    struct rlt_streak part = *streak;
    if (kept != 0) {
        part.more = kept - 1;
        kept = push(exchange, member, &part, slab) != NULL ? kept : 0;
    }
    if (excess != 0) {
        rlt_counter_add_shared(&exchange->env->metrics.dropped_limit, excess);
        rlt_mailbox_drop(member->mailbox, excess, ROULETTE_BOUND_MAX_MESSAGES);
        rlt_exchange_mark_dirty(exchange, member->mailbox);
    }
    rlt_quota_on_arrival(exchange, interest, count, kept);
}

/* Fan a streak out. Returns: the mailbox that took it, if there is only one member. */
static struct rlt_mailbox *fan_out(struct rlt_exchange *exchange, struct rlt_interest *interest,
                                   const struct rlt_streak *streak, struct rlt_slab *slab)
{
    struct rlt_metrics *metrics = &exchange->env->metrics;
    if (rlt_unlikely(interest == NULL || interest->member_count == 0)) {
        rlt_counter_add(&metrics->unknown_sid, 1 + streak->more);
        return NULL;
    }
    if (rlt_unlikely(slab == NULL)) {
        drop_for(exchange, interest, 1 + streak->more, ROULETTE_BOUND_SLAB_COUNT,
                 &metrics->dropped_pinned);
        return NULL;
    }
    if (rlt_likely(!interest->has_many)) {
        return push(exchange, interest->only, streak, slab);
    }
    if (interest->counted) {
        push_counted(exchange, interest, streak, slab);
        return NULL;
    }
    for (uint32_t i = 0; i < interest->member_count; i++) {
        (void)push(exchange, interest->many->members[i], streak, slab);
    }
    return NULL;
}

static inline bool has_one_member(const struct rlt_interest *interest)
{
    return interest != NULL && interest->member_count == 1 && !interest->has_many;
}

void rlt_fan_out(struct rlt_exchange *exchange, const struct rlt_streak *streaks, uint32_t count,
                 struct rlt_slab *slab)
{
    struct rlt_mailbox_batch batch = {.mailbox = NULL};
    for (uint32_t i = 0; i < count; i++) {
        const struct rlt_streak *streak = &streaks[i];
        exchange->batch_received += 1 + streak->more;
        struct rlt_interest *interest = rlt_interests_find(&exchange->interests, streak->frame.sid);
        if (rlt_likely(has_one_member(interest) &&
                       rlt_mailbox_batch_push(&batch, interest->only, streak))) {
            continue;
        }
        exchange->batch_delivered += rlt_mailbox_batch_end(&batch);
        struct rlt_mailbox *mailbox = fan_out(exchange, interest, streak, slab);
        if (mailbox != NULL) {
            rlt_mailbox_batch_begin(&batch, mailbox, slab);
        }
    }
    exchange->batch_delivered += rlt_mailbox_batch_end(&batch);
}

void rlt_fan_out_oversized(struct rlt_exchange *exchange, const struct rlt_frame *frame)
{
    struct rlt_metrics *metrics = &exchange->env->metrics;
    rlt_counter_add(&metrics->received_messages, 1);
    struct rlt_interest *interest = rlt_interests_find(&exchange->interests, frame->sid);
    if (interest == NULL || interest->member_count == 0) {
        rlt_counter_add(&metrics->unknown_sid, 1);
        return;
    }
    drop_for(exchange, interest, 1, ROULETTE_BOUND_MESSAGE_LEN, &metrics->dropped_oversized);
}
