/* SPDX-License-Identifier: MIT */
/**
 * Readiness: what the descriptor of a subscriber tells, once it was asked for: it is readable as
 * long as there is something to receive.
 *
 * While the subscriber is not in a call, one of two holds:
 *  - Nothing was there at the last look. The bell is armed, so whoever delivers something rings it
 *    and makes the descriptor readable.
 *  - The descriptor is readable. Whoever delivers more has nothing to do.
 *
 * Each receive leaves it so. If it leaves something, it signals the descriptor once more, though it
 * is readable already: an edge-triggered poll tells of each signal, and so tells of what is left
 * after a receive of one message for each wake-up. If it takes the last, it takes the signals back
 * and arms the bell. Who does not ask for the descriptor pays for none of that.
 *
 * It may be readable for something that the user does not see: the end of a subscription that he
 * has ended, or a message of it. Then a receive returns 0 and takes the readiness back.
 *
 * A child process shares the descriptor with its parent and leaves it alone.
 *
 * roulette_subscriber_wake() makes it readable, too, until a receive has returned 0 for it.
 *
 * Threads: the owner thread; the wake: any.
 */
#ifndef RLT_API_READINESS_H
#define RLT_API_READINESS_H

#include <stdbool.h>

struct roulette_subscriber;

/** After a receive that took something, of a subscriber whose descriptor was asked for. */
void rlt_readiness_show(struct roulette_subscriber *subscriber);

/** After a receive that took nothing, as rlt_readiness_show(). Returns: false if there is something
 *  to receive now, and the descriptor is as it was. */
bool rlt_readiness_take_back(struct roulette_subscriber *subscriber);

/** There is nothing more to receive, because the client has stopped: readable for good. */
void rlt_readiness_show_end(struct roulette_subscriber *subscriber);

#endif
