/* SPDX-License-Identifier: MIT */
/**
 * Messages on their way from a connection to the mailboxes of all who want them.
 *
 * Owner: the event thread, or who has borrowed what the cluster receives
 * (core/cluster/direct_receive.h).
 */
#ifndef RLT_CORE_DELIVERY_FAN_OUT_H
#define RLT_CORE_DELIVERY_FAN_OUT_H

#include <stdint.h>

#include "lockfree/slab.h"
#include "proto/parser.h"

struct rlt_exchange;

/** Runs that are delivered at once: what one batch costs is little for each of them. */
#define RLT_FAN_OUT_STREAKS_MAX 16

/** Fan messages out to the members of their subscriptions. `slab` NULL: they cannot be kept. */
void rlt_fan_out(struct rlt_exchange *exchange, const struct rlt_streak *runs, uint32_t count,
                 struct rlt_slab *slab);

/** A message was too large for receive memory. */
void rlt_fan_out_oversized(struct rlt_exchange *exchange, const struct rlt_frame *frame);

#endif
