/* SPDX-License-Identifier: MIT */
/**
 * A file of results: JSON lines, the first of type "machine". Several programs may add to it, one
 * after the other.
 */
#ifndef BENCH_HARNESS_LINES_H
#define BENCH_HARNESS_LINES_H

#include <jansson.h>

#include "harness/machine.h"
#include "harness/sample.h"

struct lines;

/** What becomes of lines that are in the file already. */
enum lines_mode {
    LINES_REPLACE,
    LINES_APPEND,
};

/**
 * Open the file, and write the machine's line if it is empty.
 *
 * Ownership: lines_close() ends it.
 * Returns:   the lines; ends the process with stop() if the file cannot be written.
 */
struct lines *lines_open(const char *path, enum lines_mode mode, const struct machine *machine);

/** Write one line. Ownership: takes `line`. Ends the process with stop() if it is NULL. */
void lines_write(struct lines *lines, json_t *line);

/** Median, least, greatest and number of the rounds; null if there are none. */
json_t *lines_series(const struct series *series);

void lines_close(struct lines *lines);

#endif
