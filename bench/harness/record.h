/* SPDX-License-Identifier: MIT */
/**
 * The results of contests as JSON lines: one of type "run" for each measured run, one of type
 * "row" for each line of the table, and one of type "skipped" for a workload that was not run.
 */
#ifndef BENCH_HARNESS_RECORD_H
#define BENCH_HARNESS_RECORD_H

#include "harness/contest.h"
#include "harness/lines.h"

void record_trial(struct lines *lines, const struct entry *entry, uint32_t round,
                  const struct trial *trial);
void record_skipped(struct lines *lines, const struct workload *workload);
/** A line for each entry. */
void record_contest(struct lines *lines, const struct contest *contest);

#endif
