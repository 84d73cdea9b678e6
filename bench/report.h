/* SPDX-License-Identifier: MIT */
/**
 * The table on stdout.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "contest.h"
#include "machine.h"

/** What was measured where, and how to read the table. */
void report_head(const struct machine *machine, uint32_t rounds, double seconds);

/** The block of one workload. */
void report_contest(const struct contest *contest);

#endif
