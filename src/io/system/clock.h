/* SPDX-License-Identifier: MIT */
/**
 * The only clock: CLOCK_MONOTONIC, in nanoseconds. Wall-clock jumps have no effect.
 */
#ifndef RLT_IO_SYSTEM_CLOCK_H
#define RLT_IO_SYSTEM_CLOCK_H

#include <stdint.h>
#include <time.h>

#include "base/defs.h"

static inline uint64_t rlt_clock_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * RLT_NS_PER_S + (uint64_t)now.tv_nsec;
}

/** The deadline of a timeout in milliseconds; negative: RLT_NEVER. */
static inline uint64_t rlt_clock_deadline(int timeout_ms)
{
    return timeout_ms < 0 ? RLT_NEVER : rlt_clock_ns() + (uint64_t)timeout_ms * RLT_NS_PER_MS;
}

#endif
