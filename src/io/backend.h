/* SPDX-License-Identifier: MIT */
/**
 * A backend: the wait of an event thread, with a transport (core/seam/transport.h) for each cluster
 * that the thread serves. io_uring is one.
 */
#ifndef RLT_IO_BACKEND_H
#define RLT_IO_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

#include "core/seam/transport.h"
#include "io/socket.h"
#include "io/wake/watch.h"

struct rlt_backend;

struct rlt_backend_ops {
    /**
     * Submit the pending operations and collect events, waiting for the first one until
     * `deadline_ns` (CLOCK_MONOTONIC; 0: do not wait) or until wake(). Their slots are indexes into
     * all slots of the backend: see rlt_port.
     *
     * Threads: the event thread. Returns: the number of events, 0 to `max`.
     */
    uint32_t (*wait)(struct rlt_backend *backend, uint64_t deadline_ns, struct rlt_io_event *events,
                     uint32_t max);
    /** End wait(). Threads: any thread. */
    void (*wake)(struct rlt_backend *backend);
    /** End the use of wait(). Threads: the event thread, when all slots are closed. */
    void (*shut_down)(struct rlt_backend *backend);
    /** Close the copies of all descriptors, in a child process, which has no event thread. */
    void (*abandon)(struct rlt_backend *backend);
    /** Free the backend. Threads: any thread, after shut_down(), when no thread can wake() it any
     *  more. */
    void (*destroy)(struct rlt_backend *backend);
};

/**
 * The part of a backend that serves one cluster: the transport of its slots, which are counted from
 * 0 there, and the watch that tells subscribers of readable ones.
 */
struct rlt_port {
    struct rlt_transport transport;
    struct rlt_watch watch; /* of the slots that are watched; until destroy() */
    struct rlt_backend *backend;
    uint32_t first_slot; /* among all of the backend */
    uint32_t slot_count;
};

struct rlt_backend {
    const struct rlt_backend_ops *ops;
    struct rlt_port *ports; /* one for each cluster */
    uint32_t port_count;
    uint64_t wakeups; /* waits that wake() has ended; event thread */
};

struct rlt_backend_options {
    uint32_t port_count;
    uint32_t slots_per_port;
    struct rlt_socket_options socket;
    uint64_t seed; /* for the order in which a host's addresses are tried */
};

#endif
