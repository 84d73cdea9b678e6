/* SPDX-License-Identifier: MIT */
/**
 * The end of a handover: the second connection takes over; or one of the two is lost, and the other
 * one goes on (core/cluster/handover.h).
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CLUSTER_TAKEOVER_H
#define RLT_CORE_CLUSTER_TAKEOVER_H

#include <stdbool.h>
#include <stdint.h>

struct rlt_path;

/** Release the fence of the handover, which is not awaited any more. */
void rlt_takeover_drop_fence(struct rlt_path *path);

/** End the handover, which is over or given up. */
void rlt_takeover_end(struct rlt_path *path);

/** Make the second connection the active one, in whatever state it is. */
void rlt_takeover_swap(struct rlt_path *path, uint64_t now_ns);

/** Handle the loss of the second connection. */
void rlt_takeover_on_second_lost(struct rlt_path *path, uint64_t now_ns);

/** Let the second connection take over: the active one is lost, and its interests were handled.
 *  Returns: false if there is no second one, and the active one has to reconnect by itself. */
bool rlt_takeover_on_active_lost(struct rlt_path *path, uint64_t now_ns);

#endif
