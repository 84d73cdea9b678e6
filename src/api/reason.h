/* SPDX-License-Identifier: MIT */
/**
 * The text of a call that failed because a cluster is away: which one, and why, as far as it is
 * known.
 */
#ifndef RLT_API_REASON_H
#define RLT_API_REASON_H

#include "api/client.h"

/**
 * Keep the text of a wait that ended with `error` as this thread's last failure. One that was in
 * vain is explained by the first cluster of those waited for that is not connected.
 *
 * Returns: `error`.
 */
int rlt_reason_of_wait(const roulette_client *client, const struct rlt_fence_wish *wish, int error);

/** Keep the text of ROULETTE_EUNREACHABLE, and return it. */
int rlt_reason_unreachable(const roulette_client *client, uint32_t cluster);

#endif
