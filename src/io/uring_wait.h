/* SPDX-License-Identifier: MIT */
/**
 * One turn of an event thread with an io_uring backend: submit the queued operations, wait, and
 * make events of the kernel's completions.
 *
 * Owner: the event thread.
 */
#ifndef RLT_IO_URING_WAIT_H
#define RLT_IO_URING_WAIT_H

#include <stdint.h>

#include "core/seam/transport.h"
#include "io/backend.h"

/** rlt_backend_ops.wait. */
uint32_t rlt_uring_wait(struct rlt_backend *backend, uint64_t deadline_ns,
                        struct rlt_io_event *events, uint32_t max);

#endif
