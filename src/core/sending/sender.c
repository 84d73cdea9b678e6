/* SPDX-License-Identifier: MIT */
#include "core/sending/sender.h"

#include <string.h>

#include "base/assert.h"
#include "core/sending/chunk.h"
#include "proto/encode.h"
#include "roulette.h"

#define SHARED   RLT_WIRE_LANES
#define PING_LEN ((size_t)6)

static char ping_line[] = "PING\r\n";

int rlt_sender_init(struct rlt_sender *sender, struct rlt_wire_queue *queue,
                    struct rlt_metrics *metrics)
{
    memset(sender, 0, sizeof(*sender));
    sender->queue = queue;
    sender->metrics = metrics;
    rlt_sender_set_payload_max(sender, 0);
    rlt_ping_marks_init(&sender->pings);
    rlt_confirm_timer_init(&sender->confirm_timer, 0);
    if (rlt_control_init(&sender->control) < 0 || rlt_sub_marks_init(&sender->subs) < 0) {
        rlt_sender_fini(sender);
        return ROULETTE_ENOMEM;
    }
    return 0;
}

void rlt_sender_keep(struct rlt_sender *sender, rlt_sender_wake_fn *wake, void *context)
{
    sender->keep = true;
    sender->wake = wake;
    sender->wake_context = context;
}

void rlt_sender_fini(struct rlt_sender *sender)
{
    rlt_control_fini(&sender->control);
    rlt_sub_marks_fini(&sender->subs);
}

/* ---- The lanes ---------------------------------------------------------------------------- */

static struct rlt_lane_mark cursor_of(const struct rlt_sender *sender, int lane)
{
    return rlt_wire_queue_cursor(sender->queue, lane);
}

/* ---- Control lines ------------------------------------------------------------------------ */

bool rlt_sender_write_sub(struct rlt_sender *sender, const struct rlt_topic_key *key, uint64_t sid)
{
    if (rlt_sub_marks_is_full(&sender->subs)) {
        return false;
    }
    uint8_t *out = rlt_control_claim(&sender->control, PING_LEN + RLT_SUB_LEN_MAX);
    if (out == NULL) {
        return false;
    }
    if (rlt_sub_marks_need_ping(&sender->subs, sender->pings.written + 1)) {
        memcpy(out, ping_line, PING_LEN);
        out += PING_LEN;
        rlt_ping_marks_skip(&sender->pings);
    }
    rlt_sub_marks_push(&sender->subs, sid, sender->pings.written + 1);
    out = rlt_encode_sub(out, key->topic, key->len, NULL, 0, sid);
    rlt_control_commit(&sender->control, out);
    return true;
}

/* ---- Making a batch ----------------------------------------------------------------------- */

void rlt_sender_set_payload_max(struct rlt_sender *sender, uint32_t payload_max)
{
    atomic_store_explicit(&sender->payload_max, payload_max != 0 ? payload_max : UINT32_MAX,
                          memory_order_relaxed);
}

/* Add the next frames of a lane. Returns the bytes added; 0 if there are none. */
static size_t gather_lane(struct rlt_sender *sender, int lane, size_t limit)
{
    struct rlt_lane_chunk chunk;
    if (!rlt_denials_peek(sender, lane, limit, &chunk)) {
        return 0;
    }
    /* A chunk within the limit has no frame above it. A publisher may have checked against an older
     * limit than that of the server's last INFO, however late it commits: so check again. */
    uint32_t payload_max = rlt_sender_payload_max(sender);
    bool given_up = chunk.len > payload_max && rlt_chunk_check(&chunk, payload_max);
    if (given_up && sender->keep && sender->released[lane].count != chunk.start.count) {
        /* Messages before it may have to be sent again: give it up once they are confirmed. */
        sender->stalled = true;
        return 0;
    }
    rlt_sender_add_chunk(sender, lane, &chunk, given_up ? 0 : chunk.len);
    return chunk.len;
}

bool rlt_sender_gather_lane(struct rlt_sender *sender, int lane, size_t limit, size_t *added)
{
    struct rlt_lane_chunk chunk;
    *added = 0;
    if (!rlt_wire_queue_peek(sender->queue, lane, &sender->seen, limit + 1, &chunk)) {
        return true;
    }
    /* A chunk within payload_max has no frame that is to be given up. */
    if (chunk.len > limit || chunk.len > rlt_sender_payload_max(sender)) {
        return false;
    }
    rlt_sender_add_chunk(sender, lane, &chunk, chunk.len);
    *added = chunk.len;
    return true;
}

void rlt_sender_look(struct rlt_sender *sender)
{
    sender->looked = true;
    rlt_wire_queue_look(sender->queue, &sender->seen);
}

/*
 * The bytes taken from each of `turns` lanes. From few lanes many, because on the same machine each
 * send wakes the reader; but a lane gets its room back only when all of a part is sent, and a chunk
 * within payload_max need not be scanned.
 */
static size_t share_of_lane(const struct rlt_sender *sender, uint32_t turns)
{
    size_t share = turns > 1 ? RLT_SENDER_BATCH_BYTES / turns : RLT_SENDER_BATCH_BYTES;
    share = rlt_min_size(share, sender->queue->lane_capacity / 4);
    share = rlt_min_size(share, rlt_sender_payload_max(sender));
    return share > RLT_SENDER_LANE_BYTES ? share : RLT_SENDER_LANE_BYTES;
}

static void gather_lanes(struct rlt_sender *sender)
{
    if (!sender->looked) {
        rlt_sender_look(sender);
    }
    sender->looked = false;
    if (rlt_unlikely(sender->suspect.window != 0) && rlt_suspect_gather(sender)) {
        return;
    }
    uint32_t lanes = sender->seen.lanes;
    bool has_shared = !rlt_shared_lane_is_empty(&sender->queue->shared);
    uint32_t turns = lanes + (has_shared ? 1 : 0);
    size_t budget = RLT_SENDER_BATCH_BYTES;
    size_t share = share_of_lane(sender, turns);
    for (uint32_t i = 0; i < turns && budget != 0; i++) {
        uint32_t turn = (sender->lane_turn + i) % turns;
        int lane = turn == lanes ? SHARED : (int)turn;
        /* Twice, because a chunk ends where the buffer wraps. */
        size_t first = gather_lane(sender, lane, rlt_min_size(budget, share));
        budget -= rlt_min_size(budget, first);
        if (first != 0 && first < share && budget != 0) {
            size_t second = gather_lane(sender, lane, rlt_min_size(budget, share - first));
            budget -= rlt_min_size(budget, second);
        }
    }
    sender->lane_turn++;
}

/* ---- Fences and pings --------------------------------------------------------------------- */

void rlt_sender_adopt_lanes(struct rlt_sender *sender, struct rlt_sender *from)
{
    RLT_ASSERT(sender->queue == from->queue && rlt_sender_owns_lanes(from) &&
               from->batch.count == 0);
    sender->role = RLT_ROLE_ACTIVE;
    from->role = RLT_ROLE_SECOND;
    memcpy(sender->released, from->released, sizeof(sender->released));
    memcpy(sender->reached, from->reached, sizeof(sender->reached));
    memset(from->released, 0, sizeof(from->released));
    memset(from->reached, 0, sizeof(from->reached));
    memcpy(sender->unknown, from->unknown, sizeof(sender->unknown));
    memset(from->unknown, 0, sizeof(from->unknown));
    rlt_denials_move(&sender->denials, &from->denials);
    sender->suspect = from->suspect;
    from->suspect = (struct rlt_suspect){0};
}

/* Arm the fences: all that was accepted before now is sent before their PING. */
static void arm_fences(struct rlt_sender *sender)
{
    if (rlt_ping_marks_arm(&sender->pings)) {
        rlt_wire_queue_set_fence(sender->queue);
    }
}

static bool fences_reached(const struct rlt_sender *sender)
{
    return sender->pings.armed != NULL &&
           (!rlt_sender_takes_lanes(sender) || rlt_wire_queue_has_passed_fence(sender->queue));
}

/* Whether a message is sent that no PING in flight will confirm (at_least_once). */
static bool must_confirm(const struct rlt_sender *sender)
{
    return sender->keep && sender->pings.count == 0 &&
           sender->sent + rlt_batch_messages(&sender->batch) != sender->confirmed;
}

/* Whether enough is sent that no PING in flight will confirm. */
static bool should_confirm(const struct rlt_sender *sender)
{
    return sender->unmarked >= RLT_SENDER_PING_BYTES && sender->pings.count < RLT_SENDER_PING_COUNT;
}

static void gather_ping(struct rlt_sender *sender)
{
    bool reached = fences_reached(sender);
    bool wanted = sender->ping_due || sender->confirm_due || reached || must_confirm(sender) ||
                  should_confirm(sender);
    if (!wanted) {
        return;
    }
    sender->ping_due = false;
    sender->confirm_due = false;
    struct rlt_ping_mark *mark = rlt_ping_marks_push(&sender->pings, reached);
    if (mark == NULL) {
        return; /* enough PINGs are in flight to find a dead peer; fences wait for a PONG */
    }
    mark->sent = sender->sent + rlt_batch_messages(&sender->batch);
    sender->unmarked = 0;
    rlt_confirm_timer_on_ping(&sender->confirm_timer);
    for (int lane = 0; sender->keep && lane <= SHARED; lane++) {
        /* This PONG does not confirm messages of another connection, whoever owns the lanes. */
        mark->covers[lane] =
            rlt_sender_owns_lanes(sender) ? cursor_of(sender, lane) : (struct rlt_lane_mark){0, 0};
    }
    rlt_batch_add(&sender->batch, ping_line, PING_LEN,
                  (struct rlt_batch_part){.lane = RLT_NO_LANE});
}

uint32_t rlt_sender_gather(struct rlt_sender *sender, bool with_lanes)
{
    if (sender->batch.count != 0) {
        return 0;
    }
    if (sender->control.len != 0) {
        size_t len;
        const uint8_t *lines = rlt_control_take(&sender->control, &len);
        rlt_batch_add(&sender->batch, lines, len, (struct rlt_batch_part){.lane = RLT_NO_LANE});
    }
    if (with_lanes) {
        arm_fences(sender);
        if (rlt_sender_takes_lanes(sender)) {
            gather_lanes(sender);
        }
    }
    gather_ping(sender);
    return sender->batch.count;
}

bool rlt_sender_may_lend(const struct rlt_sender *sender)
{
    return !rlt_sender_is_busy(sender) && rlt_sender_owns_lanes(sender) && !sender->keep &&
           !sender->ping_due && sender->control.len == 0 && sender->control.secret_len == 0 &&
           sender->pings.armed == NULL && sender->pings.waiting == NULL;
}

bool rlt_sender_has_work(struct rlt_sender *sender, bool with_lanes)
{
    if (sender->control.len != 0 || sender->ping_due || must_confirm(sender)) {
        return true;
    }
    if (!with_lanes) {
        return false;
    }
    /* Armed fences may wait for a frame that its producer has not committed; the producer knocks
     * then. */
    bool fences =
        sender->pings.armed != NULL ? fences_reached(sender) : sender->pings.waiting != NULL;
    return (fences && sender->pings.count < RLT_PING_MARKS_MAX) ||
           (!sender->stalled && rlt_sender_takes_lanes(sender) &&
            !rlt_wire_queue_is_empty(sender->queue));
}
