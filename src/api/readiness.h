/* SPDX-License-Identifier: MIT */
/**
 * Readiness: a subscriber's descriptor, once the application has asked for it, is readable as long
 * as there is something to receive.
 *
 * While the subscriber is not in a call, one of two holds:
 *  - Nothing was there at the last look. The bell is armed, so a thread that delivers rings it and
 *    makes the descriptor readable.
 *  - The descriptor is readable. A thread that delivers more does nothing.
 *
 * Each receive restores this. A receive that leaves messages signals the readable descriptor once
 * more: an edge-triggered poll reports each signal, and so reports messages left after a receive of
 * one per wake-up. A receive that takes the last clears the signals and arms the bell. A subscriber
 * without descriptor pays for none of that.
 *
 * The descriptor may be readable for something that the user does not see: the end of a
 * subscription that he has ended, or a message of it. Then a receive returns 0 and clears the
 * signals.
 *
 * A child process shares the descriptor with its parent and leaves it alone.
 *
 * roulette_subscriber_wake() makes the descriptor readable, too, until a receive has returned 0 for
 * that.
 *
 * Threads: the owner thread; the wake: any.
 */
#ifndef RLT_API_READINESS_H
#define RLT_API_READINESS_H

#include <stdbool.h>

struct roulette_subscriber;

/** Update a polled subscriber's descriptor after a receive that took something. */
void rlt_readiness_show(struct roulette_subscriber *subscriber);

/** Clear the signals after a receive that took nothing. Returns: false if there is something to
 *  receive now, and the descriptor is unchanged. */
bool rlt_readiness_take_back(struct roulette_subscriber *subscriber);

/** Make the descriptor readable for good: the client has stopped, and nothing is left. */
void rlt_readiness_show_end(struct roulette_subscriber *subscriber);

#endif
