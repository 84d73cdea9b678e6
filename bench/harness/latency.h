/* SPDX-License-Identifier: MIT */
/**
 * Times from publishing a message to receiving it: each payload begins with the moment at which
 * it was given to the client.
 */
#ifndef BENCH_HARNESS_LATENCY_H
#define BENCH_HARNESS_LATENCY_H

#include <stddef.h>
#include <stdint.h>

#include "harness/sample.h"

/** Bytes of a payload that the moment takes. */
#define LATENCY_STAMP_LEN sizeof(uint64_t)

/** Written by the thread that receives, in the measured order; read when it is done. */
struct latency {
    uint64_t skip; /* so many first messages are warm-up */
    uint64_t seen;
    uint64_t capacity;
    uint64_t count;
    uint64_t *times_ns;
};

/** Room for `capacity` times. Ends the process with stop() if there is no memory. */
void latency_init(struct latency *latency, uint64_t skip, uint64_t capacity);
void latency_fini(struct latency *latency);

/** Write this moment into a payload. */
void latency_stamp(void *payload);

/** Note what a payload that was received now says. */
void latency_note(struct latency *latency, const void *payload);

/** Sort, and set the percentiles of the sample. */
void latency_fill(struct latency *latency, struct sample *sample);

#endif
