/* SPDX-License-Identifier: MIT */
#include "lockfree/delivery_ring.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

static_assert(offsetof(struct rlt_delivery_ring, head) - offsetof(struct rlt_delivery_ring, tail) >=
                  RLT_CACHE_LINE,
              "producer and consumer on different lines");

int rlt_delivery_ring_init(struct rlt_delivery_ring *ring, uint64_t capacity)
{
    RLT_ASSERT(rlt_is_power_of_two(capacity));
    memset(ring, 0, sizeof(*ring));
    /* Not zeroed: pages that are never reached cost no memory. */
    ring->slots = rlt_memory_alloc_aligned(RLT_CACHE_LINE, (size_t)capacity * sizeof(*ring->slots));
    ring->capacity = capacity;
    return ring->slots != NULL ? 0 : ROULETTE_ENOMEM;
}

void rlt_delivery_ring_fini(struct rlt_delivery_ring *ring)
{
    rlt_memory_free(ring->slots);
    ring->slots = NULL;
}
