/* SPDX-License-Identifier: MIT */
/*
 * The sender's part of the publish ledger: messages that a batch has sent, that a PONG confirms,
 * that the loss of a connection leaves in doubt.
 */
#include "base/assert.h"
#include "core/sending/sender.h"
#include "proto/encode.h"

/* Book a part that the kernel took in full, or that is given up. */
static void complete(struct rlt_sender *sender, uint32_t index, bool given_up,
                     rlt_sender_wake_fn *wake, void *context)
{
    const struct rlt_batch_part *part = &sender->batch.parts[index];
    if (part->lane == RLT_NO_LANE) {
        return;
    }
    uint64_t messages = part->end.count - part->start.count;
    if (given_up) {
        /* An earlier connection may have sent it, under a larger limit. */
        bool sent = part->start.count < sender->reached[part->lane].count;
        rlt_counter_add(sent ? &sender->metrics->in_doubt : &sender->metrics->failed, messages);
        sender->stalled = false; /* the next frame may be given up now */
    } else {
        sender->sent += messages;
        rlt_counter_add_shared(&sender->metrics->published_bytes,
                               part->end.position - part->start.position);
    }
    if (given_up || !sender->keep) {
        rlt_sender_release(sender, part->lane, part->end, wake, context);
    }
}

static void forget_batch(struct rlt_sender *sender)
{
    rlt_control_on_sent(&sender->control);
    rlt_batch_clear(&sender->batch);
    rlt_ping_marks_end_batch(&sender->pings);
}

/* Book `count` bytes that the kernel took. Returns: the number of spans still to be sent. */
static uint32_t take_sent(struct rlt_sender *sender, size_t count, rlt_sender_wake_fn *wake,
                          void *context)
{
    while (sender->batch.done < sender->batch.count) {
        const struct rlt_span *span = &sender->batch.spans[sender->batch.done];
        if (count < span->len) {
            rlt_batch_advance(&sender->batch, count);
            return rlt_batch_left(&sender->batch);
        }
        count -= span->len;
        bool given_up = span->len == 0;
        complete(sender, sender->batch.done, given_up, wake, context);
        sender->batch.done++;
        sender->batch.progress = 0;
    }
    RLT_ASSERT(count == 0);
    return 0;
}

uint32_t rlt_sender_on_sent(struct rlt_sender *sender, size_t count, rlt_sender_wake_fn *wake,
                            void *context)
{
    uint32_t left = take_sent(sender, count, wake, context);
    if (left == 0) {
        forget_batch(sender);
    }
    return left;
}

bool rlt_sender_on_sent_direct(struct rlt_sender *sender, size_t count, rlt_sender_wake_fn *wake,
                               void *context)
{
    bool done = take_sent(sender, count, wake, context) == 0;
    if (done) {
        rlt_batch_clear(&sender->batch);
    }
    return done;
}

void rlt_sender_on_denied(struct rlt_sender *sender, uint64_t key)
{
    uint64_t count = sender->denials.count;
    /* After an early PONG nothing was sent. Messages that a borrower is sending now are not
     * counted. */
    if (!sender->pings.early &&
        (sender->lent ||
         count < sender->sent + rlt_batch_messages(&sender->batch) - sender->confirmed)) {
        rlt_denials_add(&sender->denials, key, sender->keep);
    }
}

/* Book as denied the refused ones of `open` messages that leave the books. Returns: how many. */
static uint64_t book_denied(struct rlt_sender *sender, uint64_t open)
{
    uint64_t denied = rlt_min_u64(sender->denials.count, open);
    rlt_denials_forget(&sender->denials);
    rlt_counter_add(&sender->metrics->denied, denied);
    return denied;
}

/* Confirm the messages of a mark. Returns: its fences. */
static struct rlt_fence_link *confirm(struct rlt_sender *sender, const struct rlt_ping_mark *mark)
{
    if (mark == NULL) {
        return NULL;
    }
    RLT_ASSERT(mark->sent >= sender->confirmed);
    uint64_t count = mark->sent - sender->confirmed;
    rlt_counter_add(&sender->metrics->confirmed, count - book_denied(sender, count));
    sender->confirmed = mark->sent;
    sender->stalled = false;
    for (int lane = 0; sender->keep && lane <= RLT_WIRE_LANES; lane++) {
        if (mark->covers[lane].position > sender->released[lane].position) {
            rlt_sender_release(sender, lane, mark->covers[lane], sender->wake,
                               sender->wake_context);
        }
    }
    if (rlt_unlikely(sender->suspect.losses != 0)) {
        rlt_suspect_on_confirmed(sender, count);
    }
    return mark->fences;
}

struct rlt_fence_link *rlt_sender_on_pong(struct rlt_sender *sender)
{
    return confirm(sender, rlt_ping_marks_pop(&sender->pings));
}

struct rlt_fence_link *rlt_sender_take_early_pong(struct rlt_sender *sender)
{
    return confirm(sender, rlt_ping_marks_pop_early(&sender->pings));
}

/* Rewind part `index`, which was not completed: its whole frames are sent, the lane goes on behind
 * them. */
static void rewind_part(struct rlt_sender *sender, uint32_t index, rlt_sender_wake_fn *wake,
                        void *context)
{
    const struct rlt_batch_part *part = &sender->batch.parts[index];
    if (part->lane == RLT_NO_LANE) {
        return;
    }
    struct rlt_lane_mark mark = part->start;
    size_t taken = index == sender->batch.done ? sender->batch.progress : 0;
    const uint8_t *bytes = (const uint8_t *)sender->batch.spans[index].bytes - taken;
    size_t total = sender->batch.spans[index].len + taken;
    size_t offset = 0;
    while (offset < taken) {
        uint32_t payload_len;
        size_t len = rlt_pub_frame_len(bytes + offset, total - offset, &payload_len);
        if (offset + len > taken) {
            break;
        }
        offset += len;
        mark.count++;
    }
    mark.position += offset;
    sender->sent += mark.count - part->start.count;
    if (offset < taken) {
        rlt_suspect_note_torn(&sender->suspect, part->lane, mark.count + 1);
    }
    rlt_wire_queue_advance(sender->queue, part->lane, mark);
    rlt_counter_add_shared(&sender->metrics->published_bytes, offset);
    if (offset != 0 && !sender->keep) {
        rlt_sender_release(sender, part->lane, mark, wake, context);
    }
}

/* Note how far each lane was sent, and rewind it to the first message that is neither confirmed nor
 * refused (at_least_once). Returns: the number of refused messages. */
static uint64_t go_back(struct rlt_sender *sender)
{
    uint64_t denied =
        sender->keep && rlt_sender_owns_lanes(sender) ? rlt_denials_strike(sender) : 0;
    for (int lane = 0; sender->keep && rlt_sender_owns_lanes(sender) && lane <= RLT_WIRE_LANES;
         lane++) {
        struct rlt_lane_mark cursor = rlt_wire_queue_cursor(sender->queue, lane);
        if (cursor.count > sender->reached[lane].count) {
            sender->reached[lane] = cursor;
        }
        rlt_wire_queue_advance(sender->queue, lane, sender->released[lane]);
        if (sender->released[lane].count < sender->denials.struck_end[lane]) {
            rlt_sender_release(sender, lane, sender->released[lane], sender->wake,
                               sender->wake_context);
        }
    }
    rlt_counter_add(&sender->metrics->denied, denied);
    return denied;
}

struct rlt_fence_link *rlt_sender_on_lost(struct rlt_sender *sender, rlt_sender_wake_fn *wake,
                                          void *context)
{
    sender->suspect.open = 0;
    /* Backwards: where a lane has two parts, the earlier one decides. */
    for (uint32_t i = sender->batch.count; i-- > sender->batch.done;) {
        rewind_part(sender, i, wake, context);
    }
    rlt_control_forget(&sender->control);
    forget_batch(sender);
    uint64_t in_doubt = sender->keep ? 0 : sender->sent - sender->confirmed;
    sender->suspect.open += sender->sent - sender->confirmed - go_back(sender);
    in_doubt -= book_denied(sender, in_doubt);
    rlt_counter_add(&sender->metrics->in_doubt, in_doubt);
    sender->sent = 0;
    sender->confirmed = 0;
    sender->unmarked = 0;
    rlt_confirm_timer_on_ping(&sender->confirm_timer);
    sender->ping_due = false;
    sender->stalled = false;
    return rlt_ping_marks_fail(&sender->pings, in_doubt != 0);
}
