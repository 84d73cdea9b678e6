/* SPDX-License-Identifier: MIT */
/**
 * One peer on one workload, in all rounds.
 */
#ifndef BENCH_HARNESS_ENTRY_H
#define BENCH_HARNESS_ENTRY_H

#include <stdbool.h>

#include "harness/sample.h"
#include "harness/trial.h"
#include "harness/workload.h"
#include "peers/peer.h"

struct entry {
    const struct workload *workload;
    const struct peer *peer;
    uint64_t messages; /* of each round; found before the first, so that it lasts long enough */
    uint32_t failures;
    uint32_t rounds; /* of `trials` */
    struct trial trials[SAMPLE_ROUNDS_MAX];
    bool good[SAMPLE_ROUNDS_MAX]; /* the others failed and are no part of any series */
    bool calls_counted;
    double calls_per_message;
};

/** What can be said of a round. */
enum metric {
    METRIC_RATE, /* messages/s */
    METRIC_CPU,  /* client CPU ns for each message */
    METRIC_P50,  /* us */
    METRIC_P99,
    METRIC_P999,
    METRIC_COPIES, /* on the wire, for each published message */
    METRIC_SENDS,  /* for each published message; only of peers that tell */
    METRIC_CALLS,  /* system calls for each message; of a run of its own */
};

/** The metric in each good round. */
void entry_series(const struct entry *entry, enum metric metric, struct series *series);

/** The metric as a ratio to another entry's, in each round in which both are good. */
void entry_ratios(const struct entry *entry, const struct entry *reference, enum metric metric,
                  struct series *series);

/** Messages published or received in all rounds, and those dropped. */
uint64_t entry_done(const struct entry *entry);
uint64_t entry_dropped(const struct entry *entry);

#endif
