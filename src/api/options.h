/* SPDX-License-Identifier: MIT */
/**
 * Checking a user's options.
 */
#ifndef RLT_API_OPTIONS_H
#define RLT_API_OPTIONS_H

#include <stddef.h>

#include "api/sized.h"
#include "core/seam/config.h"
#include "roulette.h"

/** Lanes of a wire queue, with the shared one: queue_bytes is divided by this. */
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
 * Copy a user's options as this version knows them: fields that an older caller does not have get
 * their defaults.
 *
 * Returns: 0 or ROULETTE_EINVAL, as rlt_sized_read().
 */
int rlt_options_complete(const struct roulette_options *given, struct roulette_options *options);

#endif
