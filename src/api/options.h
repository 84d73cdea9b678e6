/* SPDX-License-Identifier: MIT */
/**
 * A user's options, checked.
 */
#ifndef RLT_API_OPTIONS_H
#define RLT_API_OPTIONS_H

#include "core/config.h"
#include "roulette.h"

/** Lanes of a wire queue, the shared one included: what queue_bytes is divided by. */
#define RLT_QUEUE_LANES 16

/**
 * Check options and make a configuration of them; its strings are copied into `*texts`.
 *
 * Ownership: `*texts` is the caller's, to be freed by rlt_memory_free().
 * Returns:   0; ROULETTE_EINVAL (roulette_last_error() names the option, its value and what it
 *            takes); ROULETTE_ENOMEM.
 */
int rlt_options_check(const struct roulette_options *options, struct rlt_config *config,
                      char **texts);

#endif
