/* SPDX-License-Identifier: MIT */
/**
 * The pace of a publisher: sparse, or without a pause. The pace decides what the publisher does
 * when it finds a cluster's event thread asleep: a sparse publisher sends by itself
 * (core/cluster/direct_send.h); one that publishes without a pause wakes the event thread, which
 * sends many messages at once. The pace is the publisher's, not the cluster's: a publisher that
 * spreads its messages over many clusters reaches each of them now and then, and would make a
 * system call for each message.
 *
 * A publisher reads the clock only when it finds a cluster asleep. Between two such moments it
 * counts its messages: the average time between two messages is the pace.
 *
 * Owner: the publisher.
 */
#ifndef RLT_CORE_SEAM_PACE_H
#define RLT_CORE_SEAM_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* A publisher whose messages are less than this apart publishes without a pause. Of the order of a
 * system call with a wake-up, so that no publisher spends most of its time in such calls. */
#define RLT_PACE_GAP_NS UINT64_C(10000)

struct rlt_pace {
    uint64_t published; /* messages, to all clusters */
    uint64_t seen;      /* of these, when a cluster was last found asleep */
    uint64_t seen_ns;   /* when that was */
};

/** Count a published message. */
static inline void rlt_pace_count(struct rlt_pace *pace)
{
    pace->published++;
}

/** Note that the last message's cluster sleeps. Returns: whether the publisher is sparse. */
static inline bool rlt_pace_is_sparse(struct rlt_pace *pace, uint64_t now_ns)
{
    uint64_t count = pace->published - pace->seen;
    uint64_t elapsed_ns = now_ns - pace->seen_ns;
    pace->seen = pace->published;
    pace->seen_ns = now_ns;
    return elapsed_ns / RLT_PACE_GAP_NS >= count;
}

#endif
