/* SPDX-License-Identifier: MIT */
/**
 * Parser of the operations of a NATS server. Stateless and in place: give it contiguous bytes that
 * start at an operation, get one operation, "partial" or "bad".
 *
 * Source: nats-clients.md C.1, C.2, C.6. Verbs in any case; any number of SP and TAB between
 * arguments; every line must end with CR LF; a lone CR or LF is bad.
 */
#ifndef RLT_PROTO_PARSER_H
#define RLT_PROTO_PARSER_H

#include <stddef.h>
#include <stdint.h>

/** The longest MSG, HMSG, PING, PONG, +OK or -ERR line, with CR LF. Offsets fit 16 bits. */
#define RLT_LINE_LEN_MAX 16384
/** The longest INFO line: 1 MiB of text, with some room for the verb, blanks and CR LF. A cluster
 * of thousands of servers lists the addresses of all. */
#define RLT_INFO_LEN_MAX (1048576 + 64)
/** The largest size the protocol allows: the server parses at most 9 digits. */
#define RLT_SIZE_MAX UINT32_C(999999999)

enum rlt_op {
    RLT_OP_MSG, /* also HMSG: then header_len > 0 (HMSG with 0 is a MSG) */
    RLT_OP_INFO,
    RLT_OP_PING,
    RLT_OP_PONG,
    RLT_OP_OK,
    RLT_OP_ERR,
};

/** Why bytes are not protocol; in the order of the texts of rlt_parse_error_text(). */
enum rlt_parse_error {
    RLT_PARSE_UNKNOWN_OP = 1, /* the first bytes are no operation a server sends */
    RLT_PARSE_LINE_TOO_LONG,  /* no line end within RLT_LINE_LEN_MAX */
    RLT_PARSE_LINE_END,       /* CR without LF, or LF without CR */
    RLT_PARSE_ARGUMENT_COUNT, /* MSG has not 3 or 4, HMSG not 4 or 5, PING, PONG or +OK has any */
    RLT_PARSE_NUMBER,         /* a number has other bytes than digits, or too many */
    RLT_PARSE_HEADER_SIZE,    /* HMSG: the header size is above the total size */
    RLT_PARSE_TERMINATOR,     /* the payload is not followed by CR LF */
    RLT_PARSE_ARGUMENT_EMPTY, /* INFO or -ERR without text; but "-ERR ''" has one, of 0 bytes */
    RLT_PARSE_INFO_TOO_LONG,  /* no line end within RLT_INFO_LEN_MAX */
};

/**
 * One operation. Valid as long as the bytes that were parsed; the offsets count from `topic`.
 */
struct rlt_frame {
    enum rlt_op op;
    /* MSG: all below. The topic is at most RLT_LINE_LEN_MAX bytes. */
    const uint8_t *topic;
    uint16_t topic_len;
    uint16_t reply_offset; /* 0: no reply */
    uint16_t reply_len;
    uint16_t body_offset; /* headers, then payload */
    uint32_t header_len;  /* 0: no headers */
    uint32_t body_len;    /* headers and payload, without the CR LF behind */
    uint64_t sid;         /* at most 2^63 - 1 */
    /* INFO: the JSON text; ERR: the text with the quotes and blanks around it trimmed. */
    const uint8_t *text;
    uint32_t text_len;
    /* All: bytes of the whole operation, with every CR LF. Also set for a partial MSG or HMSG
     * whose line is complete (topic to sid are set too); otherwise 0 in a partial one. */
    uint64_t frame_len;
};

/**
 * Parse one operation at `bytes`.
 *
 * Reads no byte at or beyond `bytes + len`. A result never depends on how the same stream was
 * cut: bytes that are bad in any continuation may be reported before they are complete, but
 * never accepted.
 *
 * Threads: any thread. Does not block or allocate.
 * Returns: the length of the operation (> 0); 0 if more bytes are needed; -enum rlt_parse_error.
 */
int64_t rlt_parse(const uint8_t *bytes, size_t len, struct rlt_frame *frame);

/** A streak: messages with the very same line, in a row. */
struct rlt_streak {
    struct rlt_frame frame; /* the first */
    uint32_t more;          /* messages behind it, frame.frame_len bytes apart */
};

/** Messages in a streak behind the first, at most. */
#define RLT_STREAK_MORE_MAX UINT16_MAX

/**
 * Parse the complete messages that `bytes` begins with: up to `max` streaks of them, or to an
 * operation that is not a message, or is cut or bad, which is left for rlt_parse(). The `frame` of
 * each is as rlt_parse() fills it; `*used` is the bytes of all of them.
 *
 * Only messages with the verb "MSG ", no reply and no headers come in streaks of more than one.
 *
 * Threads: any thread. Does not block or allocate.
 * Returns: the number of streaks.
 */
uint32_t rlt_parse_streaks(const uint8_t *bytes, size_t len, struct rlt_streak *streaks,
                           uint32_t max, size_t *used);

/** Name an enum rlt_parse_error by a static English text. */
const char *rlt_parse_error_text(int error);

#endif
