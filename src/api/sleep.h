/* SPDX-License-Identifier: MIT */
/**
 * A subscriber's sleep: until one of its mailboxes has something, the client is stopped, or a
 * deadline. Where it may, the owner thread receives by itself meanwhile
 * (core/cluster/direct_receive.h).
 *
 * Threads: the owner thread.
 */
#ifndef RLT_API_SLEEP_H
#define RLT_API_SLEEP_H

#include <stdbool.h>
#include <stdint.h>

struct roulette_subscriber;

/** Whether the owner thread must not sleep: a mailbox has something, a subscription has ended by
 *  itself and the user was not told yet, the client is stopped, or a thread has called
 *  roulette_subscriber_wake(). */
bool rlt_subscriber_is_awake(struct roulette_subscriber *subscriber);

/** Sleep until the deadline at most. Returns: false if nothing came until then. */
bool rlt_subscriber_sleep(struct roulette_subscriber *subscriber, uint64_t deadline_ns);

#endif
