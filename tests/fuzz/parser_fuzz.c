/* SPDX-License-Identifier: MIT */
/*
 * rlt_parse() on any stream: cut in pieces it must give what it gives whole, and every part of an
 * operation must lie within it. rlt_parse_streaks() must give the messages at its start.
 *
 * The first byte says how many of the following bytes are lengths of pieces; the rest of the
 * input is the stream. What remains of it behind the last piece arrives at once.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "proto/parser.h"

#define PIECES_MAX     16
#define OPERATIONS_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len);

/** What a stream was parsed to, by offsets in the stream. */
struct operation {
    uint64_t start;
    uint64_t end;
    uint64_t place; /* of the topic or the text, if it has one */
    struct rlt_frame frame;
};

struct outcome {
    struct operation operations[OPERATIONS_MAX];
    size_t count;
    uint64_t used;
    int64_t last; /* 0: the stream ended, or negative: it is bad */
};

static void check_within(const struct rlt_frame *frame, const uint8_t *bytes, uint64_t len)
{
    RLT_ASSERT(frame->frame_len == len && len >= 5);
    if (frame->op == RLT_OP_MSG) {
        uint64_t topic = (uint64_t)(frame->topic - bytes);
        RLT_ASSERT(topic >= 4 && frame->topic_len > 0 && frame->body_offset > frame->topic_len);
        RLT_ASSERT(topic + frame->body_offset + frame->body_len + 2 == len);
        RLT_ASSERT(frame->header_len <= frame->body_len && frame->sid <= INT64_MAX);
        RLT_ASSERT((frame->reply_offset == 0) == (frame->reply_len == 0));
        RLT_ASSERT(frame->reply_offset == 0 || frame->reply_offset > frame->topic_len);
        RLT_ASSERT(frame->reply_offset + frame->reply_len < frame->body_offset);
    } else if (frame->op == RLT_OP_INFO || frame->op == RLT_OP_ERR) {
        uint64_t text = (uint64_t)(frame->text - bytes);
        RLT_ASSERT(text >= 5 && text + frame->text_len + 2 <= len);
    }
}

/** Parse what has arrived. A copy of exactly that size lets ASan see a read beyond it. */
static void take(struct outcome *outcome, const uint8_t *stream, size_t arrived)
{
    size_t len = arrived - outcome->used;
    uint8_t *copy = malloc(len != 0 ? len : 1);
    uint64_t at = 0;
    RLT_ASSERT(copy != NULL);
    memcpy(copy, stream + outcome->used, len);
    while (outcome->last == 0 && outcome->count < OPERATIONS_MAX) {
        struct operation *operation = &outcome->operations[outcome->count];
        int64_t result = rlt_parse(copy + at, len - at, &operation->frame);
        if (result <= 0) {
            outcome->last = result;
            break;
        }
        RLT_ASSERT((uint64_t)result <= len - at);
        check_within(&operation->frame, copy + at, (uint64_t)result);
        operation->start = outcome->used + at;
        at += (uint64_t)result;
        operation->end = outcome->used + at;
        if (operation->frame.op == RLT_OP_MSG)
            operation->place = outcome->used + (uint64_t)(operation->frame.topic - copy);
        else if (operation->frame.text_len != 0)
            operation->place = outcome->used + (uint64_t)(operation->frame.text - copy);
        outcome->count++;
    }
    outcome->used += at;
    free(copy);
}

static void check_same(const struct operation *a, const struct operation *b)
{
    const struct rlt_frame *x = &a->frame;
    const struct rlt_frame *y = &b->frame;
    RLT_ASSERT(a->start == b->start && a->end == b->end && x->op == y->op);
    if (x->op == RLT_OP_MSG) {
        RLT_ASSERT(a->place == b->place && x->topic_len == y->topic_len && x->sid == y->sid);
        RLT_ASSERT(x->reply_offset == y->reply_offset && x->reply_len == y->reply_len);
        RLT_ASSERT(x->body_offset == y->body_offset && x->body_len == y->body_len);
        RLT_ASSERT(x->header_len == y->header_len);
    } else if (x->op == RLT_OP_INFO || x->op == RLT_OP_ERR) {
        RLT_ASSERT(x->text_len == y->text_len && (x->text_len == 0 || a->place == b->place));
    }
}

/** Each message of the runs is the stream's next operation, and none is left before the end. */
static void check_runs(const struct outcome *whole, const uint8_t *stream, size_t len)
{
    static struct rlt_streak runs[OPERATIONS_MAX];
    size_t at = 0; /* of the operations */
    uint64_t end = 0;
    uint8_t *copy = malloc(len != 0 ? len : 1);
    RLT_ASSERT(copy != NULL);
    memcpy(copy, stream, len);
    size_t used;
    uint32_t count = rlt_parse_streaks(copy, len, runs, OPERATIONS_MAX, &used);
    for (uint32_t i = 0; i < count; i++) {
        struct operation operation = {.frame = runs[i].frame};
        operation.place = (uint64_t)(runs[i].frame.topic - copy);
        for (uint32_t k = 0; k <= runs[i].more && at < whole->count; k++) {
            operation.start = end;
            operation.end = end + runs[i].frame.frame_len;
            check_same(&operation, &whole->operations[at++]);
            end = operation.end;
            operation.place += runs[i].frame.frame_len;
        }
    }
    RLT_ASSERT(whole->count == OPERATIONS_MAX || end == used);
    RLT_ASSERT(at == whole->count || whole->operations[at].frame.op != RLT_OP_MSG);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t len)
{
    static struct outcome whole;
    static struct outcome cut;
    size_t piece_count = len != 0 ? input[0] % (PIECES_MAX + 1) : 0;
    if (len < 1 + piece_count)
        return 0;
    const uint8_t *pieces = input + 1;
    const uint8_t *stream = pieces + piece_count;
    size_t stream_len = len - 1 - piece_count;

    whole.count = cut.count = 0;
    whole.used = cut.used = 0;
    whole.last = cut.last = 0;
    take(&whole, stream, stream_len);
    size_t arrived = 0;
    for (size_t i = 0; i < piece_count; i++) {
        arrived = stream_len - arrived < pieces[i] ? stream_len : arrived + pieces[i];
        take(&cut, stream, arrived);
    }
    take(&cut, stream, stream_len);

    RLT_ASSERT(whole.count == cut.count && whole.used == cut.used && whole.last == cut.last);
    for (size_t i = 0; i < whole.count; i++)
        check_same(&whole.operations[i], &cut.operations[i]);
    check_runs(&whole, stream, stream_len);
    return 0;
}
