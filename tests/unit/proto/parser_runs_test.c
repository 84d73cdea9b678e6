/* SPDX-License-Identifier: MIT */
/*
 * rlt_parse_streaks(), with SSE2 and without, against rlt_parse() called again and again. RLT_SEED
 * chooses the streams, RLT_ROUNDS how many.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "proto/parser.h"
#include "support/env.h"
#include "support/test.h"
#include "unit/proto/guarded.h"

/** From parser_portable.c. */
uint32_t portable_parse_runs(const uint8_t *bytes, size_t len, struct rlt_streak *runs,
                             uint32_t max, size_t *used);

#define STREAM_MAX 4096
#define RUNS_MAX   64

struct stream {
    uint8_t bytes[STREAM_MAX];
    size_t len;
};

/** Put a message whose body has what a line may have. */
static void put(struct stream *stream, struct rlt_random *random, const char *format, uint64_t sid,
                uint32_t size)
{
    static const char likely[] = " \r\n\tMSG 12";
    char line[128];
    int len = snprintf(line, sizeof(line), format, sid, size);
    cr_assert(stream->len + (size_t)len + size + 2 <= STREAM_MAX);
    memcpy(stream->bytes + stream->len, line, (size_t)len);
    stream->len += (size_t)len;
    for (uint32_t i = 0; i < size; i++) {
        stream->bytes[stream->len++] = (uint8_t)likely[rlt_random_below(random, sizeof likely - 1)];
    }
    memcpy(stream->bytes + stream->len, "\r\n", 2);
    stream->len += 2;
}

/** Messages that often have the line of the one before; sometimes something else. */
static void fill(struct stream *stream, struct rlt_random *random)
{
    static const char *const lines[] = {
        "MSG room.1 %" PRIu64 " %u\r\n",
        "MSG a %" PRIu64 " %u\r\n",
        "MSG a.topic.that.is.longer.than.one.window %" PRIu64 " %u\r\n",
        "MSG a.topic.that.is.longer.than.two.windows.are.so.that.it.is.not.plain %" PRIu64
        " %u\r\n",
        "MSG a %" PRIu64 " reply %u\r\n",
        "HMSG a %" PRIu64 " 0 %u\r\n",
        "MSG  a %" PRIu64 " %u\r\n",
        "msg a %" PRIu64 "\t%u \r\n",
        "MSG a %" PRIu64 " 00%u\r\n",
    };
    static const uint64_t sids[] = {1, 9, 10, 21, 1234567, 12345678, INT64_MAX};
    static const uint32_t sizes[] = {0, 1, 2, 11, 12, 112, 120};
    const char *line = lines[0];
    uint64_t sid = 1;
    uint32_t size = 12;
    stream->len = 0;
    while (stream->len < STREAM_MAX - 512) {
        if (rlt_random_below(random, 4) == 0) {
            line = lines[rlt_random_below(random, rlt_random_below(random, 2) ? 2 : 9)];
        }
        if (rlt_random_below(random, 3) == 0) {
            sid = sids[rlt_random_below(random, 7)];
        }
        if (rlt_random_below(random, 4) == 0) {
            size = sizes[rlt_random_below(random, 7)];
        }
        put(stream, random, line, sid, size);
        if (rlt_random_below(random, 40) == 0) {
            memcpy(stream->bytes + stream->len, "PING\r\n", 6);
            stream->len += 6;
        }
    }
}

/** Whether a message may be in a run with the next one, if the lines are the same. */
static bool may_repeat(const struct rlt_frame *frame, const uint8_t *line)
{
    return frame->topic - line == 4 && frame->reply_len == 0 && frame->header_len == 0;
}

static bool is_same(const struct rlt_frame *a, const struct rlt_frame *b)
{
    return a->op == b->op && a->topic == b->topic && a->topic_len == b->topic_len &&
           a->reply_offset == b->reply_offset && a->reply_len == b->reply_len &&
           a->body_offset == b->body_offset && a->header_len == b->header_len &&
           a->body_len == b->body_len && a->sid == b->sid && a->frame_len == b->frame_len;
}

/** The length of the line before the body of a frame, with its CR LF. */
static size_t line_len(const struct rlt_frame *frame, const uint8_t *line)
{
    return (size_t)(frame->topic - line) + frame->body_offset;
}

/** Check runs, message by message, and that none could have been longer. Returns: messages. */
static uint64_t check_runs(const uint8_t *bytes, size_t len, const struct rlt_streak *runs,
                           uint32_t count, uint32_t max, size_t used)
{
    const uint8_t *at = bytes;
    const uint8_t *before = NULL;
    uint64_t messages = 0;
    struct rlt_frame frame;
    for (uint32_t i = 0; i < count; i++) {
        struct rlt_frame expected = runs[i].frame;
        for (uint32_t k = 0; k <= runs[i].more; k++, messages++) {
            cr_assert_gt(rlt_parse(at, len - (size_t)(at - bytes), &frame), 0);
            cr_assert(is_same(&expected, &frame), "message %" PRIu64, messages);
            bool repeats = before != NULL && may_repeat(&frame, at) &&
                           memcmp(before, at, line_len(&frame, at)) == 0;
            cr_assert_eq(repeats, k > 0, "message %" PRIu64, messages);
            before = at;
            at += frame.frame_len;
            expected.topic += expected.frame_len;
        }
    }
    cr_assert_eq((size_t)(at - bytes), used);
    if (count < max && used < len) {
        int64_t result = rlt_parse(at, len - used, &frame);
        cr_assert(result <= 0 || frame.op != RLT_OP_MSG, "it stopped before a message");
    }
    return messages;
}

Test(parser, runs_are_what_single_messages_are)
{
    uint64_t seed = env_number("RLT_SEED", 1);
    uint64_t rounds = env_number("RLT_ROUNDS", 5000);
    uint64_t messages = 0;
    uint64_t repeated = 0;
    struct rlt_random random = {.state = seed};
    struct stream stream;
    struct rlt_streak runs[RUNS_MAX];
    struct rlt_streak portable[RUNS_MAX];

    printf("parser runs: RLT_SEED=%" PRIu64 " RLT_ROUNDS=%" PRIu64 "\n", seed, rounds);
    fflush(stdout);
    for (uint64_t round = 0; round < rounds; round++) {
        fill(&stream, &random);
        for (uint64_t left = rlt_random_below(&random, 3); left > 0; left--) {
            stream.bytes[rlt_random_below(&random, stream.len)] =
                (uint8_t)" \r\n9M:"[rlt_random_below(&random, 6)];
        }
        size_t len = stream.len - rlt_random_below(&random, 200);
        uint32_t max = 1 + (uint32_t)rlt_random_below(&random, RUNS_MAX);
        const uint8_t *copy = guarded_behind(stream.bytes, len);
        size_t used;
        size_t portable_used;
        uint32_t count = rlt_parse_streaks(copy, len, runs, max, &used);
        uint64_t found = check_runs(copy, len, runs, count, max, used);
        messages += found;
        repeated += found - count;
        cr_assert_eq(portable_parse_runs(copy, len, portable, max, &portable_used), count);
        cr_assert_eq(portable_used, used);
        for (uint32_t i = 0; i < count; i++) {
            cr_assert_eq(portable[i].more, runs[i].more);
            cr_assert(is_same(&portable[i].frame, &runs[i].frame));
        }
    }
    cr_assert_gt(messages, 5 * rounds);
    cr_assert_gt(repeated, rounds);
}

/** Cut anywhere, the complete messages before the cut are found, and no byte behind it is read. */
Test(parser, runs_end_at_every_cut)
{
    struct rlt_random random = {.state = 7};
    struct stream stream = {.len = 0};
    struct rlt_streak runs[RUNS_MAX];
    for (uint32_t i = 0; i < 8; i++) {
        put(&stream, &random, "MSG a.b %" PRIu64 " %u\r\n", 10 + i / 4, 9);
    }
    for (size_t len = 0; len <= stream.len; len++) {
        const uint8_t *copy = guarded_behind(stream.bytes, len);
        size_t used;
        uint32_t count = rlt_parse_streaks(copy, len, runs, RUNS_MAX, &used);
        uint64_t messages = check_runs(copy, len, runs, count, RUNS_MAX, used);
        cr_assert_eq(messages, len / (stream.len / 8), "cut at %zu", len);
    }
}

Test(parser, run_ends_at_its_limit)
{
    static const char message[] = "MSG a.b 7 0\r\n\r\n";
    enum { LEN = sizeof(message) - 1, COUNT = RLT_STREAK_MORE_MAX + 10 };
    uint8_t *bytes = malloc((size_t)LEN * COUNT);
    struct rlt_streak runs[2];
    size_t used;
    cr_assert_not_null(bytes);
    for (size_t i = 0; i < COUNT; i++) {
        memcpy(bytes + i * LEN, message, LEN);
    }
    cr_assert_eq(rlt_parse_streaks(bytes, (size_t)LEN * COUNT, runs, 2, &used), 2);
    cr_assert_eq(runs[0].more, RLT_STREAK_MORE_MAX);
    cr_assert_eq(runs[1].more, COUNT - RLT_STREAK_MORE_MAX - 2);
    cr_assert_eq(used, (size_t)LEN * COUNT);
    free(bytes);
}
