/* SPDX-License-Identifier: MIT */
/**
 * Putting one encoded PUB into a wire queue.
 */
#ifndef RLT_API_PUBLISH_H
#define RLT_API_PUBLISH_H

#include <stdint.h>

#include "api/client.h"
#include "proto/encode.h"

/**
 * Claim, encode, commit, notify the shard. `timeout_ms` 0: do not wait for room; negative: without
 * limit. The topic and reply are valid.
 *
 * Returns: 0; ROULETTE_EAGAIN (timeout_ms 0), ROULETTE_ETIMEDOUT, ROULETTE_EPAYLOAD,
 *          ROULETTE_EUNREACHABLE, ROULETTE_ECLOSED, ROULETTE_ENOMEM.
 */
int rlt_publish(roulette_client *client, struct rlt_place place, const struct rlt_pub *pub,
                int timeout_ms);

#endif
