/* SPDX-License-Identifier: MIT */
/**
 * The results of contests as JSON lines: one of type "run" for each measured run, and one of type
 * "row" for each line of the table.
 */
#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H

#include "contest.h"
#include "lines.h"

void record_trial(struct lines *lines, const struct entry *entry, uint32_t round,
                  const struct trial *trial);
/** A line for each entry. */
void record_contest(struct lines *lines, const struct contest *contest);

#endif
