/* SPDX-License-Identifier: MIT */
#include "core/delivery/interests.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

#define INITIAL_CAPACITY 64
#define FIRST_MANY       4

/* ---- Indexes ------------------------------------------------------------------------------ */

/* The entry of a free index in by_index: the next generation, and the next free index. */
static uint64_t free_entry(uint64_t generation, uint32_t next)
{
    return (generation & UINT32_MAX) << 32 | (uint64_t)next << 1 | 1;
}

static uint32_t next_free(uint64_t entry)
{
    return (uint32_t)entry >> 1;
}

static uint32_t index_of(const struct rlt_interest *interest)
{
    return (uint32_t)(interest->sid & (RLT_INTERESTS_MAX - 1));
}

static int grow(struct rlt_interests *table)
{
    if (table->index_capacity == RLT_INTERESTS_MAX) {
        return ROULETTE_EBUSY;
    }
    /* By a half, so that a large table has few unused entries. */
    uint32_t capacity = table->index_capacity + table->index_capacity / 2;
    capacity = capacity != 0 ? capacity : INITIAL_CAPACITY;
    capacity = capacity < RLT_INTERESTS_MAX ? capacity : RLT_INTERESTS_MAX;
    uint64_t *by_index =
        rlt_memory_resize(table->by_index, (size_t)capacity * sizeof(*table->by_index));
    if (by_index == NULL) {
        return ROULETTE_ENOMEM;
    }
    table->by_index = by_index;
    table->index_capacity = capacity;
    if (table->index_count == 0) {
        /* Index 0 is not used: no interest has sid 0. */
        table->index_count = 1;
        by_index[0] = free_entry(0, 0);
    }
    return 0;
}

/* Take a free index: an unused one while the array has room, so that short sids are reused late. */
static int take_index(struct rlt_interests *table, uint64_t *sid)
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

static void give_index(struct rlt_interests *table, uint64_t sid)
{
    uint32_t index = (uint32_t)(sid & (RLT_INTERESTS_MAX - 1));
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
    return rlt_interest_key(rlt_interests_at(table, index));
}

int rlt_interests_init(struct rlt_interests *table)
{
    memset(table, 0, sizeof(*table));
    return rlt_topic_set_init(&table->by_topic, key_of, table);
}

static struct rlt_subscription *subscription_of(struct rlt_interest *interest)
{
    return rlt_subscription_of(rlt_container_of(interest, struct rlt_member, own));
}

/* Release the block of an interest that has left the table; the subscriber may still hold it. */
static void release_block(struct rlt_interest *interest)
{
    if (interest->has_many) {
        rlt_memory_free(interest->many);
        interest->has_many = false;
    }
    interest->sid = 0;
    interest->member_count = 0;
    rlt_subscription_release(subscription_of(interest));
}

void rlt_interests_fini(struct rlt_interests *table)
{
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_interest *interest = rlt_interests_at(table, i);
        if (interest != NULL) {
            release_block(interest);
        }
    }
    rlt_memory_free(table->by_index);
    rlt_topic_set_fini(&table->by_topic);
    memset(table, 0, sizeof(*table));
}

/* Put a member's own interest into the table. */
static int enter(struct rlt_interests *table, struct rlt_interest *interest)
{
    RLT_ASSERT(interest->sid == 0);
    uint64_t sid;
    int result = take_index(table, &sid);
    if (result < 0) {
        return result;
    }
    interest->sid = sid;
    uint32_t index = index_of(interest);
    table->by_index[index] = (uint64_t)(uintptr_t)interest;
    result = interest->exclusive ? 0 : rlt_topic_set_add(&table->by_topic, index);
    if (result < 0) {
        give_index(table, sid);
        interest->sid = 0;
        return result;
    }
    rlt_subscription_acquire(subscription_of(interest));
    return 0;
}

void rlt_interests_remove(struct rlt_interests *table, struct rlt_interest *interest)
{
    RLT_ASSERT(interest->member_count == 0 && !interest->queued);
    if (!interest->exclusive) {
        rlt_topic_set_remove(&table->by_topic, index_of(interest));
    }
    give_index(table, interest->sid);
    release_block(interest);
}

/* ---- Members ------------------------------------------------------------------------------ */

/* Make room for one more member. */
static int reserve_member(struct rlt_interest *interest)
{
    struct rlt_member_list *many = interest->has_many ? interest->many : NULL;
    uint32_t capacity = many != NULL ? many->capacity : interest->counted ? 0 : 1;
    if (interest->member_count < capacity) {
        return 0;
    }
    uint32_t larger = many != NULL ? capacity * 2 : interest->counted ? 1 : FIRST_MANY;
    struct rlt_member *only = interest->only;
    many = rlt_memory_resize(many, sizeof(*many) + larger * sizeof(struct rlt_member *));
    if (many == NULL) {
        return ROULETTE_ENOMEM;
    }
    if (!interest->has_many) {
        many->members[0] = only;
    }
    many->capacity = larger;
    interest->many = many;
    interest->has_many = true;
    return 0;
}

/* Find the interest that the members of this member's topic share; NULL if there is none. */
static struct rlt_interest *find_shared(struct rlt_interests *table, struct rlt_member *member)
{
    struct rlt_topic_key key = rlt_subscription_key(rlt_subscription_of(member));
    return rlt_interests_find_topic(table, key.topic, key.len, key.hash);
}

int rlt_interests_join(struct rlt_interests *table, struct rlt_member *member)
{
    RLT_ASSERT(!member->joined);
    struct rlt_interest *interest = member->own.exclusive ? NULL : find_shared(table, member);
    if (interest == NULL) {
        interest = &member->own;
        int result = enter(table, interest);
        if (result < 0) {
            return result;
        }
    }
    int result = reserve_member(interest);
    if (result < 0) {
        if (interest->member_count == 0) {
            rlt_interests_remove(table, interest);
        }
        return result;
    }
    member->joined = true;
    member->index = interest->member_count++;
    rlt_interest_members(interest)[member->index] = member;
    return 0;
}

struct rlt_interest *rlt_interests_of(struct rlt_interests *table, struct rlt_member *member)
{
    if (!member->joined) {
        return NULL;
    }
    /* While a member has joined another member's interest, its own is not in the table. */
    return member->own.sid != 0 ? &member->own : find_shared(table, member);
}

void rlt_interests_leave(struct rlt_interest *interest, struct rlt_member *member)
{
    struct rlt_member **members = rlt_interest_members(interest);
    RLT_ASSERT(member->joined && member->index < interest->member_count);
    RLT_ASSERT(members[member->index] == member);
    struct rlt_member *last = members[--interest->member_count];
    members[member->index] = last;
    last->index = member->index;
    interest->draining_count -= member->draining ? 1 : 0;
    member->joined = false;
}

void rlt_interests_renew(struct rlt_interests *table, struct rlt_interest *interest)
{
    RLT_ASSERT(!interest->on_server && !interest->on_second);
    RLT_ASSERT(rlt_interests_at(table, index_of(interest)) == interest);
    uint32_t generation = (uint32_t)(interest->sid >> RLT_SID_INDEX_BITS) + 1;
    interest->sid = (uint64_t)generation << RLT_SID_INDEX_BITS | index_of(interest);
}

struct rlt_interest *rlt_interests_find_topic(struct rlt_interests *table, const char *topic,
                                              size_t len, uint64_t hash)
{
    struct rlt_topic_key key = {topic, len, hash};
    uint32_t index = rlt_topic_set_find(&table->by_topic, &key);
    return index != 0 ? rlt_interests_at(table, index) : NULL;
}

/* ---- The queue of pending interests ------------------------------------------------------- */

static uint32_t index_or_none(const struct rlt_interest *interest)
{
    return interest != NULL ? index_of(interest) : 0;
}

void rlt_interest_queue_push(struct rlt_interest_queue *queue, struct rlt_interest *interest)
{
    if (interest->queued) {
        return;
    }
    interest->queued = true;
    interest->queue_next = 0;
    interest->queue_prev = index_or_none(queue->last);
    if (queue->last == NULL) {
        queue->first = interest;
    } else {
        queue->last->queue_next = index_of(interest);
    }
    queue->last = interest;
}

void rlt_interest_queue_remove(struct rlt_interest_queue *queue, struct rlt_interest *interest)
{
    if (!interest->queued) {
        return;
    }
    /* At index 0 there is NULL. */
    struct rlt_interest *prev = rlt_interests_at(queue->table, interest->queue_prev);
    struct rlt_interest *next = rlt_interests_at(queue->table, interest->queue_next);
    if (prev != NULL) {
        prev->queue_next = interest->queue_next;
    } else {
        queue->first = next;
    }
    if (next != NULL) {
        next->queue_prev = interest->queue_prev;
    } else {
        queue->last = prev;
    }
    interest->queued = false;
}
