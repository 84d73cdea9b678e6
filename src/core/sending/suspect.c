/* SPDX-License-Identifier: MIT */
#include "core/sending/suspect.h"

#include <string.h>

#include "base/assert.h"
#include "core/sending/chunk.h"
#include "core/sending/sender.h"
#include "proto/encode.h"

#define SHARED RLT_WIRE_LANES

/* The number of the lane's last suspect, plus 1. */
static uint64_t end_of(const struct rlt_sender *sender, int lane)
{
    const struct rlt_suspect *suspect = &sender->suspect;
    uint64_t end = sender->reached[lane].count;
    bool torn = suspect->torn_end > end && suspect->torn_lane == lane;
    return torn ? suspect->torn_end : end;
}

/* Count the suspects of a lane from `mark` on. */
static uint64_t behind(const struct rlt_sender *sender, int lane, struct rlt_lane_mark mark)
{
    uint64_t end = end_of(sender, lane);
    return end > mark.count ? end - mark.count : 0;
}

static uint64_t count_suspects(const struct rlt_sender *sender)
{
    uint64_t count = 0;
    for (int lane = 0; lane <= SHARED; lane++) {
        count += behind(sender, lane, sender->released[lane]);
    }
    return count;
}

/* ---- Sending ------------------------------------------------------------------------------ */

/* Add suspects of a lane, `limit` at most. Returns: how many; 0 also if the first is given up,
 * since the server's limit is lower now. */
static uint64_t add_suspects(struct rlt_sender *sender, int lane, uint64_t limit)
{
    struct rlt_lane_chunk chunk;
    if (limit == 0 || !rlt_denials_peek(sender, lane, RLT_SENDER_LANE_BYTES, &chunk)) {
        return 0;
    }
    limit = rlt_min_u64(limit, behind(sender, lane, chunk.start));
    if (limit == 0) {
        return 0;
    }
    uint32_t payload_max = rlt_sender_payload_max(sender);
    if (chunk.len > payload_max && rlt_chunk_check(&chunk, payload_max)) {
        if (sender->released[lane].count == chunk.start.count) {
            rlt_sender_add_chunk(sender, lane, &chunk, 0);
        }
        return 0;
    }
    rlt_chunk_cut(&chunk, limit);
    rlt_sender_add_chunk(sender, lane, &chunk, chunk.len);
    return chunk.end.count - chunk.start.count;
}

bool rlt_suspect_gather(struct rlt_sender *sender)
{
    if (count_suspects(sender) == 0) {
        sender->suspect = (struct rlt_suspect){0};
        return false;
    }
    if (sender->sent != sender->confirmed) {
        sender->stalled = true; /* until the PONG */
        return true;
    }
    uint64_t left = sender->suspect.window;
    for (int lane = 0; lane <= SHARED && left != 0; lane++) {
        if (lane != SHARED && (uint32_t)lane >= sender->seen.lanes) {
            continue;
        }
        /* Twice, because a chunk ends where the buffer wraps. */
        uint64_t first = add_suspects(sender, lane, left);
        left -= first;
        left -= first != 0 ? add_suspects(sender, lane, left) : 0;
        if (behind(sender, lane, rlt_wire_queue_cursor(sender->queue, lane)) != 0) {
            break; /* in their order */
        }
    }
    sender->stalled = left != sender->suspect.window;
    return true;
}

void rlt_suspect_on_confirmed(struct rlt_sender *sender, uint64_t count)
{
    struct rlt_suspect *suspect = &sender->suspect;
    uint64_t suspects = count_suspects(sender);
    if (suspects == 0) {
        *suspect = (struct rlt_suspect){0};
    } else if (suspect->window != 0 && count != 0) {
        suspect->strikes = 0;
        suspect->narrow -= rlt_min_u64(suspect->narrow, count);
        if (suspect->narrow == 0) {
            suspect->window = rlt_suspect_share(suspects);
            suspect->narrow = suspects;
        }
    }
}

/* ---- Closed ------------------------------------------------------------------------------- */

static void describe(const uint8_t *frame, size_t len, struct rlt_suspect_found *found)
{
    const char *topic = (const char *)frame + 4; /* behind "PUB " */
    const char *end = memchr(topic, ' ', len - 4);
    RLT_ASSERT(end != NULL);
    found->topic_len = (size_t)(end - topic);
    size_t kept = rlt_min_size(found->topic_len, sizeof(found->topic) - 1);
    memcpy(found->topic, topic, kept);
    found->topic[kept] = '\0';
}

/* Give up the first suspect, which was alone. */
static void give_up(struct rlt_sender *sender, struct rlt_suspect_found *found)
{
    struct rlt_lane_chunk chunk;
    struct rlt_wire_view view;
    int lane = 0;
    while (behind(sender, lane, sender->released[lane]) == 0) {
        lane++;
        RLT_ASSERT(lane <= SHARED);
    }
    rlt_wire_queue_look(sender->queue, &view);
    bool there = rlt_wire_queue_peek(sender->queue, lane, &view, 1, &chunk);
    RLT_ASSERT(there);
    size_t len = rlt_pub_frame_len(chunk.bytes, chunk.len, &found->payload_len);
    describe(chunk.bytes, len, found);
    rlt_sender_drop(sender, lane,
                    (struct rlt_lane_mark){chunk.start.position + len, chunk.start.count + 1});
}

bool rlt_suspect_on_closed(struct rlt_sender *sender, bool named, struct rlt_suspect_found *found)
{
    struct rlt_suspect *suspect = &sender->suspect;
    uint64_t open = suspect->open;
    if (!sender->keep || !rlt_sender_owns_lanes(sender) || open == 0) {
        return false;
    }
    suspect->losses++;
    if (suspect->losses == 1 && !named) {
        return false;
    }
    /* Alone: sent in the order of the lanes, or the only one. */
    if (open == 1 && (suspect->window != 0 || count_suspects(sender) == 1)) {
        suspect->strikes++;
        if (suspect->strikes >= rlt_suspect_strikes(named)) {
            give_up(sender, found);
            /* If others are left, WARY: one more loss, and they are probed. */
            *suspect = (struct rlt_suspect){.losses = count_suspects(sender) != 0 ? 1 : 0};
            return true;
        }
    } else {
        suspect->strikes = 0;
    }
    suspect->narrow = suspect->window != 0 ? open : count_suspects(sender);
    suspect->window = rlt_suspect_share(suspect->narrow);
    return false;
}

void rlt_suspect_note_unknown(struct rlt_sender *sender)
{
    for (int lane = 0; sender->keep && lane <= SHARED; lane++) {
        sender->unknown[lane] = sender->reached[lane].count;
    }
}
