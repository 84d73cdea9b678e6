/* SPDX-License-Identifier: MIT */
/*
 * Errors are found in an order that depends on the bytes before the error only: the verb, the
 * byte behind it, the line's end, then (of a complete line) its arguments, then the terminator.
 * That is why a stream gives the same result however it is cut.
 */
#include "proto/parser_tolerant.h"

#include <stdbool.h>
#include <string.h>

#include "base/defs.h"
#include "proto/arguments.h"

/** The first word of a line. Unlike in enum rlt_op, HMSG is a verb of its own. */
enum verb { VERB_MSG, VERB_HMSG, VERB_PING, VERB_PONG, VERB_OK, VERB_INFO, VERB_ERR, VERB_COUNT };

static const struct {
    char name[5]; /* upper case */
    uint8_t len;
} verbs[VERB_COUNT] = {
    [VERB_MSG] = {"MSG", 3},   [VERB_HMSG] = {"HMSG", 4}, [VERB_PING] = {"PING", 4},
    [VERB_PONG] = {"PONG", 4}, [VERB_OK] = {"+OK", 3},    [VERB_INFO] = {"INFO", 4},
    [VERB_ERR] = {"-ERR", 4},
};

static inline bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

static inline uint8_t to_upper(uint8_t byte)
{
    return byte >= 'a' && byte <= 'z' ? (uint8_t)(byte - ('a' - 'A')) : byte;
}

/** Read the verb at `bytes`. Returns: an enum verb; VERB_COUNT: more bytes are needed; -error. */
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

/** Split the bytes from `start` to `end`. Returns: how many, at most RLT_ARGUMENTS_MAX + 1. */
static uint32_t split_blanks(const uint8_t *bytes, uint32_t start, uint32_t end,
                             struct rlt_extent spans[RLT_ARGUMENTS_MAX])
{
    uint32_t count = 0;
    uint32_t at = start;
    for (;;) {
        while (at < end && is_blank(bytes[at]))
            at++;
        if (at == end || count == RLT_ARGUMENTS_MAX)
            return count + (at != end);
        spans[count].start = at;
        while (at < end && !is_blank(bytes[at]))
            at++;
        spans[count++].end = at;
    }
}

/** Split a complete MSG or HMSG line of `end` bytes before its CR LF; false: argument count. */
static bool split_tolerant(const uint8_t *bytes, enum verb verb, uint32_t end,
                           struct rlt_arguments *args)
{
    struct rlt_extent spans[RLT_ARGUMENTS_MAX];
    uint32_t count_min = verb == VERB_HMSG ? 4 : 3;
    uint32_t count = split_blanks(bytes, verbs[verb].len, end, spans);
    if (count != count_min && count != count_min + 1)
        return false;
    size_t base = spans[0].start;
    for (uint32_t i = 0; i < count; i++) {
        spans[i].start -= base;
        spans[i].end -= base;
    }
    *args = rlt_arguments_name(bytes + base, spans, count, verb == VERB_HMSG);
    args->body_offset = end + 2 - base;
    return true;
}

/** Parse the text of INFO or -ERR, trimmed. Returns: as rlt_parse(). */
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

/** Parse PING, PONG or +OK, which have no arguments. Returns: as rlt_parse(). */
static int64_t finish_plain(const uint8_t *bytes, enum verb verb, uint32_t end,
                            struct rlt_frame *frame)
{
    static const enum rlt_op ops[] = {
        [VERB_PING] = RLT_OP_PING, [VERB_PONG] = RLT_OP_PONG, [VERB_OK] = RLT_OP_OK};
    struct rlt_extent spans[RLT_ARGUMENTS_MAX];
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

int64_t rlt_parse_tolerant(const uint8_t *bytes, size_t len, struct rlt_frame *frame)
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
    struct rlt_arguments args;
    if (!split_tolerant(bytes, verb, end, &args))
        return -RLT_PARSE_ARGUMENT_COUNT;
    return rlt_arguments_finish(bytes, len, &args, frame);
}
