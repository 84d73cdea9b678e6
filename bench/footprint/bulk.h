/* SPDX-License-Identifier: MIT */
/**
 * Subscribing in bulk to a nats-server: how long it takes until that has processed all SUBs, and
 * again when it was restarted, and what CPU time of the client.
 */
#ifndef BENCH_FOOTPRINT_BULK_H
#define BENCH_FOOTPRINT_BULK_H

#include <stddef.h>
#include <stdint.h>

#include "footprint/footprint.h"
#include "harness/lines.h"

/** Measure the clients in turn, `rounds` times. Returns: the number of clients that failed. */
int bulk_run(const struct footprint_client *const *clients, size_t count, uint32_t subscriptions,
             uint32_t rounds, struct lines *lines);

#endif
