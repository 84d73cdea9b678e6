/* SPDX-License-Identifier: MIT */
/**
 * The wire queue of one path: a lane for each publishing thread, made at the thread's first
 * publish and handed on when the thread ends; and one shared lane for the threads beyond
 * RLT_WIRE_LANES.
 *
 * Producers:  any number of publishers, each on its own lane: they never touch each other's cache
 *             lines. Consumer: one at a time, the event thread or a borrower.
 * Progress:   that of the lanes.
 * Reclaiming: a lane's memory lives as long as the queue; a lane that a publisher gave back keeps
 *             its unsent bytes and its positions, and the next publisher goes on behind them.
 * Of ck:      the operations on the word of taken lanes. Not ck_bitmap, which is made of them: it
 *             ends in a flexible array, which clang refuses within a struct. Not the lanes: see
 *             lane.h.
 */
#ifndef RLT_LOCKFREE_WIRE_QUEUE_H
#define RLT_LOCKFREE_WIRE_QUEUE_H

#include <ck_pr.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lockfree/lane.h"
#include "lockfree/shared_lane.h"

/** Lanes for one thread each. */
#define RLT_WIRE_LANES 15

/** Whether publishers may enqueue. */
enum rlt_wire_state {
    RLT_WIRE_OPEN = 0,
    RLT_WIRE_UNREACHABLE = 1, /* max_retry attempts have failed */
    RLT_WIRE_CLOSED = 2,
};

/** How far each lane was filled at a moment. */
struct rlt_wire_view {
    uint32_t lanes;
    struct rlt_lane_mark ends[RLT_WIRE_LANES];
    uint64_t slot_end; /* of the shared lane */
};

struct rlt_wire_queue {
    /* Read by publishers at each call, written by the event thread when a connection changes. */
    alignas(RLT_CACHE_LINE) _Atomic(uint32_t) state; /* relaxed: an old value is harmless */
    _Atomic(uint32_t) payload_max;                   /* relaxed: as above; checked again */
    size_t lane_capacity;                            /* immutable */

    /* Bit set: taken. Behind a fence of its own on each side: the next thread continues where the
     * last one ended. */
    alignas(RLT_CACHE_LINE) unsigned int taken;
    /* Lanes that were ever taken: the event thread looks at these. Relaxed: a lane that it does
     * not see yet has no committed bytes that any publisher was promised to be sent first. */
    _Atomic(uint32_t) used;

    struct rlt_lane lanes[RLT_WIRE_LANES];
    struct rlt_shared_lane shared;
};

/** Make a queue whose lanes have `lane_capacity` bytes (a power of two) each. */
void rlt_wire_queue_init(struct rlt_wire_queue *queue, size_t lane_capacity);

/** Free all lanes. Threads: after all producers and the event thread have stopped. */
void rlt_wire_queue_fini(struct rlt_wire_queue *queue);

/**
 * Take a lane for the calling thread; if none is left, make sure that the shared lane is there.
 *
 * Threads: any thread. Allocates a lane that was never used before.
 * Returns: the lane's index, RLT_WIRE_LANES for the shared lane; ROULETTE_ENOMEM;
 *          ROULETTE_EAGAIN (another thread is making the shared lane).
 */
int rlt_wire_queue_acquire(struct rlt_wire_queue *queue);

/** Give a lane back. Threads: the thread that took it. */
void rlt_wire_queue_give_back(struct rlt_wire_queue *queue, int lane);

/** Count the messages that were ever committed. Threads: any thread. */
uint64_t rlt_wire_queue_accepted(const struct rlt_wire_queue *queue);

/** Count committed and unreleased bytes. Threads: any thread; a moment's value. */
uint64_t rlt_wire_queue_bytes(const struct rlt_wire_queue *queue);

/* ---- For the consumer. Lane RLT_WIRE_LANES is the shared one. ------------------------------ */

/** Number of lanes to look at. */
static inline uint32_t rlt_wire_queue_used(const struct rlt_wire_queue *queue)
{
    return atomic_load_explicit(&queue->used, memory_order_relaxed);
}

/** Count the messages that the cursors have passed. */
uint64_t rlt_wire_queue_taken(const struct rlt_wire_queue *queue);

/** Count the bytes that the cursors have not passed; in the shared lane the unreleased ones. */
size_t rlt_wire_queue_ahead(struct rlt_wire_queue *queue);

/** Note how far the lanes are filled now. */
void rlt_wire_queue_look(struct rlt_wire_queue *queue, struct rlt_wire_view *view);

/** As rlt_lane_peek(), but no frame that was committed after `view`. */
bool rlt_wire_queue_peek(struct rlt_wire_queue *queue, int lane, const struct rlt_wire_view *view,
                         size_t limit, struct rlt_lane_chunk *chunk);

/** Where the next peek begins. */
static inline struct rlt_lane_mark rlt_wire_queue_cursor(const struct rlt_wire_queue *queue,
                                                         int lane)
{
    return lane == RLT_WIRE_LANES ? queue->shared.cursor : queue->lanes[lane].cursor;
}

/** As rlt_lane_advance(). */
void rlt_wire_queue_advance(struct rlt_wire_queue *queue, int lane, struct rlt_lane_mark mark);

/** As rlt_lane_release(). */
void rlt_wire_queue_release(struct rlt_wire_queue *queue, int lane, struct rlt_lane_mark mark);

/** As rlt_lane_take_waiter(). Returns: the word whose sleepers the caller wakes, or NULL. */
_Atomic(uint32_t) *rlt_wire_queue_take_waiter(struct rlt_wire_queue *queue, int lane);

/** Note the ends of the committed frames: a flush waits until the cursors have passed them. */
void rlt_wire_queue_set_fence(struct rlt_wire_queue *queue);
bool rlt_wire_queue_has_passed_fence(const struct rlt_wire_queue *queue);

/** Whether no lane has anything to peek at. */
bool rlt_wire_queue_is_empty(struct rlt_wire_queue *queue);

/** Drop all committed frames; returns the number of messages. */
uint64_t rlt_wire_queue_discard(struct rlt_wire_queue *queue);

#endif
