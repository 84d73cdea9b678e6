/* SPDX-License-Identifier: MIT */
/**
 * A peer: one way to do the work that is measured. All peers speak to one server through one
 * connection, use the same topic and payload, and end the process with stop() when anything
 * fails.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/** The topic of all workloads. Free of the letter G: see null_server.c. */
#define PEER_TOPIC "bench.a"

/** For how long a peer waits for anything before it gives up. */
#define PEER_TIMEOUT_MS 10000

struct peer_options {
    uint16_t port; /* of 127.0.0.1 */
    uint32_t payload_len;
    const void *payload;
};

/**
 * What arrived. Written by the thread that receives, read by any other: relaxed, because nothing
 * but the numbers is passed on. Lives longer than the peer's client.
 */
struct peer_tally {
    alignas(64) _Atomic(uint64_t) received;
    _Atomic(uint64_t) dropped; /* by the client, because its receiver was behind */
};

/** The calls of one peer. `client` is what open() returned. */
struct peer {
    const char *name;
    /* Threads that may publish at once; measure.c starts no more. */
    uint32_t threads_max;
    /* Whether it differs from other peers in how it receives, and so takes part there. */
    bool receives;

    /** Connect, and finish the handshake. */
    void *(*open)(const struct peer_options *options);
    /** Publish `count` messages; waits where the peer's queue is full. Any thread. */
    void (*publish)(void *client, uint64_t count);
    /** Wait until the server has answered a PING behind all that was published. */
    void (*flush)(void *client);
    /** Subscribe to the topic, and count in `tally` from now on. */
    void (*subscribe)(void *client, struct peer_tally *tally);
    /** Wait until the tally has reached `total`: receives in the calling thread, or sleeps. */
    void (*await)(void *client, uint64_t total);
    void (*close)(void *client);
};

/** This library, with a topic handle. */
extern const struct peer peer_roulette;
/** This library, with the topic as text in each call. */
extern const struct peer peer_roulette_text;
/** The official C client. */
extern const struct peer peer_libnats;
/** A bare socket: the limit. */
extern const struct peer peer_raw;

/** Add to a field of the tally that this thread alone writes. */
static inline void peer_tally_add(_Atomic(uint64_t) *field, uint64_t count)
{
    uint64_t before = atomic_load_explicit(field, memory_order_relaxed);
    atomic_store_explicit(field, before + count, memory_order_relaxed);
}

/** Messages that are accounted for. */
static inline uint64_t peer_tally_total(const struct peer_tally *tally)
{
    return atomic_load_explicit(&tally->received, memory_order_relaxed) +
           atomic_load_explicit(&tally->dropped, memory_order_relaxed);
}

#endif
