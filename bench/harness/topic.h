/* SPDX-License-Identifier: MIT */
/**
 * The topics of the bench. All have the same length, so that the bytes on the wire can be
 * foretold, and none has the letter G: see null_server/discard.c.
 */
#ifndef BENCH_HARNESS_TOPIC_H
#define BENCH_HARNESS_TOPIC_H

#include <stdint.h>

/** Bytes of a topic that carries messages, and of the text with its NUL byte. */
#define TOPIC_LEN  16
#define TOPIC_SIZE 24

/** How the topics that carry messages begin. */
#define TOPIC_PREFIX "bench.room."
/** The number of topic 0, and how many there can be. */
#define TOPIC_FIRST 10000
#define TOPIC_MAX   90000

/** Write topic `index`, such as "bench.room.10000". */
void topic_write(char text[TOPIC_SIZE], uint32_t index);

/** Write a topic that is subscribed to and never published to, such as "bench.held.1000000". */
void topic_write_held(char text[TOPIC_SIZE], uint32_t index);

/**
 * Topics 0 .. count - 1, one after the other.
 *
 * Ownership: the caller's; free() it.
 * Returns:   them; ends the process with stop() if there is no memory.
 */
char (*topic_list(uint32_t count))[TOPIC_SIZE];

#endif
