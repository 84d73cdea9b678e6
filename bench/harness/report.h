/* SPDX-License-Identifier: MIT */
/**
 * The table on stdout.
 */
#ifndef BENCH_HARNESS_REPORT_H
#define BENCH_HARNESS_REPORT_H

#include "harness/contest.h"
#include "harness/machine.h"

/** How many goals there were, and workloads that could not be run. */
struct report_count {
    uint32_t reached;
    uint32_t missed;
    uint32_t unknown; /* what they compare with was not measured */
    uint32_t skipped;
};

/** What was measured where, how to read the table, and how long it takes, about. */
void report_head(const struct machine *machine, uint32_t rounds, double seconds, double minutes);

/** The blocks of a contest's workloads. Counts its goals. */
void report_contest(const struct contest *contest, struct report_count *count);

/** A workload that is not run, because there is no server for it. Counts it. */
void report_skipped(const struct workload *workload, struct report_count *count);

void report_end(const struct report_count *count, double seconds);

#endif
