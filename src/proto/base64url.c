/* SPDX-License-Identifier: MIT */
#include "proto/base64url.h"

#include "roulette.h"

char *rlt_base64url_encode(char *out, const uint8_t *bytes, size_t len)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    uint32_t bit_count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        for (bit_count += 8; bit_count >= 6; bit_count -= 6) {
            *out++ = alphabet[bits >> (bit_count - 6) & 63];
        }
    }
    if (bit_count != 0) {
        *out++ = alphabet[bits << (6 - bit_count) & 63];
    }
    return out;
}

/* The six bits of a character, or -1. */
static int value_of(char character)
{
    if (character >= 'A' && character <= 'Z') {
        return character - 'A';
    }
    if (character >= 'a' && character <= 'z') {
        return character - 'a' + 26;
    }
    if (character >= '0' && character <= '9') {
        return character - '0' + 52;
    }
    if (character == '-') {
        return 62;
    }
    return character == '_' ? 63 : -1;
}

int rlt_base64url_decode(const char *text, size_t len, uint8_t *out, size_t *out_len)
{
    uint32_t bits = 0;
    uint32_t bit_count = 0;
    size_t written = 0;
    if (len % 4 == 1) {
        return ROULETTE_EINVAL;
    }
    for (size_t i = 0; i < len; i++) {
        int value = value_of(text[i]);
        if (value < 0) {
            return ROULETTE_EINVAL;
        }
        bits = bits << 6 | (uint32_t)value;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            out[written++] = (uint8_t)(bits >> bit_count);
        }
    }
    *out_len = written;
    return 0;
}
