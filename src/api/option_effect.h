/* SPDX-License-Identifier: MIT */
/**
 * Refusing options that would have no effect as they are given, since the application relies on
 * them: a password without a user is never sent, a CA file without TLS never read.
 */
#ifndef RLT_API_OPTION_EFFECT_H
#define RLT_API_OPTION_EFFECT_H

#include <stddef.h>

#include "proto/address.h"
#include "roulette.h"

/**
 * Check completed options together with the servers that they are for.
 *
 * Returns: 0 or ROULETTE_EINVAL (roulette_last_error() names the option and says what to write).
 */
int rlt_option_effect_check(const struct roulette_options *options,
                            const struct rlt_address *addresses, size_t count);

#endif
