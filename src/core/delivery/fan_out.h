/* SPDX-License-Identifier: MIT */
/**
 * Fan-out: messages on their way from a connection to the mailboxes of the members.
 *
 * Owner: the event thread, or a borrower of the receiving side (core/cluster/direct_receive.h).
 */
#ifndef RLT_CORE_DELIVERY_FAN_OUT_H
#define RLT_CORE_DELIVERY_FAN_OUT_H

#include <stdint.h>

#include "lockfree/slab.h"
#include "proto/parser.h"

struct rlt_exchange;

/** Streaks that are delivered at once: each bears a small part of what a batch costs. */
#define RLT_FAN_OUT_STREAKS_MAX 16

/** Fan messages out to the members of their interests. `slab` NULL: they cannot be kept. */
void rlt_fan_out(struct rlt_exchange *exchange, const struct rlt_streak *streaks, uint32_t count,
                 struct rlt_slab *slab);

/** Drop a message that was too large for receive memory, for all members. */
void rlt_fan_out_oversized(struct rlt_exchange *exchange, const struct rlt_frame *frame);

#endif
