/* SPDX-License-Identifier: MIT */
/**
 * How far the bench is, on stderr: a line that is written over on a terminal, otherwise a line
 * for each contest.
 */
#ifndef BENCH_HARNESS_PROGRESS_H
#define BENCH_HARNESS_PROGRESS_H

#include "harness/contest.h"

/** A contest of `count` begins. */
void progress_contest(const struct workload *first, size_t number, size_t count);
/** A run of it begins. */
void progress_round(const struct entry *entry, uint32_t round, uint32_t rounds);
/** The contest has ended. */
void progress_end(void);

/** Seconds since the first contest began. */
double progress_seconds(void);

#endif
