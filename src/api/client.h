/* SPDX-License-Identifier: MIT */
/**
 * A client, as the files of api/ see it.
 */
#ifndef RLT_API_CLIENT_H
#define RLT_API_CLIENT_H

#include <ck_queue.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/seam/config.h"
#include "core/seam/ring.h"
#include "io/event_thread.h"
#include "io/shard.h"
#include "io/tls/context.h"
#include "io/tls/signer.h"
#include "proto/address.h"
#include "roulette.h"

enum rlt_client_state {
    RLT_CLIENT_OPEN = 0,
    RLT_CLIENT_CLOSING = 1, /* no new commands or publishes; the event threads still run */
    RLT_CLIENT_STOPPED = 2, /* the event threads have ended */
    RLT_CLIENT_FORKED = 3,  /* this is a child process: the event threads are the parent's */
};

/**
 * Ownership: counted: the application's handle, each subscriber and each topic hold a reference;
 * the last one frees it.
 */
struct roulette_client {
    /* Immutable after roulette_open(). */
    uint64_t id; /* of no other client of this process, ever */
    struct rlt_config config;
    struct rlt_address *addresses;
    size_t cluster_count;
    struct rlt_ring *ring;
    char *texts;            /* what config's strings point into */
    char *credentials_file; /* NULL: none */
    struct rlt_signer signer;
    struct rlt_tls_context *tls; /* NULL: no cluster needs it */
    rlt_counter *identities;     /* config's */

    /* Read by all at each call, written twice. Relaxed for publishers (a late view is accounted
     * for as discarded); seq_cst with `entered`: see rlt_client_enter(). */
    alignas(RLT_CACHE_LINE) _Atomic(uint32_t) state;

    /* Threads that are between rlt_client_enter() and rlt_client_leave(). */
    alignas(RLT_CACHE_LINE) _Atomic(uint32_t) entered;
    _Atomic(uint32_t) references; /* acquire-release: the last one frees */

    pthread_mutex_t subscribers_lock;                /* control path: open, close */
    CK_LIST_HEAD(, roulette_subscriber) subscribers; /* api/subscribers.h */

    /* Immutable after roulette_open(). Cluster i is served by thread i % thread_count. */
    struct rlt_event_thread *threads;
    size_t thread_count;
    struct rlt_shard shards[];
};

/** One path of one cluster: where a topic goes. */
struct rlt_place {
    uint32_t cluster;
    uint32_t path;
};

/**
 * Keep the event threads running until rlt_client_leave(), in order to give them commands.
 *
 * Threads: any thread; short, not across a wait.
 * Returns: false if the client is closing or closed.
 */
bool rlt_client_enter(roulette_client *client);
void rlt_client_leave(roulette_client *client);

/** Whether no event thread runs. Acquire: all their writes are visible then. */
static inline bool rlt_client_is_stopped(roulette_client *client)
{
    return atomic_load_explicit(&client->state, memory_order_acquire) >= RLT_CLIENT_STOPPED;
}

/** The error of a call on a client that is not open: ROULETTE_ECLOSED or _EFORKED. */
static inline int rlt_client_gone(const roulette_client *client)
{
    /* Relaxed: the state never leaves FORKED. */
    uint32_t state = atomic_load_explicit(&client->state, memory_order_relaxed);
    return state == RLT_CLIENT_FORKED ? ROULETTE_EFORKED : ROULETTE_ECLOSED;
}

void rlt_client_acquire(roulette_client *client);
void rlt_client_release(roulette_client *client);

/** End the first `count` event threads, and with them their clusters. Waits until they have ended.
 */
void rlt_client_stop_threads(roulette_client *client, size_t count);

/** End all event threads; the client is closed from here on. */
void rlt_client_stop(roulette_client *client);

/** The place of a topic. */
static inline struct rlt_place rlt_client_place(const roulette_client *client, const char *topic,
                                                size_t len, uint64_t hash)
{
    uint32_t pool = client->config.pool_size;
    return (struct rlt_place){
        .cluster = rlt_ring_place(client->ring, topic, len, hash),
        /* Other bits of the hash than those that chose the cluster weigh most. */
        .path = pool == 1 ? 0 : (uint32_t)(((hash & UINT32_MAX) * pool) >> 32),
    };
}

/** Check that a call's client and cluster exist. Returns: 0; ROULETTE_EINVAL, with its text set. */
int rlt_client_check_cluster(const roulette_client *client, size_t cluster);

/** Copy the ledgers of the first `count` clusters. */
void rlt_client_ledgers(const roulette_client *client, struct roulette_ledger *ledgers,
                        size_t count);

/** The length of a topic given with ROULETTE_STRLEN or as it is. */
size_t rlt_text_len(const char *text, size_t len);

#endif
