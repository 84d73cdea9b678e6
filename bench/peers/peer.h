/* SPDX-License-Identifier: MIT */
/**
 * A peer: one way to do the work that is measured. All peers speak to the same servers, one
 * connection to each, use the same payload and topics of the same length, topic i on server
 * i % clusters, and end the process with stop() when anything fails.
 */
#ifndef BENCH_PEERS_PEER_H
#define BENCH_PEERS_PEER_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** For how long a peer waits for anything before it gives up. */
#define PEER_TIMEOUT_MS 10000

struct peer_options {
    const uint16_t *ports; /* of 127.0.0.1; one for each cluster */
    uint32_t clusters;
    bool tls;             /* from INFO on; the servers' certificates are not verified */
    uint32_t topics;      /* that carry messages; see harness/topic.h */
    uint32_t held;        /* further topics that are subscribed to */
    uint32_t subscribers; /* of each topic that carries messages */
    uint32_t payload_len;
    const void *payload; /* of each message */
    /** Time counts, not throughput: a message is to be sent at once. Then the payload may change
     *  from one call of publish() to the next, and only one thread publishes. */
    bool prompt;
};

/**
 * What arrived. The numbers are written by the thread that receives, read by any other: relaxed,
 * because nothing but they is passed on. Lives longer than the peer's client.
 */
struct peer_tally {
    alignas(64) _Atomic(uint64_t) received;
    _Atomic(uint64_t) dropped; /* by the client, because its receiver was behind */
    /** NULL, or called for each message by the thread that receives. May publish. */
    void (*on_payload)(void *context, const void *payload);
    void *context;
};

/** What a peer can take part in. */
enum { PEER_PUBLISH = 1, PEER_RECEIVE = 2, PEER_LATENCY = 4, PEER_ALL = 7 };

/** The calls of one peer. `client` is what open() returned. */
struct peer {
    const char *name;
    /* What it takes part in, of these bits: where it differs from other peers. */
    unsigned takes;
    /* Whether it serves several threads, clusters and subscribers. */
    bool shares;

    /** Connect, and finish the handshakes. */
    void *(*open)(const struct peer_options *options);
    /** Publish `count` messages to the topics in turn, from topic `first` on; waits where the
     *  peer's queue is full. Any thread. */
    void (*publish)(void *client, uint32_t first, uint64_t count);
    /** Wait until the servers have answered a PING behind all that was published. */
    void (*flush)(void *client);
    /** Subscribe to the topics, and count in `tally` from now on. */
    void (*subscribe)(void *client, struct peer_tally *tally);
    /** Wait until the tally has reached `total`: receives in the calling thread, or sleeps. */
    void (*await)(void *client, uint64_t total);
    /** How many messages the servers have sent: copies on the wire. May be NULL without
     *  `shares`. */
    uint64_t (*copies)(void *client);
    /** How many times the client has sent to any server, by its own count. NULL: it does not
     *  tell. */
    uint64_t (*sends)(void *client);
    void (*close)(void *client);
};

/** options.event_threads of this library's clients; 0, its default, unless set before the first
 *  open(). */
extern uint32_t peer_roulette_event_threads;

/** This library, with topic handles. */
extern const struct peer peer_roulette;
/** An older build of this library, with topic handles; see harness/library.h. */
extern const struct peer peer_roulette_before;
/** This library, with the topic as text in each call. */
extern const struct peer peer_roulette_text;
/** This library, looking for work for a while before a thread sleeps. */
extern const struct peer peer_roulette_spin;
/** This library, whose subscriber's descriptor is polled: one receive for each wake-up. */
extern const struct peer peer_roulette_poll;
/** The official C client. */
extern const struct peer peer_libnats;
/** A bare socket, with TLS one under OpenSSL: the limit. */
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
