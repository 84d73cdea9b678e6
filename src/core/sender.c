/* SPDX-License-Identifier: MIT */
#include "core/sender.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "proto/encode.h"
#include "roulette.h"

#define SHARED   RLT_WIRE_LANES
#define NO_LANE  (-1)
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
    sender->control[0] = rlt_memory_alloc_aligned(RLT_CACHE_LINE, RLT_CONTROL_BYTES);
    sender->control[1] = rlt_memory_alloc_aligned(RLT_CACHE_LINE, RLT_CONTROL_BYTES);
    if (sender->control[0] == NULL || sender->control[1] == NULL ||
        rlt_sub_marks_init(&sender->subs) < 0) {
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
    rlt_memory_free(sender->control[0]);
    rlt_memory_free(sender->control[1]);
    sender->control[0] = NULL;
    sender->control[1] = NULL;
    rlt_sub_marks_fini(&sender->subs);
}

/* ---- The lanes ---------------------------------------------------------------------------- */

static struct rlt_lane_mark cursor_of(const struct rlt_sender *sender, int lane)
{
    return rlt_wire_queue_cursor(sender->queue, lane);
}

static void move_cursor(struct rlt_sender *sender, int lane, struct rlt_lane_mark mark)
{
    rlt_wire_queue_advance(sender->queue, lane, mark);
}

static void wake_waiter(struct rlt_sender *sender, int lane, rlt_sender_wake_fn *wake,
                        void *context)
{
    _Atomic(uint32_t) *word = rlt_wire_queue_take_waiter(sender->queue, lane);
    if (word != NULL) {
        wake(context, word);
    }
}

/* Release up to `mark`, and wake the producers that wait for it. */
static void release(struct rlt_sender *sender, int lane, struct rlt_lane_mark mark,
                    rlt_sender_wake_fn *wake, void *context)
{
    mark = rlt_unlikely(sender->denials.any_struck) ? rlt_denials_pass(sender, lane, mark) : mark;
    sender->released[lane] = mark;
    rlt_wire_queue_release(sender->queue, lane, mark);
    wake_waiter(sender, lane, wake, context);
}

/* ---- Control lines ------------------------------------------------------------------------ */

uint8_t *rlt_sender_control_claim(struct rlt_sender *sender, size_t len)
{
    if (sender->control_len + len > RLT_CONTROL_BYTES) {
        return NULL;
    }
    return sender->control[sender->filling] + sender->control_len;
}

void rlt_sender_control_commit(struct rlt_sender *sender, const uint8_t *end)
{
    sender->control_len = (size_t)(end - sender->control[sender->filling]);
    RLT_ASSERT(sender->control_len <= RLT_CONTROL_BYTES);
}

bool rlt_sender_write_sub(struct rlt_sender *sender, const struct rlt_topic_key *key, uint64_t sid)
{
    if (rlt_sub_marks_is_full(&sender->subs)) {
        return false;
    }
    uint8_t *out = rlt_sender_control_claim(sender, PING_LEN + RLT_SUB_LEN_MAX);
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
    rlt_sender_control_commit(sender, out);
    return true;
}

void rlt_sender_wipe_control(struct rlt_sender *sender)
{
    sender->secret_len = sender->control_len;
}

/* The batch that held credentials is sent or lost. */
static void wipe(struct rlt_sender *sender)
{
    if (sender->secret_len != 0 && sender->control_len == 0) {
        explicit_bzero(sender->control[0], sender->secret_len);
        explicit_bzero(sender->control[1], sender->secret_len);
        sender->secret_len = 0;
    }
}

/* ---- Making a batch ----------------------------------------------------------------------- */

static void add_span(struct rlt_sender *sender, const void *bytes, size_t len,
                     struct rlt_sender_part part)
{
    RLT_ASSERT(sender->span_count < RLT_SENDER_SPANS);
    sender->spans[sender->span_count] = (struct rlt_span){(void *)(uintptr_t)bytes, len};
    sender->parts[sender->span_count] = part;
    sender->span_count++;
}

void rlt_sender_set_payload_max(struct rlt_sender *sender, uint32_t payload_max)
{
    atomic_store_explicit(&sender->payload_max, payload_max != 0 ? payload_max : UINT32_MAX,
                          memory_order_relaxed);
}

/*
 * Cut a chunk of frames that were accepted under another max_payload before the first that is
 * too large now; if that is the first of all, cut behind it and report true: it is given up.
 */
bool rlt_sender_check_chunk(const struct rlt_sender *sender, struct rlt_lane_chunk *chunk)
{
    size_t offset = 0;
    uint64_t count = 0;
    while (offset < chunk->len) {
        uint32_t payload_len;
        size_t len = rlt_pub_frame_len(chunk->bytes + offset, chunk->len - offset, &payload_len);
        if (payload_len > rlt_sender_payload_max(sender)) {
            bool first = offset == 0;
            chunk->len = first ? len : offset;
            chunk->end.position = chunk->start.position + chunk->len;
            chunk->end.count = chunk->start.count + (first ? 1 : count);
            return first;
        }
        offset += len;
        count++;
    }
    return false;
}

/* Add frames that were peeked at; `len` 0: they are given up. */
void rlt_sender_add_chunk(struct rlt_sender *sender, int lane, const struct rlt_lane_chunk *chunk,
                          size_t len)
{
    move_cursor(sender, lane, chunk->end);
    sender->unmarked += chunk->len;
    add_span(sender, chunk->bytes, len, (struct rlt_sender_part){lane, chunk->start, chunk->end});
}

/* Add the next frames of a lane. Returns the bytes added; 0 if there are none. */
static size_t gather_lane(struct rlt_sender *sender, int lane, size_t limit)
{
    struct rlt_lane_chunk chunk;
    if (!rlt_denials_peek(sender, lane, limit, &chunk)) {
        return 0;
    }
    /* A chunk that is not larger than the limit has no frame that is. A publisher may have read an
     * older limit than the server's last INFO, however late it commits: so look, each time. */
    bool given_up =
        chunk.len > rlt_sender_payload_max(sender) && rlt_sender_check_chunk(sender, &chunk);
    if (given_up && sender->keep && sender->released[lane].count != chunk.start.count) {
        /* What is before it may have to be sent again: give it up once that is confirmed. */
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
 * What is taken from each of `turns` lanes. From few it is much, because on the same machine each
 * send wakes the reader; but a lane has its room back only when all of it is sent, and a chunk
 * within payload_max need not be looked through.
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
        /* Twice, because a chunk ends where the ring wraps. */
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
               from->span_count == 0);
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

/* All that was accepted before now is to be sent before the fences' PING. */
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

/* Messages of the batch that its completion will count as sent. */
static uint64_t batch_messages(const struct rlt_sender *sender)
{
    uint64_t messages = 0;
    for (uint32_t i = 0; i < sender->span_count; i++) {
        const struct rlt_sender_part *part = &sender->parts[i];
        if (part->lane != NO_LANE && sender->spans[i].len != 0) {
            messages += part->end.count - part->start.count;
        }
    }
    return messages;
}

/* At least once: whether something is sent that no PING on its way will confirm. */
static bool must_confirm(const struct rlt_sender *sender)
{
    return sender->keep && sender->pings.count == 0 &&
           sender->sent + batch_messages(sender) != sender->confirmed;
}

/* Enough was sent that no PING on its way will confirm. */
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
        return; /* enough unanswered ones are out to find a dead peer; fences wait for a PONG */
    }
    mark->sent = sender->sent + batch_messages(sender);
    sender->unmarked = 0;
    rlt_confirm_timer_on_ping(&sender->confirm_timer);
    for (int lane = 0; sender->keep && lane <= SHARED; lane++) {
        /* Our PONG does not confirm what another one sends, whoever owns the lanes then. */
        mark->covers[lane] =
            rlt_sender_owns_lanes(sender) ? cursor_of(sender, lane) : (struct rlt_lane_mark){0, 0};
    }
    add_span(sender, ping_line, PING_LEN, (struct rlt_sender_part){.lane = NO_LANE});
}

uint32_t rlt_sender_gather(struct rlt_sender *sender, bool with_lanes)
{
    if (sender->span_count != 0) {
        return 0;
    }
    if (sender->control_len != 0) {
        add_span(sender, sender->control[sender->filling], sender->control_len,
                 (struct rlt_sender_part){.lane = NO_LANE});
        sender->filling ^= 1;
        sender->control_len = 0;
    }
    if (with_lanes) {
        arm_fences(sender);
        if (rlt_sender_takes_lanes(sender)) {
            gather_lanes(sender);
        }
    }
    gather_ping(sender);
    return sender->span_count;
}

bool rlt_sender_may_lend(const struct rlt_sender *sender)
{
    return !rlt_sender_is_busy(sender) && rlt_sender_owns_lanes(sender) && !sender->keep &&
           !sender->ping_due && sender->control_len == 0 && sender->secret_len == 0 &&
           sender->pings.armed == NULL && sender->pings.waiting == NULL;
}

bool rlt_sender_has_work(struct rlt_sender *sender, bool with_lanes)
{
    if (sender->control_len != 0 || sender->ping_due || must_confirm(sender)) {
        return true;
    }
    if (!with_lanes) {
        return false;
    }
    /* Armed fences may wait for a frame that its producer has not committed; it rings then. */
    bool fences =
        sender->pings.armed != NULL ? fences_reached(sender) : sender->pings.waiting != NULL;
    return (fences && sender->pings.count < RLT_PING_MARKS_MAX) ||
           (!sender->stalled && rlt_sender_takes_lanes(sender) &&
            !rlt_wire_queue_is_empty(sender->queue));
}

/* ---- What became of a batch --------------------------------------------------------------- */

/* The kernel took all of a part (or there was nothing to take, because it is given up). */
static void complete(struct rlt_sender *sender, uint32_t index, bool given_up,
                     rlt_sender_wake_fn *wake, void *context)
{
    const struct rlt_sender_part *part = &sender->parts[index];
    if (part->lane == NO_LANE) {
        return;
    }
    uint64_t messages = part->end.count - part->start.count;
    if (given_up) {
        /* An earlier connection may have sent it, under a larger limit. */
        bool sent = part->start.count < sender->reached[part->lane].count;
        rlt_counter_add(sent ? &sender->metrics->in_doubt : &sender->metrics->failed, messages);
        sender->stalled = false; /* the next one may be given up now */
    } else {
        sender->sent += messages;
        rlt_counter_add_shared(&sender->metrics->published_bytes,
                               part->end.position - part->start.position);
    }
    if (given_up || !sender->keep) {
        release(sender, part->lane, part->end, wake, context);
    }
}

static void forget_spans(struct rlt_sender *sender)
{
    sender->span_count = 0;
    sender->span_done = 0;
    sender->span_progress = 0;
}

static void forget_batch(struct rlt_sender *sender)
{
    wipe(sender);
    forget_spans(sender);
    rlt_ping_marks_end_batch(&sender->pings);
}

/* The kernel took `count` bytes. Returns the number of spans still to be sent. */
static uint32_t take_sent(struct rlt_sender *sender, size_t count, rlt_sender_wake_fn *wake,
                          void *context)
{
    while (sender->span_done < sender->span_count) {
        struct rlt_span *span = &sender->spans[sender->span_done];
        if (count < span->len) {
            span->bytes = (uint8_t *)span->bytes + count;
            span->len -= count;
            sender->span_progress += count;
            return sender->span_count - sender->span_done;
        }
        count -= span->len;
        bool given_up = span->len == 0;
        complete(sender, sender->span_done, given_up, wake, context);
        sender->span_done++;
        sender->span_progress = 0;
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
        forget_spans(sender);
    }
    return done;
}

void rlt_sender_on_denied(struct rlt_sender *sender, uint64_t key)
{
    uint64_t count = sender->denials.count;
    /* Behind an early PONG nothing was sent. What a borrower sends just now is its own. */
    if (!sender->pings.early &&
        (sender->lent || count < sender->sent + batch_messages(sender) - sender->confirmed)) {
        rlt_denials_add(&sender->denials, key, sender->keep);
    }
}

/* Book what was refused of `open` messages that leave the connection's books. Returns: how many. */
static uint64_t book_denied(struct rlt_sender *sender, uint64_t open)
{
    uint64_t denied = rlt_min_u64(sender->denials.count, open);
    rlt_denials_forget(&sender->denials);
    rlt_counter_add(&sender->metrics->denied, denied);
    return denied;
}

/* What a PING's PONG confirms. Returns its fences. */
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
    for (int lane = 0; sender->keep && lane <= SHARED; lane++) {
        if (mark->covers[lane].position > sender->released[lane].position) {
            release(sender, lane, mark->covers[lane], sender->wake, sender->wake_context);
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

/* Part `index` was not completed: its whole frames are sent, the lane goes on behind them. */
static void rewind_part(struct rlt_sender *sender, uint32_t index, rlt_sender_wake_fn *wake,
                        void *context)
{
    const struct rlt_sender_part *part = &sender->parts[index];
    if (part->lane == NO_LANE) {
        return;
    }
    struct rlt_lane_mark mark = part->start;
    size_t taken = index == sender->span_done ? sender->span_progress : 0;
    const uint8_t *bytes = (const uint8_t *)sender->spans[index].bytes - taken;
    size_t total = sender->spans[index].len + taken;
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
    move_cursor(sender, part->lane, mark);
    rlt_counter_add_shared(&sender->metrics->published_bytes, offset);
    if (offset != 0 && !sender->keep) {
        release(sender, part->lane, mark, wake, context);
    }
}

/* At least once: remember how far each lane was sent, and go back to what is neither confirmed nor
 * refused. Returns: the number of messages that were refused. */
static uint64_t go_back(struct rlt_sender *sender)
{
    uint64_t denied =
        sender->keep && rlt_sender_owns_lanes(sender) ? rlt_denials_strike(sender) : 0;
    for (int lane = 0; sender->keep && rlt_sender_owns_lanes(sender) && lane <= SHARED; lane++) {
        struct rlt_lane_mark cursor = cursor_of(sender, lane);
        if (cursor.count > sender->reached[lane].count) {
            sender->reached[lane] = cursor;
        }
        move_cursor(sender, lane, sender->released[lane]);
        if (sender->released[lane].count < sender->denials.struck_end[lane]) {
            release(sender, lane, sender->released[lane], sender->wake, sender->wake_context);
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
    for (uint32_t i = sender->span_count; i-- > sender->span_done;) {
        rewind_part(sender, i, wake, context);
    }
    sender->control_len = 0;
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
