/* SPDX-License-Identifier: MIT */
/**
 * The results as JSON lines: one of type "machine", one of type "run" for each measured run, and
 * one of type "row" for each line of the table.
 */
#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H

#include "contest.h"
#include "machine.h"

struct record;

/**
 * Make the file.
 *
 * Ownership: record_close() ends it.
 * Returns:   the record; ends the process with stop() if the file cannot be made.
 */
struct record *record_open(const char *path, const struct machine *machine);

void record_trial(struct record *record, const struct contest *contest, const struct entry *entry,
                  uint32_t round, const struct trial *trial);
void record_contest(struct record *record, const struct contest *contest);
void record_close(struct record *record);

#endif
