/* SPDX-License-Identifier: MIT */
/**
 * The list of a client's subscribers, so that the thread that closes the client can wake them.
 *
 * Threads: any thread; under the client's lock.
 */
#ifndef RLT_API_SUBSCRIBERS_H
#define RLT_API_SUBSCRIBERS_H

#include "api/client.h"

void rlt_subscribers_add(roulette_client *client, struct roulette_subscriber *subscriber);
void rlt_subscribers_remove(roulette_client *client, struct roulette_subscriber *subscriber);

/** Wake all sleeping subscribers: the client has stopped. Threads: the closer. */
void rlt_subscribers_wake(roulette_client *client);

#endif
