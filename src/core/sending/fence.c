/* SPDX-License-Identifier: MIT */
#include "core/sending/fence.h"

#include "base/assert.h"
#include "base/memory.h"

struct rlt_fence *rlt_fence_create(uint32_t part_count, enum rlt_command_kind kind)
{
    struct rlt_fence *fence =
        rlt_memory_alloc(1, sizeof(*fence) + (size_t)part_count * sizeof(struct rlt_fence_part));
    if (fence == NULL) {
        return NULL;
    }
    fence->part_count = part_count;
    /* Relaxed: pushing the commands publishes them. */
    atomic_store_explicit(&fence->references, part_count + 1, memory_order_relaxed);
    atomic_store_explicit(&fence->remaining, part_count, memory_order_relaxed);
    for (uint32_t i = 0; i < part_count; i++) {
        fence->parts[i].command.kind = kind;
        fence->parts[i].fence = fence;
    }
    return fence;
}

void rlt_fence_release(struct rlt_fence *fence)
{
    /* Acquire-release: all use of the fence comes before the free. */
    uint32_t before = atomic_fetch_sub_explicit(&fence->references, 1, memory_order_acq_rel);
    RLT_ASSERT(before > 0);
    if (before == 1) {
        rlt_memory_free(fence);
    }
}

void rlt_fence_link_note(struct rlt_fence_link *link, int error)
{
    link->part->error = link->part->error != 0 ? link->part->error : error;
}

struct rlt_fence *rlt_fence_link_done(struct rlt_fence_link *link, int error)
{
    struct rlt_fence_part *part = link->part;
    struct rlt_fence *fence = part->fence;
    rlt_fence_link_note(link, error);
    RLT_ASSERT(part->pending > 0);
    if (--part->pending != 0) {
        return NULL;
    }
    atomic_store_explicit(&part->over, true, memory_order_release);
    /* Release: publishes part->error. Acquire: the last one publishes all parts by `done`. */
    if (atomic_fetch_sub_explicit(&fence->remaining, 1, memory_order_acq_rel) == 1) {
        /* Release: partner of the flusher's acquire. */
        atomic_store_explicit(&fence->done, 1, memory_order_release);
        return fence; /* with the part's reference */
    }
    rlt_fence_release(fence);
    return NULL;
}

void rlt_fence_finish(struct rlt_fence_link *links, int error, struct rlt_transport *transport)
{
    while (links != NULL) {
        struct rlt_fence_link *next = links->next;
        struct rlt_fence *over = rlt_fence_link_done(links, error);
        if (over != NULL) {
            transport->ops->wake(transport, &over->done);
            rlt_fence_release(over);
        }
        links = next;
    }
}
