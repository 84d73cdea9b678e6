/* SPDX-License-Identifier: MIT */
/**
 * The expiry of a client's own JWT; the server checks the rest. Source: RFC 7519, 3.1 and 4.1.4;
 * nats-clients.md A.2, B.11.
 */
#ifndef RLT_PROTO_JWT_H
#define RLT_PROTO_JWT_H

#include <stddef.h>
#include <stdint.h>

/**
 * Read the "exp" claim of a JWT ("header.payload.signature"): seconds since 1970 from which on the
 * server refuses the JWT; 0: none. The signature is not checked.
 *
 * Threads: any thread. Allocates while it runs (a control-path operation).
 * Returns: 0; ROULETTE_EINVAL (not three parts, a payload that is not base64url of a JSON object,
 *          an "exp" that is not a whole number), with a text that names the fault and does not
 *          quote; ROULETTE_ENOMEM.
 */
int rlt_jwt_expiry(const char *jwt, size_t len, int64_t *expires_s);

#endif
