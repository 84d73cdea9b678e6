/* SPDX-License-Identifier: MIT */
/**
 * What a null server does on a connection after its INFO, until the connection is over.
 */
#ifndef BENCH_NULL_SERVER_MODES_H
#define BENCH_NULL_SERVER_MODES_H

#include <stddef.h>
#include <stdint.h>

#include "null_server/connection.h"

/** What to send to whom. */
struct load {
    size_t payload_len;
    uint64_t messages;
    uint64_t subscriptions; /* to wait for */
    uint32_t topics;        /* of these, the first with such a topic: to send to, in turn */
};

/** Read and forget what is published; answer PINGs. */
void null_discard(struct connection *connection);

/** Wait for the SUBs of a load, then send its messages as fast as they are taken. */
void null_blast(struct connection *connection, const struct load *load);

/** Send each published message back to the last subscription, one at a time, each at once. */
void null_echo(struct connection *connection);

#endif
