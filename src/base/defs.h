/* SPDX-License-Identifier: MIT */
/**
 * Definitions that every rank uses: time units, branch hints, cache lines, small arithmetic.
 */
#ifndef RLT_BASE_DEFS_H
#define RLT_BASE_DEFS_H

#include <ck_cc.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RLT_NS_PER_US UINT64_C(1000)
#define RLT_NS_PER_MS UINT64_C(1000000)
#define RLT_NS_PER_S  UINT64_C(1000000000)

/** A deadline that never comes. */
#define RLT_NEVER UINT64_MAX

#define RLT_CACHE_LINE 64

#define rlt_likely(x)   CK_CC_LIKELY(x)
#define rlt_unlikely(x) CK_CC_UNLIKELY(x)

/** For functions that must melt into their caller, so that its registers hold their results. */
#define RLT_ALWAYS_INLINE static inline __attribute__((always_inline))

/** The struct of type `type` whose member `member` is at `pointer`. Not ck's CK_CC_CONTAINER(),
 * which defines a function for each member, and takes an address within a NULL struct. */
#define rlt_container_of(pointer, type, member) \
    ((type *)(void *)((char *)(pointer) - offsetof(type, member)))

/** Where the member `member` of a struct of type `type` ends. */
#define rlt_end_of(type, member) (offsetof(type, member) + sizeof(((type *)0)->member))

static inline bool rlt_is_power_of_two(uint64_t value)
{
    return value != 0 && (value & (value - 1)) == 0;
}

static inline uint32_t rlt_min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static inline uint32_t rlt_max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static inline uint64_t rlt_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t rlt_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline size_t rlt_min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

#endif
