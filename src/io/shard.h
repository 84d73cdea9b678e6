/* SPDX-License-Identifier: MIT */
/**
 * A shard: what a client has for one cluster, and what other threads than the event thread may do
 * with it.
 */
#ifndef RLT_IO_SHARD_H
#define RLT_IO_SHARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/cluster.h"
#include "core/pace.h"
#include "io/backend.h"
#include "io/tls_context.h"
#include "io/tls_layer.h"

struct rlt_shard {
    struct rlt_cluster *cluster;
    struct rlt_port *port;       /* its part of the event thread's backend */
    struct rlt_tls_layer *layer; /* between the two; NULL: in clear */

    /* Immutable after rlt_shard_init(). */
    const struct rlt_config *config;
    const struct rlt_address *address;
    struct rlt_tls_context *tls; /* NULL: this cluster is spoken to in clear */
    uint32_t index;
    uint64_t seed;

    /* Release by the event thread, acquire by others: publishes the cluster's last state. */
    _Atomic(bool) stopped;
};

/** Note what the shard is made of. `tls` NULL: in clear. */
void rlt_shard_init(struct rlt_shard *shard, uint32_t index, const struct rlt_config *config,
                    const struct rlt_address *address, struct rlt_tls_context *tls, uint64_t seed);

/**
 * Make the cluster above its port of a backend.
 *
 * Ownership: rlt_shard_fini() frees what was made, also after a failure.
 * Threads:   the event thread that will serve it.
 * Returns:   0 or ROULETTE_ENOMEM.
 */
int rlt_shard_set_up(struct rlt_shard *shard, struct rlt_port *port);

/** The cluster is stopped, and the event thread is through with it. Threads: the event thread. */
void rlt_shard_announce_stopped(struct rlt_shard *shard);

/** Give a command to the cluster. Threads: any thread, while the shard is not stopped. */
void rlt_shard_submit(struct rlt_shard *shard, struct rlt_command *command);

/** Ask the cluster for something about a member. Threads: its subscriber's owner thread, while the
 *  shard is not stopped. */
void rlt_shard_ask(struct rlt_shard *shard, struct rlt_member *member, enum rlt_ask what);

/** The cluster sleeps: send in its place, or wake it. Part of rlt_shard_ring(). */
void rlt_shard_send_or_wake(struct rlt_shard *shard, uint32_t position, struct rlt_pace *pace);

/**
 * After something was put into the wire queue of a position in the pool. `pace` is the calling
 * thread's.
 *
 * Threads: any thread.
 */
static inline void rlt_shard_ring(struct rlt_shard *shard, uint32_t position, struct rlt_pace *pace)
{
    rlt_pace_count(pace);
    if (rlt_unlikely(rlt_doorbell_is_armed(&shard->cluster->doorbell, RLT_WAKE_LANES))) {
        rlt_shard_send_or_wake(shard, position, pace);
    }
}

/**
 * If the mailbox's subscriber may receive by itself: be told in place of the event thread by
 * rlt_shard_descriptor(), to be polled for input, that there is something to receive.
 *
 * Threads: the mailbox's owner thread; until it calls rlt_shard_leave().
 * Returns: false if it may not.
 */
bool rlt_shard_attend(struct rlt_shard *shard, const struct rlt_mailbox *mailbox);
void rlt_shard_leave(struct rlt_shard *shard);
static inline int rlt_shard_descriptor(const struct rlt_shard *shard)
{
    return shard->port->watch.sockets;
}

/**
 * Receive what is there. Threads: the one that attends.
 *
 * Returns: false if the event thread has to go on: leave then, and wait for it alone.
 */
bool rlt_shard_receive(struct rlt_shard *shard, const struct rlt_mailbox *mailbox);

/** Ask the event thread to close everything. rlt_event_thread_join() waits for it. */
void rlt_shard_stop(struct rlt_shard *shard);

/** Whether the event thread is through with the cluster. Threads: any thread. */
static inline bool rlt_shard_is_stopped(const struct rlt_shard *shard)
{
    return atomic_load_explicit(&shard->stopped, memory_order_acquire);
}

/** Free the cluster. Threads: when nothing of it is used any more. */
void rlt_shard_fini(struct rlt_shard *shard);

#endif
