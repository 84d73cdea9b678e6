/* SPDX-License-Identifier: MIT */
#include "core/receiving/receiver.h"

#include <string.h>

#include "base/assert.h"

/* A receive with less room is not worth its system call. */
#define ROOM_MIN ((size_t)16 * 1024)

void rlt_receiver_init(struct rlt_receiver *receiver, struct rlt_slab_pool *pool,
                       uint32_t connection)
{
    memset(receiver, 0, sizeof(*receiver));
    receiver->pool = pool;
    receiver->spare = rlt_slab_spare(pool, connection);
}

void rlt_receiver_reset(struct rlt_receiver *receiver)
{
    if (receiver->slab != NULL) {
        rlt_slab_settle(receiver->slab);
    }
    if (receiver->next != NULL) {
        rlt_slab_settle(receiver->next);
    }
    if (receiver->run != NULL) {
        rlt_slab_settle(receiver->run);
    }
    receiver->slab = NULL;
    receiver->next = NULL;
    receiver->run = NULL;
    receiver->start = 0;
    receiver->end = 0;
    receiver->frame_len = 0;
    receiver->missing = 0;
    receiver->next_end = 0;
    receiver->skip = 0;
    rlt_long_line_end(&receiver->line);
}

/* The limit to which a slab is filled when no frame is cut. */
static size_t soft_limit(const struct rlt_slab *slab)
{
    return slab->capacity - slab->capacity / 4;
}

/* Take a plain slab, or the spare one if all are in use. */
static struct rlt_slab *acquire_any(struct rlt_receiver *receiver)
{
    struct rlt_slab *slab = rlt_slab_acquire(receiver->pool);
    return slab != NULL ? slab : receiver->spare;
}

/* Go on in `slab`, with the cut frame's fragment moved to its start. */
static void join(struct rlt_receiver *receiver, struct rlt_slab *slab)
{
    size_t fragment = receiver->end - receiver->start;
    /* memmove: the spare slab may be joined with itself. */
    memmove(slab->bytes, receiver->slab->bytes + receiver->start, fragment);
    if (slab != receiver->slab) {
        rlt_slab_settle(receiver->slab);
    }
    receiver->joins++;
    receiver->joined_bytes += fragment;
    receiver->slab = slab;
    receiver->start = 0;
    receiver->end = fragment;
}

/* Make sure that `slab` has room, where no frame is cut. */
static void refill(struct rlt_receiver *receiver)
{
    struct rlt_slab *slab = receiver->slab;
    /* The spare slab is given up as soon as another is free. */
    if (slab != NULL && slab != receiver->spare) {
        if (rlt_slab_is_idle(slab)) {
            rlt_slab_rewind(slab);
            receiver->start = receiver->end = 0;
            return;
        }
        if (receiver->end + ROOM_MIN <= soft_limit(slab)) {
            return;
        }
        rlt_slab_settle(slab);
    }
    receiver->slab = acquire_any(receiver);
    receiver->start = receiver->end = 0;
}

/* Split the next receive: the cut frame fits into `slab`, later bytes go to another slab. */
static void split(struct rlt_receiver *receiver)
{
    receiver->missing = receiver->start + (size_t)receiver->frame_len - receiver->end;
    receiver->next = acquire_any(receiver);
    receiver->next_end = 0;
    if (receiver->next == receiver->slab) {
        /* Both are the spare slab, and would overlap: finish the frame first. */
        receiver->next = NULL;
    }
}

/* Prepare for the rest of a cut frame. */
static void prepare_rest(struct rlt_receiver *receiver)
{
    size_t slab_capacity = receiver->pool->slab_bytes - sizeof(struct rlt_slab);
    if (receiver->frame_len > slab_capacity) {
        RLT_ASSERT(receiver->run != NULL); /* rlt_receiver_next() took it */
        join(receiver, receiver->run);
        receiver->run = NULL;
        split(receiver);
        return;
    }
    bool fits = receiver->start + receiver->frame_len <= receiver->slab->capacity;
    bool has_room = receiver->end + ROOM_MIN <= soft_limit(receiver->slab);
    if (!fits || (receiver->frame_len == 0 && !has_room)) {
        /* A line without its end is shorter than RLT_LINE_LEN_MAX, so there is room then. */
        join(receiver, acquire_any(receiver));
        has_room = receiver->end + ROOM_MIN <= soft_limit(receiver->slab);
    }
    if (!has_room) {
        RLT_ASSERT(receiver->frame_len != 0);
        split(receiver);
    }
}

uint32_t rlt_receiver_spans(struct rlt_receiver *receiver, struct rlt_span spans[2])
{
    if (receiver->next == NULL && receiver->missing == 0) {
        if (receiver->slab == NULL || receiver->start == receiver->end) {
            refill(receiver);
        } else {
            prepare_rest(receiver);
        }
    }
    struct rlt_slab *slab = receiver->slab;
    spans[0].bytes = slab->bytes + receiver->end;
    if (receiver->missing == 0) {
        spans[0].len = soft_limit(slab) - receiver->end;
        return 1;
    }
    spans[0].len = receiver->missing;
    if (receiver->next == NULL) {
        return 1;
    }
    spans[1].bytes = receiver->next->bytes;
    spans[1].len = soft_limit(receiver->next);
    return 2;
}

void rlt_receiver_on_bytes(struct rlt_receiver *receiver, size_t count)
{
    if (receiver->missing != 0) {
        size_t here = rlt_min_size(count, receiver->missing);
        receiver->missing -= here;
        receiver->end += here;
        receiver->next_end += count - here;
        return;
    }
    receiver->end += count;
    RLT_ASSERT(receiver->end <= receiver->slab->capacity);
    uint64_t skipped = rlt_min_u64(receiver->skip, receiver->end - receiver->start);
    receiver->skip -= skipped;
    receiver->start += (size_t)skipped;
    if (receiver->slab == receiver->spare && receiver->start != receiver->end) {
        /* A slab may have come free since the receive began: then the bytes can be kept. */
        struct rlt_slab *slab = rlt_slab_acquire(receiver->pool);
        if (slab != NULL) {
            join(receiver, slab);
        }
    }
}

/* Go on in the next slab, as the frame of a split receive is complete and parsed. */
static bool switch_to_next(struct rlt_receiver *receiver)
{
    if (receiver->next == NULL || receiver->missing != 0) {
        return false;
    }
    RLT_ASSERT(receiver->start == receiver->end);
    rlt_slab_settle(receiver->slab);
    receiver->slab = receiver->next;
    receiver->next = NULL;
    receiver->start = 0;
    receiver->end = receiver->next_end;
    receiver->next_end = 0;
    return receiver->end != 0;
}

/* Whether there is memory for the rest of a cut frame. */
static bool can_hold(struct rlt_receiver *receiver, uint64_t frame_len)
{
    if (receiver->start + frame_len <= receiver->slab->capacity) {
        return true;
    }
    if (frame_len > rlt_slab_run_max(receiver->pool)) {
        return false;
    }
    if (frame_len <= receiver->pool->slab_bytes - sizeof(struct rlt_slab)) {
        return true;
    }
    /* Kept until the next receive: other connections of the cluster take slabs meanwhile. */
    if (receiver->run == NULL) {
        receiver->run = rlt_slab_acquire_run(receiver->pool, (size_t)frame_len);
    }
    return receiver->run != NULL;
}

/* Add the received bytes to the long line. Returns: as rlt_receiver_next(). */
static int continue_line(struct rlt_receiver *receiver, struct rlt_frame *frame,
                         struct rlt_slab **slab)
{
    struct rlt_long_line *line = &receiver->line;
    int64_t taken = rlt_long_line_add(line, receiver->slab->bytes + receiver->start,
                                      receiver->end - receiver->start);
    if (taken < 0) {
        return taken == RLT_LONG_LINE_TOO_LONG ? -RLT_PARSE_INFO_TOO_LONG : RLT_RECEIVER_NO_MEMORY;
    }
    receiver->start += (size_t)taken;
    if (line->open) {
        return 0;
    }
    *slab = NULL;
    int64_t used = rlt_parse(line->bytes, line->len, frame);
    RLT_ASSERT(used < 0 || (size_t)used == line->len);
    return used > 0 ? 1 : (int)used;
}

int rlt_receiver_next(struct rlt_receiver *receiver, struct rlt_frame *frame,
                      struct rlt_slab **slab)
{
    if (rlt_unlikely(receiver->line.bytes != NULL && !receiver->line.open)) {
        rlt_long_line_end(&receiver->line); /* the last frame lay there */
    }
    for (;;) {
        size_t len = receiver->end - receiver->start;
        if (len == 0) {
            if (receiver->skip == 0 && switch_to_next(receiver)) {
                continue;
            }
            return 0;
        }
        if (receiver->missing != 0) {
            return 0;
        }
        if (rlt_unlikely(receiver->line.open)) {
            return continue_line(receiver, frame, slab);
        }
        const uint8_t *bytes = receiver->slab->bytes + receiver->start;
        int64_t used = rlt_parse(bytes, len, frame);
        if (rlt_likely(used > 0)) {
            receiver->start += (size_t)used;
            *slab = receiver->slab != receiver->spare ? receiver->slab : NULL;
            return 1;
        }
        if (used < 0) {
            return (int)used;
        }
        receiver->frame_len = frame->frame_len;
        if (rlt_unlikely(frame->frame_len == 0 && len >= RLT_LINE_LEN_MAX)) {
            rlt_long_line_begin(&receiver->line);
            return continue_line(receiver, frame, slab);
        }
        if (frame->frame_len != 0 && !can_hold(receiver, frame->frame_len)) {
            receiver->skip = frame->frame_len - len;
            receiver->start = receiver->end;
            *slab = NULL;
            return RLT_RECEIVER_OVERSIZED;
        }
        return 0;
    }
}

uint32_t rlt_receiver_take_streaks(struct rlt_receiver *receiver, struct rlt_streak *streaks,
                                   uint32_t max, struct rlt_slab **slab)
{
    if (receiver->start == receiver->end || receiver->missing != 0 || receiver->line.open) {
        return 0;
    }
    size_t used;
    uint32_t count = rlt_parse_streaks(receiver->slab->bytes + receiver->start,
                                       receiver->end - receiver->start, streaks, max, &used);
    receiver->start += used;
    *slab = receiver->slab != receiver->spare ? receiver->slab : NULL;
    return count;
}
