/* SPDX-License-Identifier: MIT */
/**
 * What a handover ends with: the second connection takes over; or one of the two is lost, and the
 * other one goes on (core/cluster/handover.h).
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CLUSTER_TAKEOVER_H
#define RLT_CORE_CLUSTER_TAKEOVER_H

#include <stdbool.h>
#include <stdint.h>

struct rlt_path;

/** Nobody waits for the fence of the handover any more. */
void rlt_takeover_drop_fence(struct rlt_path *path);

/** The handover is over, or given up. */
void rlt_takeover_end(struct rlt_path *path);

/** The second connection is the active one from now on, in whatever state it is. */
void rlt_takeover_swap(struct rlt_path *path, uint64_t now_ns);

/** The second connection is lost. */
void rlt_takeover_on_second_lost(struct rlt_path *path, uint64_t now_ns);

/** The active connection is lost, and its subscriptions were dealt with: the second takes over.
 *  Returns: false if there is none, and the active one has to reconnect by itself. */
bool rlt_takeover_on_active_lost(struct rlt_path *path, uint64_t now_ns);

#endif
