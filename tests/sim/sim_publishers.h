/* SPDX-License-Identifier: MIT */
/**
 * The publishing threads of the simulation, and what becomes of their messages. They do what
 * api/publish.c does, and stop between any two of its steps.
 */
#ifndef RLT_TESTS_SIM_SIM_PUBLISHERS_H
#define RLT_TESTS_SIM_SIM_PUBLISHERS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cluster/cluster.h"
#include "sim/sim.h"
#include "sim/sim_transport.h"

#define SIM_PUBLISHERS_MAX 5
#define SIM_MESSAGES_MAX   8192
#define SIM_FENCES_MAX     64

/** What is known of one published message. */
struct sim_message {
    uint8_t slot;
    uint8_t lane;
    uint8_t topic;
    bool committed;
    bool processed;           /* by a server */
    bool refused;             /* by a server, at least once */
    uint32_t committed_index; /* how many were committed before it */
    uint64_t lane_index;      /* in its lane */
    uint64_t stream;          /* on which it was processed last */
};

struct sim_publisher {
    int lanes[SIM_POOL_MAX];
    _Atomic(uint32_t) *asleep; /* on this word; NULL: awake */
    /* A frame that is claimed and not committed. */
    bool claimed;
    uint32_t claimed_slot;
    uint32_t claimed_number;
    size_t claimed_len;
    struct rlt_shared_claim claim;
};

/** A flush whose result is checked. */
struct sim_flush {
    struct rlt_fence *fence; /* NULL: the flusher left */
    uint32_t committed;      /* messages before it */
    bool begun;              /* the event thread has seen it */
    uint64_t in_doubt;       /* at that moment */
};

/** A publisher that sends by itself, between its send and the end of it. */
struct sim_borrower {
    bool borrowed;
    size_t taken;
    uint32_t calls_due; /* it gave back, and has still to call the event thread */
};

struct sim_publishers {
    struct sim *sim;
    struct rlt_cluster *cluster;
    struct sim_transport *transport;
    uint32_t count;
    uint32_t large; /* per 1000 messages */
    struct sim_borrower borrowers[SIM_POOL_MAX];
    bool lied; /* some server sent a PONG that proves nothing */
    struct sim_publisher publishers[SIM_PUBLISHERS_MAX];
    struct sim_message messages[SIM_MESSAGES_MAX];
    uint32_t message_count;
    uint32_t committed;
    uint32_t processed;
    uint64_t again; /* processed once more */
    uint64_t in_doubt_seen;
    uint64_t in_doubt_midway; /* while their connection was not lost: too large for a replay */
    bool keep;                /* guarantee at_least_once */
    /* By position: which connection's messages came last, and which of each lane. */
    uint64_t stream[SIM_POOL_MAX];
    int64_t last_processed[SIM_POOL_MAX][RLT_WIRE_LANES + 1];
    struct sim_flush flushes[SIM_FENCES_MAX];
    uint32_t flush_count;
};

void sim_publishers_begin(struct sim_publishers *self, struct sim *sim, struct rlt_cluster *cluster,
                          struct sim_transport *transport);

/** Some publisher takes a step. */
void sim_publishers_step(struct sim_publishers *self);

/** Commit what is claimed, give back what is borrowed. */
void sim_publishers_settle(struct sim_publishers *self);

/** Somebody flushes; with `leave` it does not wait for the result. */
void sim_publishers_flush(struct sim_publishers *self, bool leave);

/** Whether somebody is about to do something about the messages of a position. */
bool sim_publishers_are_at(const struct sim_publishers *self, uint32_t position);

/** The event thread is about to carry out what was submitted. */
void sim_publishers_before_run(struct sim_publishers *self);

/** Check the ledger and the flushes. */
void sim_publishers_check(struct sim_publishers *self);

/** The cluster is stopped: check what became of everything. */
void sim_publishers_end(struct sim_publishers *self);

/** The cluster was told that the connection of `slot` is closed. */
void sim_publishers_on_closed(struct sim_publishers *self, uint32_t slot);

/** A server processed a message, or refused it. */
void sim_publishers_on_publish(void *context, uint32_t slot, uint32_t topic, const uint8_t *payload,
                               size_t len, bool refused);

/** Somebody sleeps on the word no more. */
void sim_publishers_on_wake(struct sim_publishers *self, _Atomic(uint32_t) *word);

#endif
