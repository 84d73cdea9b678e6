/* SPDX-License-Identifier: MIT */
/**
 * A fence in every thread of the process, made by one thread: membarrier(2) since Linux 4.14. It
 * interrupts the CPUs that run other threads of the process, about 1 us each, and spares those
 * threads fences of their own (lockfree/doorbell.h).
 */
#ifndef RLT_IO_SYSTEM_BARRIER_H
#define RLT_IO_SYSTEM_BARRIER_H

#include <linux/membarrier.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

/** Announce that the process will use it. Returns: false if the kernel or a sandbox forbids it. */
static inline bool rlt_barrier_register(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
}

/** Make all threads execute a fence before this returns true. Threads: any, after registering. */
static inline bool rlt_barrier_execute(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

#endif
