/* SPDX-License-Identifier: MIT */
/**
 * The end of a connection, whatever ended it: messages and fences move to a final state or wait for
 * the next connection, subscriptions end or are LOST, and the other connection of the path may take
 * over.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CLUSTER_LOSS_H
#define RLT_CORE_CLUSTER_LOSS_H

#include <stdint.h>

struct rlt_connection;

/** Handle a connection whose transport is closed: no operation is in progress any more. */
void rlt_loss_on_closed(struct rlt_connection *connection, uint64_t now_ns);

#endif
