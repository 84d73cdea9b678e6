/* SPDX-License-Identifier: MIT */
/**
 * A set of records by topic. It knows a record by its index (1 to RLT_TOPIC_INDEX_MAX) in a table
 * of its owner, whose callback gives the topic of an index: an entry takes 4 bytes, and a set in
 * use has between 1.33 and 2.67 entries for each record.
 *
 * Open addressing with linear probing, sorted by distance ("Robin Hood": P. Celis, 1986). An entry
 * is the index, some bits of the hash, and its distance from its home slot, which the hash gives.
 * So a search reads the topic of an eighth of the records with the same home slot and of no others,
 * and ends at the first entry with a smaller distance; a removal moves the entries behind it up and
 * leaves no tombstone.
 *
 * Owner: one thread.
 */
#ifndef RLT_CORE_DELIVERY_TOPIC_SET_H
#define RLT_CORE_DELIVERY_TOPIC_SET_H

#include <stddef.h>
#include <stdint.h>

#define RLT_TOPIC_INDEX_BITS 24
#define RLT_TOPIC_INDEX_MAX  ((UINT32_C(1) << RLT_TOPIC_INDEX_BITS) - 1)

struct rlt_topic_key {
    const char *topic;
    size_t len;
    uint64_t hash; /* XXH3_64 of the topic */
};

/** Give the topic of a record that is in the set, or is being added or removed. */
typedef struct rlt_topic_key rlt_topic_key_fn(const void *context, uint32_t index);

struct rlt_topic_set {
    uint32_t *entries;
    uint32_t capacity; /* a power of two */
    uint32_t count;
    rlt_topic_key_fn *key_of;
    const void *context; /* of key_of */
};

/** Make an empty set. Returns: 0 or ROULETTE_ENOMEM. */
int rlt_topic_set_init(struct rlt_topic_set *set, rlt_topic_key_fn *key_of, const void *context);

/** Free a set, which may be zeroed. */
void rlt_topic_set_fini(struct rlt_topic_set *set);

/** Find the index of the record with this topic; 0 if there is none. */
uint32_t rlt_topic_set_find(const struct rlt_topic_set *set, const struct rlt_topic_key *key);

/** Add a record whose topic is not in the set yet. Returns: 0 or ROULETTE_ENOMEM. */
int rlt_topic_set_add(struct rlt_topic_set *set, uint32_t index);

/** Remove a record that is in the set. */
void rlt_topic_set_remove(struct rlt_topic_set *set, uint32_t index);

#endif
