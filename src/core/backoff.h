/* SPDX-License-Identifier: MIT */
/**
 * How long to wait before the next attempt to connect. Source: design.md 4 and 5, the retry
 * ladder of Roulette 1.0.5 (its max_retry 10, base 10 ms, max 5000 ms).
 */
#ifndef RLT_CORE_BACKOFF_H
#define RLT_CORE_BACKOFF_H

#include <stdint.h>

#include "base/defs.h"
#include "base/random.h"
#include "core/config.h"

/**
 * The wait after `failures` failures in a row. 0 (a connection that was stable was lost):
 * reconnect_interval/2 .. reconnect_interval; n: rand(1 .. min(base * 2^n, max)) ms.
 */
static inline uint64_t rlt_backoff_ns(const struct rlt_config *config, struct rlt_random *random,
                                      uint32_t failures)
{
    if (failures == 0) {
        uint64_t half = config->reconnect_interval_ns / 2;
        return half + rlt_random_below(random, half + 1);
    }
    uint64_t limit_ms = config->max_backoff_ms;
    if (failures < 32) {
        limit_ms = rlt_min_u64(config->base_backoff_ms << failures, limit_ms);
    }
    return (1 + rlt_random_below(random, limit_ms)) * RLT_NS_PER_MS;
}

#endif
