/* SPDX-License-Identifier: MIT */
/**
 * The table of one subscriber's subscriptions, by their public handles.
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
 * All subscriptions (core/delivery/subscription.h) of a subscriber. The public handle is not an
 * address but an index into this table and a serial number that is unique in the process, so that a
 * handle that is over, or another subscriber's, is recognised.
 *
 * Owner: the owner thread.
 */
struct rlt_handle_table {
    struct rlt_topic_set by_key;
    /* By index: the subscription's address, which is even; of a free index 2 * the next free one +
     * 1. */
    uintptr_t *slots;
    uint32_t slot_count;    /* indexes ever used, and index 0, which is never used */
    uint32_t slot_capacity; /* of the array */
    uint32_t slot_free;     /* the first free index below slot_count; 0: none */
    /* Subscriptions that are over and not freed: their last notices are to come, or wait behind
     * unreceived messages. Reaped when there are `over_look` of them. */
    uint32_t over_count;
    uint32_t over_look;
    uint32_t live_max; /* the most that were live at a time */
    /* Their last notice was received; the next receive frees them. */
    CK_SLIST_HEAD(, rlt_subscription) over;
    /* Ended by themselves (max_messages); the user was not told yet. */
    CK_SLIST_HEAD(, rlt_subscription) completed;
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_handle_table_init(struct rlt_handle_table *table);

/** Free all subscriptions, whatever their state. Threads: the owner thread, when no event thread
 *  has a member of them. */
void rlt_handle_table_fini(struct rlt_handle_table *table);

/**
 * Put a subscription into the table, and make its public handle.
 *
 * Returns: 0; ROULETTE_ENOMEM; ROULETTE_EBUSY (the table is full).
 */
int rlt_handle_table_add(struct rlt_handle_table *table, struct rlt_subscription *entry);

/** The live subscription of a public handle; NULL: there is none. */
struct rlt_subscription *rlt_handle_table_find(const struct rlt_handle_table *table,
                                               const roulette_subscription *subscription);

/** The live subscription of a topic and queue group; NULL: there is none. */
struct rlt_subscription *rlt_handle_table_find_key(const struct rlt_handle_table *table,
                                                   const struct rlt_topic_key *key);

/** Walk over the live subscriptions: the next one from `*cursor` on, which begins with 0; NULL: no
 *  more. The returned subscription may be retired. */
struct rlt_subscription *rlt_handle_table_next(const struct rlt_handle_table *table,
                                               uint32_t *cursor);

/** Subscriptions that are over are not reaped below this number. */
#define RLT_HANDLES_OVER_FEW 64

/** Subscriptions that are over at a time, at most, while unreceived messages keep them: so many, or
 *  as many as were ever live at a time. */
#define RLT_HANDLES_OVER_MAX 65536

/** Retire a subscription: its topic is free, its public handle unknown from here on. */
void rlt_handle_table_retire(struct rlt_handle_table *table, struct rlt_subscription *entry);

/** Note that the last of max_messages was received, from `cluster`, and the user is to be told. The
 *  caller ends the subscription. */
void rlt_handle_table_complete(struct rlt_handle_table *table, struct rlt_subscription *entry,
                               uint32_t cluster);

/** Take a subscription that ended by itself, to tell the user; NULL if there is none. The next
 *  receive frees it. */
struct rlt_subscription *rlt_handle_table_take_completed(struct rlt_handle_table *table);

/** Free the subscriptions that are over and of whose end the user was told. */
void rlt_handle_table_free_over(struct rlt_handle_table *table);

/**
 * Note that a member's last notice was received: its memory is the subscriber's again. Behind the
 * last member the subscription is freed: at once, or with the next receive if `keep`.
 */
void rlt_subscription_member_done(struct rlt_handle_table *table, struct rlt_subscription *entry,
                                  bool keep);

/** The public handle of a subscription. */
static inline roulette_subscription *rlt_subscription_handle(const struct rlt_subscription *entry)
{
    return (roulette_subscription *)(uintptr_t)entry->name;
}

#endif
