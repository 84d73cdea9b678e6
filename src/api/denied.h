/* SPDX-License-Identifier: MIT */
/**
 * Telling of messages that a server has refused for a missing permission. Each is told of once:
 * by the flushes that wait while it is refused, or the next one, or by the close.
 */
#ifndef RLT_API_DENIED_H
#define RLT_API_DENIED_H

#include "api/client.h"
#include "core/sending/fence.h"

/** Note in a fence's parts, which are for the clusters from `first` on, before its commands are
 * given, what has been told of by now. */
void rlt_denied_begin(const roulette_client *client, struct rlt_fence *fence, size_t first);

/**
 * A flush of the clusters from `first` on is over. Returns: 0, or ROULETTE_EPERMISSION with its
 * text if messages were refused of which nobody had told when it began.
 */
int rlt_denied_tell(roulette_client *client, const struct rlt_fence *fence, size_t first);

/** As rlt_denied_tell(), at the end of a close. */
int rlt_denied_tell_rest(roulette_client *client);

#endif
