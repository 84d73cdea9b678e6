/* SPDX-License-Identifier: MIT */
#include "core/delivery/topic_set.h"

#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/defs.h"
#include "base/memory.h"
#include "roulette.h"

#define INITIAL_CAPACITY 64
/* Entries that move together. */
#define BATCH 64

/* An entry holds the index; below it a tag, bits of the hash that the slot does not tell, so that
 * most other records need not be read; below that the distance. FAR stands for itself and all
 * above, which is rare: then the record's hash tells the distance. */
#define DISTANCE_BITS 5
#define TAG_BITS      3
#define FAR           ((UINT32_C(1) << DISTANCE_BITS) - 1)
static_assert(RLT_TOPIC_INDEX_BITS + TAG_BITS + DISTANCE_BITS == 32, "of an entry");

/* Index and tag of a record; the distance is 0. */
static uint32_t record_of(uint32_t index, uint64_t hash)
{
    uint32_t tag = (uint32_t)(hash >> (64 - TAG_BITS));
    return (index << TAG_BITS | tag) << DISTANCE_BITS;
}

static uint32_t entry_of(uint32_t record, uint32_t distance)
{
    return (record & ~FAR) | (distance < FAR ? distance : FAR);
}

static uint32_t index_of(uint32_t entry)
{
    return entry >> (TAG_BITS + DISTANCE_BITS);
}

static uint32_t tag_of(uint32_t entry)
{
    return entry >> DISTANCE_BITS & ((UINT32_C(1) << TAG_BITS) - 1);
}

static uint32_t mask_of(const struct rlt_topic_set *set)
{
    return set->capacity - 1;
}

/* The distance of the entry at `position` from its home slot. */
static uint32_t distance_of(const struct rlt_topic_set *set, uint32_t entry, uint32_t position)
{
    uint32_t distance = entry & FAR;
    if (rlt_likely(distance != FAR)) {
        return distance;
    }
    uint64_t hash = set->key_of(set->context, index_of(entry)).hash;
    return (position - (uint32_t)hash) & mask_of(set);
}

int rlt_topic_set_init(struct rlt_topic_set *set, rlt_topic_key_fn *key_of, const void *context)
{
    *set = (struct rlt_topic_set){
        .entries = rlt_memory_alloc(INITIAL_CAPACITY, sizeof(*set->entries)),
        .capacity = INITIAL_CAPACITY,
        .key_of = key_of,
        .context = context,
    };
    return set->entries != NULL ? 0 : ROULETTE_ENOMEM;
}

void rlt_topic_set_fini(struct rlt_topic_set *set)
{
    rlt_memory_free(set->entries);
    memset(set, 0, sizeof(*set));
}

uint32_t rlt_topic_set_find(const struct rlt_topic_set *set, const struct rlt_topic_key *key)
{
    uint32_t position = (uint32_t)key->hash & mask_of(set);
    uint32_t tag = tag_of(record_of(0, key->hash));
    /* There is always an empty slot. */
    for (uint32_t distance = 0;; distance++, position = (position + 1) & mask_of(set)) {
        uint32_t entry = set->entries[position];
        uint32_t other = entry != 0 ? distance_of(set, entry, position) : 0;
        if (entry == 0 || other < distance) {
            return 0;
        }
        if (other == distance && tag_of(entry) == tag) {
            struct rlt_topic_key found = set->key_of(set->context, index_of(entry));
            if (found.hash == key->hash && found.len == key->len &&
                memcmp(found.topic, key->topic, key->len) == 0) {
                return index_of(entry);
            }
        }
    }
}

/* Put an index in; there is room. It takes the slot of the first entry with a smaller distance,
 * which moves on in the same way. */
static void place(struct rlt_topic_set *set, uint32_t index, uint64_t hash)
{
    uint32_t record = record_of(index, hash);
    uint32_t distance = 0;
    uint32_t position = (uint32_t)hash & mask_of(set);
    for (;; distance++, position = (position + 1) & mask_of(set)) {
        uint32_t entry = set->entries[position];
        if (entry == 0) {
            set->entries[position] = entry_of(record, distance);
            return;
        }
        uint32_t other = distance_of(set, entry, position);
        if (other < distance) {
            set->entries[position] = entry_of(record, distance);
            record = entry;
            distance = other;
        }
    }
}

/* Some of a set's entries, to be put into a larger one. */
struct moved {
    uint32_t indexes[BATCH];
    uint64_t hashes[BATCH];
    uint32_t count;
};

/* Each hash costs two cache misses: read in a row, the misses overlap. */
static void place_all(struct rlt_topic_set *set, struct moved *moved)
{
    for (uint32_t i = 0; i < moved->count; i++) {
        moved->hashes[i] = set->key_of(set->context, moved->indexes[i]).hash;
    }
    for (uint32_t i = 0; i < moved->count; i++) {
        place(set, moved->indexes[i], moved->hashes[i]);
    }
    moved->count = 0;
}

static int grow(struct rlt_topic_set *set)
{
    uint32_t capacity = set->capacity * 2;
    uint32_t *entries = rlt_memory_alloc(capacity, sizeof(*entries));
    if (entries == NULL) {
        return ROULETTE_ENOMEM;
    }
    struct rlt_topic_set old = *set;
    set->entries = entries;
    set->capacity = capacity;
    struct moved moved = {.count = 0};
    for (uint32_t i = 0; i < old.capacity; i++) {
        if (old.entries[i] != 0) {
            moved.indexes[moved.count++] = index_of(old.entries[i]);
        }
        if (moved.count == BATCH || i == old.capacity - 1) {
            place_all(set, &moved);
        }
    }
    rlt_memory_free(old.entries);
    return 0;
}

int rlt_topic_set_add(struct rlt_topic_set *set, uint32_t index)
{
    RLT_ASSERT(index > 0 && index <= RLT_TOPIC_INDEX_MAX);
    /* At most three quarters are in use: in a fuller set the probes get long. */
    if (set->count + 1 > set->capacity / 4 * 3) {
        int result = grow(set);
        if (result < 0) {
            return result;
        }
    }
    place(set, index, set->key_of(set->context, index).hash);
    set->count++;
    return 0;
}

void rlt_topic_set_remove(struct rlt_topic_set *set, uint32_t index)
{
    uint32_t position = (uint32_t)set->key_of(set->context, index).hash & mask_of(set);
    while (index_of(set->entries[position]) != index) {
        RLT_ASSERT(set->entries[position] != 0);
        position = (position + 1) & mask_of(set);
    }
    /* The entries behind, up to the first in its home slot, move up by one. */
    for (;;) {
        uint32_t next = (position + 1) & mask_of(set);
        uint32_t entry = set->entries[next];
        uint32_t distance = entry != 0 ? distance_of(set, entry, next) : 0;
        if (distance == 0) {
            break;
        }
        set->entries[position] = entry_of(entry, distance - 1);
        position = next;
    }
    set->entries[position] = 0;
    set->count--;
}
