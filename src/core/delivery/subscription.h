/* SPDX-License-Identifier: MIT */
/**
 * A subscription of one subscriber: a topic, with a member on each cluster that has to carry it,
 * and in each member an interest for that cluster's table, in case the topic has none there yet.
 * There may be millions, so one block of memory holds all of it, the text once:
 *
 *     struct rlt_subscription | struct rlt_member ... | topic | struct rlt_quota, if it is limited
 *
 * Two sides hold a block, and the last of them frees it. The subscriber's owner thread holds it
 * until that thread has received the last notices of all members. The event thread of a cluster
 * holds it as long as an interest in it is in the table: other subscribers' members may have joined
 * that interest, and the server may still have to be told that there are none.
 */
#ifndef RLT_CORE_DELIVERY_SUBSCRIPTION_H
#define RLT_CORE_DELIVERY_SUBSCRIPTION_H

#include <assert.h>
#include <ck_queue.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "core/delivery/topic_set.h"
#include "core/seam/command.h"

struct rlt_mailbox;
struct rlt_member;
struct rlt_member_list;

/** One SUB on the wire: see core/delivery/interests.h. Event thread, except immutable fields. */
struct rlt_interest {
    uint64_t sid; /* 0: not in the table */
    /* One member is kept in `only`, more in `many`. */
    union {
        struct rlt_member *only;
        struct rlt_member_list *many;
    };
    bool has_many;
    /* Of one member of a queue group; not found by topic. Immutable. */
    bool exclusive : 1;
    bool counted : 1; /* has a quota (core/delivery/quota.h): exclusive, and in `many`;
                         immutable */
    uint8_t path;     /* of the cluster's pool; immutable */
    bool on_server;   /* the SUB was written on the active connection */
    bool on_second;   /* and on the connection that takes over (core/cluster/handover.h) */
    bool queued;
    uint8_t young; /* subscribed in the middle of a handover: enum rlt_handover_age */
    bool again;    /* the server has had this sid; another SUB of it may follow */
    uint32_t member_count;
    uint32_t draining_count; /* of these */
    uint32_t queue_next;     /* indexes; 0: none */
    uint32_t queue_prev;
};

/** Requests to the event thread about a member. Requests made together are executed in this
 *  order. */
enum rlt_ask {
    RLT_ASK_SUBSCRIBE = 1,
    RLT_ASK_DRAIN = 2,       /* no new messages */
    RLT_ASK_FINISH = 4,      /* later: all messages in flight have arrived */
    RLT_ASK_UNSUBSCRIBE = 8, /* the last request */
};

/**
 * One subscriber's share in an interest: one topic on one cluster. The fields that a delivery needs
 * lie together, at the end of the subscription and the beginning of the first member: with a
 * million topics each is a cache miss. With RLT_ASK_SUBSCRIBE the event thread owns the member;
 * with the notice ENDED or REMOVED the subscriber owns it again.
 */
struct rlt_member {
    uint8_t number;                   /* in its block; immutable */
    bool left;                        /* subscriber: the last notice was received */
    bool joined;                      /* event thread: a member of its topic's interest */
    bool draining;                    /* event thread: takes messages in flight, and no more */
    bool lost;                        /* event thread: LOST was told, RESTORED was not */
    bool finished;                    /* event thread: ENDED or REMOVED was pushed or deferred */
    uint8_t deferred;                 /* event thread: enum rlt_notice bits */
    bool deferred_restored_last;      /* event thread: of LOST and RESTORED: which came last */
    struct rlt_mailbox *mailbox;      /* immutable */
    struct rlt_interest own;          /* in the table if the topic had none at the join */
    struct rlt_command command;       /* for all requests: in the queue once */
    CK_STAILQ_ENTRY(rlt_member) link; /* event thread: of the mailbox's deferred_members */
    uint32_t index;                   /* event thread: among the interest's members */
    int16_t lost_error;               /* event thread: of a deferred LOST */
    /* Why the cluster ended the member, before the notice is pushed. Written by the event thread,
     * read by the owner thread in a subscribe that waits. Relaxed: read behind a fence. */
    _Atomic(int16_t) end_error;
};

struct rlt_subscription {
    /* Relaxed to add, acquire and release to subtract: the side that frees the block sees all that
     * the other side wrote to it. */
    _Atomic(uint32_t) references;
    uint16_t topic_len;    /* with a queue group of "topic group"; immutable */
    uint16_t member_count; /* immutable */
    uint64_t hash;         /* of the topic; immutable */

    /* The subscriber's (api/handles.h). */
    bool over;             /* no message of it is received any more */
    bool leaving;          /* its members were told to unsubscribe */
    uint16_t pending;      /* members whose last notice has not been received */
    uint16_t last_cluster; /* of the last message, if it ended by itself */
    bool limited;          /* a quota lies behind the topic; immutable */
    bool completed;        /* ended by itself */
    union {
        uint64_t left; /* messages until it ends by itself; 0: no such end */
        CK_SLIST_ENTRY(rlt_subscription) link; /* once it is over: in a list */
    };
    void *user_data;
    uint64_t name; /* the public handle */

    struct rlt_member members[];
};

static_assert(sizeof(void *) != 8 || sizeof(struct rlt_subscription) == 48,
              "136 bytes and the topic");
static_assert(sizeof(void *) != 8 || sizeof(struct rlt_member) == 88, "of each subscription");

/**
 * Make a subscription to a topic, in a queue group if `group` is not NULL, and then with a quota of
 * `max_messages` if that is not 0. The caller sets the mailboxes and paths.
 *
 * Ownership: the caller's reference; rlt_subscription_release() gives it up.
 * Returns:   NULL if there is no memory.
 */
struct rlt_subscription *rlt_subscription_create(const char *topic, size_t topic_len,
                                                 const char *group, size_t group_len,
                                                 uint32_t member_count, uint64_t max_messages);

/** Take or give up a reference. Threads: any thread that holds one. */
void rlt_subscription_acquire(struct rlt_subscription *subscription);
void rlt_subscription_release(struct rlt_subscription *subscription);

/**
 * Add a request. Returns: true if the caller pushes `member->command` on the cluster's stack; false
 * if the command is there already. Threads: the owner thread.
 */
bool rlt_member_ask(struct rlt_member *member, enum rlt_ask what);

static inline struct rlt_subscription *rlt_subscription_of(struct rlt_member *member)
{
    return rlt_container_of(member - member->number, struct rlt_subscription, members);
}

/** Where the quota of a limited subscription lies in its block. */
static inline size_t rlt_subscription_quota_offset(const struct rlt_subscription *subscription)
{
    size_t end = sizeof(*subscription) + subscription->member_count * sizeof(struct rlt_member);
    return (end + subscription->topic_len + sizeof(uint64_t) - 1) / sizeof(uint64_t) *
           sizeof(uint64_t);
}

/** The key of a subscription: its topic; with a queue group the topic, a space and the group, as
 *  SUB has them. No topic contains a space, so the two kinds of key never collide. */
static inline struct rlt_topic_key rlt_subscription_key(const struct rlt_subscription *subscription)
{
    const char *topic = (const char *)&subscription->members[subscription->member_count];
    return (struct rlt_topic_key){topic, subscription->topic_len, subscription->hash};
}

static inline struct rlt_topic_key rlt_interest_key(struct rlt_interest *interest)
{
    return rlt_subscription_key(
        rlt_subscription_of(rlt_container_of(interest, struct rlt_member, own)));
}

#endif
