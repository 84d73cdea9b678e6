/* SPDX-License-Identifier: MIT */
/**
 * The end of a process of the bench that cannot go on. A measured client is a process of its own,
 * so ending it costs one sample.
 */
#ifndef BENCH_HARNESS_STOP_H
#define BENCH_HARNESS_STOP_H

/** Print "bench: " and the text to stderr, and end the process with status 1. */
_Noreturn void stop(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
