/* SPDX-License-Identifier: MIT */
/**
 * Making an io_uring ring: the best that this kernel and its limits allow.
 */
#ifndef RLT_IO_URING_SETUP_H
#define RLT_IO_URING_SETUP_H

#include <liburing.h>

/**
 * Make a working ring of `entries` (a power of two), with room for `completions`, that a child
 * process does not inherit.
 *
 * Ownership: io_uring_queue_exit() ends it.
 * Threads:   the one that will use it.
 * Returns:   0; ROULETTE_ENOTSUP (the kernel or a sandbox forbids to make it or to use it);
 *            ROULETTE_ESYSTEM (descriptors or locked memory are used up): roulette_last_error()
 *            names the system call, the reason and what to change.
 */
int rlt_uring_setup(struct io_uring *ring, unsigned entries, unsigned completions);

#endif
