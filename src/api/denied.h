/* SPDX-License-Identifier: MIT */
/**
 * Reporting messages that a server has refused for a missing permission. Each is reported once: by
 * the flushes that wait while the server refuses it, or the next flush, or by the close.
 */
#ifndef RLT_API_DENIED_H
#define RLT_API_DENIED_H

#include "api/client.h"
#include "core/sending/fence.h"

/** Note in a fence's parts, which are for the clusters from `first` on, how many messages were
 * reported by now. Before its commands are given. */
void rlt_denied_begin(const roulette_client *client, struct rlt_fence *fence, size_t first);

/**
 * Report at the end of a flush of the clusters from `first` on. Returns: 0, or ROULETTE_EPERMISSION
 * with its text if messages were refused that no call had reported when the flush began.
 */
int rlt_denied_tell(roulette_client *client, const struct rlt_fence *fence, size_t first);

/** As rlt_denied_tell(), at the end of a close. */
int rlt_denied_tell_rest(roulette_client *client);

#endif
