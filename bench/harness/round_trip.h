/* SPDX-License-Identifier: MIT */
/**
 * The time from publishing a message to receiving it by the same client.
 *
 * In a closed loop there is one message: the thread that receives it publishes the next. Paced, a
 * thread of its own publishes at fixed moments, whatever has come back by then. Both go through
 * the topics in turn.
 */
#ifndef BENCH_HARNESS_ROUND_TRIP_H
#define BENCH_HARNESS_ROUND_TRIP_H

#include "harness/sample.h"
#include "harness/workload.h"
#include "peers/peer.h"

/**
 * Measure a WORKLOAD_LATENCY. `payload` is what the client was opened with.
 */
void round_trip(const struct peer *peer, void *client, const struct workload *workload,
                uint64_t messages, void *payload, struct peer_tally *tally, struct sample *sample);

#endif
