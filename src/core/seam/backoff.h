/* SPDX-License-Identifier: MIT */
/**
 * How long to wait before the next attempt to connect. Source: design.md 4 and 5, the retry
 * ladder of Roulette 1.0.5 (its max_retry 10, base 10 ms, max 5000 ms).
 */
#ifndef RLT_CORE_SEAM_BACKOFF_H
#define RLT_CORE_SEAM_BACKOFF_H

#include <stdint.h>

#include "base/defs.h"
#include "base/random.h"
#include "core/seam/config.h"

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

/** An attempt that was refused within this time was cheap: nothing listens at that address. */
#define RLT_BACKOFF_CHEAP_NS (100 * RLT_NS_PER_MS)

/**
 * The wait after a cheap attempt, if it is shorter than that of the ladder:
 * rand(1 .. max(reconnect_interval, an eighth of `away_ns`)) ms, where `away_ns` is how long there
 * has been no connection. So a client is back within an eighth of an outage, and makes about 16
 * more attempts each time that the outage grows by a factor of e.
 */
static inline uint64_t rlt_backoff_cheap_ns(const struct rlt_config *config,
                                            struct rlt_random *random, uint64_t away_ns)
{
    uint64_t limit_ns = away_ns / 8;
    if (limit_ns < config->reconnect_interval_ns) {
        limit_ns = config->reconnect_interval_ns;
    }
    return (1 + rlt_random_below(random, limit_ns / RLT_NS_PER_MS + 1)) * RLT_NS_PER_MS;
}

#endif
