/* SPDX-License-Identifier: MIT */
/**
 * The CPUs that the process may use.
 */
#ifndef RLT_IO_SYSTEM_CPU_H
#define RLT_IO_SYSTEM_CPU_H

#include <sched.h>
#include <stddef.h>
#include <unistd.h>

/** Their number, by the calling thread's affinity. Where the kernel has more CPUs than fit a
 *  cpu_set_t (1024): those that are online. 1 if the kernel tells neither. */
static inline size_t rlt_cpu_count(void)
{
    cpu_set_t set;
    long count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set)
                                                              : sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (size_t)count : 1;
}

#endif
