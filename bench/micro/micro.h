/* SPDX-License-Identifier: MIT */
/**
 * Operations of the data path, one at a time: what micro/main.c times.
 */
#ifndef BENCH_MICRO_MICRO_H
#define BENCH_MICRO_MICRO_H

#include <stdint.h>
#include <string.h>

/** One operation. The state is what open() returned; the thread of main() calls all three. */
struct micro {
    const char *name; /* NULL: behind the last of a table */
    uint32_t argument;
    uint32_t threads; /* that run() keeps busy; with 1 their CPU time counts, else the clock */

    void *(*open)(uint32_t argument);
    /** Do it `count` times, a multiple of MICRO_BATCH. */
    void (*run)(void *state, uint64_t count);
    void (*close)(void *state);
};

/** What run() may do at once. */
#define MICRO_BATCH 256

/** Topics: placing, checking, finding. */
extern const struct micro micro_topics[];
/** The wire: parsing, encoding, lanes. */
extern const struct micro micro_wire[];
/** Receive memory: slabs and delivery rings. */
extern const struct micro micro_receive[];

/** Zeroed memory; ends the process with stop() if there is none. */
void *micro_memory(size_t count, size_t size);

/** Topics of this length, as many as a table has keys; not NUL-terminated. */
#define MICRO_TOPIC_LEN 16

/** Write topic number `index`, the same at each call. */
void micro_topic(uint64_t index, char topic[static MICRO_TOPIC_LEN]);

/** Take a result so that the compiler cannot leave out what led to it. */
static inline void micro_keep(uint64_t value)
{
    __asm__ __volatile__("" : : "r"(value) : "memory");
}

#endif
