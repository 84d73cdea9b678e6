/* SPDX-License-Identifier: MIT */
/*
 * Giving the lanes their room back: settled messages are released, or given up.
 */
#include "base/assert.h"
#include "core/sending/sender.h"

static void wake_waiter(struct rlt_sender *sender, int lane, rlt_sender_wake_fn *wake,
                        void *context)
{
    _Atomic(uint32_t) *word = rlt_wire_queue_take_waiter(sender->queue, lane);
    if (word != NULL) {
        wake(context, word);
    }
}

void rlt_sender_release(struct rlt_sender *sender, int lane, struct rlt_lane_mark mark,
                        rlt_sender_wake_fn *wake, void *context)
{
    mark = rlt_unlikely(sender->denials.any_struck) ? rlt_denials_pass(sender, lane, mark) : mark;
    sender->released[lane] = mark;
    rlt_wire_queue_release(sender->queue, lane, mark);
    wake_waiter(sender, lane, wake, context);
}

/* Count messages that an earlier connection sent and no PONG confirmed, also refused ones
 * (at_least_once). */
static uint64_t count_in_doubt(const struct rlt_sender *sender)
{
    uint64_t count = 0;
    for (int lane = 0; sender->keep && lane <= RLT_WIRE_LANES; lane++) {
        if (sender->reached[lane].count > sender->released[lane].count) {
            count += sender->reached[lane].count - sender->released[lane].count;
        }
    }
    return count;
}

void rlt_sender_give_up_unconfirmed(struct rlt_sender *sender)
{
    uint64_t denied = rlt_denials_count_struck(sender);
    rlt_counter_add(&sender->metrics->in_doubt, count_in_doubt(sender) - denied);
}

void rlt_sender_drop(struct rlt_sender *sender, int lane, struct rlt_lane_mark end)
{
    bool known = end.count > sender->unknown[lane];
    rlt_counter_add(known ? &sender->metrics->failed : &sender->metrics->in_doubt,
                    end.count - sender->released[lane].count);
    end = rlt_denials_pass(sender, lane, end);
    sender->released[lane] = end;
    rlt_wire_queue_advance(sender->queue, lane, end);
    rlt_wire_queue_release(sender->queue, lane, end);
    wake_waiter(sender, lane, sender->wake, sender->wake_context);
}

void rlt_sender_fail_queued(struct rlt_sender *sender, rlt_sender_wake_fn *wake, void *context)
{
    RLT_ASSERT(sender->batch.count == 0);
    uint64_t in_doubt = count_in_doubt(sender);
    uint64_t denied = rlt_denials_count_struck(sender);
    rlt_counter_add(&sender->metrics->in_doubt, in_doubt - denied);
    rlt_counter_add(&sender->metrics->failed, rlt_wire_queue_discard(sender->queue) - in_doubt);
    for (int lane = 0; lane <= RLT_WIRE_LANES; lane++) {
        sender->released[lane] = rlt_wire_queue_cursor(sender->queue, lane);
        wake_waiter(sender, lane, wake, context);
    }
}

void rlt_sender_wake_all(struct rlt_sender *sender, rlt_sender_wake_fn *wake, void *context)
{
    /* Orders the queue's state before the exchanges: a producer that announces itself later sees
     * the state. Relaxed: nothing else is published. */
    atomic_thread_fence(memory_order_seq_cst);
    for (int lane = 0; lane < RLT_WIRE_LANES; lane++) {
        _Atomic(uint32_t) *word = &sender->queue->lanes[lane].waiting;
        atomic_store_explicit(word, 0, memory_order_relaxed);
        wake(context, word);
    }
    atomic_store_explicit(&sender->queue->shared.waiting, 0, memory_order_relaxed);
    wake(context, &sender->queue->shared.waiting);
}
