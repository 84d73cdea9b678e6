/* SPDX-License-Identifier: MIT */
/**
 * A shard: the event thread of one cluster. It waits on a backend and drives the cluster's core.
 */
#ifndef RLT_IO_SHARD_H
#define RLT_IO_SHARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/cluster.h"
#include "io/backend.h"
#include "io/tls_layer.h"

/** What a shard needs besides the core's configuration. */
struct rlt_shard_options {
    struct rlt_socket_options socket;
    const struct rlt_tls_context *tls; /* NULL: this cluster is spoken to in clear */
    uint64_t seed;
};

struct rlt_shard {
    struct rlt_cluster *cluster;
    struct rlt_backend *backend;
    struct rlt_tls_layer *layer; /* between the two; NULL: in clear */
    pthread_t thread;
    bool joined;

    /* Start-up: what the thread reports to its starter. */
    struct rlt_shard_options options;
    const struct rlt_config *config;
    const struct rlt_address *address;
    uint32_t index;
    int start_error;
    /* 0 starting, 1 started (or failed), 2 stopped. Release by the thread, acquire by others:
     * publishes the fields above, and the cluster's last state. */
    _Atomic(uint32_t) phase;
};

/**
 * Start the event thread of a cluster.
 *
 * Ownership: rlt_shard_stop(), then rlt_shard_fini() end it.
 * Threads:   the one that opens the client. Waits until the thread has its backend.
 * Returns:   0; what rlt_uring_create() or rlt_cluster_create() returned; ROULETTE_ESYSTEM (no
 *            thread).
 */
int rlt_shard_start(struct rlt_shard *shard, const struct rlt_config *config,
                    const struct rlt_address *address, uint32_t index,
                    const struct rlt_shard_options *options);

/** Give a command to the cluster. Threads: any thread, while the shard is not stopped. */
void rlt_shard_submit(struct rlt_shard *shard, struct rlt_command *command);

/** Ask the cluster for something about a member. Threads: its subscriber's owner thread, while the
 *  shard is not stopped. */
void rlt_shard_ask(struct rlt_shard *shard, struct rlt_member *member, enum rlt_ask what);

/** The event thread sleeps: send in its place, or wake it. Part of rlt_shard_ring(). */
void rlt_shard_send_or_wake(struct rlt_shard *shard, uint32_t position);

/** After something was put into the wire queue of a position in the pool. Threads: any thread. */
static inline void rlt_shard_ring(struct rlt_shard *shard, uint32_t position)
{
    if (rlt_unlikely(rlt_doorbell_is_armed(&shard->cluster->doorbell, RLT_WAKE_LANES))) {
        rlt_shard_send_or_wake(shard, position);
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
    return shard->backend->watch.sockets;
}

/**
 * Receive what is there. Threads: the one that attends.
 *
 * Returns: false if the event thread has to go on: leave then, and wait for it alone.
 */
bool rlt_shard_receive(struct rlt_shard *shard, const struct rlt_mailbox *mailbox);

/** Ask the thread to close everything and end. rlt_shard_join() waits for it. */
void rlt_shard_stop(struct rlt_shard *shard);
void rlt_shard_join(struct rlt_shard *shard);

/** Whether the thread has ended. Threads: any thread. */
static inline bool rlt_shard_is_stopped(const struct rlt_shard *shard)
{
    return atomic_load_explicit(&shard->phase, memory_order_acquire) == 2;
}

/** Free the cluster. Threads: when nothing of it is used any more. */
void rlt_shard_fini(struct rlt_shard *shard);

#endif
