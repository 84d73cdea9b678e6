/* SPDX-License-Identifier: MIT */
/**
 * Measure one peer on one workload, in this process: nothing else may run in it.
 *
 * Before the measured window the same work is done on a smaller scale, so that connections,
 * threads and memory are warm.
 */
#ifndef BENCH_HARNESS_MEASURE_H
#define BENCH_HARNESS_MEASURE_H

#include "harness/sample.h"
#include "harness/workload.h"
#include "peers/peer.h"

/**
 * Measure `messages`, published ones. `ports` are the servers', one for each cluster. Ends the
 * process with stop() if anything fails.
 */
void measure(const struct peer *peer, const struct workload *workload, const uint16_t *ports,
             uint64_t messages, struct sample *sample);

#endif
