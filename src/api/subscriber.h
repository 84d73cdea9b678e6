/* SPDX-License-Identifier: MIT */
/**
 * A subscriber: the mailboxes of one application thread, one for each cluster it has subscribed
 * on, and its subscriptions.
 */
#ifndef RLT_API_SUBSCRIBER_H
#define RLT_API_SUBSCRIBER_H

#include <stdbool.h>
#include <stdint.h>

#include "api/client.h"
#include "core/mailbox.h"
#include "lockfree/doorbell.h"
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
    bool over;        /* nothing of it is received any more */
    bool leaving;     /* its members were told to unsubscribe */
    uint32_t pending; /* members whose last notice has not been received */
    uint32_t member_count;
    struct rlt_handle *over_next;
    struct rlt_member members[];
};

struct rlt_handle_slot {
    struct rlt_handle *handle; /* NULL: free */
    uint64_t serial;           /* of `handle` */
    uint32_t free_next;
};

/** Owner: its owner thread, except the doorbell, and the list of the client's subscribers. */
struct roulette_subscriber {
    roulette_client *client; /* with a reference */
    uint32_t ring_slots;
    size_t pinned_bytes;
    int descriptor;
    bool armed;                     /* the doorbell was armed, and not disarmed by us since */
    uint32_t turn;                  /* the cluster whose mailbox is looked at first */
    struct rlt_mailbox **mailboxes; /* by cluster; NULL: nothing subscribed there yet */

    struct rlt_topic_set by_topic;
    struct rlt_handle_slot *slots;
    uint32_t slot_count;
    uint32_t slot_free; /* index of the first free slot, or slot_count */
    uint32_t handle_count;
    /* ENDED was received; they go with the next receive. */
    struct rlt_handle *over;

    struct roulette_subscriber *next; /* client->subscribers, under its lock */
    struct roulette_subscriber **prev_link;

    alignas(RLT_CACHE_LINE) struct rlt_doorbell doorbell;
};

/** Wake all subscribers that sleep: the client has stopped. Threads: the closer. */
void rlt_subscribers_wake(roulette_client *client);

/**
 * A member's last notice was received: it is the subscriber's memory again. Frees the
 * subscription if it was the last and `keep` is false; otherwise it goes with the next receive.
 */
void rlt_handle_member_done(struct rlt_handle *handle, bool keep);

/** Nothing more of this subscription: forget its topic and tell all members to leave. */
void rlt_handle_end(struct rlt_handle *handle, const struct rlt_member *ended);

/** Free the subscriptions whose ENDED was received before. */
void rlt_subscriber_free_over(struct roulette_subscriber *subscriber);

#endif
