/* SPDX-License-Identifier: MIT */
/**
 * Numbers in the lines of the protocol: a sid or a size, in decimal digits. All is inlined into
 * the parser: a call would move the spans from registers to memory.
 *
 * Source: nats-clients.md C.1.
 */
#ifndef RLT_PROTO_NUMBER_H
#define RLT_PROTO_NUMBER_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/defs.h"

/** The server parses at most 9 digits of a size (parseSize); so RLT_SIZE_MAX needs no check. */
#define RLT_SIZE_DIGITS_MAX 9
/** Digits of 2^63 - 1. */
#define RLT_SID_DIGITS_MAX 19

/** A part of a line. */
struct rlt_extent {
    size_t start;
    size_t end;
};

/** Count the bytes of a part. */
static inline size_t rlt_extent_len(struct rlt_extent span)
{
    return span.end - span.start;
}

/**
 * Read the number in a span of 1 to 7 bytes, all at once; false if a byte is not a digit.
 *
 * Reads the 8 bytes that end one byte behind the span. They lie within the line: at least
 * "MSG a " is before a number and at least CR is behind it.
 */
RLT_ALWAYS_INLINE bool rlt_number_short(const uint8_t *bytes, struct rlt_extent span,
                                        uint64_t *value)
{
    uint64_t word;
    memcpy(&word, bytes + span.end - 7, sizeof word);
    /* The last digit moves to the top byte; bytes before the first digit become 0. */
    word = (le64toh(word) << 8) ^ UINT64_C(0x3030303030303030);
    word &= UINT64_MAX << (64 - 8 * rlt_extent_len(span));
    uint64_t above_nine = (word + UINT64_C(0x7676767676767676)) | word;
    if (rlt_unlikely((above_nine & UINT64_C(0x8080808080808080)) != 0))
        return false;
    /* Join neighbours to 4 numbers of 2 digits; then weigh the first and third, and the second and
     * fourth, into the upper half. */
    const uint64_t one_of_two = UINT64_C(0x000000ff000000ff);
    word = word * 10 + (word >> 8);
    word = (word & one_of_two) * (UINT64_C(1000000) << 32 | 100) +
           (word >> 16 & one_of_two) * (UINT64_C(10000) << 32 | 1);
    *value = word >> 32;
    return true;
}

/** Read the number in a span of up to RLT_SID_DIGITS_MAX bytes; false: none, or above 2^63 - 1. */
static inline bool rlt_number_long(const uint8_t *bytes, struct rlt_extent span, uint64_t *value)
{
    uint64_t sum = 0;
    RLT_DASSERT(rlt_extent_len(span) <= RLT_SID_DIGITS_MAX);
    for (size_t i = span.start; i < span.end; i++) {
        uint8_t digit = (uint8_t)(bytes[i] - '0');
        if (digit > 9)
            return false;
        if (sum > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return true;
}

/**
 * Read a sid: its length varies from line to line but nothing depends on the number soon, so the
 * way without branches is better.
 */
RLT_ALWAYS_INLINE bool rlt_number_sid(const uint8_t *bytes, struct rlt_extent span, uint64_t *value)
{
    if (rlt_likely(rlt_extent_len(span) <= 7))
        return rlt_number_short(bytes, span, value);
    return rlt_extent_len(span) <= RLT_SID_DIGITS_MAX && rlt_number_long(bytes, span, value);
}

/**
 * Read a size: the start of the next operation depends on it, so it is needed soon. From the last
 * digit to the first each address depends on the span's end only; the number of digits is left to
 * the branch predictor.
 */
RLT_ALWAYS_INLINE bool rlt_number_size(const uint8_t *bytes, struct rlt_extent span,
                                       uint32_t *value)
{
    uint32_t sum = (uint32_t)bytes[span.end - 1] - '0';
    uint32_t scale = 10;
    if (rlt_unlikely(sum > 9 || rlt_extent_len(span) > RLT_SIZE_DIGITS_MAX))
        return false;
    for (size_t i = span.end - 1; i-- > span.start; scale *= 10) {
        uint32_t digit = (uint32_t)bytes[i] - '0';
        if (rlt_unlikely(digit > 9))
            return false;
        sum += digit * scale;
    }
    *value = sum;
    return true;
}

#endif
