/* SPDX-License-Identifier: MIT */
#include "lockfree/topic_set.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

#define INITIAL_CAPACITY 64
/* Removals leave tombstones that lengthen probes; sweep them now and then. */
#define GC_CYCLES 8

static void *ck_allocate(size_t size)
{
    return rlt_memory_alloc(1, size);
}

static void ck_free(void *block, size_t size, bool deferred)
{
    (void)size;
    (void)deferred; /* no concurrent readers: safe at once */
    rlt_memory_free(block);
}

static struct ck_malloc allocator = {.malloc = ck_allocate, .free = ck_free};

static unsigned long hash_key(const void *object, unsigned long seed)
{
    (void)seed;
    return (unsigned long)((const struct rlt_topic_key *)object)->hash;
}

static bool same_topic(const void *left, const void *right)
{
    const struct rlt_topic_key *a = left;
    const struct rlt_topic_key *b = right;
    return a->len == b->len && memcmp(a->topic, b->topic, a->len) == 0;
}

int rlt_topic_set_init(struct rlt_topic_set *set)
{
    bool made = ck_hs_init(&set->table, CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT, hash_key, same_topic,
                           &allocator, INITIAL_CAPACITY, 0);
    return made ? 0 : ROULETTE_ENOMEM;
}

void rlt_topic_set_fini(struct rlt_topic_set *set)
{
    if (set->table.map != NULL) {
        ck_hs_destroy(&set->table);
        set->table.map = NULL;
    }
}

struct rlt_topic_key *rlt_topic_set_find(struct rlt_topic_set *set, const struct rlt_topic_key *key)
{
    return ck_hs_get(&set->table, (unsigned long)key->hash, key);
}

int rlt_topic_set_add(struct rlt_topic_set *set, struct rlt_topic_key *record)
{
    return ck_hs_put(&set->table, (unsigned long)record->hash, record) ? 0 : ROULETTE_ENOMEM;
}

void rlt_topic_set_remove(struct rlt_topic_set *set, struct rlt_topic_key *record)
{
    void *removed = ck_hs_remove(&set->table, (unsigned long)record->hash, record);
    RLT_ASSERT(removed == record);
    ck_hs_gc(&set->table, GC_CYCLES, (unsigned long)record->hash);
}

size_t rlt_topic_set_count(struct rlt_topic_set *set)
{
    return (size_t)ck_hs_count(&set->table);
}
