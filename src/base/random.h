/* SPDX-License-Identifier: MIT */
/**
 * A small seeded generator, for jitter and shuffling; not for secrets. Source: SplitMix64,
 * Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", 2014.
 */
#ifndef RLT_BASE_RANDOM_H
#define RLT_BASE_RANDOM_H

#include <stdint.h>

struct rlt_random {
    uint64_t state;
};

static inline uint64_t rlt_random_next(struct rlt_random *random)
{
    uint64_t z = (random->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/** A number in [0, bound); bound must not be 0. The bias is below bound / 2^64. */
static inline uint64_t rlt_random_below(struct rlt_random *random, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)rlt_random_next(random) * bound) >> 64);
}

#endif
