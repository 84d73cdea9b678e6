/* SPDX-License-Identifier: MIT */
#include "core/subscriptions.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

#define INITIAL_CAPACITY 64
#define FIRST_MANY       4

/* ---- Indexes ------------------------------------------------------------------------------ */

/* What by_index has of a free index: the next generation, and the next free index. */
static uint64_t free_entry(uint64_t generation, uint32_t next)
{
    return (generation & UINT32_MAX) << 32 | (uint64_t)next << 1 | 1;
}

static uint32_t next_free(uint64_t entry)
{
    return (uint32_t)entry >> 1;
}

static uint32_t index_of(const struct rlt_subscription *subscription)
{
    return (uint32_t)(subscription->sid & (RLT_SUBSCRIPTIONS_MAX - 1));
}

static int grow(struct rlt_subscriptions *table)
{
    if (table->index_capacity == RLT_SUBSCRIPTIONS_MAX) {
        return ROULETTE_EBUSY;
    }
    /* By a half, so that a large table has few entries that it does not use. */
    uint32_t capacity = table->index_capacity + table->index_capacity / 2;
    capacity = capacity != 0 ? capacity : INITIAL_CAPACITY;
    capacity = capacity < RLT_SUBSCRIPTIONS_MAX ? capacity : RLT_SUBSCRIPTIONS_MAX;
    uint64_t *by_index =
        rlt_memory_resize(table->by_index, (size_t)capacity * sizeof(*table->by_index));
    if (by_index == NULL) {
        return ROULETTE_ENOMEM;
    }
    table->by_index = by_index;
    table->index_capacity = capacity;
    if (table->index_count == 0) {
        /* Index 0 is not used: sid 0 is none of ours. */
        table->index_count = 1;
        by_index[0] = free_entry(0, 0);
    }
    return 0;
}

/* A free index: an unused one while the array has room, so that short sids are reused late. */
static int take_index(struct rlt_subscriptions *table, uint64_t *sid)
{
    if (table->index_count == table->index_capacity && table->free_first == 0) {
        int result = grow(table);
        if (result < 0) {
            return result;
        }
    }
    if (table->index_count < table->index_capacity) {
        *sid = table->index_count++;
        return 0;
    }
    uint32_t index = table->free_first;
    uint64_t entry = table->by_index[index];
    table->free_first = next_free(entry);
    table->free_last = table->free_first != 0 ? table->free_last : 0;
    *sid = entry >> 32 << RLT_SID_INDEX_BITS | index;
    return 0;
}

static void give_index(struct rlt_subscriptions *table, uint64_t sid)
{
    uint32_t index = (uint32_t)(sid & (RLT_SUBSCRIPTIONS_MAX - 1));
    table->by_index[index] = free_entry((sid >> RLT_SID_INDEX_BITS) + 1, 0);
    if (table->free_last == 0) {
        table->free_first = index;
    } else {
        uint64_t *last = &table->by_index[table->free_last];
        *last = free_entry(*last >> 32, index);
    }
    table->free_last = index;
}

/* ---- Life --------------------------------------------------------------------------------- */

static struct rlt_topic_key key_of(const void *table, uint32_t index)
{
    return rlt_subscription_key(rlt_subscriptions_at(table, index));
}

int rlt_subscriptions_init(struct rlt_subscriptions *table)
{
    memset(table, 0, sizeof(*table));
    return rlt_topic_set_init(&table->by_topic, key_of, table);
}

static struct rlt_handle *handle_of(struct rlt_subscription *subscription)
{
    return rlt_handle_of(rlt_container_of(subscription, struct rlt_member, own));
}

/* It is in the table no more; its block is the subscriber's alone, or is freed. */
static void end(struct rlt_subscription *subscription)
{
    if (subscription->has_many) {
        rlt_memory_free(subscription->many);
        subscription->has_many = false;
    }
    subscription->sid = 0;
    subscription->member_count = 0;
    rlt_handle_release(handle_of(subscription));
}

void rlt_subscriptions_fini(struct rlt_subscriptions *table)
{
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_subscription *subscription = rlt_subscriptions_at(table, i);
        if (subscription != NULL) {
            end(subscription);
        }
    }
    rlt_memory_free(table->by_index);
    rlt_topic_set_fini(&table->by_topic);
    memset(table, 0, sizeof(*table));
}

/* Put a member's own subscription into the table. */
static int enter(struct rlt_subscriptions *table, struct rlt_subscription *subscription)
{
    RLT_ASSERT(subscription->sid == 0);
    uint64_t sid;
    int result = take_index(table, &sid);
    if (result < 0) {
        return result;
    }
    subscription->sid = sid;
    uint32_t index = index_of(subscription);
    table->by_index[index] = (uint64_t)(uintptr_t)subscription;
    result = subscription->exclusive ? 0 : rlt_topic_set_add(&table->by_topic, index);
    if (result < 0) {
        give_index(table, sid);
        subscription->sid = 0;
        return result;
    }
    rlt_handle_acquire(handle_of(subscription));
    return 0;
}

void rlt_subscriptions_remove(struct rlt_subscriptions *table,
                              struct rlt_subscription *subscription)
{
    RLT_ASSERT(subscription->member_count == 0 && !subscription->queued);
    if (!subscription->exclusive) {
        rlt_topic_set_remove(&table->by_topic, index_of(subscription));
    }
    give_index(table, subscription->sid);
    end(subscription);
}

/* ---- Members ------------------------------------------------------------------------------ */

/* Make room for one more member. */
static int reserve_member(struct rlt_subscription *subscription)
{
    struct rlt_member_list *many = subscription->has_many ? subscription->many : NULL;
    uint32_t capacity = many != NULL ? many->capacity : subscription->counted ? 0 : 1;
    if (subscription->member_count < capacity) {
        return 0;
    }
    uint32_t larger = many != NULL ? capacity * 2 : subscription->counted ? 1 : FIRST_MANY;
    struct rlt_member *only = subscription->only;
    many = rlt_memory_resize(many, sizeof(*many) + larger * sizeof(struct rlt_member *));
    if (many == NULL) {
        return ROULETTE_ENOMEM;
    }
    if (!subscription->has_many) {
        many->members[0] = only;
    }
    many->capacity = larger;
    subscription->many = many;
    subscription->has_many = true;
    return 0;
}

/* The subscription that members of this one's topic share; NULL if there is none. */
static struct rlt_subscription *find_shared(struct rlt_subscriptions *table,
                                            struct rlt_member *member)
{
    struct rlt_topic_key key = rlt_handle_key(rlt_handle_of(member));
    return rlt_subscriptions_find_topic(table, key.topic, key.len, key.hash);
}

int rlt_subscriptions_join(struct rlt_subscriptions *table, struct rlt_member *member)
{
    RLT_ASSERT(!member->joined);
    struct rlt_subscription *subscription =
        member->own.exclusive ? NULL : find_shared(table, member);
    if (subscription == NULL) {
        subscription = &member->own;
        int result = enter(table, subscription);
        if (result < 0) {
            return result;
        }
    }
    int result = reserve_member(subscription);
    if (result < 0) {
        if (subscription->member_count == 0) {
            rlt_subscriptions_remove(table, subscription);
        }
        return result;
    }
    member->joined = true;
    member->index = subscription->member_count++;
    rlt_subscription_members(subscription)[member->index] = member;
    return 0;
}

struct rlt_subscription *rlt_subscriptions_of(struct rlt_subscriptions *table,
                                              struct rlt_member *member)
{
    if (!member->joined) {
        return NULL;
    }
    /* While it is a member of another one, its own is not in the table. */
    return member->own.sid != 0 ? &member->own : find_shared(table, member);
}

void rlt_subscriptions_leave(struct rlt_subscription *subscription, struct rlt_member *member)
{
    struct rlt_member **members = rlt_subscription_members(subscription);
    RLT_ASSERT(member->joined && member->index < subscription->member_count);
    RLT_ASSERT(members[member->index] == member);
    struct rlt_member *last = members[--subscription->member_count];
    members[member->index] = last;
    last->index = member->index;
    subscription->draining_count -= member->draining ? 1 : 0;
    member->joined = false;
}

void rlt_subscriptions_renew(struct rlt_subscriptions *table, struct rlt_subscription *subscription)
{
    RLT_ASSERT(!subscription->on_server && !subscription->on_second);
    RLT_ASSERT(rlt_subscriptions_at(table, index_of(subscription)) == subscription);
    uint32_t generation = (uint32_t)(subscription->sid >> RLT_SID_INDEX_BITS) + 1;
    subscription->sid = (uint64_t)generation << RLT_SID_INDEX_BITS | index_of(subscription);
}

struct rlt_subscription *rlt_subscriptions_find_topic(struct rlt_subscriptions *table,
                                                      const char *topic, size_t len, uint64_t hash)
{
    struct rlt_topic_key key = {topic, len, hash};
    uint32_t index = rlt_topic_set_find(&table->by_topic, &key);
    return index != 0 ? rlt_subscriptions_at(table, index) : NULL;
}

/* ---- The queue of what the server does not know ------------------------------------------- */

static uint32_t index_or_none(const struct rlt_subscription *subscription)
{
    return subscription != NULL ? index_of(subscription) : 0;
}

void rlt_subscription_queue_push(struct rlt_subscription_queue *queue,
                                 struct rlt_subscription *subscription)
{
    if (subscription->queued) {
        return;
    }
    subscription->queued = true;
    subscription->queue_next = 0;
    subscription->queue_prev = index_or_none(queue->last);
    if (queue->last == NULL) {
        queue->first = subscription;
    } else {
        queue->last->queue_next = index_of(subscription);
    }
    queue->last = subscription;
}

void rlt_subscription_queue_remove(struct rlt_subscription_queue *queue,
                                   struct rlt_subscription *subscription)
{
    if (!subscription->queued) {
        return;
    }
    /* Of index 0 there is NULL. */
    struct rlt_subscription *prev = rlt_subscriptions_at(queue->table, subscription->queue_prev);
    struct rlt_subscription *next = rlt_subscriptions_at(queue->table, subscription->queue_next);
    if (prev != NULL) {
        prev->queue_next = subscription->queue_next;
    } else {
        queue->first = next;
    }
    if (next != NULL) {
        next->queue_prev = subscription->queue_prev;
    } else {
        queue->last = prev;
    }
    subscription->queued = false;
}
