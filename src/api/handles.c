/* SPDX-License-Identifier: MIT */
#include "api/handles.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"

#define SLOTS_FIRST 64
#define SLOTS_MAX   (RLT_TOPIC_INDEX_MAX + 1)

static struct rlt_subscription *handle_at(const struct rlt_handle_table *table, uint32_t index)
{
    uintptr_t slot = table->slots[index];
    return (slot & 1) == 0 ? (struct rlt_subscription *)slot : NULL;
}

static uint32_t index_of(const struct rlt_subscription *entry)
{
    return (uint32_t)(entry->name & RLT_TOPIC_INDEX_MAX);
}

/* ---- Slots ------------------------------------------------------------------------------- */

/* Grow the table by a half, so that a large one has few unused slots. */
static int grow_slots(struct rlt_handle_table *table)
{
    if (table->slot_capacity == SLOTS_MAX) {
        return ROULETTE_EBUSY;
    }
    uint32_t capacity = table->slot_capacity + table->slot_capacity / 2;
    capacity = capacity != 0 ? capacity : SLOTS_FIRST;
    capacity = capacity < SLOTS_MAX ? capacity : SLOTS_MAX;
    uintptr_t *slots = rlt_memory_resize(table->slots, capacity * sizeof(*table->slots));
    if (slots == NULL) {
        return ROULETTE_ENOMEM;
    }
    table->slots = slots;
    table->slot_capacity = capacity;
    if (table->slot_count == 0) {
        table->slot_count = 1;
        slots[0] = 1;
    }
    return 0;
}

static int take_slot(struct rlt_handle_table *table, uint32_t *index)
{
    if (table->slot_free != 0) {
        *index = table->slot_free;
        table->slot_free = (uint32_t)(table->slots[*index] >> 1);
        return 0;
    }
    if (table->slot_count == table->slot_capacity) {
        int result = grow_slots(table);
        if (result < 0) {
            return result;
        }
    }
    *index = table->slot_count++;
    return 0;
}

static void give_slot(struct rlt_handle_table *table, uint32_t index)
{
    table->slots[index] = (uintptr_t)table->slot_free << 1 | 1;
    table->slot_free = index;
}

/* 40 bits: a million subscriptions a second for 12 days. */
static uint64_t next_serial(void)
{
    static _Atomic(uint64_t) last;
    /* Relaxed: only uniqueness counts. */
    uint64_t serial = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed);
    return serial & (UINT64_MAX >> RLT_TOPIC_INDEX_BITS);
}

/* ---- Life --------------------------------------------------------------------------------- */

static struct rlt_topic_key key_of(const void *table, uint32_t index)
{
    return rlt_subscription_key(handle_at(table, index));
}

int rlt_handle_table_init(struct rlt_handle_table *table)
{
    memset(table, 0, sizeof(*table));
    table->over_look = RLT_HANDLES_OVER_FEW;
    return rlt_topic_set_init(&table->by_key, key_of, table);
}

void rlt_handle_table_fini(struct rlt_handle_table *table)
{
    for (uint32_t i = 0; i < table->slot_count; i++) {
        struct rlt_subscription *entry = handle_at(table, i);
        if (entry != NULL) {
            rlt_subscription_release(entry);
        }
    }
    rlt_memory_free(table->slots);
    rlt_topic_set_fini(&table->by_key);
}

/* ---- Handles in it ------------------------------------------------------------------------ */

/* Put a subscription into a slot; index and serial number are its public handle. */
int rlt_handle_table_add(struct rlt_handle_table *table, struct rlt_subscription *entry)
{
    uint32_t index;
    int result = take_slot(table, &index);
    if (result < 0) {
        return result;
    }
    table->slots[index] = (uintptr_t)entry;
    result = rlt_topic_set_add(&table->by_key, index);
    if (result < 0) {
        give_slot(table, index);
        return result;
    }
    entry->name = next_serial() << RLT_TOPIC_INDEX_BITS | index;
    table->live_max = rlt_max_u32(table->live_max, table->by_key.count);
    return 0;
}

struct rlt_subscription *rlt_handle_table_find(const struct rlt_handle_table *table,
                                               const roulette_subscription *subscription)
{
    uint64_t name = (uint64_t)(uintptr_t)subscription;
    uint32_t index = (uint32_t)(name & RLT_TOPIC_INDEX_MAX);
    struct rlt_subscription *entry = index < table->slot_count ? handle_at(table, index) : NULL;
    return entry != NULL && entry->name == name && !entry->over ? entry : NULL;
}

struct rlt_subscription *rlt_handle_table_find_key(const struct rlt_handle_table *table,
                                                   const struct rlt_topic_key *key)
{
    uint32_t index = rlt_topic_set_find(&table->by_key, key);
    return index != 0 ? handle_at(table, index) : NULL;
}

struct rlt_subscription *rlt_handle_table_next(const struct rlt_handle_table *table,
                                               uint32_t *cursor)
{
    while (*cursor < table->slot_count) {
        struct rlt_subscription *entry = handle_at(table, (*cursor)++);
        if (entry != NULL && !entry->over) {
            return entry;
        }
    }
    return NULL;
}

/* ---- Handles that are over ---------------------------------------------------------------- */

void rlt_handle_table_retire(struct rlt_handle_table *table, struct rlt_subscription *entry)
{
    RLT_ASSERT(!entry->over);
    entry->over = true;
    table->over_count++;
    rlt_topic_set_remove(&table->by_key, index_of(entry));
}

static void free_handle(struct rlt_handle_table *table, struct rlt_subscription *entry)
{
    give_slot(table, index_of(entry));
    table->over_count -= entry->over ? 1 : 0;
    rlt_subscription_release(entry);
}

void rlt_handle_table_free_over(struct rlt_handle_table *table)
{
    while (!CK_SLIST_EMPTY(&table->over)) {
        struct rlt_subscription *entry = CK_SLIST_FIRST(&table->over);
        CK_SLIST_REMOVE_HEAD(&table->over, link);
        free_handle(table, entry);
    }
}

void rlt_subscription_member_done(struct rlt_handle_table *table, struct rlt_subscription *entry,
                                  bool keep)
{
    RLT_ASSERT(entry->pending > 0);
    if (--entry->pending != 0) {
        return;
    }
    if (keep) {
        CK_SLIST_INSERT_HEAD(&table->over, entry, link);
    } else {
        free_handle(table, entry);
    }
}

void rlt_handle_table_complete(struct rlt_handle_table *table, struct rlt_subscription *entry,
                               uint32_t cluster)
{
    entry->last_cluster = (uint16_t)cluster;
    entry->completed = true;
    /* The subscription stays until the user was told, beyond its members' last notices. */
    entry->pending++;
    CK_SLIST_INSERT_HEAD(&table->completed, entry, link);
}

struct rlt_subscription *rlt_handle_table_take_completed(struct rlt_handle_table *table)
{
    struct rlt_subscription *entry = CK_SLIST_FIRST(&table->completed);
    if (entry != NULL) {
        CK_SLIST_REMOVE_HEAD(&table->completed, link);
        rlt_subscription_member_done(table, entry, true);
    }
    return entry;
}
