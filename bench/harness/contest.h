/* SPDX-License-Identifier: MIT */
/**
 * Workloads that are compared, through all peers that can do them, in interleaved rounds: a
 * machine that slows down for a while then slows all of them.
 */
#ifndef BENCH_HARNESS_CONTEST_H
#define BENCH_HARNESS_CONTEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "harness/entry.h"

#define CONTEST_WORKLOADS_MAX 16
#define CONTEST_ENTRIES_MAX   (CONTEST_WORKLOADS_MAX * 6)

struct contest {
    bool compares; /* with an older build of this library */
    size_t entry_count;
    struct entry entries[CONTEST_ENTRIES_MAX]; /* workload by workload */
};

struct contest_options {
    uint32_t rounds;
    double seconds;   /* that a run is to last, about */
    const char *peer; /* the only one, or NULL: all */
    bool compares;    /* an older build of this library takes part: see harness/library.h */
    /** Called before each run; round 0 is the search for the number of messages. */
    void (*on_round)(void *context, const struct entry *entry, uint32_t round);
    /** Called after each run that succeeded. */
    void (*on_trial)(void *context, const struct entry *entry, uint32_t round,
                     const struct trial *trial);
    void *context;
};

/** Whether there is a peer of this name. */
bool contest_has_peer(const char *name);

/** How many entries a workload has. */
size_t contest_width(const struct workload *workload, const struct contest_options *options);

/** Run up to CONTEST_WORKLOADS_MAX workloads. */
void contest_run(const struct workload *const *chosen, size_t count,
                 const struct contest_options *options, struct contest *contest);

/** The entry of a peer on a workload with the same figures, or NULL. */
const struct entry *contest_find(const struct contest *contest, const struct workload *workload,
                                 const struct peer *peer);

#endif
