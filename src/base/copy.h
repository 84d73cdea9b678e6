/* SPDX-License-Identifier: MIT */
/**
 * Copying and comparing a few bytes without a call. The lengths on the data path vary, so that
 * memcpy() and memcmp() would be calls; these are two or four moves that overlap.
 */
#ifndef RLT_BASE_COPY_H
#define RLT_BASE_COPY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/defs.h"

#pragma GCC diagnostic push
#ifndef __clang__
/* Inlined with a small array, GCC 12 warns of the moves for longer lengths, which it does not
 * see are never reached. */
#pragma GCC diagnostic ignored "-Warray-bounds"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#pragma GCC diagnostic ignored "-Wstringop-overread"
#endif

/** Copy `len` bytes; made for 0 to 32. */
static inline void rlt_copy_short(void *to, const void *from, size_t len)
{
    uint8_t *out = to;
    const uint8_t *in = from;
    if (rlt_likely(len >= 8 && len <= 32)) {
        if (len <= 16) {
            uint64_t first;
            uint64_t last;
            memcpy(&first, in, 8);
            memcpy(&last, in + len - 8, 8);
            memcpy(out, &first, 8);
            memcpy(out + len - 8, &last, 8);
            return;
        }
        uint8_t first[16];
        uint8_t last[16];
        memcpy(first, in, 16);
        memcpy(last, in + len - 16, 16);
        memcpy(out, first, 16);
        memcpy(out + len - 16, last, 16);
        return;
    }
    if (len > 32) {
        memcpy(out, in, len);
        return;
    }
    if (len >= 4) {
        uint32_t first;
        uint32_t last;
        memcpy(&first, in, 4);
        memcpy(&last, in + len - 4, 4);
        memcpy(out, &first, 4);
        memcpy(out + len - 4, &last, 4);
    } else if (len != 0) {
        uint8_t middle = in[len / 2];
        uint8_t last = in[len - 1];
        out[0] = in[0];
        out[len / 2] = middle;
        out[len - 1] = last;
    }
}

#pragma GCC diagnostic pop

/** Whether `len` bytes are equal; made for 8 to 64. */
static inline bool rlt_equal_short(const uint8_t *a, const uint8_t *b, size_t len)
{
    if (len < 8 || len > 64) {
        return memcmp(a, b, len) == 0;
    }
    if (len < 16) {
        return memcmp(a, b, 8) == 0 && memcmp(a + len - 8, b + len - 8, 8) == 0;
    }
    if (memcmp(a, b, 16) != 0 || memcmp(a + len - 16, b + len - 16, 16) != 0) {
        return false;
    }
    return len <= 32 ||
           (memcmp(a + 16, b + 16, 16) == 0 && memcmp(a + len - 32, b + len - 32, 16) == 0);
}

#endif
