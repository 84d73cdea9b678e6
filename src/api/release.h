/* SPDX-License-Identifier: MIT */
/**
 * Releasing messages, and their origin: `internal` of a message is the address of its slab, whose
 * low bits are 0, with
 *
 *     bit 0          the message is a copy, and the address that of its block
 *     bits 1 to 16   the tag of the subscriber that received it
 *
 * So the release of another subscriber's message is detected before anything is touched.
 * Subscribers of a process have tags of their own, the 65,536th again that of the first.
 */
#ifndef RLT_API_RELEASE_H
#define RLT_API_RELEASE_H

#include <stdint.h>

#include "lockfree/slab.h"
#include "roulette.h"

/* A slot in the caller's arrays: new fields take room of `reserved`. */
static_assert(sizeof(void *) != 8 || sizeof(struct roulette_message) == 128, "for ever");

#define RLT_MESSAGE_COPY ((uintptr_t)1)
#define RLT_MESSAGE_TAGS ((uintptr_t)0xffff)
#define RLT_MESSAGE_MASK ((RLT_MESSAGE_TAGS << 1) | RLT_MESSAGE_COPY)
static_assert(RLT_MESSAGE_MASK < RLT_SLAB_BYTES_MIN, "a slab's address has room for it");

/** The tag of a new subscriber, as it stands in `internal`. Threads: any thread. */
static inline uintptr_t rlt_message_next_tag(void)
{
    static _Atomic(uint64_t) last;
    /* Relaxed: only uniqueness counts. Never 0. */
    uint64_t serial = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed);
    return (uintptr_t)(serial % RLT_MESSAGE_TAGS + 1) << 1;
}

static inline void *rlt_message_mark(struct rlt_slab *slab, uintptr_t tag)
{
    return (void *)((uintptr_t)slab | tag);
}

#endif
