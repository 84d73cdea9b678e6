/* SPDX-License-Identifier: MIT */
#include "core/subscriptions.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

#define NO_INDEX         UINT32_MAX
#define INITIAL_CAPACITY 64
#define FIRST_MANY       4

int rlt_subscriptions_init(struct rlt_subscriptions *table)
{
    memset(table, 0, sizeof(*table));
    table->free_first = NO_INDEX;
    table->free_last = NO_INDEX;
    return rlt_topic_set_init(&table->by_topic);
}

static void destroy(struct rlt_subscription *subscription)
{
    if (subscription->member_capacity != 0) {
        rlt_memory_free(subscription->many);
    }
    rlt_memory_free((void *)(uintptr_t)subscription->key.topic);
    rlt_memory_free(subscription);
}

void rlt_subscriptions_fini(struct rlt_subscriptions *table)
{
    for (uint32_t i = 0; i < table->index_count; i++) {
        if (table->by_index[i] != NULL) {
            destroy(table->by_index[i]);
        }
    }
    rlt_memory_free(table->by_index);
    rlt_memory_free(table->generations);
    rlt_memory_free(table->free_next);
    rlt_topic_set_fini(&table->by_topic);
    memset(table, 0, sizeof(*table));
}

/* Resize one array; on failure the old one stays valid. */
static int resize(void *array_pointer, uint32_t capacity, size_t item_size)
{
    void **array = array_pointer;
    void *resized = rlt_memory_resize(*array, (size_t)capacity * item_size);
    if (resized == NULL) {
        return ROULETTE_ENOMEM;
    }
    *array = resized;
    return 0;
}

static int grow(struct rlt_subscriptions *table)
{
    if (table->index_capacity >= RLT_SUBSCRIPTIONS_MAX) {
        return ROULETTE_EBUSY;
    }
    uint32_t capacity = table->index_capacity != 0 ? table->index_capacity * 2 : INITIAL_CAPACITY;
    if (resize(&table->by_index, capacity, sizeof(*table->by_index)) < 0 ||
        resize(&table->generations, capacity, sizeof(*table->generations)) < 0 ||
        resize(&table->free_next, capacity, sizeof(*table->free_next)) < 0) {
        return ROULETTE_ENOMEM;
    }
    uint32_t added = capacity - table->index_capacity;
    memset(table->by_index + table->index_capacity, 0, added * sizeof(*table->by_index));
    memset(table->generations + table->index_capacity, 0, added * sizeof(*table->generations));
    table->index_capacity = capacity;
    /* Index 0 is not used: sid 0 is none of ours. */
    table->index_count = table->index_count != 0 ? table->index_count : 1;
    return 0;
}

/* A free index: an unused one while the array has room, so that short sids are reused late. */
static int take_index(struct rlt_subscriptions *table, uint32_t *index)
{
    if (table->index_count == table->index_capacity) {
        if (table->free_first != NO_INDEX) {
            *index = table->free_first;
            table->free_first = table->free_next[*index];
            if (table->free_first == NO_INDEX) {
                table->free_last = NO_INDEX;
            }
            return 0;
        }
        int result = grow(table);
        if (result < 0) {
            return result;
        }
    }
    *index = table->index_count++;
    return 0;
}

static void give_index(struct rlt_subscriptions *table, uint32_t index)
{
    table->generations[index]++;
    table->by_index[index] = NULL;
    table->free_next[index] = NO_INDEX;
    if (table->free_last == NO_INDEX) {
        table->free_first = index;
    } else {
        table->free_next[table->free_last] = index;
    }
    table->free_last = index;
}

static uint64_t sid_of(const struct rlt_subscriptions *table, uint32_t index)
{
    return ((uint64_t)table->generations[index] << RLT_SID_INDEX_BITS) | index;
}

static int create(struct rlt_subscriptions *table, const struct rlt_member *member,
                  struct rlt_subscription **created)
{
    struct rlt_subscription *subscription = rlt_memory_alloc(1, sizeof(*subscription));
    if (subscription == NULL) {
        return ROULETTE_ENOMEM;
    }
    subscription->key = member->key;
    subscription->key.topic = rlt_memory_copy_text(member->key.topic, member->key.len);
    subscription->connection = (uint16_t)member->connection;
    subscription->exclusive = member->exclusive;
    uint32_t index = 0;
    int result = subscription->key.topic != NULL ? take_index(table, &index) : ROULETTE_ENOMEM;
    if (result < 0) {
        destroy(subscription);
        return result;
    }
    result = member->exclusive ? 0 : rlt_topic_set_add(&table->by_topic, &subscription->key);
    if (result < 0) {
        give_index(table, index);
        destroy(subscription);
        return result;
    }
    subscription->sid = sid_of(table, index);
    table->by_index[index] = subscription;
    *created = subscription;
    return 0;
}

/* Make room for one more member. */
static int reserve_member(struct rlt_subscription *subscription)
{
    uint32_t capacity = subscription->member_capacity;
    if (subscription->member_count < (capacity != 0 ? capacity : 1)) {
        return 0;
    }
    struct rlt_member **many = capacity != 0 ? subscription->many : NULL;
    struct rlt_member *only = subscription->only;
    uint32_t larger = capacity != 0 ? capacity * 2 : FIRST_MANY;
    if (resize(&many, larger, sizeof(struct rlt_member *)) < 0) {
        return ROULETTE_ENOMEM;
    }
    if (capacity == 0) {
        many[0] = only;
    }
    subscription->many = many;
    subscription->member_capacity = larger;
    return 0;
}

int rlt_subscriptions_join(struct rlt_subscriptions *table, struct rlt_member *member)
{
    RLT_ASSERT(member->subscription == NULL);
    struct rlt_subscription *subscription = NULL;
    if (!member->exclusive) {
        subscription =
            (struct rlt_subscription *)(void *)rlt_topic_set_find(&table->by_topic, &member->key);
    }
    if (subscription == NULL) {
        int result = create(table, member, &subscription);
        if (result < 0) {
            return result;
        }
    }
    /* The first member needs no room, so a new subscription never stays behind without one. */
    int result = reserve_member(subscription);
    if (result < 0) {
        return result;
    }
    member->subscription = subscription;
    member->index = subscription->member_count++;
    rlt_subscription_members(subscription)[member->index] = member;
    return 0;
}

void rlt_subscriptions_leave(struct rlt_member *member)
{
    struct rlt_subscription *subscription = member->subscription;
    struct rlt_member **members = rlt_subscription_members(subscription);
    RLT_ASSERT(member->index < subscription->member_count);
    RLT_ASSERT(members[member->index] == member);
    struct rlt_member *last = members[--subscription->member_count];
    members[member->index] = last;
    last->index = member->index;
    subscription->draining_count -= member->draining ? 1 : 0;
    member->subscription = NULL;
}

void rlt_subscriptions_remove(struct rlt_subscriptions *table,
                              struct rlt_subscription *subscription)
{
    RLT_ASSERT(subscription->member_count == 0 && !subscription->queued);
    if (!subscription->exclusive) {
        rlt_topic_set_remove(&table->by_topic, &subscription->key);
    }
    give_index(table, (uint32_t)(subscription->sid & (RLT_SUBSCRIPTIONS_MAX - 1)));
    destroy(subscription);
}

void rlt_subscriptions_renew(struct rlt_subscriptions *table, struct rlt_subscription *subscription)
{
    uint32_t index = (uint32_t)(subscription->sid & (RLT_SUBSCRIPTIONS_MAX - 1));
    RLT_ASSERT(!subscription->on_server && !subscription->on_second);
    table->generations[index]++;
    subscription->sid = sid_of(table, index);
}

struct rlt_subscription *rlt_subscriptions_find_topic(struct rlt_subscriptions *table,
                                                      const char *topic, size_t len, uint64_t hash)
{
    struct rlt_topic_key key = {topic, len, hash};
    return (struct rlt_subscription *)(void *)rlt_topic_set_find(&table->by_topic, &key);
}

void rlt_subscription_queue_push(struct rlt_subscription_queue *queue,
                                 struct rlt_subscription *subscription)
{
    if (subscription->queued) {
        return;
    }
    subscription->queued = true;
    subscription->queue_next = NULL;
    subscription->queue_prev = queue->last;
    if (queue->last == NULL) {
        queue->first = subscription;
    } else {
        queue->last->queue_next = subscription;
    }
    queue->last = subscription;
}

void rlt_subscription_queue_remove(struct rlt_subscription_queue *queue,
                                   struct rlt_subscription *subscription)
{
    if (!subscription->queued) {
        return;
    }
    struct rlt_subscription *prev = subscription->queue_prev;
    struct rlt_subscription *next = subscription->queue_next;
    *(prev != NULL ? &prev->queue_next : &queue->first) = next;
    *(next != NULL ? &next->queue_prev : &queue->last) = prev;
    subscription->queued = false;
}
