/* SPDX-License-Identifier: MIT */
/**
 * Requests of subscribers about their members: to join, to drain, to leave.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CLUSTER_MEMBERSHIP_H
#define RLT_CORE_CLUSTER_MEMBERSHIP_H

struct rlt_cluster;
struct rlt_member;

/** Execute the requests about a member since the last time; once they are taken, the owner thread
 *  may enqueue the command again. */
void rlt_membership_change(struct rlt_cluster *cluster, struct rlt_member *member);

#endif
