/* SPDX-License-Identifier: MIT */
#include "api/producer.h"

#include <pthread.h>
#include <stdbool.h>

#include "api/registry.h"
#include "base/assert.h"
#include "base/memory.h"
#include "io/wake/park.h"
#include "lockfree/wire_queue.h"

#define NO_LANE (-1)

/* Owned by its thread; `client` may be freed, which only `client_id` tells. */
struct producer {
    struct producer *next;
    uint64_t client_id;
    roulette_client *client;
    uint32_t lane_count;
    int8_t lanes[]; /* by cluster * pool_size + path; NO_LANE: not taken yet */
};

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool key_made;

/* The thread's producers, the last used first. Initial-exec: one load on the publish path. */
static _Thread_local struct producer *producers __attribute__((tls_model("initial-exec")));

static struct rlt_wire_queue *queue_at(roulette_client *client, uint32_t index)
{
    uint32_t pool = client->config.pool_size;
    return rlt_shard_queue(&client->shards[index / pool], index % pool);
}

/* Give the lanes back if the client lives, and free a producer. With the registry locked. */
static void retire(struct producer *producer)
{
    if (rlt_registry_has(producer->client_id)) {
        for (uint32_t i = 0; i < producer->lane_count; i++) {
            if (producer->lanes[i] != NO_LANE) {
                rlt_wire_queue_give_back(queue_at(producer->client, i), producer->lanes[i]);
            }
        }
    }
    rlt_memory_free(producer);
}

/* Retire all producers of a thread that ends. */
static void on_thread_exit(void *value)
{
    (void)value;
    rlt_registry_lock();
    while (producers != NULL) {
        struct producer *producer = producers;
        producers = producer->next;
        retire(producer);
    }
    rlt_registry_unlock();
}

static void make_key(void)
{
    key_made = pthread_key_create(&key, on_thread_exit) == 0;
}

/* Free the producers of clients that do not live any more. */
static void prune(void)
{
    rlt_registry_lock();
    struct producer **link = &producers;
    while (*link != NULL) {
        struct producer *producer = *link;
        if (rlt_registry_has(producer->client_id)) {
            link = &producer->next;
        } else {
            *link = producer->next;
            rlt_memory_free(producer);
        }
    }
    rlt_registry_unlock();
}

static struct producer *create(roulette_client *client)
{
    (void)pthread_once(&key_once, make_key);
    prune();
    uint32_t lane_count = (uint32_t)client->cluster_count * client->config.pool_size;
    struct producer *producer = rlt_memory_alloc(1, sizeof(*producer) + lane_count);
    /* Any value but NULL makes the key's destructor run. */
    if (producer == NULL || !key_made || pthread_setspecific(key, &key_once) != 0) {
        rlt_memory_free(producer);
        return NULL;
    }
    producer->client_id = client->id;
    producer->client = client;
    producer->lane_count = lane_count;
    for (uint32_t i = 0; i < lane_count; i++) {
        producer->lanes[i] = NO_LANE;
    }
    producer->next = producers;
    producers = producer;
    return producer;
}

/* Find the thread's producer of a client, and move it to the front; or make one. */
static struct producer *find(roulette_client *client)
{
    for (struct producer **link = &producers; *link != NULL; link = &(*link)->next) {
        struct producer *producer = *link;
        if (producer->client_id == client->id) {
            *link = producer->next;
            producer->next = producers;
            producers = producer;
            return producer;
        }
    }
    return create(client);
}

int rlt_producer_lane(roulette_client *client, struct rlt_place place)
{
    struct producer *producer = producers;
    if (rlt_unlikely(producer == NULL || producer->client_id != client->id)) {
        producer = find(client);
        if (producer == NULL) {
            return ROULETTE_ENOMEM;
        }
    }
    uint32_t index = place.cluster * client->config.pool_size + place.path;
    RLT_DASSERT(index < producer->lane_count);
    int lane = producer->lanes[index];
    if (rlt_likely(lane != NO_LANE)) {
        return lane;
    }
    struct rlt_wire_queue *queue = queue_at(client, index);
    lane = rlt_wire_queue_acquire(queue);
    if (lane == RLT_WIRE_LANES || lane == ROULETTE_ENOMEM) {
        /* Other threads may wait until this one has made the shared lane. */
        rlt_park_wake(&queue->shared.ready);
    }
    if (lane >= 0) {
        producer->lanes[index] = (int8_t)lane;
    }
    return lane;
}
