/* SPDX-License-Identifier: MIT */
/**
 * A subscriber with nothing of the library in it, connected directly to one server: what it saw is
 * what the servers of its cluster processed. And a publisher of the same kind.
 */
#ifndef RLT_TESTS_SUPPORT_WITNESS_H
#define RLT_TESTS_SUPPORT_WITNESS_H

#include <stddef.h>
#include <stdint.h>

/** Called in the witness's thread for each message. */
typedef void witness_fn(void *context, const void *payload, size_t len);

struct witness;

/** Subscribe to `topic`; the server learns of it soon. Ownership: witness_stop() ends it. */
struct witness *witness_start(uint16_t port, const char *topic, witness_fn *on_message,
                              void *context);
void witness_stop(struct witness *witness);

/** A connection for witness_publish(); close() it. */
int witness_connect(uint16_t port);

/** Publish, and wait until the server has processed it. */
void witness_publish(int fd, const char *topic, const void *payload, size_t len);

#endif
