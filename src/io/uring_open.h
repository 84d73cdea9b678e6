/* SPDX-License-Identifier: MIT */
/**
 * Opening a slot of an io_uring backend: the host's addresses, looked up off the event thread, are
 * tried one behind the other.
 *
 * Owner: the event thread.
 */
#ifndef RLT_IO_URING_OPEN_H
#define RLT_IO_URING_OPEN_H

#include <stdint.h>

#include "core/transport.h"
#include "io/uring_slots.h"

/** rlt_transport_ops.open. */
void rlt_uring_open(struct rlt_transport *transport, uint32_t slot, const char *host,
                    uint16_t port);

/** Connecting has ended with `result`, 0 or a negative errno: tell, or try the next address. */
void rlt_uring_on_connect(struct rlt_uring *uring, uint32_t index, int result);

/** Take finished lookups; those of an open that was given up meanwhile are dropped. */
void rlt_uring_take_resolved(struct rlt_uring *uring);

#endif
