/* SPDX-License-Identifier: MIT */
/**
 * A seed for jitter, different in each process; not a secret.
 */
#ifndef RLT_IO_SYSTEM_ENTROPY_H
#define RLT_IO_SYSTEM_ENTROPY_H

#include <stdint.h>
#include <sys/random.h>

#include "io/system/clock.h"

static inline uint64_t rlt_entropy_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != (ssize_t)sizeof(seed)) {
        seed = rlt_clock_ns();
    }
    return seed;
}

#endif
