/* SPDX-License-Identifier: MIT */
/**
 * The loop of an event thread, without I/O: the clusters that the thread serves, one or several.
 * An event thread (io/) or a simulation drives it:
 *
 *     rlt_loop_start()
 *     repeat:
 *         rlt_loop_step(now)             all work of the clusters that are awake
 *         if rlt_loop_is_over(): end
 *         deadline = rlt_loop_may_sleep() ? rlt_loop_deadline() : 0
 *         wait for events until the deadline (0: only look)
 *         rlt_loop_awake(now)           wake the clusters that are wanted
 *         for each event: rlt_loop_on_event(its cluster, event, now)
 *
 * Clusters go to sleep together, when none of those that are awake has anything to do; each of them
 * is woken by itself. So a cluster without work costs one look at its doorbell and one at its
 * deadline, however many share the thread, and publishers send by themselves to a cluster that is
 * asleep (core/cluster/direct_send.h) while the thread works for another one.
 *
 * A thread that wants a sleeping cluster knocks at its doorbell, then at the thread's
 * (rlt_cluster_knock()). The event thread arms its own, then looks at those of all clusters: one of
 * the two sees the other, by the argument of lockfree/doorbell.h, with the cluster's doorbell as
 * the queue.
 *
 * Owner: the event thread, except `doorbell`.
 */
#ifndef RLT_CORE_CLUSTER_LOOP_H
#define RLT_CORE_CLUSTER_LOOP_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "core/cluster/cluster.h"
#include "lockfree/doorbell.h"

enum rlt_loop_state {
    RLT_LOOP_AWAKE = 0,
    RLT_LOOP_ASLEEP,  /* its doorbell is armed, its loans are lent */
    RLT_LOOP_STOPPED, /* nothing is left to do: its memory is the starter's */
};

/** A cluster of the loop. */
struct rlt_loop_entry {
    struct rlt_cluster *cluster;
    enum rlt_loop_state state;
    uint64_t deadline_ns; /* while it is asleep: its next timer */
};

struct rlt_loop {
    /* The thread's: knocked at for the first wanted cluster while all sleep. */
    alignas(RLT_CACHE_LINE) struct rlt_doorbell doorbell;

    /* Immutable after rlt_loop_add(). */
    alignas(RLT_CACHE_LINE) struct rlt_loop_entry *entries; /* the owner's memory */
    uint32_t count;
    /* Recall a loan, and wait until it is HOME: see core/cluster/direct_receive.h. */
    void (*bring_home)(struct rlt_loan *loan);
    /* The cluster of an entry is stopped: the loop does not touch it any more. */
    void (*on_stopped)(void *context, uint32_t index);
    void *context;
    /* NULL, or makes all threads of the process execute a fence, so that those who knock need not
     * (lockfree/doorbell.h): used while publishers send many messages at once. Returns whether it
     * did. Set before rlt_loop_add(). */
    bool (*barrier)(void);

    uint32_t running;  /* entries that are not stopped */
    uint64_t now_ns;   /* of the last run */
    uint64_t crowd_ns; /* when many messages were sent at once the last time, to any cluster */
    bool asymmetric;   /* the doorbells: the barrier replaces the knocking threads' fences */
};

/** Add a cluster. Threads: any thread, before the loop starts. */
void rlt_loop_add(struct rlt_loop *loop, struct rlt_cluster *cluster);

void rlt_loop_start(struct rlt_loop *loop, uint64_t now_ns);

/** Do everything that can be done now, without waiting. */
void rlt_loop_step(struct rlt_loop *loop, uint64_t now_ns);

/**
 * Put the clusters without work to sleep. If true, all sleep, and the caller may wait for events
 * until rlt_loop_deadline(). rlt_loop_awake() follows in either case.
 */
bool rlt_loop_may_sleep(struct rlt_loop *loop);

/** When a cluster has a timer to serve; RLT_NEVER: none. Behind rlt_loop_may_sleep(). */
uint64_t rlt_loop_deadline(const struct rlt_loop *loop);

/**
 * Wake the clusters that were knocked at and those whose timer is due. `woken`: another thread has
 * ended the wait; counted in the metrics of the clusters that were knocked at.
 */
void rlt_loop_awake(struct rlt_loop *loop, bool woken, uint64_t now_ns);

/** Handle the end of an operation of a cluster's transport; `event->slot` is the cluster's. */
void rlt_loop_on_event(struct rlt_loop *loop, uint32_t index, const struct rlt_io_event *event,
                       uint64_t now_ns);

/** Whether all clusters are stopped. */
static inline bool rlt_loop_is_over(const struct rlt_loop *loop)
{
    return loop->running == 0;
}

#endif
