/* SPDX-License-Identifier: MIT */
/**
 * A measured client's process: it tells what it found, and ends. The two can talk meanwhile.
 */
#ifndef BENCH_FOOTPRINT_CHILD_H
#define BENCH_FOOTPRINT_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct child {
    pid_t pid;
    int line; /* a stream socket to the other one */
};

/** What a child does: `line` leads to its parent. It may end the process with stop(). */
typedef void child_fn(int line, const void *context);

/** Start a child, which is killed if this process ends. Ends the process with stop() on failure. */
struct child child_start(child_fn *run, const void *context);

/** Send to the other one, or receive from it. Returns: false if it has ended. */
bool child_tell(int line, const void *bytes, size_t len);
bool child_hear(int line, void *bytes, size_t len);

/** Wait for a child's end. Returns: whether it went well; if not, why was printed. */
bool child_finish(struct child child);

#endif
