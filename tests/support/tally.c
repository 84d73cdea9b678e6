/* SPDX-License-Identifier: MIT */
#include "support/tally.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "support/condition.h"

void tally_init(struct tally *tally, uint32_t topics)
{
    memset(tally, 0, sizeof(*tally));
    tally->topics = topics;
    for (size_t i = 0; i < TALLY_STREAMS; i++) {
        tally->counts[i] = calloc(TALLY_SEQUENCE_MAX, sizeof(*tally->counts[i]));
        REQUIRE(tally->counts[i] != NULL);
    }
}

void tally_fini(struct tally *tally)
{
    for (size_t i = 0; i < TALLY_STREAMS; i++) {
        free(tally->counts[i]);
    }
}

static bool has_topic(const struct tally *tally, size_t stream)
{
    return (tally->topics >> stream % TALLY_TOPICS & 1) != 0;
}

static size_t payload_len(struct tally_stamp stamp)
{
    return sizeof(stamp) + (stamp.sequence * 37 + stamp.stream) % 400;
}

static uint8_t filler(struct tally_stamp stamp)
{
    return (uint8_t)(stamp.sequence * 31 + stamp.stream);
}

size_t tally_payload(struct tally_stamp stamp, uint8_t payload[TALLY_PAYLOAD_MAX])
{
    size_t len = payload_len(stamp);
    memcpy(payload, &stamp, sizeof(stamp));
    memset(payload + sizeof(stamp), filler(stamp), len - sizeof(stamp));
    return len;
}

void tally_note(void *context, const void *payload, size_t len)
{
    struct tally *tally = context;
    struct tally_stamp stamp;
    REQUIRE(len >= sizeof(stamp));
    memcpy(&stamp, payload, sizeof(stamp));
    REQUIRE(len == payload_len(stamp));
    for (size_t i = sizeof(stamp); i < len; i++) {
        REQUIRE(((const uint8_t *)payload)[i] == filler(stamp));
    }
    REQUIRE(stamp.stream < TALLY_STREAMS && has_topic(tally, stamp.stream));
    if (stamp.sequence == TALLY_PRIME) {
        REQUIRE(stamp.stream < TALLY_TOPICS);
        atomic_fetch_add(&tally->primes[stamp.stream], 1);
        return;
    }
    REQUIRE(stamp.sequence < TALLY_SEQUENCE_MAX);
    if (atomic_fetch_add(&tally->counts[stamp.stream][stamp.sequence], 1) == 0) {
        atomic_fetch_add(&tally->seen, 1);
    } else {
        atomic_fetch_add(&tally->repeated, 1);
    }
}

uint64_t tally_missing(const struct tally *tally, const uint32_t accepted[TALLY_STREAMS])
{
    uint64_t missing = 0;
    for (size_t i = 0; i < TALLY_STREAMS; i++) {
        for (uint32_t k = 0; has_topic(tally, i) && k < accepted[i]; k++) {
            missing += atomic_load(&tally->counts[i][k]) == 0 ? 1 : 0;
        }
    }
    return missing;
}
