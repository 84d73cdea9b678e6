/* SPDX-License-Identifier: MIT */
/**
 * Messages whose payload is a number, and pauses between them.
 */
#ifndef RLT_TESTS_SUPPORT_NUMBERED_H
#define RLT_TESTS_SUPPORT_NUMBERED_H

#include <stdint.h>
#include <string.h>
#include <time.h>

#include "roulette.h"
#include "support/condition.h"

static inline void rest(uint64_t ns)
{
    struct timespec time = {
        .tv_sec = (time_t)(ns / 1000000000),
        .tv_nsec = (long)(ns % 1000000000),
    };
    (void)nanosleep(&time, NULL);
}

static inline void numbered_publish(roulette_client *client, const char *topic, uint64_t number)
{
    int result = roulette_publish_wait(client, topic, ROULETTE_STRLEN, &number, sizeof(number),
                                       EVENTUALLY_MS);
    REQUIRE(result == 0, "%s", roulette_last_error());
}

static inline uint64_t numbered_of(const struct roulette_message *message)
{
    uint64_t number;
    REQUIRE(message->kind == ROULETTE_KIND_MESSAGE && message->payload_len == sizeof(number),
            "kind %d", (int)message->kind);
    memcpy(&number, message->payload, sizeof(number));
    return number;
}

/** Receive the next message, which must come. Returns: its number. */
static inline uint64_t numbered_receive(roulette_subscriber *subscriber)
{
    struct roulette_message message;
    int count = roulette_receive(subscriber, &message, 1, EVENTUALLY_MS);
    REQUIRE(count == 1, "%d: %s", count, roulette_last_error());
    uint64_t number = numbered_of(&message);
    roulette_release(subscriber, &message, 1);
    return number;
}

#endif
