/* SPDX-License-Identifier: MIT */
/**
 * The one way by which the library comes to a descriptor of its own, and gives it back.
 */
#ifndef RLT_IO_SYSTEM_DESCRIPTOR_H
#define RLT_IO_SYSTEM_DESCRIPTOR_H

#include <unistd.h>

/**
 * Move a new descriptor out of 0 to 2. A process that closed those (daemons, supervisors) has code
 * that still uses the numbers: a printf() or perror() anywhere in the process would write into a
 * connection. Every call that makes a descriptor stands inside this one, as in
 *
 *     int fd = rlt_descriptor_above(socket(...));
 *
 * (tools/checks/rank_check demands it.) For two system calls the number is a low one; a new
 * descriptor refuses a stray write then, or at most wakes its owner once.
 *
 * Ownership: takes `fd`, which is closed if it is 0, 1 or 2.
 * Threads:   any thread. One comparison, if no low number was free.
 * Returns:   a close-on-exec descriptor of 3 or more; -1 with errno as the caller's call left it,
 *            or EMFILE.
 */
int rlt_descriptor_above(int fd);

/** Close `*fd`, if it is one, and make it -1. */
static inline void rlt_descriptor_close(int *fd)
{
    if (*fd >= 0) {
        /* Forget the number first: a fork in between must not make the child close a number that
         * another file has by then. */
        int closing = *fd;
        *fd = -1;
        (void)close(closing);
    }
}

#endif
