/* SPDX-License-Identifier: MIT */
/*
 * Every publish checks its topic, so the check has two halves. is_plain() is fast and accepts only
 * topics that break no rule and have no wildcard character; that is nearly every topic. All others
 * scan() reads byte by byte, and says exactly what they have.
 */
#include "proto/topic.h"

#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "base/defs.h"
#include "roulette.h"

/* A test defines RLT_TOPIC_PORTABLE to compare the two. */
#if defined(__SSE2__) && !defined(RLT_TOPIC_PORTABLE)
#include <emmintrin.h>
#define TOPIC_SSE2 1
#endif

static_assert(ROULETTE_TOPIC_LEN_MAX == 1024, "a text of refuse_len() says so");

#ifdef TOPIC_SSE2

#define CHUNK 16

static inline uint64_t load_u64(const char *bytes)
{
    uint64_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

static inline uint64_t load_u32(const char *bytes)
{
    uint32_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

/* Load 1 to 15 bytes, with zeros behind them, without reading around them and without a loop: two
 * loads that overlap put the same bits in the same place. */
static inline __m128i load_short(const char *bytes, size_t len)
{
    uint64_t low;
    uint64_t high = 0;
    if (len >= 8) {
        size_t half_shift = 4 * (CHUNK - len); /* in two halves: 64 at once is undefined */
        low = load_u64(bytes);
        high = load_u64(bytes + len - 8) >> half_shift >> half_shift;
    } else if (len >= 4) {
        low = load_u32(bytes) | load_u32(bytes + len - 4) << 8 * (len - 4);
    } else {
        low = (uint64_t)(uint8_t)bytes[0] | (uint64_t)(uint8_t)bytes[len / 2] << 8 * (len / 2) |
              (uint64_t)(uint8_t)bytes[len - 1] << 8 * (len - 1);
    }
    return _mm_set_epi64x((long long)high, (long long)low);
}

/* One bit for each byte that is forbidden, '*' or '>'. */
static inline uint32_t suspects(__m128i bytes)
{
    __m128i blank = _mm_set1_epi8(0x20);
    __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(bytes, blank), bytes);
    __m128i delete = _mm_cmpeq_epi8(bytes, _mm_set1_epi8(0x7f));
    __m128i star = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('*'));
    __m128i rest = _mm_cmpeq_epi8(bytes, _mm_set1_epi8('>'));
    __m128i any = _mm_or_si128(_mm_or_si128(low, delete), _mm_or_si128(star, rest));
    return (uint32_t)_mm_movemask_epi8(any);
}

static inline uint32_t dots(__m128i bytes)
{
    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8('.')));
}

/**
 * True only if no byte is forbidden, '*' or '>' and no token is empty; 0 < len.
 *
 * A dot is wrong behind a dot, at the start and at the end. `behind_dot` carries the first two
 * from chunk to chunk: bit 0 says that the byte before the chunk is a dot, or is not there.
 */
static inline bool is_plain(const char *topic, size_t len)
{
    if (len < CHUNK) {
        __m128i bytes = load_short(topic, len);
        uint32_t there = (UINT32_C(1) << len) - 1;
        uint32_t dot = dots(bytes);
        return ((suspects(bytes) & there) | (dot & (dot << 1 | 1)) | dot >> (len - 1)) == 0;
    }
    uint32_t wrong = 0;
    uint32_t behind_dot = 1;
    size_t offset = 0;
    for (; len - offset > CHUNK; offset += CHUNK) {
        __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(topic + offset));
        uint32_t dot = dots(bytes);
        wrong |= suspects(bytes) | (dot & (dot << 1 | behind_dot));
        behind_dot = dot >> (CHUNK - 1);
    }
    /* The rest, 1 to 16 bytes, is the end of the last 16; dots already seen are shifted out. */
    __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(topic + len - CHUNK));
    uint32_t dot = dots(bytes);
    uint32_t fresh = dot >> (CHUNK - (len - offset));
    wrong |= suspects(bytes) | (fresh & (fresh << 1 | behind_dot)) | dot >> (CHUNK - 1);
    return wrong == 0;
}

#else

/* scan() alone gives the same results. */
static inline bool is_plain(const char *topic, size_t len)
{
    (void)topic;
    (void)len;
    return false;
}

#endif

/** The features of a topic. */
struct findings {
    bool forbidden;   /* a byte <= 0x20 or 0x7f */
    bool empty_token; /* a token without a byte */
    bool star;        /* a token "*" */
    bool rest;        /* a token ">" that is the last one */
    bool rest_early;  /* a token ">" that is not the last one */
};

static void add_token(struct findings *found, const char *token, size_t len, bool last)
{
    found->empty_token |= len == 0;
    if (len == 1) {
        found->star |= *token == '*';
        found->rest |= *token == '>' && last;
        found->rest_early |= *token == '>' && !last;
    }
}

static struct findings scan(const char *topic, size_t len)
{
    struct findings found = {0};
    size_t start = 0;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)topic[i];
        found.forbidden |= byte <= 0x20 || byte == 0x7f;
        if (byte == '.') {
            add_token(&found, topic + start, i - start, false);
            start = i + 1;
        }
    }
    add_token(&found, topic + start, len - start, true);
    return found;
}

static int refuse(int error, const char *text, const char **reason)
{
    if (reason != NULL) {
        *reason = text;
    }
    return error;
}

static int refuse_len(size_t len, const char **reason)
{
    const char *text = len == 0 ? "it is empty" : "it is longer than 1024 bytes";
    return refuse(ROULETTE_ETOPIC, text, reason);
}

/* 0, or ROULETTE_ETOPIC if a byte or an empty token is against the rules of every topic. */
static int check_bytes(struct findings found, const char *topic, size_t len, const char **reason)
{
    if (found.forbidden) {
        return refuse(ROULETTE_ETOPIC, "it has a blank or a control byte", reason);
    }
    if (!found.empty_token) {
        return 0;
    }
    const char *text = "it has an empty token (two dots in a row)";
    if (topic[0] == '.') {
        text = "it starts with a dot";
    } else if (topic[len - 1] == '.') {
        text = "it ends with a dot";
    }
    return refuse(ROULETTE_ETOPIC, text, reason);
}

/* Out of line, so that the fast path saves no registers for it. */
__attribute__((noinline)) static int examine(const char *topic, size_t len, const char **reason)
{
    struct findings found = scan(topic, len);
    int error = check_bytes(found, topic, len, reason);
    if (error < 0) {
        return error;
    }
    if (found.star || found.rest || found.rest_early) {
        return refuse(ROULETTE_EWILDCARD,
                      "it has a wildcard, a token \"*\" or \">\": only a subscription may", reason);
    }
    return 0;
}

int rlt_topic_check(const char *topic, size_t len, const char **reason)
{
    if (rlt_unlikely(len == 0 || len > ROULETTE_TOPIC_LEN_MAX)) {
        return refuse_len(len, reason);
    }
    if (rlt_likely(is_plain(topic, len))) {
        return 0;
    }
    return examine(topic, len, reason);
}

int rlt_topic_check_pattern(const char *pattern, size_t len, const char **reason)
{
    if (len == 0 || len > ROULETTE_TOPIC_LEN_MAX) {
        return refuse_len(len, reason);
    }
    struct findings found = scan(pattern, len);
    int error = check_bytes(found, pattern, len, reason);
    if (error < 0) {
        return error;
    }
    if (found.rest_early) {
        return refuse(ROULETTE_ETOPIC, "it has a token \">\" that is not its last one", reason);
    }
    return found.star || found.rest;
}

int rlt_topic_check_group(const char *group, size_t len, const char **reason)
{
    if (len == 0 || len > ROULETTE_TOPIC_LEN_MAX) {
        return refuse_len(len, reason);
    }
    if (scan(group, len).forbidden) {
        return refuse(ROULETTE_ETOPIC, "it has a blank or a control byte", reason);
    }
    return 0;
}
