/* SPDX-License-Identifier: MIT */
/**
 * The CPUs on which this process runs, and those that it starts.
 *
 * Most may use all. A client that has nothing to do between two messages sleeps, and so do the
 * server and the CPUs: then the scheduler wakes some of the threads on another CPU, which on a
 * virtual machine takes 40 us and more where the own CPU takes 2. That is luck, and hides what
 * the clients do; on one CPU it does not happen.
 */
#ifndef BENCH_HARNESS_PLACEMENT_H
#define BENCH_HARNESS_PLACEMENT_H

/** Use one CPU only: the last of those that there were at the start. */
void placement_narrow(void);

/** Use all that there were at the start. */
void placement_widen(void);

#endif
