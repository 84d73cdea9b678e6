/* SPDX-License-Identifier: MIT */
/**
 * The subscription table of one cluster: one subscription (one SUB on the wire) for each topic,
 * with any number of members (subscribers that want it); and one for each member of a queue
 * group, since the server is to choose among them.
 *
 * A sid is the subscription's index in a table, plus a generation in the high bits that grows
 * each time the index is used again: a frame for a subscription that is over never reaches its
 * successor. First-generation sids are short on the wire.
 *
 * A subscription knows what the server has been told (`on_server`) and what it should be told
 * (whether there are members that are not draining); those where the two differ wait in the queue
 * of their connection.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_SUBSCRIPTIONS_H
#define RLT_CORE_SUBSCRIPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/mailbox.h"
#include "lockfree/topic_set.h"

#define RLT_SID_INDEX_BITS 24
/** Subscriptions of one cluster at most. */
#define RLT_SUBSCRIPTIONS_MAX (UINT32_C(1) << RLT_SID_INDEX_BITS)

struct rlt_subscription {
    struct rlt_topic_key key; /* owns the topic; with a queue group "topic group" */
    uint64_t sid;
    struct rlt_subscription *queue_next;
    struct rlt_subscription *queue_prev;
    /* One member is kept in `only`, more in `many`. */
    union {
        struct rlt_member *only;
        struct rlt_member **many;
    };
    uint32_t member_count;
    uint32_t draining_count;  /* of these */
    uint32_t member_capacity; /* 0: `only` is used */
    uint16_t connection;
    bool on_server; /* the SUB was written on the active connection */
    bool on_second; /* and on the one that takes over (core/handover.h) */
    bool queued;
    bool exclusive; /* of one member of a queue group; not found by topic */
};

/** First in, first out; for one connection. */
struct rlt_subscription_queue {
    struct rlt_subscription *first;
    struct rlt_subscription *last;
};

struct rlt_subscriptions {
    /* By index: the subscription, or NULL. */
    struct rlt_subscription **by_index;
    /* By index: the next generation, kept while the index is free. */
    uint32_t *generations;
    uint32_t index_count;    /* indexes ever used; 0: no arrays yet */
    uint32_t index_capacity; /* of the arrays */
    /* Free indexes, first in first out, linked through the array: reuse comes late. */
    uint32_t *free_next;
    uint32_t free_first;
    uint32_t free_last;
    struct rlt_topic_set by_topic;
};

int rlt_subscriptions_init(struct rlt_subscriptions *table);

/** Free all. Members are not touched. */
void rlt_subscriptions_fini(struct rlt_subscriptions *table);

/**
 * Make `member` a member of its topic's subscription, which is made if it is the first.
 *
 * Returns: 0; ROULETTE_ENOMEM; ROULETTE_EBUSY (RLT_SUBSCRIPTIONS_MAX reached).
 */
int rlt_subscriptions_join(struct rlt_subscriptions *table, struct rlt_member *member);

/** Take a member out; the subscription may be left without any. */
void rlt_subscriptions_leave(struct rlt_member *member);

/** Free a subscription without members that is in no queue. Its sid will not be seen again. */
void rlt_subscriptions_remove(struct rlt_subscriptions *table,
                              struct rlt_subscription *subscription);

/** Give a subscription that no server knows another sid: what is still on its way for the old one,
 *  from a server that knew it, is not for its members any more. */
void rlt_subscriptions_renew(struct rlt_subscriptions *table,
                             struct rlt_subscription *subscription);

/** The subscription of a sid from the wire; NULL if there is none (any more). */
static inline struct rlt_subscription *rlt_subscriptions_find(const struct rlt_subscriptions *table,
                                                              uint64_t sid)
{
    uint64_t index = sid & (RLT_SUBSCRIPTIONS_MAX - 1);
    if (index >= table->index_count) {
        return NULL;
    }
    struct rlt_subscription *subscription = table->by_index[index];
    return subscription != NULL && subscription->sid == sid ? subscription : NULL;
}

/** The shared subscription of a topic; NULL if there is none. */
struct rlt_subscription *rlt_subscriptions_find_topic(struct rlt_subscriptions *table,
                                                      const char *topic, size_t len, uint64_t hash);

/** Whether the server should send messages for it. */
static inline bool rlt_subscription_is_wanted(const struct rlt_subscription *subscription)
{
    return subscription->member_count != subscription->draining_count;
}

static inline struct rlt_member **rlt_subscription_members(struct rlt_subscription *subscription)
{
    return subscription->member_capacity != 0 ? subscription->many : &subscription->only;
}

/** Append, unless it is queued already. */
void rlt_subscription_queue_push(struct rlt_subscription_queue *queue,
                                 struct rlt_subscription *subscription);

/** Take one out, if it is in the queue. */
void rlt_subscription_queue_remove(struct rlt_subscription_queue *queue,
                                   struct rlt_subscription *subscription);

#endif
