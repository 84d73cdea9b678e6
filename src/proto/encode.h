/* SPDX-License-Identifier: MIT */
/**
 * Encoder of the operations that a client sends. Callers ask for a length, claim it, then encode.
 *
 * Source: nats-clients.md C.3. Arguments were validated before; these functions only lay out
 * bytes.
 */
#ifndef RLT_PROTO_ENCODE_H
#define RLT_PROTO_ENCODE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/copy.h"
#include "base/defs.h"

/** Decimal digits of a 64-bit number at most. */
#define RLT_DIGITS_MAX 20

static inline uint32_t rlt_digit_count(uint64_t value)
{
    /* Sizes are short: comparing beats dividing. */
    uint32_t count = 1;
    for (uint64_t limit = 10; value >= limit && count < RLT_DIGITS_MAX; limit *= 10) {
        count++;
        if (rlt_unlikely(limit > UINT64_MAX / 10)) {
            break;
        }
    }
    return count;
}

/** Write `value` in `count` (= rlt_digit_count(value)) digits; returns the byte behind them. */
static inline uint8_t *rlt_encode_digits(uint8_t *out, uint64_t value, uint32_t count)
{
    for (uint32_t i = count; i-- > 0;) {
        out[i] = (uint8_t)('0' + value % 10);
        value /= 10;
    }
    return out + count;
}

/** A PUB to encode: "PUB <topic> [reply ]<payload_len>\r\n<payload>\r\n". */
struct rlt_pub {
    const char *head; /* NULL, or "PUB <topic> " ready-made */
    const char *topic;
    size_t topic_len;
    const char *reply; /* NULL: none */
    size_t reply_len;
    const void *payload;
    uint32_t payload_len; /* at most RLT_SIZE_MAX */
};

/** Count the bytes that rlt_encode_pub() writes. */
static inline size_t rlt_encode_pub_len(const struct rlt_pub *pub)
{
    size_t reply_part = pub->reply != NULL ? pub->reply_len + 1 : 0;
    return 4 + pub->topic_len + 1 + reply_part + rlt_digit_count(pub->payload_len) + 2 +
           pub->payload_len + 2;
}

/** Write a PUB; returns the byte behind it. */
static inline uint8_t *rlt_encode_pub(uint8_t *out, const struct rlt_pub *pub)
{
    if (pub->head != NULL) {
        rlt_copy_short(out, pub->head, pub->topic_len + 5);
        out += pub->topic_len + 5;
    } else {
        memcpy(out, "PUB ", 4);
        rlt_copy_short(out + 4, pub->topic, pub->topic_len);
        out += pub->topic_len + 4;
        *out++ = ' ';
    }
    if (pub->reply != NULL) {
        memcpy(out, pub->reply, pub->reply_len);
        out += pub->reply_len;
        *out++ = ' ';
    }
    out = rlt_encode_digits(out, pub->payload_len, rlt_digit_count(pub->payload_len));
    *out++ = '\r';
    *out++ = '\n';
    if (pub->payload_len != 0) {
        rlt_copy_short(out, pub->payload, pub->payload_len);
        out += pub->payload_len;
    }
    *out++ = '\r';
    *out++ = '\n';
    return out;
}

/**
 * Read the length of the PUB at `bytes`, which rlt_encode_pub() wrote in full. For walking a queue
 * after a partial send. `*payload_len` takes its payload length.
 *
 * Returns: the length of the frame. Asserts that the bytes are a PUB within `len`.
 */
size_t rlt_pub_frame_len(const uint8_t *bytes, size_t len, uint32_t *payload_len);

/** The topic and reply of a PUB. The pointers lead into its frame. */
struct rlt_pub_names {
    const char *topic;
    size_t topic_len;
    const char *reply; /* NULL: none */
    size_t reply_len;
};

/** Read the names of a frame of `len` bytes, a length from rlt_pub_frame_len(). */
void rlt_pub_frame_names(const uint8_t *bytes, size_t len, struct rlt_pub_names *names);

/** Strike a frame in a queue, which is then not sent any more. It keeps its length. */
static inline void rlt_pub_frame_strike(uint8_t *bytes)
{
    bytes[0] = 'p';
}

static inline bool rlt_pub_frame_is_struck(const uint8_t *bytes)
{
    return bytes[0] == 'p';
}

/** The longest "SUB <topic> [queue ]<sid>\r\n" line. */
#define RLT_SUB_LEN_MAX (4 + 1024 + 1 + 1024 + 1 + RLT_DIGITS_MAX + 2)

/** Write a SUB line; `queue_len` 0: no queue group. Returns the byte behind it. */
uint8_t *rlt_encode_sub(uint8_t *out, const char *topic, size_t topic_len, const char *queue,
                        size_t queue_len, uint64_t sid);

/** The longest "UNSUB <sid> [max]\r\n" line. */
#define RLT_UNSUB_LEN_MAX (6 + RLT_DIGITS_MAX + 1 + RLT_DIGITS_MAX + 2)

/** Write an UNSUB line; `max` 0: at once. Returns the byte behind it. */
uint8_t *rlt_encode_unsub(uint8_t *out, uint64_t sid, uint64_t max);

/** The fields of CONNECT. Strings are JSON-escaped; NULL strings are left out. */
struct rlt_connect {
    const char *name;
    const char *version;
    const char *user;
    const char *password;
    const char *token;
    const char *jwt;
    const char *nkey; /* the public key */
    const char *sig;  /* of the server's nonce */
    int headers;      /* the server's INFO said headers */
};

/** The longest CONNECT that is sent. A server's limit is 4096 bytes by default, but may be higher:
 * the server decides. */
#define RLT_CONNECT_LEN_MAX ((size_t)16 * 1024)

/**
 * Write "CONNECT {json}\r\n" into `out`.
 *
 * Bytes >= 0x80 that are not valid UTF-8 are an error: JSON cannot carry them.
 *
 * Returns: the length; ROULETTE_EINVAL (a string is not UTF-8), ROULETTE_ENOMEM (more than
 *          `size`: the server's line limit is 4096 bytes of argument).
 */
int rlt_encode_connect(const struct rlt_connect *connect, char *out, size_t size);

#endif
