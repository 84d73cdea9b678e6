/* SPDX-License-Identifier: MIT */
/**
 * What must wait while a connection moves, as the simulation expects it (core/merging/merge.h). The
 * linker lets it see when the core lets a message go.
 */
#ifndef RLT_TESTS_SIM_SIM_HOLDBACK_H
#define RLT_TESTS_SIM_SIM_HOLDBACK_H

#include <stdbool.h>
#include <stdint.h>

struct rlt_cluster;
struct sim;

#define SIM_WAITING_MAX 65536

struct sim_waiting {
    uint64_t sid;
    uint32_t number; /* of the message */
};

struct sim_holdback {
    struct sim *sim;
    struct rlt_cluster *cluster;
    void (*on_release)(void *context, const struct sim_waiting *released);
    void (*on_drop)(void *context);
    void *context;
    struct sim_waiting waiting[SIM_WAITING_MAX]; /* in the order in which they came */
    uint32_t count;
    bool receives;
    uint64_t waited; /* of all worlds */
    uint64_t released;
};

/** Nothing waits. One for each cluster of the world. */
void sim_holdback_begin(struct sim_holdback *self, struct sim *sim, struct rlt_cluster *cluster);

void sim_holdback_push(struct sim_holdback *self, struct sim_waiting what);

/** The other connection brings a copy. Returns: whether one waited, which is taken out. */
bool sim_holdback_cancel(struct sim_holdback *self, uint32_t number);

/** Bytes are received: what the core takes out now is what sim_holdback_cancel() was told of. */
void sim_holdback_note_receive(struct sim_holdback *self);

/** The core has done what it does: what it took out was delivered, or is not. */
void sim_holdback_note_end(struct sim_holdback *self);

#endif
