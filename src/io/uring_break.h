/* SPDX-License-Identifier: MIT */
/**
 * An io_uring backend whose ring cannot be used any more: a sandbox that was put up later forbids
 * io_uring_enter(), the program has closed the ring's descriptor, or the kernel runs out of a
 * resource for long.
 *
 *     works --- enter fails for good, or for RLT_URING_PATIENCE_NS ---> broken
 *       ^                                                                 |
 *       +--- the next open of a slot finds that a new ring works ---------+
 *
 * While it is broken, all operations, in progress and new, fail with ROULETTE_ESYSTEM at the next
 * wait: connections are lost, attempts to connect fail, and the core reconnects as usual. Other
 * threads wake the event thread as ever. So nothing waits for a kernel that does not answer, and no
 * thread spins.
 *
 * The kernel uses none of our memory any more once the ring's descriptor is closed: operations that
 * still wait there are cancelled, not executed (io_ring_ctx_wait_and_kill() in the kernel).
 *
 * Owner: the event thread.
 */
#ifndef RLT_IO_URING_BREAK_H
#define RLT_IO_URING_BREAK_H

#include <stdbool.h>
#include <stdint.h>

#include "io/uring_slots.h"

/** How long enter may fail for reasons that can pass: memory, interruptions. */
#define RLT_URING_PATIENCE_NS RLT_NS_PER_S
/** How often the event thread looks for work while no thread can wake it. */
#define RLT_URING_TICK_NS (10 * RLT_NS_PER_MS)

/** Handle a negative errno of submitting or waiting: break the ring, or wait a little. */
void rlt_uring_on_failure(struct rlt_uring *uring, int result);

/** End the broken ring, and fail all operations in progress. */
void rlt_uring_settle(struct rlt_uring *uring);

/** Wait without a ring until another thread wakes this one, or until the deadline. */
void rlt_uring_rest(struct rlt_uring *uring, uint64_t deadline_ns);

/** Try to make a new ring in place of a broken one. Returns: whether that works. */
bool rlt_uring_mend(struct rlt_uring *uring);

#endif
