/* SPDX-License-Identifier: MIT */
#include "proto/encode.h"

#include <stdbool.h>

#include "base/assert.h"
#include "roulette.h"

size_t rlt_pub_frame_len(const uint8_t *bytes, size_t len, uint32_t *payload_len)
{
    const uint8_t *cr = memchr(bytes, '\r', len);
    RLT_ASSERT(cr != NULL && cr - bytes >= 7 && memcmp(bytes + 1, "UB ", 3) == 0 &&
               (bytes[0] == 'P' || rlt_pub_frame_is_struck(bytes)));

    size_t line_len = (size_t)(cr - bytes) + 2;
    uint64_t size = 0;
    uint64_t scale = 1;
    for (const uint8_t *digit = cr - 1; *digit != ' '; digit--) {
        RLT_ASSERT(*digit >= '0' && *digit <= '9' && scale < UINT32_MAX);
        size += (uint64_t)(*digit - '0') * scale;
        scale *= 10;
    }
    RLT_ASSERT(size <= UINT32_MAX && line_len + size + 2 <= len);
    *payload_len = (uint32_t)size;
    return line_len + (size_t)size + 2;
}

void rlt_pub_frame_names(const uint8_t *bytes, size_t len, struct rlt_pub_names *names)
{
    const char *line = (const char *)bytes + 4;
    const char *end = memchr(line, '\r', len - 4);
    RLT_ASSERT(end != NULL);
    const char *blank = memchr(line, ' ', (size_t)(end - line));
    RLT_ASSERT(blank != NULL);
    const char *second = memchr(blank + 1, ' ', (size_t)(end - blank - 1));
    *names = (struct rlt_pub_names){
        .topic = line,
        .topic_len = (size_t)(blank - line),
        .reply = second != NULL ? blank + 1 : NULL,
        .reply_len = second != NULL ? (size_t)(second - blank - 1) : 0,
    };
}

static uint8_t *append(uint8_t *out, const void *bytes, size_t len)
{
    memcpy(out, bytes, len);
    return out + len;
}

uint8_t *rlt_encode_sub(uint8_t *out, const char *topic, size_t topic_len, const char *queue,
                        size_t queue_len, uint64_t sid)
{
    out = append(out, "SUB ", 4);
    out = append(out, topic, topic_len);
    if (queue_len != 0) {
        *out++ = ' ';
        out = append(out, queue, queue_len);
    }
    *out++ = ' ';
    out = rlt_encode_digits(out, sid, rlt_digit_count(sid));
    return append(out, "\r\n", 2);
}

uint8_t *rlt_encode_unsub(uint8_t *out, uint64_t sid, uint64_t max)
{
    out = append(out, "UNSUB ", 6);
    out = rlt_encode_digits(out, sid, rlt_digit_count(sid));
    if (max != 0) {
        *out++ = ' ';
        out = rlt_encode_digits(out, max, rlt_digit_count(max));
    }
    return append(out, "\r\n", 2);
}

/* ---- CONNECT ------------------------------------------------------------------------------ */

/** A text being written. After the first failure nothing more is written. */
struct text {
    char *bytes;
    size_t len;
    size_t size;
    int error;
};

static void put(struct text *text, const char *bytes, size_t len)
{
    if (text->error == 0 && len > text->size - text->len)
        text->error = ROULETTE_ENOMEM;
    if (text->error != 0)
        return;
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void put_text(struct text *text, const char *bytes)
{
    put(text, bytes, strlen(bytes));
}

/** Count the bytes of the first UTF-8 character of a NUL-terminated text; 0: none. RFC 3629. */
static size_t utf8_len(const unsigned char *bytes)
{
    /* The first two bytes tell overlong forms, surrogates and values above U+10FFFF apart. */
    static const struct {
        unsigned char first_min, first_max, second_min, second_max, len;
    } forms[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    if (bytes[0] < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (bytes[0] < forms[i].first_min || bytes[0] > forms[i].first_max)
            continue;
        if (bytes[1] < forms[i].second_min || bytes[1] > forms[i].second_max)
            return 0;
        for (size_t at = 2; at < forms[i].len; at++) {
            if ((bytes[at] & 0xc0) != 0x80)
                return 0;
        }
        return forms[i].len;
    }
    return 0;
}

/** Write a JSON string, in quotes. */
static void put_string(struct text *text, const char *string)
{
    static const char hex[] = "0123456789abcdef";
    put(text, "\"", 1);
    for (size_t len; *string != '\0'; string += len) {
        unsigned char byte = (unsigned char)*string;
        len = utf8_len((const unsigned char *)string);
        if (len == 0) {
            text->error = ROULETTE_EINVAL;
            return;
        }
        if (byte == '"' || byte == '\\') {
            char escaped[2] = {'\\', *string};
            put(text, escaped, sizeof escaped);
        } else if (byte < 0x20) {
            char escaped[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
            put(text, escaped, sizeof escaped);
        } else {
            put(text, string, len);
        }
    }
    put(text, "\"", 1);
}

/** Write `,"key":"value"`, or nothing if there is no value. */
static void put_member(struct text *text, const char *key, const char *value)
{
    if (value == NULL)
        return;
    put(text, ",\"", 2);
    put_text(text, key);
    put(text, "\":", 2);
    put_string(text, value);
}

int rlt_encode_connect(const struct rlt_connect *connect, char *out, size_t size)
{
    struct text text = {.bytes = out, .size = size};
    put_text(&text, "CONNECT {\"verbose\":false,\"pedantic\":false,\"tls_required\":false,"
                    "\"lang\":\"C\",\"protocol\":1,\"echo\":true");
    /* A "no responders" status would reach one interest of the connection that published, by
     * chance of cluster, pool and order: a subscriber with no use for it must not see one. */
    put_text(&text, ",\"no_responders\":false");
    put_text(&text, connect->headers ? ",\"headers\":true" : ",\"headers\":false");
    put_member(&text, "name", connect->name);
    put_member(&text, "version", connect->version);
    put_member(&text, "user", connect->user);
    put_member(&text, "pass", connect->password);
    put_member(&text, "auth_token", connect->token);
    put_member(&text, "jwt", connect->jwt);
    put_member(&text, "nkey", connect->nkey);
    put_member(&text, "sig", connect->sig);
    put_text(&text, "}\r\n");
    if (text.error != 0) {
        /* Leave no part of a password behind. */
        explicit_bzero(out, text.len);
        return text.error;
    }
    return (int)text.len;
}
