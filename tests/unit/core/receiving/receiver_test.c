/* SPDX-License-Identifier: MIT */
/*
 * Which bytes of a stream become frames, and where they lie. RLT_SEED chooses the first round of
 * the random test, RLT_ROUNDS how many there are.
 */
#include "core/receiving/receiver.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "support/env.h"
#include "support/test.h"

#define SLAB_BYTES 131072
#define SLABS_MAX  8
/* Of a plain slab: what it holds, and up to where it is filled when no frame is cut. */
#define CAPACITY   (SLAB_BYTES - sizeof(struct rlt_slab))
#define SOFT_LIMIT (CAPACITY - CAPACITY / 4)

static struct rlt_slab_pool pool;
static struct rlt_receiver receiver;

/* ---- Steps -------------------------------------------------------------------------------- */

static void open_pool(uint32_t slabs)
{
    cr_assert_eq(rlt_slab_pool_init(&pool, SLAB_BYTES, slabs, 2), 0);
    rlt_receiver_init(&receiver, &pool, 0);
}

/* Everything that was acquired has been given back. */
static void close_pool(void)
{
    rlt_receiver_reset(&receiver);
    /* The event thread sees what consumers returned when it acquires. */
    struct rlt_slab *slab = rlt_slab_acquire(&pool);
    cr_assert_not_null(slab);
    rlt_slab_settle(slab);
    cr_assert_eq(rlt_slab_pool_in_use(&pool), 0);
    rlt_slab_pool_fini(&pool);
}

/* What one receive takes at most. */
static size_t room(void)
{
    struct rlt_span spans[2];
    uint32_t count = rlt_receiver_spans(&receiver, spans);
    return spans[0].len + (count == 2 ? spans[1].len : 0);
}

/* Receive up to `len` bytes, as the transport does. Returns how many there was room for. */
static size_t receive(const uint8_t *bytes, size_t len)
{
    struct rlt_span spans[2];
    uint32_t count = rlt_receiver_spans(&receiver, spans);
    size_t done = 0;
    cr_assert(count == 1 || count == 2);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_gt(spans[i].len, 0);
        size_t part = spans[i].len < len - done ? spans[i].len : len - done;
        memcpy(spans[i].bytes, bytes + done, part);
        done += part;
    }
    rlt_receiver_on_bytes(&receiver, done);
    return done;
}

/* Hand out a reference to the slab of a frame, as a delivery does. */
static void hold(struct rlt_slab *slab)
{
    slab->issued++;
}

static void expect_nothing(void)
{
    struct rlt_frame frame;
    struct rlt_slab *slab;
    cr_assert_eq(rlt_receiver_next(&receiver, &frame, &slab), 0);
}

static struct rlt_frame expect_message(uint64_t sid, size_t body_len, struct rlt_slab **slab)
{
    struct rlt_frame frame;
    cr_assert_eq(rlt_receiver_next(&receiver, &frame, slab), 1);
    cr_assert_eq(frame.op, RLT_OP_MSG);
    cr_assert_eq(frame.sid, sid);
    cr_assert_eq(frame.body_len, body_len);
    return frame;
}

/* A MSG of `sid` with `body_len` bytes; returns its length. */
static size_t put_message(uint8_t *out, uint64_t sid, size_t body_len)
{
    int line = sprintf((char *)out, "MSG a.b %" PRIu64 " %zu\r\n", sid, body_len);
    for (size_t i = 0; i < body_len; i++) {
        out[(size_t)line + i] = (uint8_t)(sid * 31 + i * 7);
    }
    memcpy(out + line + body_len, "\r\n", 2);
    return (size_t)line + body_len + 2;
}

static void assert_body(const struct rlt_frame *frame)
{
    const uint8_t *body = frame->topic + frame->body_offset;
    cr_assert_eq(memcmp(frame->topic, "a.b", 3), 0);
    for (size_t i = 0; i < frame->body_len; i++) {
        cr_assert_eq(body[i], (uint8_t)(frame->sid * 31 + i * 7), "byte %zu", i);
    }
}

static uint8_t scratch[8 * SLAB_BYTES];

/* Receive one message whose length makes `end` the receiver's end, and hold its slab. */
static struct rlt_slab *fill_to(size_t end, uint64_t sid)
{
    struct rlt_slab *slab;
    size_t len = end - receiver.end;
    size_t overhead = put_message(scratch, sid, len - 30) - (len - 30);
    cr_assert_eq(put_message(scratch, sid, len - overhead), len);
    cr_assert_eq(receive(scratch, len), len);
    (void)expect_message(sid, len - overhead, &slab);
    cr_assert_not_null(slab);
    hold(slab);
    cr_assert_eq(receiver.end, end);
    expect_nothing();
    return slab;
}

/* ---- Cut frames --------------------------------------------------------------------------- */

static const char session[] = "INFO {\"max_payload\":1048576}\r\n"
                              "PING\r\n"
                              "MSG a.b 7 5\r\nhello\r\n"
                              "HMSG a.b 8 _INBOX.x 12 15\r\nNATS/1.0\r\n\r\nabc\r\n"
                              "+OK\r\n"
                              "MSG long.topic.name 9 0\r\n\r\n"
                              "-ERR 'Invalid Subject'\r\n"
                              "PONG\r\n";
static const enum rlt_op session_ops[] = {RLT_OP_INFO, RLT_OP_PING, RLT_OP_MSG, RLT_OP_MSG,
                                          RLT_OP_OK,   RLT_OP_MSG,  RLT_OP_ERR, RLT_OP_PONG};
#define SESSION_FRAMES (sizeof(session_ops) / sizeof(session_ops[0]))

/* Take what is complete; `*seen` counts the frames of the session. */
static void take_session(size_t *seen)
{
    struct rlt_frame frame;
    struct rlt_slab *slab;
    int result;
    while ((result = rlt_receiver_next(&receiver, &frame, &slab)) > 0) {
        cr_assert_eq(result, 1);
        cr_assert_lt(*seen, SESSION_FRAMES);
        cr_assert_eq(frame.op, session_ops[*seen]);
        cr_assert(frame.op != RLT_OP_MSG || frame.sid == *seen + (*seen == 5 ? 4 : 5));
        ++*seen;
    }
    cr_assert_eq(result, 0);
}

Test(receiver, frames_may_be_cut_at_every_offset)
{
    const uint8_t *bytes = (const uint8_t *)session;
    size_t len = sizeof(session) - 1;
    for (size_t cut = 0; cut <= len; cut++) {
        size_t seen = 0;
        open_pool(4);
        if (cut != 0) {
            cr_assert_eq(receive(bytes, cut), cut);
            take_session(&seen);
        }
        if (cut != len) {
            cr_assert_eq(receive(bytes + cut, len - cut), len - cut);
            take_session(&seen);
        }
        cr_assert_eq(seen, SESSION_FRAMES, "cut %zu", cut);
        cr_assert_eq(receiver.joins, 0);
        close_pool();
    }
}

Test(receiver, frames_may_come_byte_by_byte)
{
    size_t seen = 0;
    open_pool(4);
    for (size_t i = 0; i < sizeof(session) - 1; i++) {
        cr_assert_eq(receive((const uint8_t *)session + i, 1), 1);
        take_session(&seen);
    }
    cr_assert_eq(seen, SESSION_FRAMES);
    close_pool();
}

/* ---- A long INFO -------------------------------------------------------------------------- */

static const char before_info[] = "MSG a.b 7 5\r\nhello\r\n";
static const char behind_info[] = "MSG a.b 8 3\r\nabc\r\nPONG\r\n";

/* A stream with an INFO of `text_len` bytes of text in it. */
static uint8_t *make_info_stream(size_t text_len, size_t *len)
{
    size_t head = sizeof(before_info) - 1;
    size_t tail = sizeof(behind_info) - 1;
    *len = head + 5 + text_len + 2 + tail;
    uint8_t *stream = malloc(*len);
    cr_assert_not_null(stream);
    memcpy(stream, before_info, head);
    memcpy(stream + head, "INFO ", 5);
    for (size_t i = 0; i < text_len; i++) {
        stream[head + 5 + i] = (uint8_t)('a' + i % 23);
    }
    memcpy(stream + head + 5 + text_len, "\r\n", 2);
    memcpy(stream + head + 5 + text_len + 2, behind_info, tail);
    return stream;
}

/* Take what is complete; `*seen` counts the frames of the stream. Returns: as the receiver. */
static int take_info_stream(const uint8_t *stream, size_t text_len, size_t *seen)
{
    static const enum rlt_op ops[] = {RLT_OP_MSG, RLT_OP_INFO, RLT_OP_MSG, RLT_OP_PONG};
    struct rlt_frame frame;
    struct rlt_slab *slab;
    int result;
    while ((result = rlt_receiver_next(&receiver, &frame, &slab)) > 0) {
        cr_assert_lt(*seen, 4);
        cr_assert_eq(frame.op, ops[*seen]);
        if (frame.op == RLT_OP_INFO) {
            cr_assert_eq(frame.text_len, text_len);
            cr_assert_arr_eq(frame.text, stream + sizeof(before_info) - 1 + 5, text_len);
        }
        ++*seen;
    }
    return result;
}

/* Receive a stream in pieces of `step` bytes, less near the ends of its INFO. */
static void receive_info_stream(size_t text_len, size_t step)
{
    size_t len;
    size_t seen = 0;
    uint8_t *stream = make_info_stream(text_len, &len);
    size_t info_start = sizeof(before_info) - 1;
    size_t info_end = info_start + text_len + 7;
    for (size_t at = 0; at < len;) {
        bool near = at < info_start + 8 || (at + 8 > info_end - step && at < info_end + 2);
        size_t part = near ? 1 : step;
        at += receive(stream + at, part < len - at ? part : len - at);
        cr_assert_eq(take_info_stream(stream, text_len, &seen), 0);
        cr_assert(!receiver.line.open || rlt_receiver_has_fragment(&receiver));
    }
    cr_assert_eq(seen, 4);
    cr_assert(rlt_receiver_is_at_rest(&receiver));
    free(stream);
}

Test(receiver, info_may_have_a_mebibyte_and_be_cut_anywhere)
{
    static const size_t steps[] = {1, 7, 1000, 16384, 65536, 98000, 1 << 20, 2 << 20};
    static const size_t lens[] = {16370, 16377, 16378, 65529, 65530, 70000, 200000, 1 << 20};
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        for (size_t j = 0; j < sizeof(steps) / sizeof(steps[0]); j++) {
            open_pool(4);
            receive_info_stream(lens[i], steps[j]);
            close_pool();
        }
    }
}

Test(receiver, info_is_read_also_while_all_slabs_are_held)
{
    struct rlt_slab *slabs[4];
    open_pool(4);
    for (size_t i = 0; i < 4; i++) {
        slabs[i] = rlt_slab_acquire(&pool);
        cr_assert_not_null(slabs[i]);
    }
    receive_info_stream(1 << 20, 60000);
    for (size_t i = 0; i < 4; i++) {
        rlt_slab_settle(slabs[i]);
    }
    close_pool();
}

Test(receiver, info_of_more_than_a_mebibyte_is_an_error_of_its_own)
{
    static const size_t steps[] = {1000, 60000, 2 << 20};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        size_t len;
        size_t seen = 0;
        size_t at = 0;
        int result = 0;
        uint8_t *stream = make_info_stream(RLT_INFO_LEN_MAX, &len);
        open_pool(4);
        while (result == 0 && at < len) {
            at += receive(stream + at, steps[i] < len - at ? steps[i] : len - at);
            result = take_info_stream(stream, RLT_INFO_LEN_MAX, &seen);
        }
        cr_assert_eq(result, -RLT_PARSE_INFO_TOO_LONG);
        cr_assert_eq(seen, 1);
        free(stream);
        close_pool();
    }
}

static int count_allocations(void *context, size_t size)
{
    (void)size;
    ++*(int *)context;
    return 1;
}

static int allow_some(void *context, size_t size)
{
    int *left = context;
    (void)size;
    return (*left)-- > 0;
}

Test(receiver, only_a_long_info_needs_memory)
{
    int count = 0;
    size_t seen = 0;
    open_pool(4);
    rlt_memory_set_gate(count_allocations, &count);
    cr_assert_eq(receive((const uint8_t *)session, sizeof(session) - 1), sizeof(session) - 1);
    take_session(&seen);
    receive_info_stream(16000, 1000);
    cr_assert_eq(count, 0);
    receive_info_stream(1 << 20, 60000);
    cr_assert_gt(count, 0);
    cr_assert_null(receiver.line.bytes);
    rlt_memory_set_gate(NULL, NULL);
    close_pool();
}

Test(receiver, long_info_without_memory_is_an_error_without_leak)
{
    int result = RLT_RECEIVER_NO_MEMORY;
    for (int allowed = 0; result != 0; allowed++) {
        size_t len;
        size_t seen = 0;
        size_t at = 0;
        int left = allowed;
        uint8_t *stream = make_info_stream(1 << 20, &len);
        cr_assert_lt(allowed, 100);
        open_pool(4);
        rlt_memory_set_gate(allow_some, &left);
        result = 0;
        while (result == 0 && at < len) {
            at += receive(stream + at, 60000 < len - at ? 60000 : len - at);
            result = take_info_stream(stream, 1 << 20, &seen);
        }
        cr_assert(result == RLT_RECEIVER_NO_MEMORY || (result == 0 && allowed > 1));
        rlt_memory_set_gate(NULL, NULL);
        free(stream);
        close_pool();
    }
}

Test(receiver, malformed_bytes_are_reported)
{
    struct rlt_frame frame;
    struct rlt_slab *slab;
    open_pool(4);
    (void)receive((const uint8_t *)"PING\r\nWHAT\r\n", 12);
    cr_assert_eq(rlt_receiver_next(&receiver, &frame, &slab), 1);
    cr_assert_eq(rlt_receiver_next(&receiver, &frame, &slab), -RLT_PARSE_UNKNOWN_OP);
    close_pool();
}

/* ---- Slabs -------------------------------------------------------------------------------- */

Test(receiver, slab_without_references_is_used_from_its_start)
{
    struct rlt_slab *slab;
    open_pool(4);
    size_t len = put_message(scratch, 1, 100);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(receive(scratch, len), len);
        struct rlt_frame frame = expect_message(1, 100, &slab);
        cr_assert_eq(frame.topic, slab->bytes + 4);
        expect_nothing();
    }
    cr_assert_eq(rlt_slab_pool_in_use(&pool), 1);
    close_pool();
}

Test(receiver, held_slab_is_filled_on_to_the_soft_limit)
{
    open_pool(4);
    struct rlt_slab *slab = fill_to(1000, 1);
    cr_assert_eq(room(), SOFT_LIMIT - 1000);
    /* Not worth a receive any more. */
    (void)fill_to(SOFT_LIMIT - 1000, 2);
    struct rlt_slab *other;
    size_t len = put_message(scratch, 3, 10);
    cr_assert_eq(receive(scratch, len), len);
    (void)expect_message(3, 10, &other);
    cr_assert_neq(other, slab);
    rlt_slab_release(slab, 2);
    close_pool();
}

Test(receiver, cut_frame_is_completed_in_the_slack_without_a_join)
{
    struct rlt_slab *slab;
    struct rlt_slab *next;
    open_pool(4);
    (void)fill_to(SOFT_LIMIT - 20000, 1);
    size_t len = put_message(scratch, 2, 30000);
    size_t behind = put_message(scratch + len, 3, 500);
    size_t first = receive(scratch, len + behind);
    cr_assert_eq(first, 20000);
    expect_nothing();
    /* The next receive is split: the rest of the frame here, what follows in the next slab. */
    struct rlt_span spans[2];
    cr_assert_eq(rlt_receiver_spans(&receiver, spans), 2);
    cr_assert_eq(spans[0].len, len - first);
    cr_assert_eq(receive(scratch + first, len + behind - first), len + behind - first);
    struct rlt_frame frame = expect_message(2, 30000, &slab);
    hold(slab);
    assert_body(&frame);
    frame = expect_message(3, 500, &next);
    assert_body(&frame);
    expect_nothing();
    cr_assert_neq(slab, next);
    cr_assert_eq(frame.topic, next->bytes + 4);
    cr_assert_eq(receiver.joins, 0);
    rlt_slab_release(slab, 2);
    close_pool();
}

Test(receiver, split_receive_may_itself_be_cut_at_every_offset)
{
    size_t len = put_message(scratch, 2, 20300);
    size_t behind = put_message(scratch + len, 3, 200);
    uint8_t *stream = malloc(len + behind);
    memcpy(stream, scratch, len + behind);
    for (size_t cut = 20000 + 1; cut < len + behind; cut++) {
        struct rlt_slab *slab;
        open_pool(4);
        (void)fill_to(SOFT_LIMIT - 20000, 1);
        cr_assert_eq(receive(stream, 20000), 20000);
        expect_nothing();
        cr_assert_eq(receive(stream + 20000, cut - 20000), cut - 20000);
        bool complete = cut >= len;
        if (complete) {
            (void)expect_message(2, 20300, &slab);
        }
        expect_nothing();
        cr_assert_eq(receive(stream + cut, len + behind - cut), len + behind - cut);
        if (!complete) {
            (void)expect_message(2, 20300, &slab);
        }
        struct rlt_frame frame = expect_message(3, 200, &slab);
        assert_body(&frame);
        expect_nothing();
        cr_assert_eq(receiver.joins, 0);
        rlt_slab_release(rlt_slab_at(&pool, 0), 1);
        close_pool();
    }
    free(stream);
}

/* ---- Runs --------------------------------------------------------------------------------- */

/* Take the next run. Returns how many messages are in it; 0 if nothing is there. */
static uint32_t take_run(void)
{
    struct rlt_streak run;
    struct rlt_slab *slab;
    if (rlt_receiver_take_streaks(&receiver, &run, 1, &slab) == 0) {
        /* Only this one goes on in the next slab. */
        if (rlt_receiver_next(&receiver, &run.frame, &slab) == 0) {
            return 0;
        }
        run.more = 0;
    }
    cr_assert_eq(run.frame.op, RLT_OP_MSG);
    cr_assert_eq(slab, receiver.slab);
    for (uint32_t i = 0; i <= run.more; i++) {
        assert_body(&run.frame);
        run.frame.topic += run.frame.frame_len;
    }
    return 1 + run.more;
}

Test(receiver, messages_with_the_same_line_are_taken_together)
{
    open_pool(4);
    size_t len = 0;
    for (uint64_t i = 0; i < 5; i++) {
        len += put_message(scratch + len, 7, 20);
    }
    len += put_message(scratch + len, 8, 20); /* another sid */
    len += put_message(scratch + len, 8, 21); /* another size */
    len += put_message(scratch + len, 8, 21);
    cr_assert_eq(receive(scratch, len), len);
    cr_assert_eq(take_run(), 5);
    cr_assert_eq(take_run(), 1);
    cr_assert_eq(take_run(), 2);
    cr_assert_eq(take_run(), 0);
    close_pool();
}

Test(receiver, runs_are_taken_at_once)
{
    struct rlt_streak runs[4];
    struct rlt_slab *slab;
    open_pool(4);
    size_t len = 0;
    for (uint64_t i = 0; i < 10; i++) {
        len += put_message(scratch + len, i < 5 ? 7 : i, 100);
    }
    cr_assert_eq(receive(scratch, len), len);
    cr_assert_eq(rlt_receiver_take_streaks(&receiver, runs, 4, &slab), 4);
    cr_assert_eq(slab, receiver.slab);
    cr_assert_eq(runs[0].frame.sid, 7);
    cr_assert_eq(runs[0].more, 4);
    for (uint32_t i = 1; i < 4; i++) {
        cr_assert_eq(runs[i].frame.sid, 4 + i);
        cr_assert_eq(runs[i].more, 0);
    }
    cr_assert_eq(rlt_receiver_take_streaks(&receiver, runs, 4, &slab), 2);
    cr_assert_eq(runs[1].frame.sid, 9);
    cr_assert_eq(rlt_receiver_take_streaks(&receiver, runs, 4, &slab), 0);
    expect_nothing();
    close_pool();
}

/* Messages that nobody can keep. */
Test(receiver, runs_in_the_spare_slab_have_no_slab)
{
    struct rlt_streak run;
    struct rlt_slab *slab;
    struct rlt_slab *held[4];
    open_pool(4);
    for (size_t i = 0; i < 4; i++) {
        held[i] = rlt_slab_acquire(&pool);
    }
    size_t len = put_message(scratch, 7, 100);
    (void)put_message(scratch + len, 7, 100);
    cr_assert_eq(receive(scratch, 2 * len), 2 * len);
    cr_assert_eq(rlt_receiver_take_streaks(&receiver, &run, 1, &slab), 1);
    cr_assert_eq(run.more, 1);
    cr_assert_null(slab);
    for (size_t i = 0; i < 4; i++) {
        rlt_slab_settle(held[i]);
    }
    close_pool();
}

Test(receiver, run_may_be_cut_at_every_offset)
{
    enum { MESSAGES = 4, BODY = 9 };
    size_t one = put_message(scratch, 7, BODY);
    for (size_t i = 1; i < MESSAGES; i++) {
        (void)put_message(scratch + i * one, 7, BODY);
    }
    for (size_t cut = 1; cut < MESSAGES * one; cut++) {
        open_pool(4);
        /* The slab is used from its start again: what is behind the cut there looks right. */
        cr_assert_eq(receive(scratch, MESSAGES * one), MESSAGES * one);
        cr_assert_eq(take_run(), MESSAGES);
        expect_nothing();
        cr_assert_eq(receive(scratch, cut), cut);
        cr_assert_eq(take_run(), cut / one, "cut %zu", cut);
        expect_nothing();
        cr_assert_eq(receive(scratch + cut, MESSAGES * one - cut), MESSAGES * one - cut);
        cr_assert_eq(take_run(), MESSAGES - cut / one, "cut %zu", cut);
        expect_nothing();
        close_pool();
    }
}

/* A message that is not ended by CR LF is an error, whatever came before it. */
Test(receiver, run_does_not_hide_a_missing_end)
{
    struct rlt_frame frame;
    struct rlt_slab *slab;
    open_pool(4);
    size_t len = put_message(scratch, 7, 5);
    for (size_t i = 1; i < 4; i++) {
        (void)put_message(scratch + i * len, 7, 5);
    }
    scratch[3 * len - 1] = 'x';
    cr_assert_eq(receive(scratch, 4 * len), 4 * len);
    cr_assert_eq(take_run(), 2);
    cr_assert_eq(rlt_receiver_next(&receiver, &frame, &slab), -RLT_PARSE_TERMINATOR);
    close_pool();
}

/* They differ in what the descriptor of a run has once: replies, headers, and odd verbs. */
Test(receiver, other_messages_come_one_by_one)
{
    static const char *const odd[] = {
        "MSG a.b 7 reply 2\r\nab\r\n",
        "HMSG a.b 7 12 14\r\nNATS/1.0\r\n\r\nab\r\n",
        "MSG  a.b 7 2\r\nab\r\n",
    };
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct rlt_streak runs[3];
        struct rlt_slab *slab;
        size_t len = strlen(odd[i]);
        open_pool(4);
        cr_assert_eq(receive((const uint8_t *)odd[i], len), len);
        cr_assert_eq(receive((const uint8_t *)odd[i], len), len);
        cr_assert_eq(rlt_receiver_take_streaks(&receiver, runs, 3, &slab), 2);
        cr_assert_eq(runs[0].more + runs[1].more, 0, "%s", odd[i]);
        expect_nothing();
        close_pool();
    }
}

/* A run ends with its slab. */
Test(receiver, same_line_in_the_next_slab_is_another_run)
{
    enum { BODY = 30000 };
    struct rlt_slab *slab;
    struct rlt_slab *next;
    open_pool(4);
    struct rlt_slab *filled = fill_to(SOFT_LIMIT - 20000, 1);
    size_t len = put_message(scratch, 2, BODY);
    (void)put_message(scratch + len, 2, BODY);
    cr_assert_eq(receive(scratch, 2 * len), 20000);
    expect_nothing();
    cr_assert_eq(receive(scratch + 20000, 2 * len - 20000), 2 * len - 20000);
    struct rlt_streak run;
    cr_assert_eq(rlt_receiver_take_streaks(&receiver, &run, 1, &slab), 1);
    assert_body(&run.frame);
    cr_assert_eq(run.more, 0);
    cr_assert_eq(slab, filled);
    cr_assert_eq(rlt_receiver_take_streaks(&receiver, &run, 1, &slab), 0);
    rlt_slab_release(slab, 1);
    struct rlt_frame frame = expect_message(2, BODY, &next);
    assert_body(&frame);
    cr_assert_neq(next, slab);
    expect_nothing();
    close_pool();
}

Test(receiver, line_that_is_cut_at_the_soft_limit_is_joined)
{
    struct rlt_slab *slab;
    open_pool(4);
    (void)fill_to(SOFT_LIMIT - 16384, 1);
    /* A message that ends 5 bytes before the limit, so that a line is cut there. */
    size_t overhead = put_message(scratch, 2, 10000) - 10000;
    size_t len = put_message(scratch, 2, 16384 - 5 - overhead);
    size_t behind = put_message(scratch + len, 3, 100);
    cr_assert_eq(receive(scratch, len + behind), 16384);
    (void)expect_message(2, 16384 - 5 - overhead, &slab);
    hold(slab);
    expect_nothing();
    cr_assert_eq(receive(scratch + len + 5, behind - 5), behind - 5);
    cr_assert_eq(receiver.joins, 1);
    cr_assert_eq(receiver.joined_bytes, 5);
    struct rlt_slab *next;
    struct rlt_frame frame = expect_message(3, 100, &next);
    assert_body(&frame);
    cr_assert_neq(slab, next);
    rlt_slab_release(slab, 2);
    close_pool();
}

Test(receiver, frame_beyond_the_slack_is_joined_in_the_next_slab)
{
    struct rlt_slab *slab;
    open_pool(4);
    struct rlt_slab *first = fill_to(SOFT_LIMIT - 20000, 1);
    size_t len = put_message(scratch, 2, 100000);
    cr_assert_eq(receive(scratch, len), 20000);
    expect_nothing();
    size_t done = 20000;
    while (done < len) {
        done += receive(scratch + done, len - done);
        if (done < len) {
            expect_nothing();
        }
    }
    struct rlt_frame frame = expect_message(2, 100000, &slab);
    assert_body(&frame);
    cr_assert_neq(slab, first);
    cr_assert_eq(receiver.joins, 1);
    cr_assert_eq(receiver.joined_bytes, 20000);
    rlt_slab_release(first, 1);
    close_pool();
}

Test(receiver, largest_frame_of_one_slab_fits_into_it)
{
    struct rlt_slab *slab;
    open_pool(4);
    size_t overhead = put_message(scratch, 1, 100000) - 100000;
    size_t len = put_message(scratch, 1, CAPACITY - overhead);
    cr_assert_eq(len, CAPACITY);
    size_t done = 0;
    while (done < len) {
        done += receive(scratch + done, len - done);
        if (done < len) {
            expect_nothing();
        }
    }
    struct rlt_frame frame = expect_message(1, CAPACITY - overhead, &slab);
    assert_body(&frame);
    cr_assert_eq(slab->length, 1);
    cr_assert_eq(receiver.joins, 0);
    close_pool();
}

/* ---- Large frames ------------------------------------------------------------------------- */

Test(receiver, frame_larger_than_a_slab_lies_in_a_run)
{
    struct rlt_slab *slab;
    open_pool(8);
    size_t len = put_message(scratch, 1, 200000);
    size_t behind = put_message(scratch + len, 2, 100);
    size_t done = receive(scratch, len + behind);
    expect_nothing();
    while (done < len + behind) {
        done += receive(scratch + done, len + behind - done);
        if (done < len) {
            expect_nothing();
        }
    }
    struct rlt_frame frame = expect_message(1, 200000, &slab);
    assert_body(&frame);
    cr_assert_eq(slab->length, 2);
    hold(slab);
    frame = expect_message(2, 100, &slab);
    assert_body(&frame);
    cr_assert_eq(slab->length, 1);
    rlt_slab_release(rlt_slab_at(&pool, 6), 1);
    close_pool();
}

Test(receiver, run_stays_there_until_the_rest_of_its_frame_comes)
{
    struct rlt_slab *slab;
    struct rlt_slab *others[8];
    open_pool(8);
    size_t len = put_message(scratch, 1, 200000);
    size_t done = receive(scratch, len);
    expect_nothing();
    /* Another connection of the cluster takes all memory before the next receive. */
    uint32_t count = 0;
    while ((others[count] = rlt_slab_acquire(&pool)) != NULL) {
        count++;
    }
    while (done < len) {
        done += receive(scratch + done, len - done);
    }
    struct rlt_frame frame = expect_message(1, 200000, &slab);
    assert_body(&frame);
    cr_assert_not_null(slab);
    for (uint32_t i = 0; i < count; i++) {
        rlt_slab_settle(others[i]);
    }
    close_pool();
}

Test(receiver, reserved_run_is_given_back_with_the_connection)
{
    open_pool(8);
    size_t len = put_message(scratch, 1, 200000);
    (void)receive(scratch, len);
    expect_nothing();
    rlt_receiver_reset(&receiver);
    close_pool();
}

/* A frame that is skipped, between two that are not, in receives of `step` bytes. */
static void skip_one(size_t body_len, size_t step)
{
    struct rlt_frame frame;
    struct rlt_slab *slab;
    size_t len = put_message(scratch, 1, 10);
    len += put_message(scratch + len, 2, body_len);
    len += put_message(scratch + len, 3, 10);
    uint64_t seen[3];
    int results[3];
    size_t count = 0;
    for (size_t done = 0; done < len;) {
        done += receive(scratch + done, len - done < step ? len - done : step);
        int result;
        while ((result = rlt_receiver_next(&receiver, &frame, &slab)) > 0) {
            cr_assert_lt(count, 3);
            results[count] = result;
            seen[count++] = frame.sid;
            cr_assert(result == 1 || slab == NULL);
        }
        cr_assert_eq(result, 0);
    }
    cr_assert_eq(count, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_eq(seen[i], i + 1);
        cr_assert_eq(results[i], i == 1 ? RLT_RECEIVER_OVERSIZED : 1);
    }
    cr_assert_eq(receiver.skip, 0);
}

Test(receiver, oversized_frame_is_reported_once_and_skipped)
{
    static const size_t steps[] = {1000, 4096, 16384, 50000, 131072, 400000};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        /* More than a quarter of 4 slabs, and of 8. */
        open_pool(4);
        skip_one(CAPACITY, steps[i]);
        close_pool();
        open_pool(8);
        skip_one(2 * SLAB_BYTES, steps[i]);
        close_pool();
    }
}

Test(receiver, oversized_frame_does_not_use_up_the_pool)
{
    open_pool(4);
    (void)fill_to(1000, 1);
    skip_one((size_t)6 * SLAB_BYTES, 50000);
    cr_assert_leq(rlt_slab_pool_in_use(&pool), 2);
    rlt_slab_release(rlt_slab_at(&pool, 0), 1);
    close_pool();
}

Test(receiver, frame_for_which_there_is_no_run_is_skipped)
{
    struct rlt_slab *others[7];
    open_pool(8);
    for (int i = 0; i < 7; i++) {
        others[i] = rlt_slab_acquire(&pool);
    }
    skip_one(200000, 50000);
    for (int i = 0; i < 7; i++) {
        rlt_slab_settle(others[i]);
    }
    /* There is one now. */
    struct rlt_slab *slab;
    size_t len = put_message(scratch, 9, 200000);
    size_t done = 0;
    while (done < len) {
        done += receive(scratch + done, len - done);
        if (done < len) {
            expect_nothing();
        }
    }
    (void)expect_message(9, 200000, &slab);
    cr_assert_eq(slab->length, 2);
    close_pool();
}

Test(receiver, announced_size_takes_no_memory)
{
    static const char line[] = "MSG a 1 999999999\r\nabc";
    struct rlt_frame frame;
    struct rlt_slab *slab;
    open_pool(4);
    (void)receive((const uint8_t *)line, sizeof(line) - 1);
    cr_assert_eq(rlt_receiver_next(&receiver, &frame, &slab), RLT_RECEIVER_OVERSIZED);
    cr_assert_eq(frame.sid, 1);
    cr_assert_eq(rlt_slab_pool_in_use(&pool), 1);
    close_pool();
}

/* ---- The spare slab ----------------------------------------------------------------------- */

/* Hold all slabs of the pool but those that the receiver has. */
static uint32_t exhaust(struct rlt_slab *taken[SLABS_MAX])
{
    uint32_t count = 0;
    while ((taken[count] = rlt_slab_acquire(&pool)) != NULL) {
        count++;
    }
    return count;
}

Test(receiver, frames_without_memory_are_seen_and_cannot_be_kept)
{
    struct rlt_slab *taken[SLABS_MAX];
    struct rlt_slab *slab;
    open_pool(4);
    uint32_t count = exhaust(taken);
    size_t len = put_message(scratch, 1, 60000);
    for (int i = 0; i < 20; i++) {
        size_t done = 0;
        while (done < len) {
            done += receive(scratch + done, len - done);
            if (done < len) {
                expect_nothing();
            }
        }
        struct rlt_frame frame = expect_message(1, 60000, &slab);
        cr_assert_null(slab);
        assert_body(&frame);
        expect_nothing();
    }
    for (uint32_t i = 0; i < count; i++) {
        rlt_slab_settle(taken[i]);
    }
    close_pool();
}

Test(receiver, largest_frame_of_a_slab_passes_through_the_spare_one)
{
    struct rlt_slab *taken[SLABS_MAX];
    open_pool(4);
    uint32_t count = exhaust(taken);
    size_t overhead = put_message(scratch, 1, 100000) - 100000;
    size_t len = put_message(scratch, 5, 50);
    len += put_message(scratch + len, 1, CAPACITY - overhead);
    len += put_message(scratch + len, 6, 50);
    uint64_t sids[3];
    size_t seen = 0;
    for (size_t done = 0; done < len;) {
        struct rlt_frame frame;
        struct rlt_slab *slab;
        size_t step = len - done < 30000 ? len - done : 30000;
        done += receive(scratch + done, step);
        while (rlt_receiver_next(&receiver, &frame, &slab) == 1) {
            cr_assert_null(slab);
            assert_body(&frame);
            sids[seen++] = frame.sid;
        }
    }
    cr_assert_eq(seen, 3);
    cr_assert(sids[0] == 5 && sids[1] == 1 && sids[2] == 6);
    for (uint32_t i = 0; i < count; i++) {
        rlt_slab_settle(taken[i]);
    }
    close_pool();
}

Test(receiver, what_arrives_after_a_slab_came_free_is_kept)
{
    struct rlt_slab *taken[SLABS_MAX];
    struct rlt_slab *slab;
    open_pool(4);
    uint32_t count = exhaust(taken);
    size_t len = put_message(scratch, 1, 100);
    /* The receive has begun in the spare slab. */
    struct rlt_span spans[2];
    cr_assert_eq(rlt_receiver_spans(&receiver, spans), 1);
    memcpy(spans[0].bytes, scratch, len);
    rlt_slab_settle(taken[--count]);
    rlt_receiver_on_bytes(&receiver, len);
    struct rlt_frame frame = expect_message(1, 100, &slab);
    cr_assert_not_null(slab);
    assert_body(&frame);
    cr_assert_eq(receiver.joins, 1);
    while (count != 0) {
        rlt_slab_settle(taken[--count]);
    }
    close_pool();
}

Test(receiver, spare_slab_is_left_as_soon_as_another_is_free)
{
    struct rlt_slab *taken[SLABS_MAX];
    struct rlt_slab *slab;
    open_pool(4);
    uint32_t count = exhaust(taken);
    size_t len = put_message(scratch, 1, 100);
    (void)receive(scratch, len);
    (void)expect_message(1, 100, &slab);
    cr_assert_null(slab);
    expect_nothing();
    rlt_slab_settle(taken[--count]);
    (void)receive(scratch, len);
    (void)expect_message(1, 100, &slab);
    cr_assert_not_null(slab);
    cr_assert_eq(receiver.joins, 0);
    while (count != 0) {
        rlt_slab_settle(taken[--count]);
    }
    close_pool();
}

/* ---- A random stream ---------------------------------------------------------------------- */

#define RANDOM_FRAMES 400

struct held_frame {
    struct rlt_frame frame;
    struct rlt_slab *slab;
};

struct random_stream {
    struct rlt_random random;
    uint8_t *bytes;
    size_t len;
    size_t body_lens[RANDOM_FRAMES]; /* by sid */
    struct held_frame held[RANDOM_FRAMES];
    uint32_t held_count;
    uint32_t hold_percent;
    uint64_t next_sid;
    uint32_t kept;
    uint32_t lost;
    uint32_t skipped;
};

static size_t random_body_len(struct rlt_random *random)
{
    static const struct {
        uint32_t below;
        size_t len_max;
    } kinds[] = {{70, 200}, {85, 5000}, {95, 40000}, {98, CAPACITY}, {100, 3 * SLAB_BYTES}};
    uint64_t dice = rlt_random_below(random, 100);
    size_t kind = 0;
    while (dice >= kinds[kind].below) {
        kind++;
    }
    return (size_t)rlt_random_below(random, kinds[kind].len_max);
}

static void make_stream(struct random_stream *stream)
{
    static const char *const others[] = {"PING\r\n", "+OK\r\n", "PONG\r\n", "-ERR 'x'\r\n"};
    size_t capacity = (size_t)RANDOM_FRAMES * 64;
    for (size_t i = 0; i < RANDOM_FRAMES; i++) {
        stream->body_lens[i] = random_body_len(&stream->random);
        capacity += stream->body_lens[i];
    }
    stream->bytes = malloc(capacity);
    for (size_t i = 0; i < RANDOM_FRAMES; i++) {
        stream->len += put_message(stream->bytes + stream->len, i, stream->body_lens[i]);
        if (rlt_random_below(&stream->random, 10) == 0) {
            const char *other = others[rlt_random_below(&stream->random, 4)];
            memcpy(stream->bytes + stream->len, other, strlen(other));
            stream->len += strlen(other);
        }
    }
}

static void release_held(struct random_stream *stream, uint64_t count)
{
    for (; count != 0 && stream->held_count != 0; count--) {
        uint64_t index = rlt_random_below(&stream->random, stream->held_count);
        struct held_frame held = stream->held[index];
        stream->held[index] = stream->held[--stream->held_count];
        /* Nobody wrote over it meanwhile. */
        assert_body(&held.frame);
        rlt_slab_release(held.slab, 1);
    }
}

static void take_random(struct random_stream *stream)
{
    struct rlt_frame frame;
    struct rlt_slab *slab;
    int result;
    while ((result = rlt_receiver_next(&receiver, &frame, &slab)) > 0) {
        if (frame.op != RLT_OP_MSG) {
            continue;
        }
        cr_assert_eq(frame.sid, stream->next_sid);
        cr_assert_eq(frame.body_len, stream->body_lens[frame.sid]);
        stream->next_sid++;
        if (result == RLT_RECEIVER_OVERSIZED) {
            cr_assert_gt(frame.frame_len, CAPACITY);
            stream->skipped++;
            continue;
        }
        assert_body(&frame);
        stream->lost += slab == NULL ? 1 : 0;
        stream->kept += slab != NULL ? 1 : 0;
        if (slab != NULL && rlt_random_below(&stream->random, 100) < stream->hold_percent) {
            hold(slab);
            stream->held[stream->held_count++] = (struct held_frame){frame, slab};
        }
    }
    cr_assert_eq(result, 0);
}

/* A receive of 1 byte, of a few, of many, or of all there is room for. */
static size_t random_step(struct rlt_random *random)
{
    static const size_t most[] = {4, 2000, 40000, 4 * SLAB_BYTES};
    return 1 + (size_t)rlt_random_below(random, most[rlt_random_below(random, 4)]);
}

static void run_stream(uint64_t seed, uint32_t *lost, uint32_t *skipped)
{
    static struct random_stream stream;
    memset(&stream, 0, sizeof(stream));
    stream.random.state = seed;
    open_pool(4 + (uint32_t)rlt_random_below(&stream.random, 5));
    make_stream(&stream);
    stream.hold_percent = (uint32_t)rlt_random_below(&stream.random, 101);
    uint64_t eagerness = 1 + rlt_random_below(&stream.random, 40);
    for (size_t done = 0; done < stream.len;) {
        size_t step = random_step(&stream.random);
        done += receive(stream.bytes + done, step < stream.len - done ? step : stream.len - done);
        take_random(&stream);
        if (rlt_random_below(&stream.random, 4) == 0) {
            release_held(&stream, rlt_random_below(&stream.random, eagerness));
        }
    }
    cr_assert_eq(stream.next_sid, RANDOM_FRAMES);
    release_held(&stream, UINT64_MAX);
    *lost += stream.lost;
    *skipped += stream.skipped;
    free(stream.bytes);
    close_pool();
}

Test(receiver, random_stream_through_random_receives_keeps_every_byte)
{
    uint64_t seed = env_number("RLT_SEED", 1);
    uint64_t rounds = env_number("RLT_ROUNDS", 60);
    uint32_t lost = 0;
    uint32_t skipped = 0;
    printf("receiver: RLT_SEED=%" PRIu64 " RLT_ROUNDS=%" PRIu64 "\n", seed, rounds);
    for (uint64_t round = 0; round < rounds; round++) {
        run_stream(seed + round, &lost, &skipped);
    }
    /* Enough rounds reach both. */
    cr_assert(rounds < 60 || (lost != 0 && skipped != 0));
}
