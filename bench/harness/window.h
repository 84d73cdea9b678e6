/* SPDX-License-Identifier: MIT */
/**
 * The measured window of a run: what passes between its two ends in time, CPU and system calls of
 * this process.
 */
#ifndef BENCH_HARNESS_WINDOW_H
#define BENCH_HARNESS_WINDOW_H

#include <stdint.h>

#include "harness/sample.h"
#include "peers/peer.h"

/** How the process stood when the window opened. */
struct window {
    double seconds;
    double cpu_seconds;
    uint64_t switches;
};

/** Messages before the window, for `messages` in it. */
uint64_t window_warm_up(uint64_t messages);

void window_open(struct window *window);

/** Sets the sample's time, CPU and switches. */
void window_close(const struct window *window, struct sample *sample);

/**
 * Open the window when the warm-up has arrived and close it when all has: `messages` deliveries
 * to each of `subscribers`. Sets the sample's messages and dropped too.
 */
void window_of_arrival(const struct peer *peer, void *client, const struct peer_tally *tally,
                       uint64_t messages, uint32_t subscribers, struct sample *sample);

#endif
