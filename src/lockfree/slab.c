/* SPDX-License-Identifier: MIT */
#include "lockfree/slab.h"

#include <string.h>

#include "base/memory.h"
#include "roulette.h"

#if defined(__SANITIZE_ADDRESS__)
#define RLT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RLT_ASAN 1
#endif
#endif

/* ASan does not see the kernel's writes, so a free slab is poisoned here, and io/ checks that a
 * buffer is not poisoned when it submits a receive and when it reaps one (reliability: ASan is
 * blind to the kernel). */
#ifdef RLT_ASAN
#include <sanitizer/asan_interface.h>
#define poison(pointer, len)   ASAN_POISON_MEMORY_REGION(pointer, len)
#define unpoison(pointer, len) ASAN_UNPOISON_MEMORY_REGION(pointer, len)
#else
#define poison(pointer, len)   ((void)(pointer), (void)(len))
#define unpoison(pointer, len) ((void)(pointer), (void)(len))
#endif

static struct rlt_slab *make(struct rlt_slab_pool *pool, uint32_t index, uint32_t length)
{
    struct rlt_slab *slab = rlt_slab_at(pool, index);
    unpoison(slab, pool->slab_bytes * length);
    slab->pool = pool;
    slab->index = index;
    slab->length = length;
    slab->capacity = pool->slab_bytes * length - sizeof(*slab);
    slab->issued = 0;
    /* Relaxed: no other thread knows the slab until a descriptor is published. */
    atomic_store_explicit(&slab->references, RLT_SLAB_BIAS, memory_order_relaxed);
    return slab;
}

static void set_free(struct rlt_slab_pool *pool, uint32_t index, uint32_t length)
{
    for (uint32_t i = index; i < index + length; i++) {
        RLT_ASSERT((pool->free_bits[i / 64] & (UINT64_C(1) << (i % 64))) == 0);
        pool->free_bits[i / 64] |= UINT64_C(1) << (i % 64);
    }
    pool->free_count += length;
    poison(rlt_slab_at(pool, index), pool->slab_bytes * length);
}

static void set_used(struct rlt_slab_pool *pool, uint32_t index, uint32_t length)
{
    for (uint32_t i = index; i < index + length; i++) {
        pool->free_bits[i / 64] &= ~(UINT64_C(1) << (i % 64));
    }
    pool->free_count -= length;
}

static size_t arena_bytes(const struct rlt_slab_pool *pool)
{
    return pool->slab_bytes * ((size_t)pool->slab_count + pool->spare_count);
}

int rlt_slab_pool_init(struct rlt_slab_pool *pool, size_t slab_bytes, uint32_t slab_count,
                       uint32_t spare_count)
{
    RLT_ASSERT(rlt_is_power_of_two(slab_bytes) && slab_bytes >= RLT_SLAB_BYTES_MIN);
    RLT_ASSERT(slab_count >= 4 && slab_count <= RLT_SLAB_COUNT_MAX);
    memset(pool, 0, sizeof(*pool));
    pool->slab_bytes = slab_bytes;
    pool->slab_count = slab_count;
    pool->spare_count = spare_count;
    pool->arena = rlt_memory_alloc_aligned(slab_bytes, arena_bytes(pool));
    if (pool->arena == NULL) {
        return ROULETTE_ENOMEM;
    }
    for (uint32_t i = 0; i < spare_count; i++) {
        (void)make(pool, slab_count + i, 1);
    }
    set_free(pool, 0, slab_count);
    return 0;
}

void rlt_slab_pool_fini(struct rlt_slab_pool *pool)
{
    if (pool->arena != NULL) {
        unpoison(pool->arena, arena_bytes(pool));
        rlt_memory_free(pool->arena);
        pool->arena = NULL;
    }
}

void rlt_slab_pool_collect(struct rlt_slab_pool *pool)
{
    if (rlt_stack_is_empty(&pool->returned)) {
        return;
    }
    struct rlt_stack_node *node = rlt_stack_take(&pool->returned);
    while (node != NULL) {
        struct rlt_slab *slab = rlt_container_of(node, struct rlt_slab, returned);
        node = rlt_stack_next(node);
        set_free(pool, slab->index, slab->length);
    }
}

struct rlt_slab *rlt_slab_acquire(struct rlt_slab_pool *pool)
{
    rlt_slab_pool_collect(pool);
    for (uint32_t word = 0; word * 64 < pool->slab_count; word++) {
        if (pool->free_bits[word] != 0) {
            uint32_t index = word * 64 + (uint32_t)__builtin_ctzll(pool->free_bits[word]);
            set_used(pool, index, 1);
            return make(pool, index, 1);
        }
    }
    return NULL;
}

struct rlt_slab *rlt_slab_acquire_run(struct rlt_slab_pool *pool, size_t bytes)
{
    RLT_ASSERT(bytes <= rlt_slab_run_max(pool));
    rlt_slab_pool_collect(pool);
    size_t total = bytes + sizeof(struct rlt_slab);
    uint32_t length = (uint32_t)((total + pool->slab_bytes - 1) / pool->slab_bytes);
    uint32_t found = 0;
    for (uint32_t i = pool->slab_count; i-- > 0;) {
        bool is_free = (pool->free_bits[i / 64] & (UINT64_C(1) << (i % 64))) != 0;
        found = is_free ? found + 1 : 0;
        if (found == length) {
            set_used(pool, i, length);
            return make(pool, i, length);
        }
    }
    return NULL;
}

struct rlt_slab *rlt_slab_spare(struct rlt_slab_pool *pool, uint32_t connection)
{
    RLT_ASSERT(connection < pool->spare_count);
    return rlt_slab_at(pool, pool->slab_count + connection);
}

void rlt_slab_settle(struct rlt_slab *slab)
{
    struct rlt_slab_pool *pool = slab->pool;
    if (rlt_slab_is_spare(slab)) {
        RLT_ASSERT(slab->issued == 0);
        return;
    }
    int64_t surplus = RLT_SLAB_BIAS - slab->issued;
    /* Acquire-release: this may be the last reference, and then its bytes are reused here. */
    int64_t before = atomic_fetch_sub_explicit(&slab->references, surplus, memory_order_acq_rel);
    RLT_ASSERT(before >= surplus);
    if (before == surplus) {
        set_free(pool, slab->index, slab->length);
    }
}

bool rlt_slab_is_idle(struct rlt_slab *slab)
{
    /* Acquire: the consumers' reads come before the next bytes. */
    int64_t references = atomic_load_explicit(&slab->references, memory_order_acquire);
    return RLT_SLAB_BIAS - references == slab->issued;
}

void rlt_slab_rewind(struct rlt_slab *slab)
{
    RLT_DASSERT(rlt_slab_is_idle(slab));
    slab->issued = 0;
    /* Relaxed: no other thread holds a reference, and the next descriptor publishes it. */
    atomic_store_explicit(&slab->references, RLT_SLAB_BIAS, memory_order_relaxed);
}

void rlt_slab_release(struct rlt_slab *slab, int64_t count)
{
    /* The slab may be in use again as soon as the last reference is gone: read first. */
    struct rlt_slab_pool *pool = slab->pool;
    /* Release: the caller's reads of the slab come before its reuse. Acquire: if this is the last
     * reference, all other threads' reads come before the push. */
    int64_t before = atomic_fetch_sub_explicit(&slab->references, count, memory_order_acq_rel);
    RLT_ASSERT(before >= count);
    if (before == count) {
        rlt_stack_push(&pool->returned, &slab->returned);
    }
}

void rlt_slab_hand_on(struct rlt_slab *slab, int64_t issued)
{
    int64_t count = slab->issued - issued;
    slab->issued = issued;
    if (count == 0) {
        rlt_slab_release(slab, 1);
    } else if (count > 1) {
        /* Relaxed: the caller's reference keeps the slab; this is published with the messages. */
        atomic_fetch_add_explicit(&slab->references, count - 1, memory_order_relaxed);
    }
}
