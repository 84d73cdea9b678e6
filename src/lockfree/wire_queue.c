/* SPDX-License-Identifier: MIT */
#include "lockfree/wire_queue.h"

#include <string.h>

#include "roulette.h"

void rlt_wire_queue_init(struct rlt_wire_queue *queue, size_t lane_capacity)
{
    memset(queue, 0, sizeof(*queue));
    queue->lane_capacity = lane_capacity;
    for (int i = 0; i < RLT_WIRE_LANES; i++) {
        rlt_lane_init(&queue->lanes[i]);
    }
    rlt_shared_lane_init(&queue->shared);
}

void rlt_wire_queue_fini(struct rlt_wire_queue *queue)
{
    for (int i = 0; i < RLT_WIRE_LANES; i++) {
        rlt_lane_fini(&queue->lanes[i]);
    }
    rlt_shared_lane_fini(&queue->shared);
}

/* Raise `used` to at least `count`. By hand: ck has no atomic maximum. */
static void note_used(struct rlt_wire_queue *queue, uint32_t count)
{
    uint32_t used = atomic_load_explicit(&queue->used, memory_order_relaxed);
    while (used < count &&
           !atomic_compare_exchange_weak_explicit(&queue->used, &used, count, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

int rlt_wire_queue_acquire(struct rlt_wire_queue *queue)
{
    for (int i = 0; i < RLT_WIRE_LANES; i++) {
        if (ck_pr_bts_uint(&queue->taken, (unsigned)i)) {
            continue;
        }
        ck_pr_fence_acquire(); /* partner of the release in give_back */
        struct rlt_lane *lane = &queue->lanes[i];
        if (lane->bytes == NULL && rlt_lane_allocate(lane, queue->lane_capacity) < 0) {
            rlt_wire_queue_give_back(queue, i);
            return ROULETTE_ENOMEM;
        }
        note_used(queue, (uint32_t)i + 1);
        return i;
    }
    int result = rlt_shared_lane_allocate(&queue->shared, queue->lane_capacity);
    return result < 0 ? result : RLT_WIRE_LANES;
}

void rlt_wire_queue_give_back(struct rlt_wire_queue *queue, int lane)
{
    if (lane < RLT_WIRE_LANES) {
        /* Release: the next thread sees the producer's side of the lane as this one left it. */
        ck_pr_fence_release();
        ck_pr_and_uint(&queue->taken, ~(1U << lane));
    }
}

uint64_t rlt_wire_queue_accepted(const struct rlt_wire_queue *queue)
{
    uint64_t total = atomic_load_explicit(&queue->shared.accepted, memory_order_relaxed);
    for (int i = 0; i < RLT_WIRE_LANES; i++) {
        total += atomic_load_explicit(&queue->lanes[i].accepted, memory_order_relaxed);
    }
    return total;
}

uint64_t rlt_wire_queue_bytes(const struct rlt_wire_queue *queue)
{
    uint64_t total = rlt_shared_lane_queued_bytes(&queue->shared);
    for (int i = 0; i < RLT_WIRE_LANES; i++) {
        total += rlt_lane_queued_bytes(&queue->lanes[i]);
    }
    return total;
}

uint64_t rlt_wire_queue_taken(const struct rlt_wire_queue *queue)
{
    uint64_t total = queue->shared.cursor.count;
    for (int i = 0; i < RLT_WIRE_LANES; i++) {
        total += queue->lanes[i].cursor.count;
    }
    return total;
}

size_t rlt_wire_queue_ahead(struct rlt_wire_queue *queue)
{
    size_t total = (size_t)rlt_shared_lane_queued_bytes(&queue->shared);
    uint32_t used = rlt_wire_queue_used(queue);
    for (uint32_t i = 0; i < used; i++) {
        struct rlt_lane *lane = &queue->lanes[i];
        total += (size_t)(rlt_lane_tail(lane).position - lane->cursor.position);
    }
    return total;
}

void rlt_wire_queue_look(struct rlt_wire_queue *queue, struct rlt_wire_view *view)
{
    view->lanes = rlt_wire_queue_used(queue);
    for (uint32_t i = 0; i < view->lanes; i++) {
        view->ends[i] = rlt_lane_tail(&queue->lanes[i]);
    }
    view->slot_end = rlt_shared_lane_tail_slot(&queue->shared);
}

bool rlt_wire_queue_peek(struct rlt_wire_queue *queue, int lane, const struct rlt_wire_view *view,
                         size_t limit, struct rlt_lane_chunk *chunk)
{
    if (lane == RLT_WIRE_LANES) {
        return rlt_shared_lane_peek_until(&queue->shared, view->slot_end, limit, chunk);
    }
    return rlt_lane_peek_until(&queue->lanes[lane], view->ends[lane], limit, chunk);
}

void rlt_wire_queue_advance(struct rlt_wire_queue *queue, int lane, struct rlt_lane_mark mark)
{
    if (lane == RLT_WIRE_LANES) {
        rlt_shared_lane_advance(&queue->shared, mark);
    } else {
        rlt_lane_advance(&queue->lanes[lane], mark);
    }
}

void rlt_wire_queue_release(struct rlt_wire_queue *queue, int lane, struct rlt_lane_mark mark)
{
    if (lane == RLT_WIRE_LANES) {
        rlt_shared_lane_release(&queue->shared, mark);
    } else {
        rlt_lane_release(&queue->lanes[lane], mark.position);
    }
}

_Atomic(uint32_t) *rlt_wire_queue_take_waiter(struct rlt_wire_queue *queue, int lane)
{
    if (lane == RLT_WIRE_LANES) {
        return rlt_shared_lane_take_waiter(&queue->shared) ? &queue->shared.waiting : NULL;
    }
    struct rlt_lane *own = &queue->lanes[lane];
    return rlt_lane_take_waiter(own) ? &own->waiting : NULL;
}

void rlt_wire_queue_set_fence(struct rlt_wire_queue *queue)
{
    uint32_t used = rlt_wire_queue_used(queue);
    for (uint32_t i = 0; i < used; i++) {
        queue->lanes[i].fence_position = rlt_lane_tail(&queue->lanes[i]).position;
    }
    queue->shared.fence_slot = rlt_shared_lane_tail_slot(&queue->shared);
}

bool rlt_wire_queue_has_passed_fence(const struct rlt_wire_queue *queue)
{
    uint32_t used = rlt_wire_queue_used(queue);
    for (uint32_t i = 0; i < used; i++) {
        if (queue->lanes[i].cursor.position < queue->lanes[i].fence_position) {
            return false;
        }
    }
    return queue->shared.cursor.count >= queue->shared.fence_slot;
}

bool rlt_wire_queue_is_empty(struct rlt_wire_queue *queue)
{
    uint32_t used = rlt_wire_queue_used(queue);
    for (uint32_t i = 0; i < used; i++) {
        if (!rlt_lane_is_empty(&queue->lanes[i])) {
            return false;
        }
    }
    return rlt_shared_lane_is_empty(&queue->shared);
}

uint64_t rlt_wire_queue_discard(struct rlt_wire_queue *queue)
{
    uint64_t messages = rlt_shared_lane_discard(&queue->shared);
    for (int i = 0; i < RLT_WIRE_LANES; i++) {
        messages += rlt_lane_discard(&queue->lanes[i]);
    }
    return messages;
}
