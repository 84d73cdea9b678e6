/* SPDX-License-Identifier: MIT */
/**
 * What roulette is made for, in small: two clusters that know nothing of each other, each of three
 * nats-servers with routes and a haproxy in front. Clients see the two addresses of the haproxies.
 *
 * No process outlives its test: start a topology from the test's own thread. Every function waits
 * until what it does has taken effect, and ends the test if that does not happen in time.
 */
#ifndef RLT_TESTS_SUPPORT_TOPOLOGY_H
#define RLT_TESTS_SUPPORT_TOPOLOGY_H

#include <stddef.h>
#include <stdint.h>

#include "roulette.h"
#include "support/nats_server.h"
#include "support/process.h"

#define TOPOLOGY_CLUSTERS 2
#define TOPOLOGY_SERVERS  3
/** How long a lame duck waits before it closes connections. */
#define TOPOLOGY_GRACE_MS 8000

struct topology_cluster {
    uint16_t port; /* of the haproxy */
    struct process haproxy;
    struct nats_server *servers[TOPOLOGY_SERVERS];
};

struct topology {
    char folder[64]; /* of the configuration files and the haproxies' sockets */
    char list[64];   /* for roulette_options.servers */
    struct topology_cluster clusters[TOPOLOGY_CLUSTERS];
};

void topology_start(struct topology *topology);
void topology_stop(struct topology *topology);

/** Options of a client of both haproxies that reconnects fast and does not give up. `name` tells
 *  its connections apart on the servers. */
struct roulette_options topology_options(const struct topology *topology, const char *name);

/** Let the haproxy of a cluster open no more connections to a server. */
void topology_drain(struct topology *topology, size_t cluster, size_t server);

/** Cut what goes through the haproxy to a server. Returns: how many connections that were. */
long topology_cut(struct topology *topology, size_t cluster, size_t server);

/** End topology_drain(). */
void topology_ready(struct topology *topology, size_t cluster, size_t server);

/** Wait until the process of a server has ended, start it again, and wait until it has its routes
 *  and the haproxy uses it. */
void topology_restart(struct topology *topology, size_t cluster, size_t server);

/** The server on which a client called `name` has a connection, or -1. Asks all servers. */
int topology_server_of(struct topology *topology, size_t cluster, const char *name);

/** A number of a server's /varz, such as "in_msgs". */
long topology_counter(struct topology *topology, size_t cluster, size_t server, const char *name);

#endif
