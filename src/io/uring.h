/* SPDX-License-Identifier: MIT */
/**
 * The io_uring backend: one ring for each event thread.
 *
 * Kernel: 5.11 or newer (timeouts as arguments of io_uring_enter); uses single issuer and
 * deferred task work where it has them (6.1).
 */
#ifndef RLT_IO_URING_H
#define RLT_IO_URING_H

#include "io/backend.h"

/**
 * Make an io_uring backend. From here on only the calling thread may use its functions, but wake().
 *
 * Ownership: ops->shut_down(), then ops->destroy() end it.
 * Returns:   0; ROULETTE_ENOTSUP, ROULETTE_ESYSTEM (as rlt_uring_setup()); ROULETTE_ENOMEM.
 */
int rlt_uring_create(const struct rlt_backend_options *options, struct rlt_backend **backend);

#endif
