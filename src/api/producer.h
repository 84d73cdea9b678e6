/* SPDX-License-Identifier: MIT */
/**
 * A producer: the lanes that the calling thread writes to, one of each path's wire queue. One
 * producer for each thread and client, made at the thread's first publish; its lanes are given back
 * when the thread ends.
 */
#ifndef RLT_API_PRODUCER_H
#define RLT_API_PRODUCER_H

#include <stdint.h>

#include "api/client.h"

/**
 * The calling thread's lane in the wire queue of a place.
 *
 * Threads: any thread. Allocates at the first call for a place.
 * Returns: the lane's index (RLT_WIRE_LANES: the shared lane); ROULETTE_ENOMEM;
 *          ROULETTE_EAGAIN (another thread is just making the shared lane: sleep while
 *          queue->shared.ready is 1, and call again).
 */
int rlt_producer_lane(roulette_client *client, struct rlt_place place);

#endif
