/* SPDX-License-Identifier: MIT */
/**
 * A transport in memory: struct rlt_transport_ops for one cluster, with a server of its own behind
 * each slot. Bytes go through two streams with a kernel's buffer between the ends; operations
 * complete when, how far and in which order the seed says, as core/seam/transport.h allows.
 */
#ifndef RLT_TESTS_SIM_SIM_TRANSPORT_H
#define RLT_TESTS_SIM_SIM_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/seam/transport.h"
#include "sim/sim.h"
#include "sim/sim_server.h"

#define SIM_POOL_MAX  3
#define SIM_SLOTS_MAX (2 * SIM_POOL_MAX)
#define SIM_SPANS_MAX 64
#define SIM_UP_MAX    ((size_t)64 * 1024)

/** An operation in progress: the memory that was handed over. */
struct sim_operation {
    bool in_progress;
    size_t taken; /* of a send: on its way already, while its event is not */
    struct rlt_span spans[SIM_SPANS_MAX];
    uint32_t count;
};

/** One connection's way to its server. */
struct sim_slot {
    bool opening;
    bool hangs; /* the open never completes */
    bool open;
    bool closing;
    bool securing;
    bool watched;
    bool tls_hangs;      /* the handshake never ends */
    uint32_t lag;        /* rounds for which the server's stream stands still */
    bool dead;           /* cut: no byte goes through any more */
    bool silent;         /* the server neither reads nor answers */
    uint64_t stalled_ns; /* ... until then */
    uint64_t up_left;    /* bytes to the server until the cut */
    uint64_t down_left;  /* bytes to the client until the cut */
    struct sim_operation receive;
    struct sim_operation send;
    uint8_t *up; /* taken from the client, not read by the server */
    size_t up_len;
    uint64_t received; /* by the client, on this connection */
    uint64_t incarnation;
    struct sim_server server;
};

struct sim_transport {
    struct rlt_transport transport;
    struct sim *sim;
    uint32_t slot_count;
    struct sim_slot slots[SIM_SLOTS_MAX];
    /* Where the first connection of slot 0 breaks; UINT64_MAX: nowhere. */
    uint64_t first_up;
    uint64_t first_down;
    void (*on_signal)(void *context, int descriptor);
    void (*on_wake)(void *context, _Atomic(uint32_t) *word);
    /* A watched slot has received: before the cluster gets to know what. */
    void (*on_received)(void *context, uint32_t slot);
    void *context;
    bool attended; /* watched slots tell a subscriber, not the event thread */
};

/** Allocate buffers once; they serve all seeds. */
void sim_transport_create(struct sim_transport *transport);
void sim_transport_destroy(struct sim_transport *transport);

/** Begin anew with another seed. */
void sim_transport_reset(struct sim_transport *transport, struct sim *sim, uint32_t slot_count);

/** Servers read, answer and (`act`) do something of their own accord; connections break. */
void sim_transport_step(struct sim_transport *transport, bool act);

/** Whether a watched slot can be read. */
bool sim_transport_is_readable(const struct sim_transport *transport);

/** Complete some operation. Returns: false if none is to complete now. */
bool sim_transport_next(struct sim_transport *transport, struct rlt_io_event *event);

#endif
