/* SPDX-License-Identifier: MIT */
/**
 * The number of system calls that a process makes between two moments, all threads together.
 *
 * From the first moment on a seccomp filter stops each call for a tracer (the parent), which
 * counts it and lets it go on; before that nothing is slowed. This needs no privileges, no
 * tracing in the kernel and no tools, and sees calls that are made without libc. It slows each
 * call by some microseconds, so the rate of such a run says nothing, and a client that batches
 * what has piled up meanwhile may make fewer calls than at full speed.
 */
#ifndef BENCH_HARNESS_CALLS_H
#define BENCH_HARNESS_CALLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* ---- In the traced process ---------------------------------------------------------------- */

/** Wait until the parent traces this process; before it starts threads. */
void calls_await_tracer(int from_parent);

/** Count from here. Does nothing in a process that is not traced. */
void calls_begin(void);
/** Count no more. The process cannot begin again. */
void calls_end(void);

/* ---- In its parent ------------------------------------------------------------------------ */

/**
 * Trace a child that waits in calls_await_tracer() until it has ended.
 *
 * Returns: whether its calls were counted: `*count` is set. Otherwise it runs without.
 */
bool calls_trace(pid_t pid, int to_child, int *status, uint64_t *count);

#endif
