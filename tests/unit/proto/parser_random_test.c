/* SPDX-License-Identifier: MIT */
/*
 * rlt_parse(), with SSE2 and without, against a slow parser written from the protocol's rules in
 * another way, over random streams. RLT_SEED chooses the streams, RLT_ROUNDS how many.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/random.h"
#include "proto/parser.h"
#include "support/env.h"
#include "support/test.h"
#include "unit/proto/guarded.h"

/** From parser_portable.c. */
int64_t portable_parse(const uint8_t *bytes, size_t len, struct rlt_frame *frame);

/* ---- The reference ------------------------------------------------------------------------ */

/** A line's words, NUL-terminated copies; lines with NUL bytes are not given to it. */
struct words {
    char text[8][512];
    size_t offset[8];
    size_t count;
};

/** Cut a line of `len` bytes, without its CR LF, at blanks. */
static void cut_words(const char *line, size_t len, struct words *words)
{
    bool in_word = false;
    words->count = 0;
    for (size_t i = 0; i < len; i++) {
        bool is_blank = line[i] == ' ' || line[i] == '\t';
        if (!is_blank && !in_word) {
            if (words->count == 8)
                return;
            words->offset[words->count] = i;
            words->text[words->count++][0] = '\0';
        }
        if (!is_blank)
            strncat(words->text[words->count - 1], &line[i], 1);
        in_word = !is_blank;
    }
}

/** -1 if it is not a number of at most `digits` digits and at most `max`. */
static int64_t number_of(const char *text, size_t digits, uint64_t max)
{
    char *end;
    if (strspn(text, "0123456789") != strlen(text) || strlen(text) > digits)
        return -1;
    unsigned long long value = strtoull(text, &end, 10);
    return value <= max ? (int64_t)value : -1;
}

static int64_t refer_message(const uint8_t *bytes, size_t len, const struct words *words,
                             size_t line_len, struct rlt_frame *frame)
{
    bool has_header = words->text[0][0] == 'H' || words->text[0][0] == 'h';
    size_t least = has_header ? 5 : 4;
    if (words->count != least && words->count != least + 1)
        return -RLT_PARSE_ARGUMENT_COUNT;

    int64_t sid = number_of(words->text[2], 19, INT64_MAX);
    int64_t total = number_of(words->text[words->count - 1], 9, RLT_SIZE_MAX);
    int64_t header = 0;
    if (has_header)
        header = number_of(words->text[words->count - 2], 9, RLT_SIZE_MAX);
    if (sid < 0 || total < 0 || header < 0)
        return -RLT_PARSE_NUMBER;
    if (header > total)
        return -RLT_PARSE_HEADER_SIZE;

    uint64_t end = line_len + (uint64_t)total;
    if ((len > end && bytes[end] != '\r') || (len > end + 1 && bytes[end + 1] != '\n'))
        return -RLT_PARSE_TERMINATOR;
    bool has_reply = words->count == least + 1;
    *frame = (struct rlt_frame){
        .op = RLT_OP_MSG,
        .topic = bytes + words->offset[1],
        .topic_len = (uint16_t)strlen(words->text[1]),
        .reply_offset = (uint16_t)(has_reply ? words->offset[3] - words->offset[1] : 0),
        .reply_len = (uint16_t)(has_reply ? strlen(words->text[3]) : 0),
        .body_offset = (uint16_t)(line_len - words->offset[1]),
        .header_len = (uint32_t)header,
        .body_len = (uint32_t)total,
        .sid = (uint64_t)sid,
        .frame_len = end + 2,
    };
    return len >= end + 2 ? (int64_t)(end + 2) : 0;
}

static int64_t refer_text(const uint8_t *bytes, size_t line_len, enum rlt_op op,
                          struct rlt_frame *frame)
{
    const char *around = op == RLT_OP_ERR ? " \t'" : " \t";
    size_t start = 4;
    size_t end = line_len - 2;
    while (end > start && strchr(" \t", bytes[end - 1]) != NULL)
        end--;
    if (end == start)
        return -RLT_PARSE_ARGUMENT_EMPTY;
    while (end > start && strchr(around, bytes[end - 1]) != NULL)
        end--;
    while (start < end && strchr(around, bytes[start]) != NULL)
        start++;
    *frame = (struct rlt_frame){.op = op,
                                .text = bytes + start,
                                .text_len = (uint32_t)(end - start),
                                .frame_len = line_len};
    return (int64_t)line_len;
}

/** The index of the verb that the bytes start with; -1: none; -2: it may become one. */
static int refer_verb(const uint8_t *bytes, size_t len)
{
    static const char *const verbs[] = {"MSG", "HMSG", "PING", "PONG", "+OK", "INFO", "-ERR"};
    for (int i = 0; i < 7; i++) {
        size_t verb_len = strlen(verbs[i]);
        size_t compared = len < verb_len ? len : verb_len;
        if (strncasecmp((const char *)bytes, verbs[i], compared) != 0)
            continue;
        if (len <= verb_len)
            return -2;
        return strchr(" \t\r\n", bytes[verb_len]) != NULL ? i : -1;
    }
    return -1;
}

static int64_t refer(const uint8_t *bytes, size_t len, struct rlt_frame *frame)
{
    int verb = refer_verb(bytes, len);
    if (verb == -1)
        return -RLT_PARSE_UNKNOWN_OP;
    size_t i = 0;
    while (verb != -2 && i < len && bytes[i] != '\r' && bytes[i] != '\n')
        i++;
    if (verb != -2 && i < len && (bytes[i] == '\n' || (i + 1 < len && bytes[i + 1] != '\n')))
        return -RLT_PARSE_LINE_END;
    *frame = (struct rlt_frame){.frame_len = 0};
    if (verb == -2 || i + 2 > len)
        return 0;

    struct words words;
    static const enum rlt_op ops[] = {RLT_OP_MSG, RLT_OP_MSG,  RLT_OP_PING, RLT_OP_PONG,
                                      RLT_OP_OK,  RLT_OP_INFO, RLT_OP_ERR};
    cut_words((const char *)bytes, i, &words);
    if (ops[verb] == RLT_OP_MSG)
        return refer_message(bytes, len, &words, i + 2, frame);
    if (ops[verb] == RLT_OP_INFO || ops[verb] == RLT_OP_ERR)
        return refer_text(bytes, i + 2, ops[verb], frame);
    if (words.count != 1)
        return -RLT_PARSE_ARGUMENT_COUNT;
    *frame = (struct rlt_frame){.op = ops[verb], .frame_len = i + 2};
    return (int64_t)(i + 2);
}

/* ---- Streams ------------------------------------------------------------------------------ */

#define STREAM_MAX 400

struct stream {
    uint8_t bytes[STREAM_MAX];
    size_t len;
};

static void append_operations(struct stream *stream, struct rlt_random *random)
{
    static const char *const operations[] = {
        "MSG room.1 1 16\r\n0123456789abcdef\r\n",
        "MSG a 12345678 reply 3\r\nabc\r\n",
        "MSG a 9223372036854775807 0\r\n\r\n",
        "HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
        ("HMSG subject.with.more.tokens 77 _INBOX.abcdefghijklmnopqrstuv.1 12 12\r\n"
         "NATS/1.0\r\n\r\n\r\n"),
        "msg  a\t1   5 \r\nhello\r\n",
        "PING\r\n",
        "PONG \r\n",
        "+OK\r\n",
        "INFO {\"max_payload\":1048576} \r\n",
        "-ERR 'Invalid Subject'\r\n",
    };
    stream->len = 0;
    for (;;) {
        const char *next = operations[rlt_random_below(random, 11)];
        if (stream->len + strlen(next) > STREAM_MAX - 16)
            return;
        memcpy(stream->bytes + stream->len, next, strlen(next));
        stream->len += strlen(next);
    }
}

/** Change, insert, remove or repeat one byte near the start, where it matters. */
static void mutate(struct stream *stream, struct rlt_random *random)
{
    static const char likely[] = " \t\r\n0189'aMSGHmsg+-\x01\x7f\x80\xff";
    size_t at = rlt_random_below(random, rlt_random_below(random, 2) ? 24 : 96);
    uint8_t byte = (uint8_t)likely[rlt_random_below(random, sizeof likely - 1)];
    size_t behind = stream->len - at;
    switch (rlt_random_below(random, 4)) {
    case 0:
        stream->bytes[at] = byte;
        break;
    case 1:
        memmove(stream->bytes + at + 1, stream->bytes + at, behind);
        stream->bytes[at] = byte;
        stream->len++;
        break;
    case 2:
        memmove(stream->bytes + at, stream->bytes + at + 1, behind - 1);
        stream->len--;
        break;
    default:
        stream->bytes[at + 1] = stream->bytes[at];
        break;
    }
}

/** True if the frames say the same; they are of copies at `a` and `b`. */
static bool is_same(const struct rlt_frame *x, const uint8_t *a, const struct rlt_frame *y,
                    const uint8_t *b)
{
    if (x->frame_len != y->frame_len)
        return false;
    if (x->frame_len == 0)
        return true;
    if (x->op != y->op)
        return false;
    if (x->op == RLT_OP_MSG)
        return x->topic - a == y->topic - b && x->topic_len == y->topic_len &&
               x->reply_offset == y->reply_offset && x->reply_len == y->reply_len &&
               x->body_offset == y->body_offset && x->header_len == y->header_len &&
               x->body_len == y->body_len && x->sid == y->sid;
    if (x->op == RLT_OP_INFO || x->op == RLT_OP_ERR)
        return x->text - a == y->text - b && x->text_len == y->text_len;
    return true;
}

/** Compare the parsers on the first `len` bytes. Returns: the reference's result. */
static int64_t compare(const uint8_t *bytes, size_t len)
{
    struct rlt_frame expected;
    struct rlt_frame fast;
    struct rlt_frame portable;
    const uint8_t *copy = guarded_behind(bytes, len);
    int64_t result = refer(bytes, len, &expected);
    int64_t fast_result = rlt_parse(copy, len, &fast);
    int64_t portable_result = portable_parse(copy, len, &portable);
    bool is_equal = result == fast_result && result == portable_result;
    if (is_equal && result >= 0)
        is_equal =
            is_same(&expected, bytes, &fast, copy) && is_same(&expected, bytes, &portable, copy);
    if (!is_equal)
        cr_assert_fail("expected %" PRId64 ", got %" PRId64 " and %" PRId64 " for: %.*s", result,
                       fast_result, portable_result, (int)len, (const char *)bytes);
    return result;
}

Test(parser, agrees_with_a_simple_parser_on_random_streams)
{
    uint64_t seed = env_number("RLT_SEED", 1);
    uint64_t rounds = env_number("RLT_ROUNDS", 50000);
    uint64_t good = 0;
    struct rlt_random random = {.state = seed};
    struct stream stream;

    printf("parser: RLT_SEED=%" PRIu64 " RLT_ROUNDS=%" PRIu64 "\n", seed, rounds);
    fflush(stdout);
    for (uint64_t round = 0; round < rounds; round++) {
        append_operations(&stream, &random);
        for (uint64_t left = rlt_random_below(&random, 4); left > 0; left--)
            mutate(&stream, &random);
        int64_t whole = compare(stream.bytes, stream.len);
        good += whole > 0;

        /* A prefix needs more bytes or has the same result. */
        size_t cut = rlt_random_below(&random, stream.len);
        int64_t part = compare(stream.bytes, cut);
        if (part != 0 && part != whole)
            cr_assert_fail("round %" PRIu64 ": %" PRId64 " whole, %" PRId64 " cut at %zu", round,
                           whole, part, cut);
    }
    cr_assert_gt(good, rounds / 4);
    cr_assert_lt(good, rounds);
}
