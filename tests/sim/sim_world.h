/* SPDX-License-Identifier: MIT */
/**
 * A world: the clusters of one event thread, one to four of them, each with its own servers,
 * publishers and subscribers, on one loop, with one clock and one seed. The event thread sleeps
 * until an event, a deadline, or a signal; those who ring for a cluster signal only if
 * rlt_cluster_knock() says so, some of them late. Nothing else lets it run.
 */
#ifndef RLT_TESTS_SIM_SIM_WORLD_H
#define RLT_TESTS_SIM_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cluster/loop.h"
#include "core/seam/metrics.h"
#include "proto/address.h"
#include "sim/sim.h"
#include "sim/sim_publishers.h"
#include "sim/sim_subscribers.h"
#include "sim/sim_transport.h"

#define SIM_CLUSTERS_MAX 4
#define SIM_COUNTERS     (sizeof(struct rlt_metrics) / sizeof(rlt_counter))

/** A cluster: its servers, and the threads that publish and subscribe there. */
struct sim_site {
    struct sim_world *world;
    struct rlt_cluster *cluster;
    struct sim_transport transport;
    struct sim_publishers publishers;
    struct sim_subscribers subscribers;
    struct sim_network network;
    bool stopped; /* as the loop has told */
    bool well;    /* faults are over, and it has overcome them */
};

struct sim_world {
    struct sim sim;
    struct rlt_config config;
    struct rlt_address address;
    struct rlt_loop loop;
    struct rlt_loop_entry entries[SIM_CLUSTERS_MAX];
    struct sim_site sites[SIM_CLUSTERS_MAX];
    uint32_t site_count;
    uint32_t slabs_more; /* set before a world begins: receive memory is never short */
    uint32_t spins;
    uint32_t busyness;             /* steps of other threads between two of the event thread */
    uint64_t totals[SIM_COUNTERS]; /* of all worlds: each metric of all clusters */
};

/** Allocate what serves all seeds. */
void sim_world_create(struct sim_world *world);
void sim_world_destroy(struct sim_world *world);

/** Begin anew with another seed. */
void sim_world_begin(struct sim_world *world, uint64_t seed);

/** Let streams flow so well that copies of messages come in time for handovers. */
void sim_world_keep_up(struct sim *sim);

/** Whoever is not the event thread goes on. */
void sim_world_act(struct sim_world *world);

/** The event thread goes on once; `others` between its steps. */
void sim_world_round(struct sim_world *world, void (*others)(struct sim_world *));

/** End all faults: all must be well soon, and all of the ledgers settled. */
void sim_world_heal(struct sim_world *world);

/** Stop one cluster after the other. */
void sim_world_stop(struct sim_world *world);

/** Check what is left, add it to the totals, and free it. */
void sim_world_end(struct sim_world *world);

#endif
