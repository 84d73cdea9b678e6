/* SPDX-License-Identifier: MIT */
/**
 * A shard: a client's part for one cluster, and the calls on it for other threads than the event
 * thread.
 */
#ifndef RLT_IO_SHARD_H
#define RLT_IO_SHARD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/cluster/cluster.h"
#include "core/seam/metrics.h"
#include "core/seam/pace.h"
#include "io/backend.h"
#include "io/tls/context.h"
#include "io/tls/layer.h"
#include "lockfree/slab.h"
#include "lockfree/text_cell.h"
#include "lockfree/wire_queue.h"
#include "roulette.h"

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

/** Fill in a shard. `tls` NULL: in clear. */
void rlt_shard_init(struct rlt_shard *shard, uint32_t index, const struct rlt_config *config,
                    const struct rlt_address *address, struct rlt_tls_context *tls, uint64_t seed);

/**
 * Make the cluster above its port of a backend.
 *
 * Ownership: rlt_shard_fini() frees it, also after a failure.
 * Threads:   the event thread that will serve it.
 * Returns:   0 or ROULETTE_ENOMEM.
 */
int rlt_shard_set_up(struct rlt_shard *shard, struct rlt_port *port);

/** Announce that the event thread is done with the cluster. Threads: the event thread. */
void rlt_shard_announce_stopped(struct rlt_shard *shard);

/** Submit a command to the cluster. Threads: any thread, while the shard is not stopped. */
void rlt_shard_submit(struct rlt_shard *shard, struct rlt_command *command);

/** Ask the cluster for a change of a member. Threads: the member's owner thread, while the shard is
 *  not stopped. */
void rlt_shard_ask(struct rlt_shard *shard, struct rlt_member *member, enum rlt_ask what);

/** Send for a cluster that sleeps, or wake it. Part of rlt_shard_notify(). */
void rlt_shard_send_or_wake(struct rlt_shard *shard, uint32_t path, struct rlt_pace *pace);

/**
 * Tell the cluster that a frame was enqueued on a path. `pace` is the calling thread's.
 *
 * Threads: any thread.
 */
static inline void rlt_shard_notify(struct rlt_shard *shard, uint32_t path, struct rlt_pace *pace)
{
    rlt_pace_count(pace);
    if (rlt_unlikely(rlt_doorbell_is_armed(&shard->cluster->doorbell, RLT_WAKE_LANES))) {
        rlt_shard_send_or_wake(shard, path, pace);
    }
}

/**
 * Attend the cluster, if the mailbox's subscriber may receive by itself: rlt_shard_descriptor(), to
 * be polled for input, becomes readable for the caller in place of the event thread.
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
 * Receive all that is there. Threads: the one that attends.
 *
 * Returns: false if the event thread has to go on: call rlt_shard_leave(), and wait for the bell
 *          alone.
 */
bool rlt_shard_receive(struct rlt_shard *shard, const struct rlt_mailbox *mailbox);

/* ---- What application threads read of the cluster ------------------------------------------ */

/* api/ uses these, and never reaches into the cluster, whose structs belong to core/. */

/** The wire queue of a path in the pool. Threads: any thread. */
static inline struct rlt_wire_queue *rlt_shard_queue(struct rlt_shard *shard, uint32_t path)
{
    return &shard->cluster->paths[path].queue;
}

/** Bytes that wait in the wire queues of all paths. Threads: any thread. */
uint64_t rlt_shard_queued_bytes(const struct rlt_shard *shard);

/** The counters. Threads: any thread. */
static inline const struct rlt_metrics *rlt_shard_metrics(const struct rlt_shard *shard)
{
    return &shard->cluster->env.metrics;
}

/** Count messages beyond max_messages of a member of a queue group. Threads: any thread. */
void rlt_shard_count_excess(struct rlt_shard *shard, uint32_t count);

/** Read the ledger. Threads: any thread. */
void rlt_shard_ledger(const struct rlt_shard *shard, struct roulette_ledger *ledger);

/** Read the ledger as it would be if the cluster stopped now: messages in no final state count as
 *  discarded. Threads: any thread. */
void rlt_shard_ledger_if_stopped(const struct rlt_shard *shard, struct roulette_ledger *ledger);

/**
 * Copy why a connection was lost or an attempt failed the last time.
 *
 * Threads: any thread.
 * Returns: the code; 0: never.
 */
int rlt_shard_failure(const struct rlt_shard *shard, char text[RLT_TEXT_CELL_BYTES]);

/** Copy the server's last text about a message that it refused. Threads: any thread. */
void rlt_shard_denial(const struct rlt_shard *shard, char text[RLT_TEXT_CELL_BYTES]);

/** How many refused messages flushes have reported; raise that number. Threads: any thread. */
uint64_t rlt_shard_denied_told(const struct rlt_shard *shard);
void rlt_shard_note_denied_told(struct rlt_shard *shard, uint64_t denied);

/** The name of the event thread's backend: "io_uring". Threads: any thread. */
const char *rlt_shard_backend_name(const struct rlt_shard *shard);

/** The cluster's receive memory: its first slab, and each slab by index. Threads: any thread. */
const uint8_t *rlt_shard_slab_arena(const struct rlt_shard *shard);
struct rlt_slab *rlt_shard_slab(const struct rlt_shard *shard, uint32_t index);

/* ---- The end ------------------------------------------------------------------------------- */

/** Ask the event thread to close everything. rlt_event_thread_join() waits for it. */
void rlt_shard_stop(struct rlt_shard *shard);

/** Whether the event thread is done with the cluster. Threads: any thread. */
static inline bool rlt_shard_is_stopped(const struct rlt_shard *shard)
{
    return atomic_load_explicit(&shard->stopped, memory_order_acquire);
}

/** Free the cluster. Threads: any thread, when none uses the cluster any more. */
void rlt_shard_fini(struct rlt_shard *shard);

#endif
