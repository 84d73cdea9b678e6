/* SPDX-License-Identifier: MIT */
/**
 * A user's options, checked.
 */
#ifndef RLT_API_OPTIONS_H
#define RLT_API_OPTIONS_H

#include <stddef.h>

#include "api/sized.h"
#include "core/seam/config.h"
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

/** The other two kinds of options. */
extern const struct rlt_sized_kind rlt_subscriber_options_kind;
extern const struct rlt_sized_kind rlt_subscription_options_kind;

/**
 * A user's options as this version knows them: what an older caller does not have is filled in
 * with its default.
 *
 * Returns: 0 or ROULETTE_EINVAL, as rlt_sized_read().
 */
int rlt_options_complete(const struct roulette_options *given, struct roulette_options *options);

#endif
