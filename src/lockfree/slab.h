/* SPDX-License-Identifier: MIT */
/**
 * Slabs: the receive memory of one cluster. A pool is one arena of equal slabs, made at the
 * start; the event thread acquires slabs (or runs of adjacent ones, for large frames), the kernel
 * writes into them, descriptors of received messages refer to them, and the last release returns
 * them. Nothing is allocated after the start, and a server cannot make a pool grow.
 *
 * References are biased: a slab in use starts with RLT_SLAB_BIAS; the event thread counts the
 * references it hands out in a field of its own, without atomics, and settles once, when it is
 * done with the slab: it subtracts the bias less the references handed out. Consumers subtract
 * those they release, any number at once. The thread that brings the count to 0 returns the slab.
 * Before the bias is settled the count cannot become 0, whatever consumers do.
 *
 * Threads:    acquire, issue, settle: the event thread, or a borrower. Release: any thread.
 * Progress:   wait-free, except that a return pushes onto a lock-free stack.
 * Exhausted:  acquire returns NULL.
 * Reclaiming: the pool is destroyed when no reference can be released any more.
 * Not ck:     its counts of references have no bias, and its bitmap is atomic, which one thread
 *             does not need. Slabs come back over lockfree/stack.h, which is ck's.
 */
#ifndef RLT_LOCKFREE_SLAB_H
#define RLT_LOCKFREE_SLAB_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/defs.h"
#include "lockfree/stack.h"

#define RLT_SLAB_BIAS      ((int64_t)1 << 40)
#define RLT_SLAB_COUNT_MAX 4096
#define RLT_SLAB_BYTES_MIN 131072

struct rlt_slab_pool;

/** The head of a slab; the received bytes follow it. Aligned to the pool's slab size. */
struct rlt_slab {
    /* Immutable while the slab is in use. */
    struct rlt_slab_pool *pool;
    uint32_t index;  /* of the (first) slab in the pool */
    uint32_t length; /* slabs in this run; 1 for a plain slab */
    size_t capacity; /* bytes in `bytes` */

    /* Event thread: references handed out since the slab was acquired. */
    int64_t issued;

    /* All threads. Release on subtracting, acquire by the thread that brings it to 0. */
    alignas(RLT_CACHE_LINE) _Atomic(int64_t) references;
    struct rlt_stack_node returned;

    alignas(RLT_CACHE_LINE) uint8_t bytes[];
};

struct rlt_slab_pool {
    uint8_t *arena;
    size_t slab_bytes; /* a power of two, head included */
    uint32_t slab_count;
    /* Behind them, one for each connection: for frames that cannot be kept because all other
     * slabs are in use. Never referenced. */
    uint32_t spare_count;

    /* Event thread: bit set = free. The lowest free slab is taken first, so that few are touched;
     * runs are taken from the top. */
    uint64_t free_bits[RLT_SLAB_COUNT_MAX / 64];
    uint32_t free_count;

    alignas(RLT_CACHE_LINE) struct rlt_stack returned;
};

/**
 * Make a pool of `slab_count` slabs of `slab_bytes` (a power of two, at least 128 KiB), and
 * `spare_count` more for frames that cannot be kept.
 *
 * Ownership: rlt_slab_pool_fini() ends it.
 * Returns:   0 or ROULETTE_ENOMEM.
 */
int rlt_slab_pool_init(struct rlt_slab_pool *pool, size_t slab_bytes, uint32_t slab_count,
                       uint32_t spare_count);

/** Free the arena. Threads: when no thread uses a slab any more. NULL fields are allowed. */
void rlt_slab_pool_fini(struct rlt_slab_pool *pool);

/** Take a free slab, with the bias as its references; NULL: none. Threads: the event thread. */
struct rlt_slab *rlt_slab_acquire(struct rlt_slab_pool *pool);

/**
 * Take a run of adjacent slabs with room for `bytes`; NULL if there is none.
 *
 * Threads: the event thread.
 */
struct rlt_slab *rlt_slab_acquire_run(struct rlt_slab_pool *pool, size_t bytes);

/** The spare slab of connection `connection`. Threads: the event thread. */
struct rlt_slab *rlt_slab_spare(struct rlt_slab_pool *pool, uint32_t connection);

static inline bool rlt_slab_is_spare(const struct rlt_slab *slab)
{
    return slab->index >= slab->pool->slab_count;
}

/** The most bytes that rlt_slab_acquire_run() is asked for: a quarter of the pool. */
static inline size_t rlt_slab_run_max(const struct rlt_slab_pool *pool)
{
    return pool->slab_bytes * pool->slab_count / 4 - sizeof(struct rlt_slab);
}

/** Settle the bias: the slab returns with its last reference. Threads: the event thread. */
void rlt_slab_settle(struct rlt_slab *slab);

/** Whether all references handed out so far were released. Threads: the event thread. */
bool rlt_slab_is_idle(struct rlt_slab *slab);

/** Make an idle slab like a newly acquired one. Threads: the event thread. */
void rlt_slab_rewind(struct rlt_slab *slab);

/** Release `count` references. Threads: any thread. */
void rlt_slab_release(struct rlt_slab *slab, int64_t count);

/**
 * Make the event thread's own reference to a slab, which may be settled, one of those that it has
 * handed out since it read `slab->issued` as `issued`, and that no other thread has seen yet. If
 * there are none, release it.
 */
void rlt_slab_hand_on(struct rlt_slab *slab, int64_t issued);

/** Take back the slabs that consumers have returned. Acquiring does the same. */
void rlt_slab_pool_collect(struct rlt_slab_pool *pool);

/** Count the slabs in use, returned ones that the event thread has not seen included. */
static inline uint32_t rlt_slab_pool_in_use(const struct rlt_slab_pool *pool)
{
    return pool->slab_count - pool->free_count;
}

/** The slab with an index. */
static inline struct rlt_slab *rlt_slab_at(const struct rlt_slab_pool *pool, uint32_t index)
{
    return (struct rlt_slab *)(void *)(pool->arena + (size_t)index * pool->slab_bytes);
}

/** Find the slab of a byte, which lies in a plain slab or in the first slab of a run. */
static inline struct rlt_slab *rlt_slab_of(const void *byte, size_t slab_bytes)
{
    return (struct rlt_slab *)((uintptr_t)byte & ~(uintptr_t)(slab_bytes - 1));
}

#endif
