/* SPDX-License-Identifier: MIT */
/**
 * The subscriptions of one subscriber.
 */
#ifndef RLT_API_SUBSCRIPTION_H
#define RLT_API_SUBSCRIPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "api/client.h"
#include "core/mailbox.h"
#include "lockfree/topic_set.h"
#include "roulette.h"

/**
 * One subscription of one subscriber, with a member on each cluster it needs. The public handle
 * is not its address but its index and a serial number of its own in the process, so that a
 * handle that is over, or another subscriber's, is recognised.
 *
 * Owner: the subscriber's owner thread, except the members (core/mailbox.h).
 */
struct rlt_handle {
    struct rlt_topic_key key; /* owns the topic */
    struct roulette_subscriber *subscriber;
    void *user_data;
    roulette_subscription *name; /* the public handle */
    uint32_t index;
    bool over;             /* nothing of it is received any more */
    bool leaving;          /* its members were told to unsubscribe */
    uint32_t pending;      /* members whose last notice has not been received */
    uint64_t left;         /* messages until it ends by itself; 0: no such end */
    uint32_t last_cluster; /* of the last message, if it ended by itself */
    uint32_t member_count;
    struct rlt_handle *over_next;
    struct rlt_member members[];
};

struct rlt_handle_slot {
    struct rlt_handle *handle; /* NULL: free */
    uint64_t serial;           /* of `handle` */
    uint32_t free_next;
};

/** All of a subscriber's handles. Owner: the owner thread. */
struct rlt_handle_table {
    struct rlt_topic_set by_key;
    struct rlt_handle_slot *slots;
    uint32_t slot_count;
    uint32_t slot_free; /* index of the first free slot, or slot_count */
    /* Their last notice was received; they go with the next receive. */
    struct rlt_handle *over;
    /* Ended by themselves (max_messages), and the user is still to be told. */
    struct rlt_handle *completed;
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_handle_table_init(struct rlt_handle_table *table);

/** Free all handles, whatever their state. Threads: when no event thread has a member of them. */
void rlt_handle_table_fini(struct rlt_handle_table *table);

/** End all subscriptions. */
void rlt_handle_table_end_all(struct rlt_handle_table *table);

/** Give all members of live subscriptions a command of this kind. Returns: false if the client is
 *  closing. */
bool rlt_handle_table_submit_all(struct rlt_handle_table *table, roulette_client *client,
                                 enum rlt_command_kind kind);

/** Free the handles that are over and were told. */
void rlt_handle_table_free_over(struct rlt_handle_table *table);

/**
 * A member's last notice was received: it is the subscriber's memory again. Frees the handle if
 * it was the last and `keep` is false; otherwise it goes with the next receive.
 */
void rlt_handle_member_done(struct rlt_handle *handle, bool keep);

/** Nothing more of this subscription: forget its topic and tell all members to leave. */
void rlt_handle_end(struct rlt_handle *handle, const struct rlt_member *ended);

/** A message was received; if it was the last of max_messages, the subscription ends. */
void rlt_handle_count(struct rlt_handle *handle, uint32_t cluster);

/** Take a handle that ended by itself, to tell the user; NULL if there is none. It goes with the
 *  next receive. */
struct rlt_handle *rlt_handle_table_take_completed(struct rlt_handle_table *table);

#endif
