/* SPDX-License-Identifier: MIT */
/**
 * The subscribing threads of the simulation, and what they are told. They do what
 * api/subscriber.c and api/receive.c do. For each mailbox there is a list of what must come.
 */
#ifndef RLT_TESTS_SIM_SIM_SUBSCRIBERS_H
#define RLT_TESTS_SIM_SIM_SUBSCRIBERS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cluster/cluster.h"
#include "sim/sim.h"
#include "sim/sim_holdback.h"
#include "sim/sim_transport.h"

#define SIM_SUBSCRIBERS_MAX 3
#define SIM_EXPECTED_MAX    262144
#define SIM_HELD_MAX        4096

/** A subscription of one subscriber; a new one each time. */
struct sim_handle {
    struct rlt_member *member; /* the only one of an rlt_subscription; the cluster's, until its last
                                * notice is received */
    uint32_t topic;
    bool leaving;
    bool draining;  /* DRAIN was submitted */
    bool finishing; /* and FINISH */
    bool must_lose; /* a message was lost with its connection */
    bool was_lost;  /* and that was told */
    bool seen;      /* the member has joined a subscription */
    bool refused;   /* the server has refused what it is a member of, and not let it in since */
    uint64_t last_message[SIM_ORIGINS]; /* received from each publisher */
    char last_notice;
    char text[8];
    struct sim_handle *next; /* that is leaving */
};

/** A message that must come next, or be told as dropped. */
struct sim_expected {
    struct rlt_member *member;
    uint32_t number;
};

/** A subscription that ends in the event that is at hand. */
struct sim_denial {
    uint64_t sid;
    bool gone; /* no server was told of it but the one that refuses it */
};

struct sim_held {
    const uint8_t *body;
    const uint8_t *base;
    uint32_t len;
    uint32_t number;
};

struct sim_subscriber {
    struct rlt_mailbox mailbox;
    struct rlt_doorbell doorbell;
    bool asleep;
    bool attends;                           /* what watched connections tell */
    struct sim_handle *handles[SIM_TOPICS]; /* live ones */
    struct sim_handle *leaving;             /* those that wait for REMOVED */
    struct sim_handle *over;                /* kept, because a command may be on its way */
    struct sim_expected *expected;
    uint32_t expected_count;
    uint32_t expected_seen; /* received or told as dropped */
    uint64_t received;
    uint64_t told;
    uint64_t skipped; /* dropped, as the gaps between received ones say */
    struct sim_held *held;
    uint32_t held_count;
    uint32_t hold; /* per 1000 messages */
};

struct sim_subscribers {
    struct sim *sim;
    struct rlt_cluster *cluster;
    struct sim_transport *transport;
    uint32_t count;
    bool call_due; /* one has left something to the event thread, and has still to call it */
    struct sim_subscriber subscribers[SIM_SUBSCRIBERS_MAX];
    /* Of all: what the metrics must say. */
    uint64_t messages;
    uint64_t deliveries;
    uint64_t unknown;
    uint64_t suppressed;
    uint64_t losses; /* LOST notices */
    struct sim_holdback holdback;
    struct sim_network *network;
    uint32_t groups; /* per 1000 subscriptions: of a queue group */
    /* By slot, when its connection is closed: what was lost with it. */
    bool was_active;
    bool was_retiring;
    bool oversized_noted[SIM_SLOTS_MAX];
};

/** Allocate lists once; they serve all seeds. */
void sim_subscribers_create(struct sim_subscribers *self);
void sim_subscribers_destroy(struct sim_subscribers *self);

void sim_subscribers_begin(struct sim_subscribers *self, struct sim *sim,
                           struct rlt_cluster *cluster, struct sim_transport *transport);

/** Some subscriber takes a step: subscribes, unsubscribes, receives, releases. */
void sim_subscribers_step(struct sim_subscribers *self);

/** All receive and release what is there. */
void sim_subscribers_drain(struct sim_subscribers *self);

/** Before the cluster gets `event`: note what must be delivered because of it. */
void sim_subscribers_before_event(struct sim_subscribers *self, const struct rlt_io_event *event);

/** Afterwards: check the metrics. */
void sim_subscribers_check(struct sim_subscribers *self);

/** A watched connection has received bytes, which the cluster gets next: as before_event(). */
void sim_subscribers_on_received(struct sim_subscribers *self, uint32_t slot);

/** The descriptor of subscriber `descriptor` was signalled. */
void sim_subscribers_on_signal(struct sim_subscribers *self, int descriptor);

/** Everything that must come has come, or was told as dropped; no handle hangs. */
bool sim_subscribers_are_settled(struct sim_subscribers *self);

/** The servers have exactly the subscriptions that there are members for. */
bool sim_subscribers_agree(struct sim_subscribers *self);

/** The cluster is stopped: check what is left, and free it. */
void sim_subscribers_end(struct sim_subscribers *self);

#endif
