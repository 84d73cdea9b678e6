/* SPDX-License-Identifier: MIT */
/**
 * A client whose footprint is measured, and what it is asked to do. All use the defaults of their
 * library, except where footprint/libnats.c says otherwise, and end the process with stop() when
 * anything fails.
 */
#ifndef BENCH_FOOTPRINT_FOOTPRINT_H
#define BENCH_FOOTPRINT_FOOTPRINT_H

#include <stddef.h>
#include <stdint.h>

/** For how long a client waits for anything before it gives up. */
#define FOOTPRINT_TIMEOUT_MS 60000

/** Clusters of an idle client at most. */
#define FOOTPRINT_CLUSTERS_MAX 3

/** Every this many ms both libraries ask whether an idle server is alive: ours by default. */
#define FOOTPRINT_PING_MS 5000

/** After how many ms both libraries try to connect again to a server that they have lost. */
#define FOOTPRINT_RECONNECT_MS 10

/** The most subscriptions: their topics have room for the number. */
#define FOOTPRINT_SUBSCRIPTIONS_MAX 9999999

/** How many bytes the topics of subscriptions have. */
#define FOOTPRINT_TOPIC_LEN 12

struct footprint_client {
    const char *name;
    /** Connect to servers on ports of 127.0.0.1, each a cluster, and finish the handshakes.
     *  `subscriptions`: how many there will be, the first server's. */
    void *(*open)(const uint16_t *ports, size_t clusters, uint32_t subscriptions);
    /** Make subscription `index`, below `subscriptions`. */
    void (*subscribe)(void *client, uint32_t index, const char *topic);
    void (*unsubscribe)(void *client, uint32_t index);
    /** Wait until the servers have processed all of the above. */
    void (*confirm)(void *client);
    /** The first server was restarted: wait until it has processed all subscriptions again. */
    void (*confirm_again)(void *client);
    /** Let go of what ended subscriptions have left. */
    void (*collect)(void *client);
    void (*close)(void *client);
};

/** The topic of subscription `index`. */
void footprint_topic(uint32_t index, char topic[FOOTPRINT_TOPIC_LEN + 1]);

extern const struct footprint_client footprint_roulette;
extern const struct footprint_client footprint_libnats;

#endif
