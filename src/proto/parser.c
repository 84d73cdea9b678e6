/* SPDX-License-Identifier: MIT */
/*
 * A MSG line is split in one of two ways: split_strict() takes short lines of the form that servers
 * write, 32 bytes at a time; rlt_parse_tolerant() takes all that the protocol allows, byte by byte.
 * Both fill the same `struct rlt_arguments`. For streams of messages there is parse_plain() too,
 * with the same results: see rlt_parse_streaks().
 */
#include "proto/parser.h"

#include <stdbool.h>
#include <string.h>

#include "base/copy.h"
#include "base/defs.h"
#include "proto/arguments.h"
#include "proto/number.h"
#include "proto/parser_tolerant.h"
#include "proto/scan.h"

/** The line is for rlt_parse_tolerant(). No operation is one byte long. */
#define NOT_STRICT 1

/* ---- The strict form ---------------------------------------------------------------------- */

/** The ends that were found in the window at a topic. */
struct strict {
    uint64_t stops; /* bit i: topic[i] ends an argument, which is not the last */
    size_t end;     /* where the CR LF is */
};

/**
 * Find the ends of all arguments, if the line ends within 2 * RLT_SCAN_WINDOW bytes.
 *
 * In the strict form the line's end is the only place with two stops in a row. Finding it that way,
 * not by walking over the arguments, shortens the dependency chain to the next operation's start.
 */
RLT_ALWAYS_INLINE bool scan_strict(const uint8_t *topic, struct strict *strict)
{
    uint64_t stops = rlt_scan_stops(topic);
    uint64_t pairs = stops & stops >> 1;
    if (pairs == 0) {
        stops |= (uint64_t)rlt_scan_stops(topic + RLT_SCAN_WINDOW) << RLT_SCAN_WINDOW;
        pairs = stops & stops >> 1;
    }
    if (rlt_unlikely(pairs == 0 || (stops & 1) != 0))
        return false;
    strict->end = (unsigned int)__builtin_ctzll(pairs);
    strict->stops = stops & ~pairs & (pairs - 1);
    return memcmp(topic + strict->end, "\r\n", 2) == 0;
}

/** Take an argument that starts at `start` and ends at one space. */
RLT_ALWAYS_INLINE bool take_argument(const uint8_t *topic, size_t start, uint64_t *stops,
                                     struct rlt_extent *span)
{
    if (rlt_unlikely(*stops == 0))
        return false;
    span->start = start;
    span->end = (unsigned int)__builtin_ctzll(*stops);
    *stops &= *stops - 1;
    return topic[span->end] == ' ';
}

/** Split a line of `count` arguments. The count and `has_header` are constants at each call. */
RLT_ALWAYS_INLINE bool split_strict(const uint8_t *topic, const struct strict *strict,
                                    uint32_t count, bool has_header, struct rlt_arguments *args)
{
    struct rlt_extent spans[RLT_ARGUMENTS_MAX];
    uint64_t stops = strict->stops;

    if (!take_argument(topic, 0, &stops, &spans[0]) ||
        !take_argument(topic, spans[0].end + 1, &stops, &spans[1]))
        return false;
    if (count > 3 && !take_argument(topic, spans[1].end + 1, &stops, &spans[2]))
        return false;
    if (count > 4 && !take_argument(topic, spans[2].end + 1, &stops, &spans[3]))
        return false;
    spans[count - 1] = (struct rlt_extent){spans[count - 2].end + 1, strict->end};
    *args = rlt_arguments_name(topic, spans, count, has_header);
    args->body_offset = strict->end + 2;
    return stops == 0;
}

/**
 * Parse a line that starts with a verb in upper case and one space. At least 2 * RLT_SCAN_WINDOW
 * bytes are behind them. Returns: as rlt_parse(), or NOT_STRICT.
 */
RLT_ALWAYS_INLINE int64_t parse_strict(const uint8_t *bytes, size_t len, size_t verb_len,
                                       struct rlt_frame *frame)
{
    const uint8_t *topic = bytes + verb_len + 1;
    bool has_header = verb_len == 4;
    struct strict strict;
    struct rlt_arguments args;
    if (rlt_unlikely(!scan_strict(topic, &strict)))
        return NOT_STRICT;

    /* With a reply there is one stop more. Each of the two cases gets code of its own: shared code
     * would have to keep the spans in memory. */
    uint64_t more = strict.stops & (strict.stops - 1);
    more &= more - 1;
    if (has_header)
        more &= more - 1;
    if (more == 0) {
        if (rlt_likely(split_strict(topic, &strict, has_header ? 4 : 3, has_header, &args)))
            return rlt_arguments_finish(bytes, len, &args, frame);
    } else {
        if (rlt_likely(split_strict(topic, &strict, has_header ? 5 : 4, has_header, &args)))
            return rlt_arguments_finish(bytes, len, &args, frame);
    }
    return NOT_STRICT;
}

int64_t rlt_parse(const uint8_t *bytes, size_t len, struct rlt_frame *frame)
{
    int64_t result = NOT_STRICT;
    if (rlt_likely(len >= 5 + 2 * RLT_SCAN_WINDOW)) {
        if (rlt_likely(memcmp(bytes, "MSG ", 4) == 0))
            result = parse_strict(bytes, len, 3, frame);
        else if (memcmp(bytes, "HMSG ", 5) == 0)
            result = parse_strict(bytes, len, 4, frame);
    }
    return rlt_likely(result != NOT_STRICT) ? result : rlt_parse_tolerant(bytes, len, frame);
}

/* ---- Streaks ------------------------------------------------------------------------------ */

/** The last size, with the blank before it and the CR behind it: most messages have the same. */
struct size_memo {
    uint64_t text;
    uint32_t value;
};

/** Read the size that ends at `end` and has `digits` digits; false if it is none, or longer. */
RLT_ALWAYS_INLINE bool recall_size(const uint8_t *topic, size_t end, size_t digits,
                                   struct size_memo *memo)
{
    uint64_t text;
    if (rlt_unlikely(digits > sizeof(text) - 2))
        return false;
    memcpy(&text, topic + end + 1 - sizeof(text), sizeof(text));
    text = le64toh(text) >> (8 * (sizeof(text) - 2 - digits));
    if (rlt_unlikely(text != memo->text)) {
        if (!rlt_number_size(topic, (struct rlt_extent){end - digits, end}, &memo->value))
            return false;
        memo->text = text;
    }
    return true;
}

/**
 * Parse a usual message: complete, in the strict form, with short numbers, no reply and no headers.
 * Others are left to rlt_parse(), which gives the same result for these.
 */
RLT_ALWAYS_INLINE bool parse_plain(const uint8_t *bytes, size_t len, struct size_memo *memo,
                                   struct rlt_frame *frame)
{
    const uint8_t *topic = bytes + 4;
    struct strict strict;
    if (rlt_unlikely(len < 4 + 2 * RLT_SCAN_WINDOW || memcmp(bytes, "MSG ", 4) != 0 ||
                     !scan_strict(topic, &strict)))
        return false;
    uint64_t second = strict.stops & (strict.stops - 1);
    if (rlt_unlikely(second == 0 || (second & (second - 1)) != 0))
        return false;
    size_t topic_len = (unsigned int)__builtin_ctzll(strict.stops);
    struct rlt_extent sid = {topic_len + 1, (unsigned int)__builtin_ctzll(second)};
    if (rlt_unlikely(topic[topic_len] != ' ' || topic[sid.end] != ' ' || rlt_extent_len(sid) > 7 ||
                     !rlt_number_short(topic, sid, &frame->sid) ||
                     !recall_size(topic, strict.end, strict.end - sid.end - 1, memo)))
        return false;
    size_t frame_len = 4 + strict.end + 2 + memo->value + 2;
    if (rlt_unlikely(len < frame_len || memcmp(bytes + frame_len - 2, "\r\n", 2) != 0))
        return false;
    frame->op = RLT_OP_MSG;
    frame->topic = topic;
    frame->topic_len = (uint16_t)topic_len;
    frame->reply_offset = 0;
    frame->reply_len = 0;
    frame->body_offset = (uint16_t)(strict.end + 2);
    frame->header_len = 0;
    frame->body_len = memo->value;
    frame->frame_len = frame_len;
    return true;
}

/** Count the complete messages behind `frame` that have its line, which is at `line`. */
static uint32_t count_more(const uint8_t *line, size_t len, const struct rlt_frame *frame)
{
    size_t line_len = 4 + (size_t)frame->body_offset;
    size_t frame_len = (size_t)frame->frame_len;
    const uint8_t *next = line + frame_len;
    uint32_t count = 0;
    for (size_t left = len - frame_len; left >= frame_len && count < RLT_STREAK_MORE_MAX;
         left -= frame_len) {
        if (!rlt_equal_short(next, line, line_len) || memcmp(next + frame_len - 2, "\r\n", 2) != 0)
            break;
        next += frame_len;
        count++;
    }
    return count;
}

/**
 * Whether the line behind a message may be the same. `len` bytes are there from the message's
 * start. Most lines differ at the end, in the sid.
 */
RLT_ALWAYS_INLINE bool may_have_more(size_t len, const struct rlt_frame *frame)
{
    const uint8_t *last = frame->topic + frame->body_offset - 8;
    return len >= 2 * frame->frame_len && memcmp(last + frame->frame_len, last, 8) == 0;
}

/**
 * Guess the start of the next line, which is known only when this line was read: each read depends
 * on the one before. But most messages are as long as the one before: go on with that length,
 * before the sum is there. So the start is a branch, which is predicted, and not an address, which
 * is waited for. The empty assembly keeps the compiler from turning the one into the other.
 */
RLT_ALWAYS_INLINE size_t guess_next(size_t at, size_t len, size_t *len_before)
{
    size_t next = at + *len_before;
    if (rlt_unlikely(len != *len_before)) {
        *len_before = len;
        next = at + len;
        __asm__("" : "+r"(next));
    }
    return next;
}

uint32_t rlt_parse_streaks(const uint8_t *bytes, size_t len, struct rlt_streak *streaks,
                           uint32_t max, size_t *used)
{
    size_t len_before = 0;
    struct size_memo memo = {0, 0};
    size_t at = 0;
    uint32_t count = 0;
    for (; count < max && at != len; count++) {
        const uint8_t *line = bytes + at;
        size_t left = len - at;
        struct rlt_streak *streak = &streaks[count];
        struct rlt_frame *frame = &streak->frame;
        bool may_repeat = parse_plain(line, left, &memo, frame);
        if (rlt_unlikely(!may_repeat)) {
            if (rlt_parse(line, left, frame) <= 0 || frame->op != RLT_OP_MSG)
                break;
            may_repeat = frame->topic == line + 4 && frame->reply_len + frame->header_len == 0;
        }
        streak->more = 0;
        if (may_repeat && may_have_more(left, frame))
            streak->more = count_more(line, left, frame);
        at = guess_next(at, (1 + (size_t)streak->more) * (size_t)frame->frame_len, &len_before);
    }
    *used = at;
    return count;
}

const char *rlt_parse_error_text(int error)
{
    static const char *const texts[] = {
        [RLT_PARSE_UNKNOWN_OP] = "unknown operation",
        [RLT_PARSE_LINE_TOO_LONG] = "a line of more than 16 KiB",
        [RLT_PARSE_LINE_END] = "a line does not end with CR LF",
        [RLT_PARSE_ARGUMENT_COUNT] = "wrong number of arguments",
        [RLT_PARSE_NUMBER] = "a number is malformed or too large",
        [RLT_PARSE_HEADER_SIZE] = "the header size is above the total size",
        [RLT_PARSE_TERMINATOR] = "a payload is not followed by CR LF",
        [RLT_PARSE_ARGUMENT_EMPTY] = "INFO or -ERR without its text",
        [RLT_PARSE_INFO_TOO_LONG] = "an INFO of more than 1 MiB",
    };
    if (error < RLT_PARSE_UNKNOWN_OP || error > RLT_PARSE_INFO_TOO_LONG)
        return "not a parse error";
    return texts[error];
}
