/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/memory.h"
#include "harness/stop.h"
#include "lockfree/delivery_ring.h"
#include "lockfree/slab.h"
#include "micro/micro.h"

/* ---- Slabs -------------------------------------------------------------------------------- */

/* As by default. */
#define SLAB_BYTES ((size_t)256 * 1024)
#define SLAB_COUNT 128

struct pool {
    struct rlt_slab_pool slabs;
    struct rlt_slab *slab; /* whose references are counted */
};

static struct rlt_slab *acquire(struct pool *pool)
{
    struct rlt_slab *slab = rlt_slab_acquire(&pool->slabs);
    if (slab == NULL) {
        stop("no slab is free");
    }
    return slab;
}

static void *open_pool(uint32_t argument)
{
    (void)argument;
    struct pool *pool = rlt_memory_alloc_aligned(RLT_CACHE_LINE, sizeof(*pool));
    if (pool == NULL || rlt_slab_pool_init(&pool->slabs, SLAB_BYTES, SLAB_COUNT, 1) < 0) {
        stop("no slabs");
    }
    pool->slab = acquire(pool);
    return pool;
}

/* A slab with one message in it, from its acquisition to its return. */
static void run_slab(void *state, uint64_t count)
{
    struct pool *pool = state;
    for (uint64_t i = 0; i < count; i++) {
        struct rlt_slab *slab = acquire(pool);
        slab->issued++;
        rlt_slab_settle(slab);
        rlt_slab_release(slab, 1);
    }
}

/* One reference of many to the same slab. */
static void run_reference(void *state, uint64_t count)
{
    struct pool *pool = state;
    for (uint64_t i = 0; i < count; i++) {
        pool->slab->issued++;
        rlt_slab_release(pool->slab, 1);
    }
}

static void close_pool(void *state)
{
    struct pool *pool = state;
    rlt_slab_settle(pool->slab);
    rlt_slab_pool_collect(&pool->slabs);
    if (rlt_slab_pool_in_use(&pool->slabs) != 0) {
        stop("slabs did not come back");
    }
    rlt_slab_pool_fini(&pool->slabs);
    rlt_memory_free(pool);
}

/* ---- Delivery rings ----------------------------------------------------------------------- */

/* As by default. */
#define RING_SLOTS 65536

struct delivery {
    struct rlt_delivery_ring ring;
    uint64_t pop_count; /* that the consumer is to take */
};

static void *open_delivery(uint32_t argument)
{
    (void)argument;
    struct delivery *delivery = rlt_memory_alloc_aligned(RLT_CACHE_LINE, sizeof(*delivery));
    if (delivery == NULL || rlt_delivery_ring_init(&delivery->ring, RING_SLOTS) < 0) {
        stop("no ring");
    }
    return delivery;
}

/* A batch of runs of one message each, published at once. False if there is no room. */
static bool push(struct rlt_delivery_ring *ring, uint64_t number)
{
    if (!rlt_delivery_ring_has_room(ring, MICRO_BATCH)) {
        return false;
    }
    for (uint64_t i = 0; i < MICRO_BATCH; i++) {
        *rlt_delivery_ring_fill(ring) = (struct rlt_delivery){
            .base = (const uint8_t *)ring,
            .target = ring,
            .topic_len = MICRO_TOPIC_LEN,
            .body_len = (uint32_t)(number + i),
        };
    }
    rlt_delivery_ring_publish(ring);
    return true;
}

/* Up to a batch. Returns: how many; `number` is that of the first. */
static uint64_t pop(struct rlt_delivery_ring *ring, uint64_t number)
{
    uint64_t head = rlt_delivery_ring_head(ring);
    uint64_t taken = 0;
    while (taken < MICRO_BATCH) {
        const struct rlt_delivery *delivery = rlt_delivery_ring_peek(ring, head + taken);
        if (delivery == NULL) {
            break;
        }
        if (delivery->body_len != (uint32_t)(number + taken)) {
            stop("the ring gave another descriptor than the next");
        }
        taken++;
    }
    rlt_delivery_ring_advance(ring, head + taken);
    return taken;
}

static void run_delivery(void *state, uint64_t count)
{
    struct delivery *delivery = state;
    for (uint64_t i = 0; i < count; i += MICRO_BATCH) {
        if (!push(&delivery->ring, i) || pop(&delivery->ring, i) != MICRO_BATCH) {
            stop("the ring is not empty");
        }
    }
}

static void *consume(void *state)
{
    struct delivery *delivery = state;
    uint64_t taken = 0;
    while (taken < delivery->pop_count) {
        uint64_t more = pop(&delivery->ring, taken);
        if (more == 0) {
            (void)sched_yield();
        }
        taken += more;
    }
    return NULL;
}

static void run_delivery_threads(void *state, uint64_t count)
{
    struct delivery *delivery = state;
    pthread_t consumer;
    delivery->pop_count = count;
    if (pthread_create(&consumer, NULL, consume, delivery) != 0) {
        stop("no thread");
    }
    for (uint64_t i = 0; i < count; i += MICRO_BATCH) {
        while (!push(&delivery->ring, i)) {
            (void)sched_yield();
        }
    }
    (void)pthread_join(consumer, NULL);
}

static void close_delivery(void *state)
{
    struct delivery *delivery = state;
    rlt_delivery_ring_fini(&delivery->ring);
    rlt_memory_free(delivery);
}

/* ---- All ---------------------------------------------------------------------------------- */

const struct micro micro_receive[] = {
    {"slab: acquire, settle, release", 0, 1, open_pool, run_slab, close_pool},
    {"slab: issue and release a reference", 0, 1, open_pool, run_reference, close_pool},
    {"delivery ring: push and pop a run", 0, 1, open_delivery, run_delivery, close_delivery},
    {"delivery ring: push and pop a run", 0, 2, open_delivery, run_delivery_threads,
     close_delivery},
    {0},
};
