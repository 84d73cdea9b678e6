/* SPDX-License-Identifier: MIT */
/**
 * Several independent nats-servers, and a client of all of them.
 */
#ifndef RLT_TESTS_SUPPORT_FLEET_H
#define RLT_TESTS_SUPPORT_FLEET_H

#include <stddef.h>
#include <stdint.h>

#include "roulette.h"
#include "support/nats_server.h"

#define FLEET_MAX 4

struct fleet {
    size_t count;
    struct nats_server *servers[FLEET_MAX];
    char list[FLEET_MAX * 32]; /* for roulette_options.servers */
};

/** Start `count` servers; the test fails if one does not start. */
void fleet_start(struct fleet *fleet, size_t count);
void fleet_stop(struct fleet *fleet);

/** The default options for this fleet; with as many event threads as RLT_EVENT_THREADS says. */
struct roulette_options fleet_options(const struct fleet *fleet);

/** Open a client and wait until it is connected to all servers. */
roulette_client *fleet_open(const struct roulette_options *options);

/** Open a subscriber with `ring_slots`, 0 for the default. */
roulette_subscriber *fleet_subscriber(roulette_client *client, uint32_t ring_slots);

/** Subscribe, and wait until the server knows it. Threads: any. */
void fleet_subscribe(roulette_subscriber *subscriber, const char *topic);

/** Close with 10 s, demanding that all is confirmed or was counted otherwise, and free. */
void fleet_close(roulette_client *client);

/** What is missing in a ledger: accepted - confirmed - in_doubt - failed - discarded - denied. */
int64_t fleet_difference(const struct roulette_ledger *ledger);

/** The statistics of one cluster. */
struct roulette_stats fleet_stats(const roulette_client *client, size_t cluster);

/** Write the `index`-th of the topics "<prefix>.<n>" that `cluster` carries; its length. */
size_t fleet_topic(const roulette_client *client, size_t cluster, const char *prefix, size_t index,
                   char *topic, size_t size);

/** Subscriptions of client connections of a server, as its /connz says. */
long fleet_server_subscriptions(struct nats_server *server);

#endif
