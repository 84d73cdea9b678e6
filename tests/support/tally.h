/* SPDX-License-Identifier: MIT */
/**
 * Which of the numbered messages of a load were seen, and how often.
 */
#ifndef RLT_TESTS_SUPPORT_TALLY_H
#define RLT_TESTS_SUPPORT_TALLY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define TALLY_THREADS 4
#define TALLY_TOPICS  8
/** The topic of stream s is s % TALLY_TOPICS. One stream for each thread and topic: order is kept
 * within it. */
#define TALLY_STREAMS      (TALLY_THREADS * TALLY_TOPICS)
#define TALLY_SEQUENCE_MAX (1u << 21)
#define TALLY_PAYLOAD_MAX  ((size_t)512)
/** The sequence of a message that is not counted; its stream is the index of its topic. */
#define TALLY_PRIME UINT32_MAX

/** The start of each payload. What follows it is derived from it. */
struct tally_stamp {
    uint32_t stream;
    uint32_t sequence;
};

/** All topics, as a mask. */
#define TALLY_ALL ((1u << TALLY_TOPICS) - 1)

/** Any number of threads may count. */
struct tally {
    uint32_t topics;                     /* a mask: which may be seen; others must not be */
    atomic_uchar *counts[TALLY_STREAMS]; /* by sequence */
    atomic_uint_fast64_t seen;           /* different messages */
    atomic_uint_fast64_t repeated;       /* and further copies */
    atomic_uint_fast64_t primes[TALLY_TOPICS];
};

void tally_init(struct tally *tally, uint32_t topics);
void tally_fini(struct tally *tally);

/** Write a payload with this stamp. Returns: its length. */
size_t tally_payload(struct tally_stamp stamp, uint8_t payload[TALLY_PAYLOAD_MAX]);

/** Count a message; the test ends if a byte of it is wrong. `tally` is a struct tally, as
 *  witness_fn has it. */
void tally_note(void *tally, const void *payload, size_t len);

/** How many of the first accepted[stream] messages of its topics were not seen. */
uint64_t tally_missing(const struct tally *tally, const uint32_t accepted[TALLY_STREAMS]);

#endif
