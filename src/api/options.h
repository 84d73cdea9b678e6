/* SPDX-License-Identifier: MIT */
/**
 * A user's options, checked.
 */
#ifndef RLT_API_OPTIONS_H
#define RLT_API_OPTIONS_H

#include <stddef.h>

#include "core/config.h"
#include "roulette.h"

/** Lanes of a wire queue, the shared one included: what queue_bytes is divided by. */
#define RLT_QUEUE_LANES 16

/**
 * Check completed options and make a configuration of them; its strings are copied into `*texts`.
 *
 * Ownership: `*texts` is the caller's, to be freed by rlt_memory_free().
 * Returns:   0; ROULETTE_EINVAL (roulette_last_error() names the option, its value and what it
 *            takes); ROULETTE_ENOMEM.
 */
int rlt_options_check(const struct roulette_options *options, struct rlt_config *config,
                      char **texts);

/** Options of one kind, as this version of the library knows them. */
struct rlt_options_kind {
    const char *prefix; /* of "options.size" in texts: "", or with a blank behind it */
    const char *init;   /* what fills them in */
    size_t size;
    size_t size_min; /* what the first version had at least */
};

/**
 * Copy what a caller gave over `options`, which hold the defaults. What an older caller does not
 * have keeps its default.
 *
 * Returns: 0 or ROULETTE_EINVAL (`size` was not set, or an option that only a later version knows
 *          is).
 */
int rlt_options_take(const struct rlt_options_kind *kind, const void *given, void *options);

/**
 * A user's options as this version knows them: what an older caller does not have is filled in
 * with its default.
 *
 * Returns: 0 or ROULETTE_EINVAL, as rlt_options_take().
 */
int rlt_options_complete(const struct roulette_options *given, struct roulette_options *options);

#endif
