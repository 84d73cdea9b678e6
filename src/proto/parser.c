/* SPDX-License-Identifier: MIT */
/*
 * A MSG line is split in one of two ways: split_strict() takes short lines of the form that servers
 * write, 32 bytes at a time; split_tolerant() takes all that the protocol allows, byte by byte.
 * Both leave the same `struct arguments`, and finish_message() does all that follows. So the fast
 * way can refuse a line that the slow way takes, but never give another result for it. For streams
 * of messages there is parse_plain() too, of which the same is true: see rlt_parse_runs().
 *
 * Errors are found in an order that depends on the bytes before the error only: the verb, the
 * byte behind it, the line's end, then (of a complete line) its arguments, then the terminator.
 * That is why a stream gives the same result however it is cut.
 */
#include "proto/parser.h"

#include <stdbool.h>
#include <string.h>

#include "base/assert.h"
#include "base/copy.h"
#include "base/defs.h"
#include "proto/number.h"
#include "proto/scan.h"

/** The most arguments of any line: HMSG with a reply. */
#define ARGUMENTS_MAX 5

/** What parse_strict() leaves to parse_tolerant(). No operation is one byte long. */
#define NOT_STRICT 1

/** The first word of a line. Unlike for enum rlt_op, HMSG is one of its own. */
enum verb { VERB_MSG, VERB_HMSG, VERB_PING, VERB_PONG, VERB_OK, VERB_INFO, VERB_ERR, VERB_COUNT };

static const struct {
    char name[5]; /* upper case */
    uint8_t len;
} verbs[VERB_COUNT] = {
    [VERB_MSG] = {"MSG", 3},   [VERB_HMSG] = {"HMSG", 4}, [VERB_PING] = {"PING", 4},
    [VERB_PONG] = {"PONG", 4}, [VERB_OK] = {"+OK", 3},    [VERB_INFO] = {"INFO", 4},
    [VERB_ERR] = {"-ERR", 4},
};

/**
 * The parts of a complete MSG or HMSG line, counted from the topic. Those it does not have are
 * empty.
 */
struct arguments {
    const uint8_t *topic;
    size_t topic_len;
    struct rlt_extent sid;
    struct rlt_extent reply;
    struct rlt_extent header_size;
    struct rlt_extent total_size;
    size_t body_offset;
};

static inline bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/** Name the arguments of a line; `spans` count from the topic. */
RLT_ALWAYS_INLINE struct arguments arrange(const uint8_t *topic, const struct rlt_extent *spans,
                                           uint32_t count, bool has_header)
{
    struct arguments args = {.topic = topic, .topic_len = spans[0].end, .sid = spans[1]};
    args.total_size = spans[count - 1];
    if (has_header)
        args.header_size = spans[count - 2];
    if (count > (has_header ? 4 : 3))
        args.reply = spans[2];
    return args;
}

/** What is common to both ways to split a line. Returns: as rlt_parse(). */
RLT_ALWAYS_INLINE int64_t finish_message(const uint8_t *bytes, size_t len,
                                         const struct arguments *args, struct rlt_frame *frame)
{
    const uint8_t *topic = args->topic;
    uint64_t sid;
    uint32_t header_len = 0;
    uint32_t body_len;

    if (rlt_unlikely(!rlt_number_size(topic, args->total_size, &body_len)))
        return -RLT_PARSE_NUMBER;
    if (rlt_unlikely(!rlt_number_sid(topic, args->sid, &sid)))
        return -RLT_PARSE_NUMBER;
    if (rlt_extent_len(args->header_size) != 0) {
        if (!rlt_number_size(topic, args->header_size, &header_len))
            return -RLT_PARSE_NUMBER;
        if (header_len > body_len)
            return -RLT_PARSE_HEADER_SIZE;
    }
    uint64_t frame_len = (uint64_t)(topic - bytes) + args->body_offset + 2 + body_len;
    int64_t result = (int64_t)frame_len;
    if (rlt_unlikely(len < frame_len)) {
        /* Of the CR LF behind the body, at most the CR is there. */
        if (len == frame_len - 1 && bytes[len - 1] != '\r')
            return -RLT_PARSE_TERMINATOR;
        result = 0;
    } else if (rlt_unlikely(memcmp(bytes + frame_len - 2, "\r\n", 2) != 0)) {
        return -RLT_PARSE_TERMINATOR;
    }

    frame->op = RLT_OP_MSG;
    frame->topic = topic;
    frame->topic_len = (uint16_t)args->topic_len;
    frame->reply_offset = (uint16_t)args->reply.start;
    frame->reply_len = (uint16_t)rlt_extent_len(args->reply);
    frame->body_offset = (uint16_t)args->body_offset;
    frame->header_len = header_len;
    frame->body_len = body_len;
    frame->sid = sid;
    frame->frame_len = frame_len;
    return result;
}

/* ---- The strict form ---------------------------------------------------------------------- */

/** What was found in the window at a topic. */
struct strict {
    uint64_t stops; /* bit i: topic[i] ends an argument, which is not the last */
    size_t end;     /* where the CR LF is */
};

/**
 * Find the ends of all arguments, if the line ends within 2 * RLT_SCAN_WINDOW bytes.
 *
 * In the strict form the line's end is the only place with two stops in a row. To find it that
 * way, not by walking over the arguments, shortens what the next operation's start waits for.
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

/** Take an argument that starts at `start` and that one space ends. */
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
                                    uint32_t count, bool has_header, struct arguments *args)
{
    struct rlt_extent spans[ARGUMENTS_MAX];
    uint64_t stops = strict->stops;

    if (!take_argument(topic, 0, &stops, &spans[0]) ||
        !take_argument(topic, spans[0].end + 1, &stops, &spans[1]))
        return false;
    if (count > 3 && !take_argument(topic, spans[1].end + 1, &stops, &spans[2]))
        return false;
    if (count > 4 && !take_argument(topic, spans[2].end + 1, &stops, &spans[3]))
        return false;
    spans[count - 1] = (struct rlt_extent){spans[count - 2].end + 1, strict->end};
    *args = arrange(topic, spans, count, has_header);
    args->body_offset = strict->end + 2;
    return stops == 0;
}

/**
 * rlt_parse() for a line that starts with a verb in upper case and one space. At least
 * 2 * RLT_SCAN_WINDOW bytes are behind them. Returns: as rlt_parse(), or NOT_STRICT.
 */
RLT_ALWAYS_INLINE int64_t parse_strict(const uint8_t *bytes, size_t len, size_t verb_len,
                                       struct rlt_frame *frame)
{
    const uint8_t *topic = bytes + verb_len + 1;
    bool has_header = verb_len == 4;
    struct strict strict;
    struct arguments args;
    if (rlt_unlikely(!scan_strict(topic, &strict)))
        return NOT_STRICT;

    /* With a reply there is one stop more. Each of the two gets code of its own: shared code
     * would have to keep the spans in memory. */
    uint64_t more = strict.stops & (strict.stops - 1);
    more &= more - 1;
    if (has_header)
        more &= more - 1;
    if (more == 0) {
        if (rlt_likely(split_strict(topic, &strict, has_header ? 4 : 3, has_header, &args)))
            return finish_message(bytes, len, &args, frame);
    } else {
        if (rlt_likely(split_strict(topic, &strict, has_header ? 5 : 4, has_header, &args)))
            return finish_message(bytes, len, &args, frame);
    }
    return NOT_STRICT;
}

/* ---- The tolerant form -------------------------------------------------------------------- */

static inline uint8_t to_upper(uint8_t byte)
{
    return byte >= 'a' && byte <= 'z' ? (uint8_t)(byte - ('a' - 'A')) : byte;
}

/** The verb at `bytes`. Returns: an enum verb; VERB_COUNT if more bytes are needed; -error. */
static int find_verb(const uint8_t *bytes, size_t len)
{
    for (int verb = 0; verb < VERB_COUNT; verb++) {
        size_t i = 0;
        while (i < len && i < verbs[verb].len && to_upper(bytes[i]) == verbs[verb].name[i])
            i++;
        if (i == verbs[verb].len)
            return verb;
        if (i == len)
            return VERB_COUNT;
    }
    return -RLT_PARSE_UNKNOWN_OP;
}

/**
 * Find the CR LF of a line. `*end` is the length before it, or 0 if it is not there yet.
 *
 * Returns: 0, or an enum rlt_parse_error.
 */
static int find_line_end(const uint8_t *bytes, size_t len, size_t line_len_max, uint32_t *end)
{
    size_t seen = rlt_min_size(len, line_len_max);
    const uint8_t *lf = memchr(bytes, '\n', seen);
    const uint8_t *stop = lf != NULL ? lf : bytes + seen;
    const uint8_t *cr = memchr(bytes, '\r', (size_t)(stop - bytes));

    /* A CR as the last byte seen may still be the first half of a CR LF. */
    if (cr != NULL && cr + 1 != stop)
        return RLT_PARSE_LINE_END;
    if (lf != NULL && cr == NULL)
        return RLT_PARSE_LINE_END;
    if (lf == NULL && seen == line_len_max)
        return RLT_PARSE_LINE_TOO_LONG;
    *end = lf != NULL ? (uint32_t)(cr - bytes) : 0;
    return 0;
}

/** Split the arguments between `start` and `end`. Returns: how many, at most ARGUMENTS_MAX + 1. */
static uint32_t split_blanks(const uint8_t *bytes, uint32_t start, uint32_t end,
                             struct rlt_extent spans[ARGUMENTS_MAX])
{
    uint32_t count = 0;
    uint32_t at = start;
    for (;;) {
        while (at < end && is_blank(bytes[at]))
            at++;
        if (at == end || count == ARGUMENTS_MAX)
            return count + (at != end);
        spans[count].start = at;
        while (at < end && !is_blank(bytes[at]))
            at++;
        spans[count++].end = at;
    }
}

/** Split a complete MSG or HMSG line of `end` bytes before its CR LF; false: argument count. */
static bool split_tolerant(const uint8_t *bytes, enum verb verb, uint32_t end,
                           struct arguments *args)
{
    struct rlt_extent spans[ARGUMENTS_MAX];
    uint32_t count_min = verb == VERB_HMSG ? 4 : 3;
    uint32_t count = split_blanks(bytes, verbs[verb].len, end, spans);
    if (count != count_min && count != count_min + 1)
        return false;
    size_t base = spans[0].start;
    for (uint32_t i = 0; i < count; i++) {
        spans[i].start -= base;
        spans[i].end -= base;
    }
    *args = arrange(bytes + base, spans, count, verb == VERB_HMSG);
    args->body_offset = end + 2 - base;
    return true;
}

/** The text of INFO or -ERR, without what is around it. Returns: as rlt_parse(). */
static int64_t finish_text(const uint8_t *bytes, enum verb verb, uint32_t end,
                           struct rlt_frame *frame)
{
    uint32_t line_len = end + 2;
    uint32_t start = verbs[verb].len;
    while (start < end && is_blank(bytes[start]))
        start++;
    while (end > start && is_blank(bytes[end - 1]))
        end--;
    if (start == end)
        return -RLT_PARSE_ARGUMENT_EMPTY;
    if (verb == VERB_ERR) {
        while (start < end && (bytes[start] == '\'' || is_blank(bytes[start])))
            start++;
        while (end > start && (bytes[end - 1] == '\'' || is_blank(bytes[end - 1])))
            end--;
    }
    *frame = (struct rlt_frame){.op = verb == VERB_INFO ? RLT_OP_INFO : RLT_OP_ERR,
                                .text = bytes + start,
                                .text_len = end - start,
                                .frame_len = line_len};
    return line_len;
}

/** PING, PONG and +OK, which have no arguments. Returns: as rlt_parse(). */
static int64_t finish_plain(const uint8_t *bytes, enum verb verb, uint32_t end,
                            struct rlt_frame *frame)
{
    static const enum rlt_op ops[] = {
        [VERB_PING] = RLT_OP_PING, [VERB_PONG] = RLT_OP_PONG, [VERB_OK] = RLT_OP_OK};
    struct rlt_extent spans[ARGUMENTS_MAX];
    if (split_blanks(bytes, verbs[verb].len, end, spans) != 0)
        return -RLT_PARSE_ARGUMENT_COUNT;
    *frame = (struct rlt_frame){.op = ops[verb], .frame_len = end + 2};
    return end + 2;
}

static int64_t need_more(struct rlt_frame *frame)
{
    frame->frame_len = 0;
    return 0;
}

/** rlt_parse() for any line. */
static __attribute__((noinline)) int64_t parse_tolerant(const uint8_t *bytes, size_t len,
                                                        struct rlt_frame *frame)
{
    int found = find_verb(bytes, len);
    if (found < 0)
        return found;
    if (found == VERB_COUNT || len == verbs[found].len)
        return need_more(frame);
    enum verb verb = (enum verb)found;
    uint8_t behind = bytes[verbs[verb].len];
    if (!is_blank(behind) && behind != '\r' && behind != '\n')
        return -RLT_PARSE_UNKNOWN_OP;

    size_t line_len_max = verb == VERB_INFO ? RLT_INFO_LEN_MAX : RLT_LINE_LEN_MAX;
    uint32_t end;
    int error = find_line_end(bytes, len, line_len_max, &end);
    if (error == RLT_PARSE_LINE_TOO_LONG && verb == VERB_INFO)
        error = RLT_PARSE_INFO_TOO_LONG;
    if (error != 0)
        return -error;
    if (end == 0)
        return need_more(frame);
    if (verb == VERB_INFO || verb == VERB_ERR)
        return finish_text(bytes, verb, end, frame);
    if (verb != VERB_MSG && verb != VERB_HMSG)
        return finish_plain(bytes, verb, end, frame);
    struct arguments args;
    if (!split_tolerant(bytes, verb, end, &args))
        return -RLT_PARSE_ARGUMENT_COUNT;
    return finish_message(bytes, len, &args, frame);
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
    return rlt_likely(result != NOT_STRICT) ? result : parse_tolerant(bytes, len, frame);
}

/* ---- Runs --------------------------------------------------------------------------------- */

/** The last size, with the blank before it and the CR behind it: most messages have the same. */
struct size_memo {
    uint64_t text;
    uint32_t value;
};

/** The size that ends at `end` and has `digits` digits; false if it is none, or longer. */
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
 * The usual message: in the strict form, with short numbers, no reply and no headers, and all
 * there. Others are left to rlt_parse(), which finds the same in these.
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

/** How many complete messages with the line of `frame`, which is at `line`, lie behind it. */
static uint32_t count_more(const uint8_t *line, size_t len, const struct rlt_frame *frame)
{
    size_t line_len = 4 + (size_t)frame->body_offset;
    size_t frame_len = (size_t)frame->frame_len;
    const uint8_t *next = line + frame_len;
    uint32_t count = 0;
    for (size_t left = len - frame_len; left >= frame_len && count < RLT_RUN_MORE_MAX;
         left -= frame_len) {
        if (!rlt_equal_short(next, line, line_len) || memcmp(next + frame_len - 2, "\r\n", 2) != 0)
            break;
        next += frame_len;
        count++;
    }
    return count;
}

/**
 * Whether the line behind a message, of which `len` bytes are there from its start, may be the
 * same. Most differ at the end, in the sid.
 */
RLT_ALWAYS_INLINE bool may_have_more(size_t len, const struct rlt_frame *frame)
{
    const uint8_t *last = frame->topic + frame->body_offset - 8;
    return len >= 2 * frame->frame_len && memcmp(last + frame->frame_len, last, 8) == 0;
}

/**
 * Where the next line starts is known only when this one was read, and that one can be read only
 * when this is known. But most messages are as long as the one before: go on with that, before the
 * sum is there. So it is a branch, which is predicted, and not an address, which is waited for.
 * The empty assembly keeps the compiler from making one of the other.
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

uint32_t rlt_parse_runs(const uint8_t *bytes, size_t len, struct rlt_run *runs, uint32_t max,
                        size_t *used)
{
    size_t len_before = 0;
    struct size_memo memo = {0, 0};
    size_t at = 0;
    uint32_t count = 0;
    for (; count < max && at != len; count++) {
        const uint8_t *line = bytes + at;
        size_t left = len - at;
        struct rlt_run *run = &runs[count];
        struct rlt_frame *frame = &run->frame;
        bool may_repeat = parse_plain(line, left, &memo, frame);
        if (rlt_unlikely(!may_repeat)) {
            if (rlt_parse(line, left, frame) <= 0 || frame->op != RLT_OP_MSG)
                break;
            may_repeat = frame->topic == line + 4 && frame->reply_len + frame->header_len == 0;
        }
        run->more = 0;
        if (may_repeat && may_have_more(left, frame))
            run->more = count_more(line, left, frame);
        at = guess_next(at, (1 + (size_t)run->more) * (size_t)frame->frame_len, &len_before);
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
