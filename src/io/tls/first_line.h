/* SPDX-License-Identifier: MIT */
/**
 * Whether bytes have followed the first line of a connection (INFO) in clear: an attacker may have
 * put them there (nats-clients.md A.2).
 */
#ifndef RLT_IO_TLS_FIRST_LINE_H
#define RLT_IO_TLS_FIRST_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/seam/transport.h"

/** Zeroed at the start of a connection. */
struct rlt_tls_first_line {
    bool ended;
    bool followed; /* by at least one byte */
};

/** Look for the end of the line, and for bytes behind it, in the next `bytes` of a connection. */
void rlt_tls_first_line_scan(struct rlt_tls_first_line *line, const struct rlt_span *spans,
                             uint32_t count, size_t bytes);

#endif
