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
 * Owner: the event thread; who has borrowed what the cluster receives (core/direct_receive.h) reads
 * it.
 */
#ifndef RLT_CORE_SUBSCRIPTIONS_H
#define RLT_CORE_SUBSCRIPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/handle.h"
#include "core/quota.h"
#include "core/topic_set.h"

#define RLT_SID_INDEX_BITS RLT_TOPIC_INDEX_BITS
/** Subscriptions of one cluster at most, and one. */
#define RLT_SUBSCRIPTIONS_MAX (UINT32_C(1) << RLT_SID_INDEX_BITS)

/** The members of a subscription, from the second on. */
struct rlt_member_list {
    uint32_t capacity;
    struct rlt_member *members[];
};

/** First in, first out; for one connection. */
struct rlt_subscription_queue {
    struct rlt_subscriptions *table; /* of what is queued; immutable */
    struct rlt_subscription *first;
    struct rlt_subscription *last;
};

struct rlt_subscriptions {
    /* By index: the subscription's address, which is even; of a free index an odd number, with
     * what the next subscription of that index needs (free_entry() in subscriptions.c). */
    uint64_t *by_index;
    uint32_t index_count;    /* indexes ever used, and index 0, which never is */
    uint32_t index_capacity; /* of the array */
    /* Free indexes, first in first out: reuse comes late. 0: none. */
    uint32_t free_first;
    uint32_t free_last;
    struct rlt_topic_set by_topic;
};

int rlt_subscriptions_init(struct rlt_subscriptions *table);

/** Free all. Members do not join or leave any more. */
void rlt_subscriptions_fini(struct rlt_subscriptions *table);

/**
 * Make `member` a member of its topic's subscription, which is made if it is the first.
 *
 * Returns: 0; ROULETTE_ENOMEM; ROULETTE_EBUSY (RLT_SUBSCRIPTIONS_MAX reached).
 */
int rlt_subscriptions_join(struct rlt_subscriptions *table, struct rlt_member *member);

/** The subscription that a member has joined, and not left; NULL if there is none. */
struct rlt_subscription *rlt_subscriptions_of(struct rlt_subscriptions *table,
                                              struct rlt_member *member);

/** Take a member out of the subscription it has joined, which may be left without any. */
void rlt_subscriptions_leave(struct rlt_subscription *subscription, struct rlt_member *member);

/** End a subscription without members that is in no queue. Its sid will not be seen again, and
 *  its memory may be freed. */
void rlt_subscriptions_remove(struct rlt_subscriptions *table,
                              struct rlt_subscription *subscription);

/** Give a subscription that no server knows another sid: what is still on its way for the old one,
 *  from a server that knew it, is not for its members any more. */
void rlt_subscriptions_renew(struct rlt_subscriptions *table,
                             struct rlt_subscription *subscription);

/** The subscription of an index below index_count; NULL if it is free. */
static inline struct rlt_subscription *rlt_subscriptions_at(const struct rlt_subscriptions *table,
                                                            uint32_t index)
{
    uint64_t entry = table->by_index[index];
    return (entry & 1) == 0 ? (struct rlt_subscription *)(uintptr_t)entry : NULL;
}

/**
 * The next subscription of a path, from index `*index` on, which becomes its index; NULL if there
 * is none. It may be removed before the next call.
 *
 *     for (uint32_t i = 0; (it = rlt_subscriptions_next(table, path, &i)) != NULL; i++)
 */
static inline struct rlt_subscription *rlt_subscriptions_next(const struct rlt_subscriptions *table,
                                                              uint32_t path, uint32_t *index)
{
    for (; *index < table->index_count; (*index)++) {
        struct rlt_subscription *subscription = rlt_subscriptions_at(table, *index);
        if (subscription != NULL && subscription->connection == path) {
            return subscription;
        }
    }
    return NULL;
}

/** The subscription of a sid from the wire; NULL if there is none (any more). */
static inline struct rlt_subscription *rlt_subscriptions_find(const struct rlt_subscriptions *table,
                                                              uint64_t sid)
{
    uint64_t index = sid & (RLT_SUBSCRIPTIONS_MAX - 1);
    if (index >= table->index_count) {
        return NULL;
    }
    struct rlt_subscription *subscription = rlt_subscriptions_at(table, (uint32_t)index);
    return subscription != NULL && subscription->sid == sid ? subscription : NULL;
}

/** The shared subscription of a topic; NULL if there is none. */
struct rlt_subscription *rlt_subscriptions_find_topic(struct rlt_subscriptions *table,
                                                      const char *topic, size_t len, uint64_t hash);

/** Whether the server should send messages for it. */
static inline bool rlt_subscription_is_wanted(const struct rlt_subscription *subscription)
{
    return subscription->member_count != subscription->draining_count &&
           (!subscription->counted ||
            rlt_quota_left((struct rlt_subscription *)(uintptr_t)subscription) != 0);
}

static inline struct rlt_member **rlt_subscription_members(struct rlt_subscription *subscription)
{
    return subscription->has_many ? subscription->many->members : &subscription->only;
}

/** Append, unless it is queued already. */
void rlt_subscription_queue_push(struct rlt_subscription_queue *queue,
                                 struct rlt_subscription *subscription);

/** Take one out, if it is in the queue. */
void rlt_subscription_queue_remove(struct rlt_subscription_queue *queue,
                                   struct rlt_subscription *subscription);

#endif
