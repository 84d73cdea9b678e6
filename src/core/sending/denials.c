/* SPDX-License-Identifier: MIT */
#include "core/sending/denials.h"

#include <string.h>

#include "core/seam/ring.h"
#include "core/sending/sender.h"
#include "proto/encode.h"
#include "proto/server_error.h"

/* ---- Names -------------------------------------------------------------------------------- */

static uint64_t key_of(const char *name, size_t len, bool by_reply)
{
    return rlt_ring_hash(name, len) << 2 | (by_reply ? 2 : 0) | 1;
}

uint64_t rlt_denials_key(const char *quoted, size_t len, bool by_reply)
{
    char name[ROULETTE_TOPIC_LEN_MAX];
    size_t name_len = rlt_server_error_unquote(quoted, len, name, sizeof(name));
    return name_len != 0 ? key_of(name, name_len, by_reply) : 0;
}

static struct rlt_denied_name *find(struct rlt_denials *denials, uint64_t key)
{
    for (uint32_t i = 0; i < denials->name_count; i++) {
        if (denials->names[i].key == key) {
            return &denials->names[i];
        }
    }
    return NULL;
}

void rlt_denials_add(struct rlt_denials *denials, uint64_t key, bool keep)
{
    denials->count++;
    struct rlt_denied_name *name = keep && key != 0 ? find(denials, key) : NULL;
    if (name != NULL) {
        name->count++;
    } else if (keep && key != 0 && denials->name_count < RLT_DENIALS_NAMES) {
        denials->names[denials->name_count++] = (struct rlt_denied_name){.key = key, .count = 1};
    }
}

/* ---- Frames ------------------------------------------------------------------------------- */

/* Visit a frame. Returns: false to stop before it. */
typedef bool frame_fn(void *context, uint8_t *frame, size_t len);

/* Visit the committed frames of a lane from `mark` up to message number `end`. Returns: the place
 * at which it stopped. */
static struct rlt_lane_mark walk(struct rlt_sender *sender, int lane, struct rlt_lane_mark mark,
                                 uint64_t end, frame_fn *look, void *context)
{
    struct rlt_lane_mark cursor = rlt_wire_queue_cursor(sender->queue, lane);
    struct rlt_wire_view view;
    struct rlt_lane_chunk chunk;
    bool goes_on = true;
    rlt_wire_queue_look(sender->queue, &view);
    rlt_wire_queue_advance(sender->queue, lane, mark);
    while (goes_on && mark.count < end &&
           rlt_wire_queue_peek(sender->queue, lane, &view, RLT_SENDER_LANE_BYTES, &chunk)) {
        mark = chunk.start;
        for (size_t offset = 0; goes_on && offset < chunk.len && mark.count < end;) {
            uint8_t *frame = (uint8_t *)chunk.bytes + offset;
            uint32_t payload_len;
            size_t len = rlt_pub_frame_len(frame, chunk.len - offset, &payload_len);
            goes_on = look(context, frame, len);
            offset += goes_on ? len : 0;
            mark.position = chunk.start.position + offset;
            mark.count += goes_on ? 1 : 0;
        }
        rlt_wire_queue_advance(sender->queue, lane, mark);
    }
    rlt_wire_queue_advance(sender->queue, lane, cursor);
    return mark;
}

struct strike {
    struct rlt_denials *denials;
    uint64_t count;
};

/* A frame_fn: strike it out if it was refused. */
static bool strike_frame(void *context, uint8_t *frame, size_t len)
{
    struct strike *strike = context;
    struct rlt_pub_names names;
    if (rlt_pub_frame_is_struck(frame)) {
        return true;
    }
    rlt_pub_frame_names(frame, len, &names);
    struct rlt_denied_name *name =
        find(strike->denials, key_of(names.topic, names.topic_len, false));
    if ((name == NULL || name->count == 0) && names.reply != NULL) {
        name = find(strike->denials, key_of(names.reply, names.reply_len, true));
    }
    if (name != NULL && name->count != 0) {
        name->count--;
        strike->count++;
        rlt_pub_frame_strike(frame);
    }
    return true;
}

uint64_t rlt_denials_strike(struct rlt_sender *sender)
{
    struct rlt_denials *denials = &sender->denials;
    struct strike strike = {.denials = denials};
    for (int lane = 0; denials->name_count != 0 && lane <= RLT_WIRE_LANES; lane++) {
        uint64_t end = rlt_wire_queue_cursor(sender->queue, lane).count;
        uint64_t before = strike.count;
        if (sender->released[lane].count < end) {
            (void)walk(sender, lane, sender->released[lane], end, strike_frame, &strike);
        }
        if (strike.count != before) {
            denials->any_struck = true;
            denials->struck_end[lane] =
                end > denials->struck_end[lane] ? end : denials->struck_end[lane];
        }
    }
    return strike.count;
}

/* A frame_fn. */
static bool count_frame(void *context, uint8_t *frame, size_t len)
{
    (void)len;
    *(uint64_t *)context += rlt_pub_frame_is_struck(frame) ? 1 : 0;
    return true;
}

uint64_t rlt_denials_count_struck(struct rlt_sender *sender)
{
    uint64_t count = 0;
    for (int lane = 0; sender->denials.any_struck && lane <= RLT_WIRE_LANES; lane++) {
        if (sender->released[lane].count < sender->denials.struck_end[lane]) {
            (void)walk(sender, lane, sender->released[lane], sender->denials.struck_end[lane],
                       count_frame, &count);
        }
    }
    return count;
}

/* A frame_fn. */
static bool pass_frame(void *context, uint8_t *frame, size_t len)
{
    (void)context;
    (void)len;
    return rlt_pub_frame_is_struck(frame);
}

struct rlt_lane_mark rlt_denials_pass(struct rlt_sender *sender, int lane,
                                      struct rlt_lane_mark mark)
{
    struct rlt_denials *denials = &sender->denials;
    if (mark.count < denials->struck_end[lane]) {
        mark = walk(sender, lane, mark, denials->struck_end[lane], pass_frame, NULL);
    }
    if (rlt_wire_queue_cursor(sender->queue, lane).count < mark.count) {
        rlt_wire_queue_advance(sender->queue, lane, mark);
    }
    return mark;
}

/* End a chunk before its first struck-out frame. Returns: whether the chunk is empty then. */
static bool cut(struct rlt_lane_chunk *chunk)
{
    size_t offset = 0;
    uint64_t count = 0;
    while (offset < chunk->len && !rlt_pub_frame_is_struck(chunk->bytes + offset)) {
        uint32_t payload_len;
        offset += rlt_pub_frame_len(chunk->bytes + offset, chunk->len - offset, &payload_len);
        count++;
    }
    chunk->len = offset;
    chunk->end.position = chunk->start.position + offset;
    chunk->end.count = chunk->start.count + count;
    return offset == 0;
}

bool rlt_denials_peek(struct rlt_sender *sender, int lane, size_t limit,
                      struct rlt_lane_chunk *chunk)
{
    while (rlt_wire_queue_peek(sender->queue, lane, &sender->seen, limit, chunk)) {
        if (rlt_likely(!sender->denials.any_struck) ||
            chunk->start.count >= sender->denials.struck_end[lane] || !cut(chunk)) {
            return true;
        }
        (void)rlt_denials_pass(sender, lane, chunk->start);
    }
    return false;
}

void rlt_denials_move(struct rlt_denials *to, struct rlt_denials *from)
{
    memcpy(to->struck_end, from->struck_end, sizeof(to->struck_end));
    to->any_struck = from->any_struck;
    memset(from->struck_end, 0, sizeof(from->struck_end));
    from->any_struck = false;
}
