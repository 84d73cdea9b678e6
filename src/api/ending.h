/* SPDX-License-Identifier: MIT */
/**
 * The end of subscriptions: their members are told to leave their clusters, and the subscriptions
 * are retired from the table.
 *
 * Threads: the owner thread.
 */
#ifndef RLT_API_ENDING_H
#define RLT_API_ENDING_H

#include <stdbool.h>
#include <stdint.h>

#include "api/subscriber.h"
#include "base/defs.h"
#include "core/delivery/subscription.h"

/** End all subscriptions. */
void rlt_subscriber_end_all(struct roulette_subscriber *subscriber);

/** Ask the event threads for a change of all members of live subscriptions. Returns: false if the
 *  client is closing. */
bool rlt_subscriber_ask_all(struct roulette_subscriber *subscriber, enum rlt_ask what);

/** End a subscription: forget its topic and tell all members to leave. */
void rlt_subscriber_end(struct roulette_subscriber *subscriber, struct rlt_subscription *entry,
                        const struct rlt_member *ended);

/** End a subscription whose last of max_messages was received, from `cluster`. */
void rlt_subscriber_complete(struct roulette_subscriber *subscriber, struct rlt_subscription *entry,
                             uint32_t cluster);

/** Count a received message; end the subscription if it was the last of max_messages. */
static inline void rlt_subscriber_count(struct roulette_subscriber *subscriber,
                                        struct rlt_subscription *entry, uint32_t cluster)
{
    if (rlt_unlikely(entry->left != 0) && --entry->left == 0) {
        rlt_subscriber_complete(subscriber, entry, cluster);
    }
}

#endif
