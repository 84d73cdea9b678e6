/* SPDX-License-Identifier: MIT */
/**
 * Waiting until the servers know of a subscription.
 */
#ifndef RLT_API_SUBSCRIBE_WAIT_H
#define RLT_API_SUBSCRIBE_WAIT_H

#include "api/subscriber.h"
#include "api/wait.h"
#include "core/delivery/subscription.h"

/**
 * Wait until the servers know of a subscription; end it if one refuses, or if no cluster answers.
 * If only some are away the subscription stays: live on the others, and made on these when they
 * come. `fence` goes through the clusters of the subscription.
 *
 * Threads: the owner thread.
 * Returns: 0; the number of clusters that have not answered; an error.
 */
int rlt_subscription_confirm(struct roulette_subscriber *subscriber, struct rlt_subscription *entry,
                             const struct rlt_fence_wish *fence, int timeout_ms);

#endif
