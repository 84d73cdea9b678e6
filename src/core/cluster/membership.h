/* SPDX-License-Identifier: MIT */
/**
 * What subscribers ask the event thread about their members: to join, to drain, to leave.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CLUSTER_MEMBERSHIP_H
#define RLT_CORE_CLUSTER_MEMBERSHIP_H

struct rlt_cluster;
struct rlt_member;

/** Do what was asked about a member since the last time; once it is taken, the command may be put
 *  into the queue again. */
void rlt_membership_change(struct rlt_cluster *cluster, struct rlt_member *member);

#endif
