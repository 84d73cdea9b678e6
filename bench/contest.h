/* SPDX-License-Identifier: MIT */
/**
 * One workload through all peers that can do it, in interleaved rounds: a machine that slows down
 * for a while then slows all of them.
 */
#ifndef BENCH_CONTEST_H
#define BENCH_CONTEST_H

#include <stddef.h>
#include <stdint.h>

#include "peer.h"
#include "sample.h"
#include "trial.h"
#include "workload.h"

#define CONTEST_PEERS_MAX 8

/** What one peer did in all rounds. A round that failed is missing from the series. */
struct entry {
    const struct peer *peer;
    uint64_t messages; /* of each round; found before the first, so that it lasts long enough */
    uint32_t failures;
    uint64_t done; /* published or received, in all rounds */
    uint64_t dropped;
    struct series rate;            /* messages/s */
    struct series cpu_ns;          /* client CPU for each message */
    struct series rate_of_libnats; /* ratios within a round */
    struct series cpu_of_libnats;
    struct series cpu_of_raw;
};

struct contest {
    const struct workload *workload;
    size_t entry_count;
    struct entry entries[CONTEST_PEERS_MAX];
};

struct contest_options {
    uint32_t rounds;
    double seconds;   /* that a run is to last, about */
    const char *peer; /* the only one, or NULL: all */
    /** Called after each run that succeeded; `context` as here. */
    void (*on_trial)(void *context, const struct contest *contest, const struct entry *entry,
                     uint32_t round, const struct trial *trial);
    void *context;
};

/** Whether there is a peer of this name. */
bool contest_has_peer(const char *name);

void contest_run(const struct workload *workload, const struct contest_options *options,
                 struct contest *contest);

#endif
