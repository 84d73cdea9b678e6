/* SPDX-License-Identifier: MIT */
/**
 * How many messages a member of a queue group may still have, if that is limited (max_messages).
 * What its server sends it beyond that no other member gets, so the server is told: "UNSUB sid
 * max" behind the SUB. It counts what it sends since the SUB, and forgets the subscription then.
 *
 * With one cluster that is exact. Each further cluster knows of its own messages only, and is told
 * all that are left too: otherwise a cluster on which nothing happens would keep some from one on
 * which much does. So when the last one arrives, the others may have sent more, until their UNSUB
 * reaches them. The same while a connection moves off a lame duck, which is a member twice. What
 * is in excess is dropped, and counted: `dropped_limit`.
 *
 * A message that is dropped here (no room, too large) does not count for the user, but does for
 * the server; when that has forgotten the subscription, it is subscribed again for the rest.
 *
 * A subscription with a quota is `counted`. It always has its member in a list, so that the usual
 * path of a delivery does not have to ask.
 *
 * Owner: the event thread, except `left`, which the event threads of all clusters share.
 */
#ifndef RLT_CORE_DELIVERY_QUOTA_H
#define RLT_CORE_DELIVERY_QUOTA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/delivery/subscription.h"

struct rlt_exchange;

/** Of the SUB on one connection. */
struct rlt_portion {
    uint64_t told;    /* the server forgets it behind so many */
    uint64_t arrived; /* of these */
};

/** Of one handle; in its block, behind the topic. */
struct rlt_quota {
    /* Relaxed: what two clusters take at once is in excess, and found by the subscriber. */
    _Atomic(uint64_t) left;
    /* By member, and by side of its path. */
    struct rlt_portion portions[][2];
};

/** Bytes of a quota. */
static inline size_t rlt_quota_size(uint32_t member_count)
{
    return sizeof(struct rlt_quota) + member_count * 2 * sizeof(struct rlt_portion);
}

/** The quota of a counted subscription's handle. */
static inline struct rlt_quota *rlt_quota_of(struct rlt_interest *interest)
{
    struct rlt_subscription *subscription =
        rlt_subscription_of(rlt_container_of(interest, struct rlt_member, own));
    return (struct rlt_quota *)(void *)((uint8_t *)subscription +
                                        rlt_subscription_quota_offset(subscription));
}

static inline uint64_t rlt_quota_left(struct rlt_interest *interest)
{
    return atomic_load_explicit(&rlt_quota_of(interest)->left, memory_order_relaxed);
}

/** How many messages the server is to be told of: 0 would be no limit. If none is left, another
 *  cluster has just brought the last one. */
static inline uint64_t rlt_quota_wanted(struct rlt_interest *interest)
{
    return rlt_max_u64(rlt_quota_left(interest), 1);
}

/** The server that the connection of a side leads to is told to send so many, from now on. */
void rlt_quota_set_told(struct rlt_interest *interest, int side, uint64_t told);

/** What it was told the last time. */
uint64_t rlt_quota_told(struct rlt_interest *interest, int side);

/** Messages of a counted subscription arrived on the exchange's source, and `kept` of them were
 *  pushed into its mailbox: at most rlt_quota_left() was before. */
void rlt_quota_on_arrival(struct rlt_exchange *exchange, struct rlt_interest *interest,
                          uint32_t arrived, uint32_t kept);

#endif
