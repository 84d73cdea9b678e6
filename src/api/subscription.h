/* SPDX-License-Identifier: MIT */
/**
 * The subscriptions of one subscriber.
 */
#ifndef RLT_API_SUBSCRIPTION_H
#define RLT_API_SUBSCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "api/client.h"
#include "core/handle.h"
#include "core/topic_set.h"
#include "roulette.h"

/**
 * All handles (core/handle.h) of a subscriber. The public handle is not an address but an index
 * into this table and a serial number of its own in the process, so that a handle that is over,
 * or another subscriber's, is recognised.
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
    struct rlt_handle *over;
    /* Ended by themselves (max_messages), and the user is still to be told. */
    struct rlt_handle *completed;
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_handle_table_init(struct rlt_handle_table *table);

/** Let go of all handles, whatever their state. Threads: when no event thread has a member of
 *  them. */
void rlt_handle_table_fini(struct rlt_handle_table *table);

/** Over at a time at most, if what waits to be received keeps them: as many, or as many as were
 *  ever subscribed at a time. */
#define RLT_HANDLES_OVER_MAX 65536

/** Let go of the handles that are over and were told. */
void rlt_handle_table_free_over(struct rlt_handle_table *table);

/**
 * A member's last notice was received: it is the subscriber's memory again. Lets go of the handle
 * if it was the last and `keep` is false; otherwise it goes with the next receive.
 */
void rlt_handle_member_done(struct rlt_handle_table *table, struct rlt_handle *handle, bool keep);

/**
 * Take what the user would not see anyway (notices and messages of handles that are over) from the
 * front of the mailboxes, without a receive. In receive.c.
 *
 * Returns: whether nothing is left in front that the user is to receive.
 */
bool rlt_subscriber_reap(struct roulette_subscriber *subscriber);

/** End all subscriptions. */
void rlt_subscriber_end_all(struct roulette_subscriber *subscriber);

/** Ask for something about all members of live subscriptions. Returns: false if the client is
 *  closing. */
bool rlt_subscriber_ask_all(struct roulette_subscriber *subscriber, enum rlt_ask what);

/** Nothing more of this subscription: forget its topic and tell all members to leave. */
void rlt_subscriber_end(struct roulette_subscriber *subscriber, struct rlt_handle *handle,
                        const struct rlt_member *ended);

/** The last of max_messages was received, from `cluster`: the subscription ends. */
void rlt_subscriber_complete(struct roulette_subscriber *subscriber, struct rlt_handle *handle,
                             uint32_t cluster);

/** A message was received; if it was the last of max_messages, the subscription ends. */
static inline void rlt_subscriber_count(struct roulette_subscriber *subscriber,
                                        struct rlt_handle *handle, uint32_t cluster)
{
    if (rlt_unlikely(handle->left != 0) && --handle->left == 0) {
        rlt_subscriber_complete(subscriber, handle, cluster);
    }
}

/** What the user knows it by. */
static inline roulette_subscription *rlt_handle_name(const struct rlt_handle *handle)
{
    return (roulette_subscription *)(uintptr_t)handle->name;
}

/** Take a handle that ended by itself, to tell the user; NULL if there is none. It goes with the
 *  next receive. */
struct rlt_handle *rlt_handle_table_take_completed(struct rlt_handle_table *table);

#endif
