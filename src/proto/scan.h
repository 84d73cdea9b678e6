/* SPDX-License-Identifier: MIT */
/**
 * Find the ends of tokens, 32 bytes at a time.
 *
 * A "stop" is a byte <= 0x20: each byte that can end a token (SP, TAB, CR, LF) is one, and the
 * compare is the same for all four. A stop that is none of the four (say NUL, which a subject may
 * hold) is the caller's to sort out. RLT_SCAN_PORTABLE leaves SSE2 out, for tests.
 */
#ifndef RLT_PROTO_SCAN_H
#define RLT_PROTO_SCAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>
#if defined(__SSE2__) && !defined(RLT_SCAN_PORTABLE)
#include <emmintrin.h>
#endif

#define RLT_SCAN_WINDOW 32

/** Bit i is set if bytes[i] is a stop; i < 8. For any machine. */
static inline uint32_t rlt_scan_stops8(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    word = le64toh(word);
    /* 0x21 + 0x5f = 0x80: the top bit of a byte becomes 1 if it is above 0x20. No byte carries. */
    uint64_t low = word & UINT64_C(0x7f7f7f7f7f7f7f7f);
    uint64_t above = (low + UINT64_C(0x5f5f5f5f5f5f5f5f)) | word;
    uint64_t stops = (~above >> 7) & UINT64_C(0x0101010101010101);
    /* The product moves bit 8i to bit 56 + i: each pair meets once, so nothing carries. */
    return (uint32_t)((stops * UINT64_C(0x0102040810204080)) >> 56);
}

/** Bit i is set if bytes[i] is a stop; i < RLT_SCAN_WINDOW. For any machine. */
static inline uint32_t rlt_scan_stops_portable(const uint8_t *bytes)
{
    return rlt_scan_stops8(bytes) | rlt_scan_stops8(bytes + 8) << 8 |
           rlt_scan_stops8(bytes + 16) << 16 | rlt_scan_stops8(bytes + 24) << 24;
}

#if defined(__SSE2__) && !defined(RLT_SCAN_PORTABLE)
/** Bit i is set if bytes[i] is a stop; i < 16. */
static inline uint32_t rlt_scan_stops16(const uint8_t *bytes)
{
    /* SSE2 compares signed bytes only; a saturating difference is 0 for all that is <= 0x20. */
    __m128i word = _mm_loadu_si128((const __m128i *)(const void *)bytes);
    __m128i above = _mm_subs_epu8(word, _mm_set1_epi8(0x20));
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(above, _mm_setzero_si128()));
}
#endif

/** Bit i is set if bytes[i] is a stop. Reads exactly RLT_SCAN_WINDOW bytes. */
static inline uint32_t rlt_scan_stops(const uint8_t *bytes)
{
#if defined(__SSE2__) && !defined(RLT_SCAN_PORTABLE)
    return rlt_scan_stops16(bytes) | rlt_scan_stops16(bytes + 16) << 16;
#else
    return rlt_scan_stops_portable(bytes);
#endif
}

#endif
