/* SPDX-License-Identifier: MIT */
/**
 * The time from publishing a message to receiving it by the same client.
 *
 * In a closed loop there is one message: the thread that receives it publishes the next. Paced, a
 * thread of its own publishes at fixed moments, whatever has come back by then.
 */
#ifndef BENCH_ROUND_TRIP_H
#define BENCH_ROUND_TRIP_H

#include "peer.h"
#include "sample.h"

/**
 * Measure. 0 messages per second is a closed loop. `payload` is what the client was opened
 * with.
 */
void round_trip(const struct peer *peer, void *client, uint32_t messages_per_second,
                uint64_t messages, void *payload, struct peer_tally *tally, struct sample *sample);

#endif
