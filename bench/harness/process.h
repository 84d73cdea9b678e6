/* SPDX-License-Identifier: MIT */
/**
 * What this process takes: memory, and the wake-ups and CPU time of its threads.
 */
#ifndef BENCH_HARNESS_PROCESS_H
#define BENCH_HARNESS_PROCESS_H

#include <stdint.h>

struct process_memory {
    double rss;  /* bytes of memory that are in use, as the kernel counts */
    double heap; /* bytes given out by malloc(), with its own headers */
};

struct process_memory process_memory(void);

/** The threads beside the calling one, which is the first of the process. */
struct process_activity {
    uint32_t threads;
    uint64_t wakeups; /* times that one of them went to sleep, and so was woken */
    double cpu_seconds;
};

struct process_activity process_activity(void);

#endif
