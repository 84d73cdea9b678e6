/* SPDX-License-Identifier: MIT */
/**
 * The text of a call that failed because of a cluster: which cluster, and why, as far as known.
 */
#ifndef RLT_API_REASON_H
#define RLT_API_REASON_H

#include "api/wait.h"

/**
 * Keep the text of a wait that ended with `error` as this thread's last failure: it names the first
 * cluster that was waited for in vain, and why.
 *
 * Returns: `error`.
 */
int rlt_reason_of_wait(const roulette_client *client, const struct rlt_fence_outcome *outcome,
                       int error);

/** Keep the text of a subscription that is not live on all clusters yet. */
void rlt_reason_partly(const roulette_client *client, const struct rlt_fence_outcome *outcome);

/** Keep the text of ROULETTE_EUNREACHABLE, and return it. */
int rlt_reason_unreachable(const roulette_client *client, uint32_t cluster);

/** Keep the text of a close with `count` messages that are not confirmed, and return
 *  ROULETTE_ETIMEDOUT. */
int rlt_reason_unconfirmed(const roulette_client *client, uint64_t count);

#endif
