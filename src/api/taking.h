/* SPDX-License-Identifier: MIT */
/**
 * Taking deliveries out of a subscriber's mailboxes, as messages and notices.
 *
 * Threads: the owner thread.
 */
#ifndef RLT_API_TAKING_H
#define RLT_API_TAKING_H

#include <stdbool.h>
#include <stddef.h>

#include "api/subscriber.h"

/**
 * Take up to `max` messages and notices, in one round over the mailboxes that begins with another
 * one each time.
 *
 * Returns: how many.
 */
size_t rlt_subscriber_take(struct roulette_subscriber *subscriber,
                           struct roulette_message *messages, size_t max);

/**
 * Take deliveries that the user would not see (notices and messages of subscriptions that are over)
 * from the front of the mailboxes, without a receive.
 *
 * Returns: whether no mailbox has a delivery in front that the user is to receive.
 */
bool rlt_subscriber_reap(struct roulette_subscriber *subscriber);

#endif
