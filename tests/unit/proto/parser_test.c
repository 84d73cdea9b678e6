/* SPDX-License-Identifier: MIT */
/*
 * Each stream is parsed whole, byte by byte and cut at every offset, with a guard page behind the
 * bytes that "have arrived" and one before them; and again with more operations behind it, so
 * that the way for short strict lines is taken too.
 */
#include "proto/parser.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test.h"
#include "unit/proto/guarded.h"

/** Operations found in a stream, one in a line. */
struct events {
    char text[4096];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct events *events, const char *format,
                                                      ...)
{
    va_list args;
    size_t room = sizeof events->text - events->len;
    va_start(args, format);
    int len = vsnprintf(events->text + events->len, room, format, args);
    va_end(args);
    cr_assert(len >= 0 && (size_t)len < room, "the event log is full");
    events->len += (size_t)len;
}

static void add_frame(struct events *events, const struct rlt_frame *frame)
{
    static const char *const names[] = {"msg", "info", "ping", "pong", "ok", "err"};
    const char *topic = (const char *)frame->topic;
    add(events, "%s", names[frame->op]);
    if (frame->op == RLT_OP_MSG) {
        add(events, " %.*s %" PRIu64, (int)frame->topic_len, topic, frame->sid);
        if (frame->reply_offset != 0)
            add(events, " reply %.*s", (int)frame->reply_len, topic + frame->reply_offset);
        if (frame->header_len != 0)
            add(events, " headers %" PRIu32, frame->header_len);
        add(events, " body %" PRIu32 " %.*s", frame->body_len, (int)frame->body_len,
            topic + frame->body_offset);
    } else if (frame->op == RLT_OP_INFO || frame->op == RLT_OP_ERR) {
        add(events, " %.*s", (int)frame->text_len, (const char *)frame->text);
    }
    add(events, "\n");
}

/** Parse at `bytes` with `len` there, on both kinds of guarded memory. The frame is in the 2nd. */
static int64_t parse_guarded(const char *bytes, size_t len, struct rlt_frame *frame)
{
    struct rlt_frame before;
    int64_t result_before = rlt_parse(guarded_before(bytes, len), len, &before);
    const uint8_t *copy = guarded_behind(bytes, len);
    int64_t result = rlt_parse(copy, len, frame);
    cr_assert_eq(result, result_before);
    if (result > 0 && frame->op == RLT_OP_MSG) {
        cr_assert_eq(frame->frame_len, (uint64_t)result);
        cr_assert(frame->topic >= copy && frame->topic + frame->topic_len < copy + result);
        cr_assert(frame->topic + frame->body_offset + frame->body_len + 2 == copy + result);
    }
    return result;
}

/** Parse what has arrived behind `*at`. False after an error. */
static bool take(struct events *events, const char *stream, size_t arrived, size_t *at)
{
    for (;;) {
        struct rlt_frame frame;
        int64_t result = parse_guarded(stream + *at, arrived - *at, &frame);
        if (result < 0)
            add(events, "bad %s\n", rlt_parse_error_text((int)-result));
        if (result <= 0)
            return result == 0;
        cr_assert_leq((size_t)result, arrived - *at);
        add_frame(events, &frame);
        *at += (size_t)result;
    }
}

/** Events of a stream that arrives up to `cut` first, then `step` bytes at a time. */
static void collect(struct events *events, const char *stream, size_t len, size_t cut, size_t step)
{
    size_t at = 0;
    size_t arrived = cut;
    events->len = 0;
    events->text[0] = '\0';
    while (take(events, stream, arrived, &at)) {
        if (arrived == len) {
            if (at != len)
                add(events, "more\n");
            return;
        }
        arrived = len - arrived < step ? len : arrived + step;
    }
}

static void expect_bytes(const char *stream, size_t len, const char *expected)
{
    static struct events events;
    collect(&events, stream, len, len, 1);
    cr_assert_str_eq(events.text, expected, "whole: %s", events.text);
    collect(&events, stream, len, 0, 1);
    cr_assert_str_eq(events.text, expected, "byte by byte: %s", events.text);
    for (size_t cut = 0; cut < len; cut++) {
        collect(&events, stream, len, cut, len);
        cr_assert_str_eq(events.text, expected, "cut at %zu: %s", cut, events.text);
    }
}

static void expect_stream(const char *stream, size_t len, const char *expected)
{
    enum { PING_COUNT = 16 };
    char longer[2048];
    char longer_expected[2048];

    expect_bytes(stream, len, expected);
    if (strstr(expected, "more") != NULL || len > 1024)
        return;
    memcpy(longer, stream, len);
    strcpy(longer_expected, expected);
    for (int i = 0; i < PING_COUNT; i++, len += 6) {
        memcpy(longer + len, "PING\r\n", 6);
        if (strstr(expected, "bad") == NULL)
            strcat(longer_expected, "ping\n");
    }
    expect_bytes(longer, len, longer_expected);
}

/** A stream given as a literal, which may have NUL bytes. */
#define expect(stream, expected) expect_stream(stream, sizeof(stream) - 1, expected)

#define BAD_OP         "bad unknown operation\n"
#define BAD_LINE_END   "bad a line does not end with CR LF\n"
#define BAD_COUNT      "bad wrong number of arguments\n"
#define BAD_NUMBER     "bad a number is malformed or too large\n"
#define BAD_HEADER     "bad the header size is above the total size\n"
#define BAD_TERMINATOR "bad a payload is not followed by CR LF\n"
#define BAD_EMPTY      "bad INFO or -ERR without its text\n"

Test(parser, msg_without_reply)
{
    expect("MSG room.1 7 5\r\nhello\r\n", "msg room.1 7 body 5 hello\n");
    expect("MSG a 1 0\r\n\r\n", "msg a 1 body 0 \n");
}

Test(parser, msg_with_reply)
{
    expect("MSG room.1 7 _INBOX.x.1 5\r\nhello\r\n",
           "msg room.1 7 reply _INBOX.x.1 body 5 hello\n");
}

Test(parser, hmsg_with_and_without_reply)
{
    expect("HMSG a 1 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
           "msg a 1 headers 12 body 14 NATS/1.0\r\n\r\nhi\n");
    expect("HMSG a 1 b 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
           "msg a 1 reply b headers 12 body 14 NATS/1.0\r\n\r\nhi\n");
    expect("HMSG a 1 12 12\r\nNATS/1.0\r\n\r\n\r\n",
           "msg a 1 headers 12 body 12 NATS/1.0\r\n\r\n\n");
}

Test(parser, hmsg_with_header_size_0_is_a_msg)
{
    expect("HMSG a 1 0 2\r\nhi\r\n", "msg a 1 body 2 hi\n");
    expect("HMSG a 1 r 0 0\r\n\r\n", "msg a 1 reply r body 0 \n");
}

Test(parser, operations_without_arguments)
{
    expect("PING\r\nPONG\r\n+OK\r\n", "ping\npong\nok\n");
    expect("PING \t\r\nPONG \r\n+OK  \r\n", "ping\npong\nok\n");
}

Test(parser, verbs_in_any_case)
{
    expect("msg a 1 2\r\nhi\r\n", "msg a 1 body 2 hi\n");
    expect("MsG a 1 2\r\nhi\r\nhMsG a 1 1 2\r\nhi\r\n",
           "msg a 1 body 2 hi\nmsg a 1 headers 1 body 2 hi\n");
    expect("ping\r\nPoNg\r\n+ok\r\n-err 'x'\r\ninfo {}\r\n", "ping\npong\nok\nerr x\ninfo {}\n");
}

Test(parser, runs_of_blanks_anywhere_between_arguments)
{
    expect("MSG  a 1 2\r\nhi\r\n", "msg a 1 body 2 hi\n");
    expect("MSG a  1 2\r\nhi\r\n", "msg a 1 body 2 hi\n");
    expect("MSG foo 1  5 \r\nhello\r\n", "msg foo 1 body 5 hello\n");
    expect("MSG\ta\t1\t2\r\nhi\r\n", "msg a 1 body 2 hi\n");
    expect("MSG a 1 2\t\r\nhi\r\n", "msg a 1 body 2 hi\n");
    expect("MSG \t a\t \t1 r  2 \t \r\nhi\r\n", "msg a 1 reply r body 2 hi\n");
    expect("HMSG \ta\t1  r 1\t2  \r\nhi\r\n", "msg a 1 reply r headers 1 body 2 hi\n");
}

Test(parser, topics_are_bytes)
{
    expect("MSG \xc3\xa9\xff\x80 1 2\r\nhi\r\n", "msg \xc3\xa9\xff\x80 1 body 2 hi\n");
    expect("MSG a\x01\x1f\x7f 1 r\x0b 2\r\nhi\r\n", "msg a\x01\x1f\x7f 1 reply r\x0b body 2 hi\n");
}

Test(parser, a_topic_may_hold_nul)
{
    static const char stream[] = "MSG a\0b 1 2\r\nhi\r\n";
    struct rlt_frame frame;
    for (size_t len = 0; len < sizeof stream - 1; len++)
        cr_assert_eq(parse_guarded(stream, len, &frame), 0);
    cr_assert_eq(parse_guarded(stream, sizeof stream - 1, &frame), sizeof stream - 1);
    cr_assert_eq(frame.topic_len, 3);
    cr_assert_arr_eq(frame.topic, "a\0b", 3);
}

Test(parser, payloads_may_hold_protocol)
{
    expect("MSG a 1 12\r\nPING\r\nPING\r\n\r\n", "msg a 1 body 12 PING\r\nPING\r\n\n");
    expect("MSG a 1 2\r\n\r\n\r\n", "msg a 1 body 2 \r\n\n");
}

Test(parser, lines_on_both_sides_of_each_window)
{
    /* The strict way looks at 32, then 64 bytes behind the verb. */
    char stream[256];
    char expected[256];
    for (int topic_len = 1; topic_len < 80; topic_len++) {
        char topic[80];
        memset(topic, 't', sizeof topic);
        snprintf(stream, sizeof stream, "MSG %.*s 1 2\r\nhi\r\n", topic_len, topic);
        snprintf(expected, sizeof expected, "msg %.*s 1 body 2 hi\n", topic_len, topic);
        expect_stream(stream, strlen(stream), expected);
        snprintf(stream, sizeof stream, "HMSG a 1 %.*s 1 2\r\nhi\r\n", topic_len, topic);
        snprintf(expected, sizeof expected, "msg a 1 reply %.*s headers 1 body 2 hi\n", topic_len,
                 topic);
        expect_stream(stream, strlen(stream), expected);
    }
}

Test(parser, sids_of_every_length)
{
    char stream[128];
    char expected[128];
    uint64_t sid = 0;
    for (uint32_t digit = 1; digit <= 19; digit++) {
        sid = sid * 10 + digit % 10;
        snprintf(stream, sizeof stream, "MSG a %" PRIu64 " 2\r\nhi\r\n", sid);
        snprintf(expected, sizeof expected, "msg a %" PRIu64 " body 2 hi\n", sid);
        expect_stream(stream, strlen(stream), expected);
    }
    expect("MSG a 0000000000000000012 2\r\nhi\r\n", "msg a 12 body 2 hi\n");
}

Test(parser, a_sid_is_at_most_2_to_the_63_minus_1)
{
    expect("MSG a 9223372036854775807 0\r\n\r\n", "msg a 9223372036854775807 body 0 \n");
    expect("MSG a 9223372036854775808 0\r\n", BAD_NUMBER);
    expect("MSG a 9999999999999999999 0\r\n", BAD_NUMBER);
    expect("MSG a 18446744073709551617 0\r\n", BAD_NUMBER);
    expect("MSG a 00000000000000000001 0\r\n", BAD_NUMBER);
}

Test(parser, a_size_is_at_most_9_digits)
{
    struct rlt_frame frame;
    static const char largest[] = "MSG a 1 999999999\r\n";
    expect("MSG a 1 000000002\r\nhi\r\n", "msg a 1 body 2 hi\n");
    cr_assert_eq(parse_guarded(largest, sizeof largest - 1, &frame), 0);
    cr_assert_eq(frame.body_len, RLT_SIZE_MAX);
    cr_assert_eq(frame.frame_len, sizeof largest - 1 + UINT64_C(999999999) + 2);
    expect("MSG a 1 1000000000\r\n", BAD_NUMBER);
    expect("MSG a 1 4294967301\r\n", BAD_NUMBER);
    expect("MSG a 1 0000000002\r\nhi\r\n", BAD_NUMBER);
    expect("HMSG a 1 1000000000 1\r\n", BAD_NUMBER);
    expect("HMSG a 1 1 1000000000\r\n", BAD_NUMBER);
}

Test(parser, numbers_are_digits_only)
{
    static const char *const numbers[] = {
        "x",  "-1",  "+1", "1x",   "x1",    "1/",        "1:",        "/1",
        ":1", "0x1", "1.", "\x80", "1\xb1", "12345678x", "12345678:", "/12345678"};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        static const char *const forms[] = {"MSG a %s 2\r\nhi\r\n",    "MSG a 1 %s\r\nhi\r\n",
                                            "MSG a 1 r %s\r\nhi\r\n",  "HMSG a %s 1 2\r\nhi\r\n",
                                            "HMSG a 1 %s 2\r\nhi\r\n", "HMSG a 1 1 %s\r\nhi\r\n"};
        for (size_t form = 0; form < sizeof forms / sizeof forms[0]; form++) {
            char stream[64];
            const char *percent = strchr(forms[form], '%');
            snprintf(stream, sizeof stream, "%.*s%s%s", (int)(percent - forms[form]), forms[form],
                     numbers[i], percent + 2);
            expect_stream(stream, strlen(stream), BAD_NUMBER);
        }
    }
}

Test(parser, wrong_argument_counts)
{
    expect("MSG\r\n", BAD_COUNT);
    expect("MSG  \r\n", BAD_COUNT);
    expect("MSG a\r\n", BAD_COUNT);
    expect("MSG a 1\r\n", BAD_COUNT);
    expect("MSG a 1 r 2 3\r\nhi\r\n", BAD_COUNT);
    expect("MSG a 1 r 2 3 4 5 6\r\nhi\r\n", BAD_COUNT);
    expect("HMSG\r\n", BAD_COUNT);
    expect("HMSG a 1 2\r\nhi\r\n", BAD_COUNT);
    expect("HMSG a 1 r 1 2 3\r\nhi\r\n", BAD_COUNT);
    expect("PING x\r\n", BAD_COUNT);
    expect("PONG x y\r\n", BAD_COUNT);
    expect("+OK 1\r\n", BAD_COUNT);
}

Test(parser, header_size_above_total_size)
{
    expect("HMSG a 1 3 2\r\nhi\r\n", BAD_HEADER);
    expect("HMSG a 1 r 999999999 0\r\n", BAD_HEADER);
}

Test(parser, unknown_operations_are_bad_at_once)
{
    expect("X", BAD_OP);
    expect("\r\n", BAD_OP);
    expect("\n", BAD_OP);
    expect(" PING\r\n", BAD_OP);
    expect("\0", BAD_OP);
    expect("PUB a 2\r\nhi\r\n", BAD_OP);
    expect("PX", BAD_OP);
    expect("PINGX\r\n", BAD_OP);
    expect("PIN\r\n", BAD_OP);
    expect("MSGX", BAD_OP);
    expect("MSGa 1 2\r\nhi\r\n", BAD_OP);
    expect("HMS ", BAD_OP);
    expect("INFO{}\r\n", BAD_OP);
    expect("+OKAY\r\n", BAD_OP);
    expect("-ERR'x'\r\n", BAD_OP);
    expect("PING\r\nX", "ping\n" BAD_OP);
}

Test(parser, only_letters_have_case)
{
    /* These differ from '+' and '-' in the bit that tells the cases of a letter apart. */
    expect("\x0bOK\r\n", BAD_OP);
    expect("\x0d"
           "ERR 'x'\r\n",
           BAD_OP);
}

Test(parser, cr_and_lf_only_as_a_pair)
{
    expect("PING\n", BAD_LINE_END);
    expect("PING\r\r\n", BAD_LINE_END);
    expect("PING\rX", BAD_LINE_END);
    expect("MSG a 1 2\nhi\r\n", BAD_LINE_END);
    expect("MSG a 1 2\rhi\r\n", BAD_LINE_END);
    expect("MSG a\r1 2\r\nhi\r\n", BAD_LINE_END);
    expect("MSG a 1 2\n\r\nhi\r\n", BAD_LINE_END);
    expect("MSG a 1 2\r\r\nhi\r\n", BAD_LINE_END);
    expect("MSG a 1 2 \nhi\r\n", BAD_LINE_END);
    expect("INFO {\n}\r\n", BAD_LINE_END);
    expect("-ERR 'a\rb'\r\n", BAD_LINE_END);
}

Test(parser, cr_lf_must_follow_a_payload)
{
    expect("MSG a 1 2\r\nhi!\r\n", BAD_TERMINATOR);
    expect("MSG a 1 2\r\nhi\n\r", BAD_TERMINATOR);
    expect("MSG a 1 2\r\nhi\r\r\n", BAD_TERMINATOR);
    expect("MSG a 1 2\r\nh\r\nPING\r\n", BAD_TERMINATOR);
    expect("HMSG a 1 1 2\r\nhiX", BAD_TERMINATOR);
    expect("MSG a 1 0\r\nPING\r\n", BAD_TERMINATOR);
}

Test(parser, text_operations_trim_what_is_around)
{
    expect("INFO {\"a\": 1} \r\n", "info {\"a\": 1}\n");
    expect("INFO \t {} \t\r\n", "info {}\n");
    expect("-ERR 'Stale Connection'\r\n", "err Stale Connection\n");
    expect("-ERR  \t'Invalid Subject' \r\n", "err Invalid Subject\n");
    expect("-ERR no quotes\r\n", "err no quotes\n");
    expect("-ERR ' it's '\r\n", "err it's\n");
    expect("-ERR ''\r\n", "err \n");
}

Test(parser, text_operations_need_a_text)
{
    expect("INFO\r\n", BAD_EMPTY);
    expect("INFO \t\r\n", BAD_EMPTY);
    expect("-ERR\r\n", BAD_EMPTY);
    expect("-ERR   \r\n", BAD_EMPTY);
}

Test(parser, incomplete_operations_need_more)
{
    expect("", "");
    expect("M", "more\n");
    expect("MSG", "more\n");
    expect("MSG a 1 2\r", "more\n");
    expect("MSG a 1 2\r\nhi\r", "more\n");
    expect("PING\r\nPONG", "ping\nmore\n");
    expect("-", "more\n");
}

Test(parser, a_partial_message_tells_its_length)
{
    static const char stream[] = "MSG room.1 7 inbox 5\r\nhello\r\n";
    const size_t line_len = 22;
    struct rlt_frame frame;
    for (size_t len = 0; len < sizeof stream - 1; len++) {
        frame.frame_len = 99;
        cr_assert_eq(parse_guarded(stream, len, &frame), 0);
        cr_assert_eq(frame.frame_len, len < line_len ? 0 : sizeof stream - 1, "at %zu", len);
        if (len < line_len)
            continue;
        cr_assert_eq(frame.op, RLT_OP_MSG);
        cr_assert_eq(frame.sid, 7);
        cr_assert_eq(frame.topic_len, 6);
        cr_assert_eq(frame.reply_offset, 9);
        cr_assert_eq(frame.body_offset, 18);
        cr_assert_eq(frame.body_len, 5);
    }
}

Test(parser, a_bad_operation_leaves_the_frame_alone)
{
    static const char *const streams[] = {"X",
                                          "PING\n",
                                          "MSG a 1\r\n",
                                          "MSG a x 1\r\n",
                                          "HMSG a 1 3 2\r\n",
                                          "MSG a 1 2\r\nhi!!",
                                          "INFO \r\n"};
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        struct rlt_frame frame;
        struct rlt_frame before;
        memset(&frame, 0x5a, sizeof frame);
        memcpy(&before, &frame, sizeof frame);
        cr_assert_lt(rlt_parse((const uint8_t *)streams[i], strlen(streams[i]), &frame), 0);
        cr_assert_arr_eq(&frame, &before, sizeof frame);
    }
}

/** Fill a line of `len` bytes with CR LF: `head`, then 'x', then `tail`. */
static char *make_line(size_t len, const char *head, const char *tail)
{
    char *line = malloc(len);
    cr_assert_not_null(line);
    memset(line, 'x', len);
    memcpy(line, head, strlen(head));
    memcpy(line + len - 2 - strlen(tail), tail, strlen(tail));
    memcpy(line + len - 2, "\r\n", 2);
    return line;
}

/** The cap itself is allowed; one byte more is bad, also before the line ends. */
static void check_cap(const char *head, const char *tail, size_t cap, int64_t at_cap, int error)
{
    struct rlt_frame frame;
    char *line = make_line(cap, head, tail);
    cr_assert_eq(parse_guarded(line, cap, &frame), at_cap);
    for (size_t len = cap - 4; len < cap; len++)
        cr_assert_eq(parse_guarded(line, len, &frame), 0);
    free(line);

    line = make_line(cap + 1, head, tail);
    for (size_t len = cap; len <= cap + 1; len++)
        cr_assert_eq(parse_guarded(line, len, &frame), -error);
    for (size_t len = cap - 4; len < cap; len++)
        cr_assert_eq(parse_guarded(line, len, &frame), 0);
    free(line);
}

Test(parser, lines_have_a_cap)
{
    check_cap("-ERR '", "'", RLT_LINE_LEN_MAX, RLT_LINE_LEN_MAX, RLT_PARSE_LINE_TOO_LONG);
    check_cap("INFO ", "", RLT_INFO_LEN_MAX, RLT_INFO_LEN_MAX, RLT_PARSE_INFO_TOO_LONG);
    check_cap("MSG ", " 1 2", RLT_LINE_LEN_MAX, 0, RLT_PARSE_LINE_TOO_LONG);
    check_cap("HMSG ", " 1 1 2", RLT_LINE_LEN_MAX, 0, RLT_PARSE_LINE_TOO_LONG);
}

Test(parser, the_longest_line_fits_the_frame)
{
    struct rlt_frame frame;
    char *line = make_line(RLT_LINE_LEN_MAX, "MSG t 12 ", " 5");
    cr_assert_eq(parse_guarded(line, RLT_LINE_LEN_MAX, &frame), 0);
    cr_assert_eq(frame.reply_offset, 5);
    cr_assert_eq(frame.reply_len, RLT_LINE_LEN_MAX - 9 - 4);
    cr_assert_eq(frame.body_offset, RLT_LINE_LEN_MAX - 4);
    cr_assert_eq(frame.frame_len, RLT_LINE_LEN_MAX + 7);
    free(line);
}

Test(parser, every_error_has_a_text)
{
    for (int error = RLT_PARSE_UNKNOWN_OP; error <= RLT_PARSE_INFO_TOO_LONG; error++)
        cr_assert_str_neq(rlt_parse_error_text(error), "not a parse error");
    cr_assert_str_eq(rlt_parse_error_text(0), "not a parse error");
    cr_assert_str_eq(rlt_parse_error_text(-1), "not a parse error");
    cr_assert_str_eq(rlt_parse_error_text(RLT_PARSE_INFO_TOO_LONG + 1), "not a parse error");
}
