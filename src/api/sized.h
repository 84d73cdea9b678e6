/* SPDX-License-Identifier: MIT */
/**
 * Public structs that carry their size: the first field, a size_t, is the size in the header that
 * the caller was compiled with, which may be older or newer than this library.
 *
 * No such struct has padding, at its end or between fields: a field that is added at the end would
 * not change the size, and in a hole of what a newer caller has anything may stand.
 */
#ifndef RLT_API_SIZED_H
#define RLT_API_SIZED_H

#include <stddef.h>

/** A struct as this version of the library knows it. */
struct rlt_sized_kind {
    const char *name;   /* in texts */
    const char *advice; /* the advice if the size was not set */
    size_t size;        /* without the reserved bytes at its end */
    size_t size_min;    /* a smaller one was never set: the first fields */
};

/** Check that the size of a caller's struct was set. Returns: 0 or ROULETTE_EINVAL. */
int rlt_sized_check(const struct rlt_sized_kind *kind, const void *given);

/**
 * Copy a caller's struct over `options`, which hold the defaults. Fields that an older caller does
 * not know keep their defaults.
 *
 * Returns: 0 or ROULETTE_EINVAL (`size` was not set, or an option is set that only a later version
 *          knows).
 */
int rlt_sized_read(const struct rlt_sized_kind *kind, const void *given, void *options);

/**
 * Fill a caller's struct with `values`, a whole struct of this version whose own `size` does not
 * count. Fields that only a newer caller knows become 0. A size that was not set changes nothing.
 */
void rlt_sized_write(const struct rlt_sized_kind *kind, const void *values, void *out);

#endif
