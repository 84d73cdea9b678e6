/* SPDX-License-Identifier: MIT */
/**
 * The interests of one cluster: one interest (one SUB on the wire) for each topic, with any number
 * of members (subscribers that want the topic); and one for each member of a queue group, since
 * the server is to choose among those.
 *
 * A sid is the interest's index in a table, plus a generation in the high bits that grows each
 * time the index is used again: a frame for an interest that is over never reaches its successor.
 * First-generation sids are short on the wire.
 *
 * An interest records what the server has been told (`on_server`) and what it should be told
 * (whether there are members that are not draining); interests where the two differ wait in the
 * queue of their path.
 *
 * Owner: the event thread; a borrower of the receiving side (core/cluster/direct_receive.h) reads
 * the table.
 */
#ifndef RLT_CORE_DELIVERY_INTERESTS_H
#define RLT_CORE_DELIVERY_INTERESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/delivery/quota.h"
#include "core/delivery/subscription.h"
#include "core/delivery/topic_set.h"

#define RLT_SID_INDEX_BITS RLT_TOPIC_INDEX_BITS
/** Interests of one cluster at most, and one. */
#define RLT_INTERESTS_MAX (UINT32_C(1) << RLT_SID_INDEX_BITS)

/** The members of an interest that has had more than one, or is counted. */
struct rlt_member_list {
    uint32_t capacity;
    struct rlt_member *members[];
};

/** First in, first out; for one path. */
struct rlt_interest_queue {
    struct rlt_interests *table; /* of the queued interests; immutable */
    struct rlt_interest *first;
    struct rlt_interest *last;
};

struct rlt_interests {
    /* By index: the interest's address, which is even; of a free index an odd number, with the
     * generation of the next interest of that index (free_entry() in interests.c). */
    uint64_t *by_index;
    uint32_t index_count;    /* indexes ever used, and index 0, which never is */
    uint32_t index_capacity; /* of the array */
    /* Free indexes, first in first out: reuse comes late. 0: none. */
    uint32_t free_first;
    uint32_t free_last;
    struct rlt_topic_set by_topic;
};

int rlt_interests_init(struct rlt_interests *table);

/** Free the table. Members do not join or leave any more. */
void rlt_interests_fini(struct rlt_interests *table);

/**
 * Make `member` a member of its topic's interest, which is made for the first member.
 *
 * Returns: 0; ROULETTE_ENOMEM; ROULETTE_EBUSY (RLT_INTERESTS_MAX reached).
 */
int rlt_interests_join(struct rlt_interests *table, struct rlt_member *member);

/** Find the interest that a member has joined, and not left; NULL if there is none. */
struct rlt_interest *rlt_interests_of(struct rlt_interests *table, struct rlt_member *member);

/** Take a member out of the interest that it has joined, which may be left without members. */
void rlt_interests_leave(struct rlt_interest *interest, struct rlt_member *member);

/** End an interest without members that is in no queue. Its sid will not be seen again, and its
 *  memory may be freed. */
void rlt_interests_remove(struct rlt_interests *table, struct rlt_interest *interest);

/** Give an interest that no server knows another sid: messages in flight for the old sid, from a
 *  server that knew it, do not reach its members any more. */
void rlt_interests_renew(struct rlt_interests *table, struct rlt_interest *interest);

/** The interest of an index below index_count; NULL if the index is free. */
static inline struct rlt_interest *rlt_interests_at(const struct rlt_interests *table,
                                                    uint32_t index)
{
    uint64_t entry = table->by_index[index];
    return (entry & 1) == 0 ? (struct rlt_interest *)(uintptr_t)entry : NULL;
}

/**
 * Find the next interest of a path, from index `*index` on, which becomes its index; NULL if there
 * is none. The interest may be removed before the next call.
 *
 *     for (uint32_t i = 0; (it = rlt_interests_next(table, path, &i)) != NULL; i++)
 */
static inline struct rlt_interest *rlt_interests_next(const struct rlt_interests *table,
                                                      uint32_t path, uint32_t *index)
{
    for (; *index < table->index_count; (*index)++) {
        struct rlt_interest *interest = rlt_interests_at(table, *index);
        if (interest != NULL && interest->path == path) {
            return interest;
        }
    }
    return NULL;
}

/** Find the interest of a sid from the wire; NULL if there is none (any more). */
static inline struct rlt_interest *rlt_interests_find(const struct rlt_interests *table,
                                                      uint64_t sid)
{
    uint64_t index = sid & (RLT_INTERESTS_MAX - 1);
    if (index >= table->index_count) {
        return NULL;
    }
    struct rlt_interest *interest = rlt_interests_at(table, (uint32_t)index);
    return interest != NULL && interest->sid == sid ? interest : NULL;
}

/** Find the shared interest of a topic; NULL if there is none. */
struct rlt_interest *rlt_interests_find_topic(struct rlt_interests *table, const char *topic,
                                              size_t len, uint64_t hash);

/** Whether the server should send messages for an interest. */
static inline bool rlt_interest_is_wanted(const struct rlt_interest *interest)
{
    return interest->member_count != interest->draining_count &&
           (!interest->counted || rlt_quota_left((struct rlt_interest *)(uintptr_t)interest) != 0);
}

static inline struct rlt_member **rlt_interest_members(struct rlt_interest *interest)
{
    return interest->has_many ? interest->many->members : &interest->only;
}

/** Enqueue an interest, unless it is queued already. */
void rlt_interest_queue_push(struct rlt_interest_queue *queue, struct rlt_interest *interest);

/** Take an interest out, if it is in the queue. */
void rlt_interest_queue_remove(struct rlt_interest_queue *queue, struct rlt_interest *interest);

#endif
