/* SPDX-License-Identifier: MIT */
/**
 * Opening and closing a slot of an io_uring backend. To open: the host's addresses are looked up
 * off the event thread (io/resolver.h), then tried (io/uring_race.h).
 *
 * Owner: the event thread.
 */
#ifndef RLT_IO_URING_OPEN_H
#define RLT_IO_URING_OPEN_H

#include <stdint.h>

#include "core/seam/transport.h"
#include "io/uring_slots.h"

/** rlt_transport_ops.open. */
void rlt_uring_open(struct rlt_transport *transport, uint32_t slot, const char *host,
                    uint16_t port);

/** rlt_transport_ops.close. */
void rlt_uring_close(struct rlt_transport *transport, uint32_t slot);

/** Take finished lookups; drop those of an open that was given up meanwhile. */
void rlt_uring_take_resolved(struct rlt_uring *uring);

/**
 * Free the addresses of a slot whose open is over or given up, or cancel their lookup. Also in a
 * child process.
 */
void rlt_uring_forget_lookup(struct rlt_uring_slot *slot);

#endif
