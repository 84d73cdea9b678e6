/* SPDX-License-Identifier: MIT */
/**
 * What one measured run of one peer gave, and medians of them.
 */
#ifndef BENCH_HARNESS_SAMPLE_H
#define BENCH_HARNESS_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

/** The client's process, in the measured window only. */
struct sample {
    uint64_t messages;         /* published, or received by a subscriber */
    uint64_t published_in_all; /* warm-up included; WORKLOAD_PUBLISH only */
    uint64_t dropped;          /* not received, because the client dropped them */
    double seconds;
    double cpu_seconds; /* user and system */
    uint64_t switches;  /* context switches, voluntary or not */
    uint64_t sends;     /* that the client says it made; WORKLOAD_PUBLISH only, 0: not known */
    double copies;      /* on the wire, of each published message; WORKLOAD_FAN_OUT only */
    /* From publishing to receiving; WORKLOAD_LATENCY only. */
    double p50_us;
    double p99_us;
    double p999_us;
};

/** Figures of several rounds, in the order of the rounds. */
#define SAMPLE_ROUNDS_MAX 64
struct series {
    size_t count;
    double values[SAMPLE_ROUNDS_MAX];
};

double sample_rate(const struct sample *sample);
double sample_cpu_ns(const struct sample *sample);

/** Does nothing if the series is full. */
void series_add(struct series *series, double value);
/** 0 if there is nothing. */
double series_median(const struct series *series);
double series_min(const struct series *series);
double series_max(const struct series *series);

#endif
