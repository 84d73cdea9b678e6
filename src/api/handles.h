/* SPDX-License-Identifier: MIT */
/**
 * The handles of one subscriber's subscriptions.
 */
#ifndef RLT_API_HANDLES_H
#define RLT_API_HANDLES_H

#include <ck_queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/delivery/subscription.h"
#include "core/delivery/topic_set.h"
#include "roulette.h"

/**
 * All handles (core/delivery/subscription.h) of a subscriber. The public handle is not an address
 * but an index into this table and a serial number of its own in the process, so that a handle that
 * is over, or another subscriber's, is recognised.
 *
 * Owner: the owner thread.
 */
struct rlt_handle_table {
    struct rlt_topic_set by_key;
    /* By index: the handle's address, which is even; of a free index 2 * the next free one + 1. */
    uintptr_t *slots;
    uint32_t slot_count;    /* indexes ever used, and index 0, which never is */
    uint32_t slot_capacity; /* of the array */
    uint32_t slot_free;     /* the first free index below slot_count; 0: none */
    /* Handles that are over and not given back: their last notices are to come, or wait behind what
     * is to be received. Looked for when there are `over_look` of them. */
    uint32_t over_count;
    uint32_t over_look;
    uint32_t live_max; /* the most that were not over at a time */
    /* Their last notice was received; they go with the next receive. */
    CK_SLIST_HEAD(, rlt_subscription) over;
    /* Ended by themselves (max_messages), and the user is still to be told. */
    CK_SLIST_HEAD(, rlt_subscription) completed;
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_handle_table_init(struct rlt_handle_table *table);

/** Let go of all handles, whatever their state. Threads: when no event thread has a member of
 *  them. */
void rlt_handle_table_fini(struct rlt_handle_table *table);

/**
 * Put a handle into the table; its place there and a serial number are its public name.
 *
 * Returns: 0; ROULETTE_ENOMEM; ROULETTE_EBUSY (the table is full).
 */
int rlt_handle_table_add(struct rlt_handle_table *table, struct rlt_subscription *entry);

/** The live handle with this public name; NULL: there is none. */
struct rlt_subscription *rlt_handle_table_find(const struct rlt_handle_table *table,
                                               const roulette_subscription *subscription);

/** The live handle of this topic and queue group; NULL: there is none. */
struct rlt_subscription *rlt_handle_table_find_key(const struct rlt_handle_table *table,
                                                   const struct rlt_topic_key *key);

/** Walk over the live handles: the next one from `*cursor` on, which begins with 0; NULL: no more.
 *  The one that was returned may be retired. */
struct rlt_subscription *rlt_handle_table_next(const struct rlt_handle_table *table,
                                               uint32_t *cursor);

/** So many handles that are over are not looked for. */
#define RLT_HANDLES_OVER_FEW 64

/** Over at a time at most, if what waits to be received keeps them: as many, or as many as were
 *  ever subscribed at a time. */
#define RLT_HANDLES_OVER_MAX 65536

/** A handle is over from here on: its topic is free, its name is not known any more. */
void rlt_handle_table_retire(struct rlt_handle_table *table, struct rlt_subscription *entry);

/** The last of max_messages was received, from `cluster`: the user is still to be told. The caller
 *  ends the subscription. */
void rlt_handle_table_complete(struct rlt_handle_table *table, struct rlt_subscription *entry,
                               uint32_t cluster);

/** Take a handle that ended by itself, to tell the user; NULL if there is none. It goes with the
 *  next receive. */
struct rlt_subscription *rlt_handle_table_take_completed(struct rlt_handle_table *table);

/** Let go of the handles that are over and were told. */
void rlt_handle_table_free_over(struct rlt_handle_table *table);

/**
 * A member's last notice was received: it is the subscriber's memory again. Lets go of the handle
 * if it was the last and `keep` is false; otherwise it goes with the next receive.
 */
void rlt_subscription_member_done(struct rlt_handle_table *table, struct rlt_subscription *entry,
                                  bool keep);

/** What the user knows it by. */
static inline roulette_subscription *rlt_subscription_handle(const struct rlt_subscription *entry)
{
    return (roulette_subscription *)(uintptr_t)entry->name;
}

#endif
