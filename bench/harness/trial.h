/* SPDX-License-Identifier: MIT */
/**
 * One measured run: a fresh server, and a fresh process for the client, so that its CPU time is
 * its own and nothing is left of the run before.
 */
#ifndef BENCH_HARNESS_TRIAL_H
#define BENCH_HARNESS_TRIAL_H

#include <stdbool.h>

#include "harness/sample.h"
#include "harness/workload.h"
#include "peers/peer.h"

struct trial {
    struct sample sample;
    double server_cpu_ns; /* of a null server, for each message with the warm-up; or 0 */
};

/**
 * Run `messages` of a workload through a peer; published ones, so that each subscriber has them.
 *
 * Returns: whether it succeeded: in time, and with every byte that was published at the server.
 *          If not, why was printed to stderr.
 */
bool trial_run(const struct peer *peer, const struct workload *workload, uint64_t messages,
               struct trial *trial);

/**
 * As trial_run(), but for the system calls of the client only; see harness/calls.h.
 *
 * Returns: whether they could be counted: `*calls_per_message` is set.
 */
bool trial_count_calls(const struct peer *peer, const struct workload *workload, uint64_t messages,
                       double *calls_per_message);

#endif
