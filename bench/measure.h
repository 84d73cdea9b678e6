/* SPDX-License-Identifier: MIT */
/**
 * Measure one peer on one workload, in this process: nothing else may run in it.
 *
 * Before the measured window the same work is done on a smaller scale, so that connections,
 * threads and memory are warm.
 */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

#include "peer.h"
#include "sample.h"
#include "workload.h"

/** Messages before the measured window, for `messages` in it. */
uint64_t measure_warm_up(uint64_t messages);

/** Ends the process with stop() if anything fails. */
void measure(const struct peer *peer, const struct workload *workload, uint16_t port,
             uint64_t messages, struct sample *sample);

#endif
