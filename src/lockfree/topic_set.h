/* SPDX-License-Identifier: MIT */
/**
 * A set of records by topic: a thin wrapper around ck_hs (Concurrency Kit).
 *
 * Writers: one thread. Readers: here the same thread; ck_hs would allow others lock-free.
 * Reclaiming: a record is the caller's again once removed.
 */
#ifndef RLT_LOCKFREE_TOPIC_SET_H
#define RLT_LOCKFREE_TOPIC_SET_H

#include <ck_hs.h>
#include <stddef.h>
#include <stdint.h>

/** What a record in the set begins with. The topic outlives its membership. */
struct rlt_topic_key {
    const char *topic;
    size_t len;
    uint64_t hash; /* XXH3_64 of the topic */
};

struct rlt_topic_set {
    ck_hs_t table;
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_topic_set_init(struct rlt_topic_set *set);
void rlt_topic_set_fini(struct rlt_topic_set *set);

/** The record with this topic, or NULL. */
struct rlt_topic_key *rlt_topic_set_find(struct rlt_topic_set *set,
                                         const struct rlt_topic_key *key);

/** Add a record whose topic is not in the set yet. Returns: 0 or ROULETTE_ENOMEM. */
int rlt_topic_set_add(struct rlt_topic_set *set, struct rlt_topic_key *record);

/** Remove a record that is in the set. */
void rlt_topic_set_remove(struct rlt_topic_set *set, struct rlt_topic_key *record);

/** The number of records. */
size_t rlt_topic_set_count(struct rlt_topic_set *set);

#endif
