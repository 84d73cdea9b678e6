/* SPDX-License-Identifier: MIT */
/**
 * A backend: a transport (core/transport.h) that a shard can wait on. io_uring is one.
 */
#ifndef RLT_IO_BACKEND_H
#define RLT_IO_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "core/transport.h"
#include "io/socket.h"
#include "io/watch.h"

struct rlt_backend;

struct rlt_backend_ops {
    /**
     * Submit what was asked for and collect events, waiting for the first one until
     * `deadline_ns` (CLOCK_MONOTONIC; 0: do not wait) or until wake().
     *
     * Threads: the event thread. Returns: the number of events, 0 to `max`.
     */
    uint32_t (*wait)(struct rlt_backend *backend, uint64_t deadline_ns, struct rlt_io_event *events,
                     uint32_t max);
    /** End wait(). Threads: any thread. */
    void (*wake)(struct rlt_backend *backend);
    /** No more waiting. Threads: the event thread, when all slots are closed. */
    void (*shut_down)(struct rlt_backend *backend);
    /** In a child process, which has no event thread: close the copies of all descriptors. */
    void (*abandon)(struct rlt_backend *backend);
    /** Free it. Threads: any thread, after shut_down(), when nobody can wake() it any more. */
    void (*destroy)(struct rlt_backend *backend);
};

struct rlt_backend {
    struct rlt_transport transport;
    const struct rlt_backend_ops *ops;
    struct rlt_watch watch; /* of the slots that are watched; until destroy() */
    uint64_t wakeups;       /* times that wait() was ended by wake(); event thread */
};

struct rlt_backend_options {
    uint32_t slot_count;
    struct rlt_socket_options socket;
    uint64_t seed; /* for the order in which a host's addresses are tried */
};

#endif
