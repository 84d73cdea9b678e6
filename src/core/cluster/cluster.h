/* SPDX-License-Identifier: MIT */
/**
 * One cluster, without I/O: its paths, its exchange, and the commands of application threads. A
 * shard (io/) or a simulation drives it:
 *
 *     rlt_cluster_start()
 *     repeat:
 *         rlt_cluster_step(now)               commands, timers, sends, receives
 *         if rlt_cluster_is_stopped(): end
 *         deadline = rlt_cluster_deadline()
 *         rlt_cluster_arm(), a fence, and if it has no work: rlt_cluster_sleep()
 *         wait for events or the deadline; if it has work: only look
 *         bring `receiving` home (lockfree/loan.h), and wait until it is
 *         rlt_cluster_awake(now)
 *         for each event: rlt_cluster_on_event(event, now)
 *
 * Owner: the event thread, except the parts shared with publishers and subscribers (wire queues,
 * command queue, mailboxes, metrics), and the parts that it lends while it sleeps
 * (core/cluster/direct_send.h, core/cluster/direct_receive.h).
 */
#ifndef RLT_CORE_CLUSTER_CLUSTER_H
#define RLT_CORE_CLUSTER_CLUSTER_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/cluster/path.h"
#include "core/delivery/exchange.h"
#include "core/seam/command.h"
#include "core/seam/env.h"
#include "lockfree/doorbell.h"
#include "lockfree/loan.h"
#include "lockfree/stack.h"

/** Reasons to wake the cluster: bits of its doorbell. */
enum rlt_wake {
    RLT_WAKE_COMMANDS = 1,
    RLT_WAKE_LANES = 2,
};

struct rlt_cluster {
    struct rlt_env env;
    struct rlt_exchange exchange;
    uint32_t pool_size; /* immutable */

    /* Shared with application threads. */
    alignas(RLT_CACHE_LINE) struct rlt_doorbell doorbell;
    /* Of the event thread (core/cluster/loop.h); NULL: none. Immutable. */
    struct rlt_doorbell *thread_bell;
    alignas(RLT_CACHE_LINE) struct rlt_stack commands;
    struct rlt_command stop;

    /* Loan of the receive side (receivers, exchange). Only the owner thread of
     * `exchange.watched_for` may borrow it; NULL: nobody. */
    struct rlt_loan receiving;

    struct rlt_path paths[]; /* pool_size */
};

/** Slots that the transport of a cluster has. */
static inline uint32_t rlt_cluster_slot_count(const struct rlt_config *config)
{
    return config->pool_size * 2;
}

/** The connection of a slot: first those of side 0, by path, then those of side 1. */
static inline struct rlt_connection *rlt_cluster_connection(struct rlt_cluster *cluster,
                                                            uint32_t slot)
{
    uint32_t side = slot < cluster->pool_size ? 0 : 1;
    return &cluster->paths[slot - side * cluster->pool_size].connections[side];
}

/**
 * Make a cluster that is not connected. `seed` decides all jitter.
 *
 * Ownership: rlt_cluster_destroy() ends it, once it is stopped (or if it was never started) and
 *            none of its mailboxes and slabs is used any more.
 * Returns:   0 or ROULETTE_ENOMEM.
 */
int rlt_cluster_create(const struct rlt_config *config, const struct rlt_address *address,
                       uint32_t index, struct rlt_transport *transport, uint64_t seed,
                       struct rlt_cluster **created);
void rlt_cluster_destroy(struct rlt_cluster *cluster);

void rlt_cluster_start(struct rlt_cluster *cluster, uint64_t now_ns);

/** Do everything that can be done now, without waiting. The caller has reported all events of the
 *  transport since the last step, so a late thread does not take unread bytes for a peer's silence.
 */
void rlt_cluster_step(struct rlt_cluster *cluster, uint64_t now_ns);

/** Handle the end of an operation of the transport. */
void rlt_cluster_on_event(struct rlt_cluster *cluster, const struct rlt_io_event *event,
                          uint64_t now_ns);

/** Whether rlt_cluster_step() would find something to do, without a timer. */
bool rlt_cluster_has_work(struct rlt_cluster *cluster);

/**
 * Arm the doorbell. A thread that enqueues from here on either knocks, or rlt_cluster_has_work()
 * finds its entry behind a fence (lockfree/doorbell.h).
 */
void rlt_cluster_arm(struct rlt_cluster *cluster);

/**
 * Lend what can be lent: the doorbell is armed and there is no work, so publishers may send, and a
 * subscriber receive, by themselves until rlt_cluster_awake().
 */
void rlt_cluster_sleep(struct rlt_cluster *cluster);

/** Disarm the doorbell and recall the loans, at the end of a sleep. The caller has brought
 * `cluster->receiving` home. */
void rlt_cluster_awake(struct rlt_cluster *cluster, uint64_t now_ns);

/** When rlt_cluster_step() has a timer to serve; RLT_NEVER: none. Before rlt_cluster_arm(). */
uint64_t rlt_cluster_deadline(struct rlt_cluster *cluster);

/** Whether RLT_COMMAND_STOP was executed and everything is closed. */
bool rlt_cluster_is_stopped(const struct rlt_cluster *cluster);

/**
 * Knock at the cluster, after enqueueing something. Returns: whether the caller must wake the event
 * thread.
 *
 * Threads: any thread.
 */
static inline bool rlt_cluster_knock(struct rlt_cluster *cluster, uint32_t what)
{
    return rlt_doorbell_knock(&cluster->doorbell, what) &&
           (cluster->thread_bell == NULL || rlt_doorbell_knock(cluster->thread_bell, 1));
}

/**
 * Note for which cluster the caller will wake the event thread, which waits for a loan that the
 * caller gave back, or does not know of work that the caller left. An event thread that is falling
 * asleep finds the loan, by the argument of doorbell.h: its store is the doorbell, the caller's the
 * loan.
 *
 * Threads: any thread.
 */
static inline void rlt_cluster_call(struct rlt_cluster *cluster)
{
    atomic_thread_fence(memory_order_seq_cst);
    (void)rlt_doorbell_take(&cluster->doorbell);
}

/**
 * Enqueue a command.
 *
 * Threads: any thread. Returns: true if the caller must wake the event thread.
 */
bool rlt_cluster_submit(struct rlt_cluster *cluster, struct rlt_command *command);

/**
 * Ask the event thread for a change of a member.
 *
 * Threads: the owner thread of its subscriber. Returns: as rlt_cluster_submit().
 */
bool rlt_cluster_ask(struct rlt_cluster *cluster, struct rlt_member *member, enum rlt_ask what);

/**
 * Read the ledger. Once the cluster is stopped, messages in no other state count as discarded.
 *
 * Threads: any thread.
 */
void rlt_cluster_ledger(const struct rlt_cluster *cluster, bool stopped,
                        struct roulette_ledger *ledger);

#endif
