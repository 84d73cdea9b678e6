/* SPDX-License-Identifier: MIT */
/**
 * Why OpenSSL has failed, in words.
 */
#ifndef RLT_IO_TLS_REASON_H
#define RLT_IO_TLS_REASON_H

#include <stddef.h>

/** Room for any reason. */
#define RLT_TLS_REASON_MAX 128

/**
 * OpenSSL's reason for this thread's first error since its queue was emptied, or "no reason given".
 * Empties the queue.
 */
void rlt_tls_reason(char *text, size_t size);

#endif
