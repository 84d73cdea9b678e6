/* SPDX-License-Identifier: MIT */
/**
 * A load on a topology: threads that publish numbered messages at a steady rate on topics of both
 * clusters, threads that receive them, and messages that prove that all know of each other.
 */
#ifndef RLT_TESTS_SUPPORT_LOAD_H
#define RLT_TESTS_SUPPORT_LOAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "roulette.h"
#include "support/tally.h"
#include "support/topology.h"

/** The topics "load.N", and the topics "work.N", as masks. Half of each are on each cluster: topic
 * i is on cluster i % 2. */
#define LOAD_LOAD 0x0fu
#define LOAD_WORK 0xf0u

struct load {
    roulette_client *client;
    char topics[TALLY_TOPICS][32];
    atomic_bool stop;
    struct load_publisher {
        struct load *load;
        uint32_t index;
        pthread_t thread;
    } publishers[TALLY_THREADS];
    atomic_uint_fast64_t refused;     /* publishes: the queue was full */
    uint32_t accepted[TALLY_STREAMS]; /* valid after load_stop() */
};

/** Choose the topics. */
void load_init(struct load *load, roulette_client *client);
void load_start(struct load *load);
/** Returns: how many messages were accepted. */
uint64_t load_stop(struct load *load);

/** A thread that receives until its client is closed. */
struct load_reader {
    roulette_subscriber *subscriber;
    struct tally *tally;
    pthread_t thread;
    atomic_uint_fast64_t lost; /* notices */
    atomic_uint_fast64_t restored;
    uint32_t next[TALLY_STREAMS];      /* sequences are expected from here on */
    atomic_uint_fast64_t out_of_order; /* messages behind one of their stream that is younger */
};

/** Subscribe to each topic of the tally, or if `pattern` is not NULL to this one, and start to
 *  receive. `group` may be NULL. */
void load_reader_start(struct load_reader *reader, roulette_client *client, const struct load *load,
                       const char *pattern, const char *group, struct tally *tally);
/** After the client was closed: wait until everything was received. */
void load_reader_stop(struct load_reader *reader);

/**
 * Publish on a server's own port, until a message on each topic of its cluster was seen by each of
 * `count` tallies that may see it: the server knows of all subscriptions; and what it processed
 * before was seen too, for messages from one server to another keep their order.
 */
void load_prime(const struct load *load, struct topology *topology, size_t cluster, size_t server,
                struct tally *const *tallies, size_t count);

#endif
