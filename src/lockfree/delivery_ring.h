/* SPDX-License-Identifier: MIT */
/**
 * A ring of delivery descriptors, from one event thread to one subscriber.
 *
 * Producer:   one (the event thread); wait-free. It fills slots, then publishes any number of
 *             them at once.
 * Consumer:   one (the subscriber's owner thread); wait-free. A preempted side delays only the
 *             other's progress through a full or empty ring.
 * Full:       has_room returns false. Empty: peek returns NULL.
 * Wrap:       positions are 64 bits; the slot is the position modulo the capacity.
 * Reclaiming: a slot is the producer's again when the consumer has advanced beyond it.
 * Not ck:     ck_ring publishes each entry by a store of its own and reads the consumer's position
 *             each time; here a batch costs one store, and the position is read if the ring seems
 * full.
 */
#ifndef RLT_LOCKFREE_DELIVERY_RING_H
#define RLT_LOCKFREE_DELIVERY_RING_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

/**
 * One delivery: a streak of messages (base is where the topic of the first begins in a slab;
 * offsets count from there), or a notice (base is NULL). Half a cache line.
 *
 * Messages of one topic and size often arrive in a row, with the same line before each. They share
 * a descriptor, so the threads exchange a cache line for many messages, not for two.
 */
struct rlt_delivery {
    const uint8_t *base;
    void *target; /* the member, for the ranks above */
    union {
        struct {
            uint16_t topic_len;
            uint16_t reply_offset; /* 0: none */
            union {
                uint16_t reply_len;
                /* Without a reply: messages behind the first, `stride` bytes apart. */
                uint16_t more;
            };
            uint16_t body_offset;
            uint32_t header_len;
            uint32_t body_len; /* headers included */
        };
        struct {
            uint64_t count;
            int32_t error;
            uint32_t kind;
        } notice;
    };
};
static_assert(sizeof(struct rlt_delivery) == 32, "two descriptors to a cache line");

/** Messages in a streak behind the first, at most. */
#define RLT_DELIVERY_MORE_MAX UINT16_MAX

/** Count the messages of a delivery that is not a notice. */
static inline uint32_t rlt_delivery_count(const struct rlt_delivery *delivery)
{
    return delivery->reply_offset == 0 ? 1 + (uint32_t)delivery->more : 1;
}

/** Bytes from one topic of a streak to the next: "MSG " is before each, CR LF behind each body. */
static inline size_t rlt_delivery_stride(const struct rlt_delivery *delivery)
{
    return 4 + (size_t)delivery->body_offset + delivery->body_len + 2;
}

struct rlt_delivery_ring {
    struct rlt_delivery *slots; /* immutable */
    uint64_t capacity;          /* a power of two; immutable */

    /* Written by the producer. */
    alignas(RLT_CACHE_LINE) _Atomic(uint64_t) tail; /* release in publish, acquire in peek */
    uint64_t next;                                  /* filled, perhaps not published */
    uint64_t head_seen;

    /* Written by the consumer. */
    alignas(RLT_CACHE_LINE) _Atomic(uint64_t) head; /* release in advance, acquire in has_room */
    uint64_t tail_seen;
};

/**
 * Make a ring of `capacity` slots, a power of two.
 *
 * Ownership: rlt_delivery_ring_fini() ends it.
 * Returns:   0 or ROULETTE_ENOMEM.
 */
int rlt_delivery_ring_init(struct rlt_delivery_ring *ring, uint64_t capacity);
void rlt_delivery_ring_fini(struct rlt_delivery_ring *ring);

/** Whether at least `count` slots are free. Threads: the producer. */
static inline bool rlt_delivery_ring_has_room(struct rlt_delivery_ring *ring, uint64_t count)
{
    if (rlt_likely(ring->next + count - ring->head_seen <= ring->capacity)) {
        return true;
    }
    /* Acquire: the consumer's reads of the slots come before the producer's writes. */
    ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
    return ring->next + count - ring->head_seen <= ring->capacity;
}

/** Take the next slot to fill; there must be room. Threads: the producer. */
static inline struct rlt_delivery *rlt_delivery_ring_fill(struct rlt_delivery_ring *ring)
{
    return &ring->slots[ring->next++ & (ring->capacity - 1)];
}

/** Make all filled slots visible. Threads: the producer. */
static inline void rlt_delivery_ring_publish(struct rlt_delivery_ring *ring)
{
    /* Release: publishes the descriptors, and the received bytes that they lead to. */
    atomic_store_explicit(&ring->tail, ring->next, memory_order_release);
}

/**
 * Look at the descriptor at `position` (which begins at the consumer's head and is counted up by
 * the caller); NULL if it is not published yet. Threads: the consumer.
 */
static inline const struct rlt_delivery *rlt_delivery_ring_peek(struct rlt_delivery_ring *ring,
                                                                uint64_t position)
{
    if (position == ring->tail_seen) {
        /* Acquire: partner of the release in publish. */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (position == ring->tail_seen) {
            return NULL;
        }
    }
    return &ring->slots[position & (ring->capacity - 1)];
}

/** The consumer's own position. Threads: the consumer. */
static inline uint64_t rlt_delivery_ring_head(const struct rlt_delivery_ring *ring)
{
    /* Relaxed: the consumer's own value. */
    return atomic_load_explicit(&ring->head, memory_order_relaxed);
}

/** Give all slots before `position` back. Threads: the consumer. */
static inline void rlt_delivery_ring_advance(struct rlt_delivery_ring *ring, uint64_t position)
{
    /* Release: the consumer's reads of the slots come before the producer's next writes. */
    atomic_store_explicit(&ring->head, position, memory_order_release);
}

#endif
