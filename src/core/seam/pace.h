/* SPDX-License-Identifier: MIT */
/**
 * The pace of a publishing thread: now and then, or without a pause. It decides what the thread
 * does when it finds a cluster's event thread asleep: one that publishes now and then sends by
 * itself (core/cluster/direct_send.h), one that publishes without a pause wakes the event thread,
 * which sends many messages at once. The pace is the thread's, not the cluster's: a thread that
 * spreads its messages over many clusters goes to each of them now and then, and would make a
 * system call for each message.
 *
 * Only a thread that finds a cluster asleep reads the clock. Between two such moments it counts
 * what it published: the time between two messages on the average says how it publishes.
 *
 * Owner: the publishing thread.
 */
#ifndef RLT_CORE_SEAM_PACE_H
#define RLT_CORE_SEAM_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* A thread whose messages are less than this apart publishes without a pause. Of the order of a
 * system call with a wake-up, so that no publisher spends most of its time in them. */
#define RLT_PACE_GAP_NS UINT64_C(10000)

struct rlt_pace {
    uint64_t published; /* messages, to all clusters */
    uint64_t seen;      /* of these: when a cluster was found asleep the last time */
    uint64_t seen_ns;   /* when that was */
};

/** The thread has published a message. */
static inline void rlt_pace_count(struct rlt_pace *pace)
{
    pace->published++;
}

/** The cluster of the last message sleeps. Returns: whether the thread publishes now and then. */
static inline bool rlt_pace_is_sparse(struct rlt_pace *pace, uint64_t now_ns)
{
    uint64_t count = pace->published - pace->seen;
    uint64_t elapsed_ns = now_ns - pace->seen_ns;
    pace->seen = pace->published;
    pace->seen_ns = now_ns;
    return elapsed_ns / RLT_PACE_GAP_NS >= count;
}

#endif
