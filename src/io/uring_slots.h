/* SPDX-License-Identifier: MIT */
/**
 * The state of an io_uring backend: one ring, the ports of the clusters that its event thread
 * serves, and their slots. For io/uring*.c only.
 *
 * A slot has an index into all slots of the backend; a port's transport counts its own from 0.
 */
#ifndef RLT_IO_URING_SLOTS_H
#define RLT_IO_URING_SLOTS_H

#include <liburing.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/defs.h"
#include "base/random.h"
#include "io/backend.h"
#include "io/event_queue.h"
#include "io/iovecs.h"
#include "io/resolver.h"
#include "lockfree/stack.h"

enum rlt_uring_op {
    RLT_URING_RECEIVE,
    RLT_URING_SEND,
    RLT_URING_TRANSFERS, /* the number of kinds above: one operation of each in a slot */
    RLT_URING_WAKE,
    RLT_URING_WATCH, /* of a port */
    RLT_URING_CANCEL,
    RLT_URING_CONNECT, /* of a slot's first racer; the next racers' follow */
};

/* Addresses of a host that are tried in parallel, at most. */
#define RLT_URING_RACERS 4

/* An address that is being tried (io/uring_race.h). */
struct rlt_uring_racer {
    int fd;                             /* -1: none; the kernel is connecting it */
    const union rlt_endpoint *endpoint; /* of the slot's lookup */
    bool canceled;
    uint64_t started_ns;
};

/* One connection's socket. Owner: the event thread. */
struct rlt_uring_slot {
    int fd; /* -1: none */
    uint32_t generation;
    bool in_progress[RLT_URING_TRANSFERS];
    bool resolving;
    bool closing;
    bool watched;
    bool told;                 /* the failure of its watch was reported, once */
    uint32_t repeats;          /* interrupted operations in a row */
    struct rlt_lookup *lookup; /* the host's addresses, while they are looked up or tried */
    uint32_t tried;            /* addresses tried so far */
    int race_error;            /* why none of these was connected */
    char failure[384];         /* the system call that failed, and what to change; "" */
    uint64_t next_ns;          /* when the next one is tried, too; RLT_NEVER: not by time */
    uint32_t racer_count;
    struct rlt_uring_racer racers[RLT_URING_RACERS];
    struct rlt_iovecs receive;
    struct rlt_iovecs send;
};

/* The poll of a port's watch. Owner: the event thread. */
struct rlt_uring_watch {
    bool armed;
    uint32_t count; /* slots that are watched */
};

struct rlt_uring {
    struct rlt_backend backend;
    struct io_uring ring;
    int wake_fd;
    uint64_t wake_count; /* the kernel reads wake_fd into this */
    bool wake_armed;
    uint32_t wake_failures; /* in a row */
    bool wake_lost;         /* no thread can wake this one: it polls now and then */
    struct rlt_socket_options socket_options;
    struct rlt_random random;
    /* Events that did not come from the kernel; RLT_URING_EARLY for each slot at most. */
    struct rlt_event_queue early;

    uint64_t race_ns; /* no slot's `next_ns` is earlier; RLT_NEVER: no slot has one */

    /* Finished lookups, pushed by their threads. */
    struct rlt_stack resolved;

    /* When the ring cannot be used any more (io/uring_break.h). */
    int broken;          /* the errno; 0: it works */
    uint64_t failing_ns; /* since when enter fails; 0: it works */
    char failure[512];   /* why the ring broke, or why no new one can be made; "" */
    unsigned entries;    /* of the ring, for the next one */
    unsigned completions;
    struct io_uring_sqe nowhere; /* takes submissions while the ring is broken */

    struct rlt_uring_watch *watches; /* of each port */
    uint32_t slot_count;
    struct rlt_uring_slot *slots;
};

#define RLT_URING_EARLY 5

static inline struct rlt_uring *rlt_uring_of(struct rlt_transport *transport)
{
    struct rlt_port *port = rlt_container_of(transport, struct rlt_port, transport);
    return rlt_container_of(port->backend, struct rlt_uring, backend);
}

/** The index of a port's slot among all slots. */
static inline uint32_t rlt_uring_index(struct rlt_transport *transport, uint32_t slot)
{
    return rlt_container_of(transport, struct rlt_port, transport)->first_slot + slot;
}

static inline uint64_t rlt_uring_tag(uint32_t index, uint32_t generation, uint32_t op)
{
    return ((uint64_t)generation << 32) | ((uint64_t)index << 8) | (uint64_t)op;
}

/** Break the ring, for an errno of io_uring_enter(): see io/uring_break.h. */
void rlt_uring_break(struct rlt_uring *uring, int error);

/**
 * Submit the queued entries to make room, since all slots of all ports may want some at once. If
 * the kernel does not take them, the ring is broken.
 */
struct io_uring_sqe *rlt_uring_make_room(struct rlt_uring *uring);

/** The next submission entry; in a broken ring a dummy, whose operation fails at the next wait. */
static inline struct io_uring_sqe *rlt_uring_next_entry(struct rlt_uring *uring)
{
    if (rlt_unlikely(uring->broken != 0)) {
        return &uring->nowhere;
    }
    struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);
    return rlt_likely(entry != NULL) ? entry : rlt_uring_make_room(uring);
}

/** Whether the kernel has something in progress for a slot. */
static inline bool rlt_uring_is_busy(const struct rlt_uring_slot *slot)
{
    return slot->racer_count != 0 || slot->in_progress[RLT_URING_RECEIVE] ||
           slot->in_progress[RLT_URING_SEND];
}

/** Note which call of a slot has failed: "`call` has failed: STRERROR (`advice`)". */
void rlt_uring_explain(struct rlt_uring_slot *slot, const char *call, int error,
                       const char *advice);

/**
 * All operations of a slot that is closing have ended: give its descriptor back to the system.
 * RLT_IO_CLOSED follows.
 */
void rlt_uring_finish_close(struct rlt_uring *uring, uint32_t index);

/** An operation of a slot begins. */
static inline void rlt_uring_begin(struct rlt_uring *uring, uint32_t index, enum rlt_uring_op op,
                                   struct io_uring_sqe *entry)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    RLT_ASSERT(!slot->in_progress[op]);
    slot->in_progress[op] = true;
    io_uring_sqe_set_data64(entry, rlt_uring_tag(index, slot->generation, op));
}

/** Ask the kernel to end an operation early: its own completion comes in any case. */
static inline void rlt_uring_cancel(struct rlt_uring *uring, uint32_t index, uint32_t op)
{
    uint32_t generation = uring->slots[index].generation;
    struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
    io_uring_prep_cancel64(entry, rlt_uring_tag(index, generation, op), 0);
    io_uring_sqe_set_data64(entry, rlt_uring_tag(index, generation, RLT_URING_CANCEL));
}

#endif
