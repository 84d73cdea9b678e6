/* SPDX-License-Identifier: MIT */
/**
 * What the figures depend on.
 */
#ifndef BENCH_HARNESS_MACHINE_H
#define BENCH_HARNESS_MACHINE_H

struct machine {
    char cpu[128];
    char kernel[256];
    long cores;  /* that this process may use */
    double load; /* average of the last minute: others that are busy disturb the figures */
    const char *compiler;
    const char *flags;
    const char *roulette; /* versions */
    const char *libnats;
    const char *before; /* an older library that takes part: its path; or NULL */
};

void machine_describe(struct machine *machine);

#endif
