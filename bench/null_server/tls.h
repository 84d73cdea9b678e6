/* SPDX-License-Identifier: MIT */
/**
 * What the TLS connections of a null server have in common: a key and a certificate that is made
 * at the start, for nobody to verify.
 */
#ifndef BENCH_NULL_SERVER_TLS_H
#define BENCH_NULL_SERVER_TLS_H

#include <openssl/ssl.h>
#include <stddef.h>

struct null_tls {
    SSL_CTX *context;
    size_t record_len;
};

/** Lives as long as the process. `record_len`: of what is sent; 0: the most that TLS has. Returns:
 *  NULL if there is none. */
struct null_tls *null_tls_create(size_t record_len);

#endif
