/* SPDX-License-Identifier: MIT */
/**
 * Bytes in and out of the open slots of an io_uring backend, and the watch of those that can be
 * read: rlt_transport_ops, whose functions of the same name say what each of them does.
 *
 * Owner: the event thread, but for the functions of which core/seam/transport.h says otherwise.
 */
#ifndef RLT_IO_URING_TRANSFER_H
#define RLT_IO_URING_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/seam/transport.h"
#include "io/uring_slots.h"

void rlt_uring_receive(struct rlt_transport *transport, uint32_t slot, const struct rlt_span *spans,
                       uint32_t count);
int64_t rlt_uring_receive_now(struct rlt_transport *transport, uint32_t slot,
                              const struct rlt_span *spans, uint32_t count);
bool rlt_uring_watch(struct rlt_transport *transport, uint32_t slot, bool on);
void rlt_uring_send(struct rlt_transport *transport, uint32_t slot, const struct rlt_span *spans,
                    uint32_t count);
size_t rlt_uring_send_now(struct rlt_transport *transport, uint32_t slot,
                          const struct rlt_span *spans, uint32_t count);
bool rlt_uring_is_acknowledged(struct rlt_transport *transport, uint32_t slot);

/** A receive or send was interrupted before it moved a byte: ask the kernel for the same again. */
void rlt_uring_repeat(struct rlt_uring *uring, uint32_t index, enum rlt_uring_op op);

#endif
