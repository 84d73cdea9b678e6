/* SPDX-License-Identifier: MIT */
/**
 * The quota of a member of a queue group: how many messages it may still receive, if that is
 * limited (max_messages). Messages that a server sends beyond the quota reach no other member, so
 * the server is told: "UNSUB sid max" behind the SUB. The server counts the messages it sends since
 * the SUB, and forgets the sid behind the last.
 *
 * With one cluster that is exact. Each further cluster knows of its own messages only, and is told
 * all that are left too: otherwise an idle cluster would keep messages from a busy one. So when the
 * last message arrives, the other clusters may have sent more, until their UNSUB reaches them. The
 * same while a path moves off a lame duck: two servers have the SUB. Messages in excess are
 * dropped, and counted: `dropped_limit`.
 *
 * A message that is dropped here (no room, too large) does not count for the user, but does for
 * the server; when the server has forgotten the sid, the interest is subscribed again for the rest.
 *
 * An interest with a quota is `counted`. It always has its member in a list, so that the usual
 * case of a delivery does not have to ask.
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

/** The portion of the SUB on one connection. */
struct rlt_portion {
    uint64_t told;    /* the server forgets the SUB behind so many messages */
    uint64_t arrived; /* of these */
};

/** The quota of one subscription; in its block, behind the topic. */
struct rlt_quota {
    /* Relaxed: messages that two clusters take at once are in excess; the subscriber drops them. */
    _Atomic(uint64_t) left;
    /* By member, and by side of its path. */
    struct rlt_portion portions[][2];
};

/** Count the bytes of a quota. */
static inline size_t rlt_quota_size(uint32_t member_count)
{
    return sizeof(struct rlt_quota) + member_count * 2 * sizeof(struct rlt_portion);
}

/** Find the quota of a counted interest, in its subscription's block. */
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

/** How many messages the server is to be told: at least 1, as 0 would be no limit. If none is left,
 *  another cluster has just brought the last. */
static inline uint64_t rlt_quota_wanted(struct rlt_interest *interest)
{
    return rlt_max_u64(rlt_quota_left(interest), 1);
}

/** Note that the server of a side's connection is told to send so many messages from now on. */
void rlt_quota_set_told(struct rlt_interest *interest, int side, uint64_t told);

/** How many messages a side's server was last told. */
uint64_t rlt_quota_told(struct rlt_interest *interest, int side);

/** Note that messages of a counted interest arrived on the exchange's source, and that `kept` of
 *  them, at most the rlt_quota_left() before, were pushed into its mailbox. */
void rlt_quota_on_arrival(struct rlt_exchange *exchange, struct rlt_interest *interest,
                          uint32_t arrived, uint32_t kept);

#endif
