/* SPDX-License-Identifier: MIT */
/**
 * The CPUs that the process may use.
 */
#ifndef RLT_IO_CPU_H
#define RLT_IO_CPU_H

#include <sched.h>
#include <stddef.h>

/** Their number, by the calling thread's affinity; 1 if the kernel does not tell. */
static inline size_t rlt_cpu_count(void)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;
    return count > 0 ? (size_t)count : 1;
}

#endif
