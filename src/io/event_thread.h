/* SPDX-License-Identifier: MIT */
/**
 * An event thread: waits on a backend and drives the loop (core/cluster/loop.h) of the clusters
 * that it serves, one or several.
 */
#ifndef RLT_IO_EVENT_THREAD_H
#define RLT_IO_EVENT_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "core/cluster/loop.h"
#include "io/backend.h"
#include "io/shard.h"

struct rlt_event_thread {
    struct rlt_loop loop;
    struct rlt_backend *backend;
    struct rlt_shard **shards; /* in the order of the loop's entries */
    uint32_t shard_count;
    uint32_t index;
    uint64_t spin_ns;            /* busy-polls for so long before it sleeps */
    struct rlt_io_event *events; /* events of the last wait() */
    uint32_t event_max;
    pthread_t thread;
    bool joined;

    /* Start-up: what the thread reports to its starter. */
    struct rlt_backend_options options;
    int start_error;
    char start_failure[RLT_ERROR_TEXT_MAX]; /* the text of `start_error`; "" */
    /* 0 starting, 1 started (or failed). Release by the thread, acquire by its starter. */
    _Atomic(uint32_t) phase;
};

/**
 * Prepare a thread for up to `shard_max` shards.
 *
 * Ownership: rlt_event_thread_fini() ends it, also after a failure.
 * Returns:   0 or ROULETTE_ENOMEM.
 */
int rlt_event_thread_init(struct rlt_event_thread *thread, uint32_t index, uint32_t shard_max);

/** Give the thread its next shard. Threads: before it is started. */
void rlt_event_thread_add(struct rlt_event_thread *thread, struct rlt_shard *shard);

/**
 * Start the thread: it makes its backend and its shards' clusters.
 *
 * Threads: the one that opens the client. Waits until all is made.
 * Returns: 0; what rlt_uring_create() or rlt_shard_set_up() returned; ROULETTE_ESYSTEM (no thread).
 *          It has ended after a failure, and `start_failure` may say more.
 */
int rlt_event_thread_start(struct rlt_event_thread *thread, const struct rlt_socket_options *socket,
                           uint64_t seed);

/** Whether the calling thread is an event thread: a log callback runs there, and must not wait for
 *  that thread. */
bool rlt_event_thread_is_here(void);

/** Wait until the thread has ended: all its shards must have been asked to stop. */
void rlt_event_thread_join(struct rlt_event_thread *thread);

/** Close the copies of the thread's descriptors, in a child process, which does not have the
 *  thread. */
void rlt_event_thread_abandon(struct rlt_event_thread *thread);

/** Free its memory. Threads: any thread, once it is joined and its shards are not used any more. */
void rlt_event_thread_fini(struct rlt_event_thread *thread);

#endif
