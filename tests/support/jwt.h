/* SPDX-License-Identifier: MIT */
/**
 * Keys and JWTs for a nats-server in operator mode, as the tool nsc makes them. Shares no code
 * with src/, so that the two check each other.
 *
 * Source: github.com/nats-io/jwt, v2: a JWT is base64url of header, claims and an Ed25519
 * signature of both by the issuer's nkey; nats-server 2.9 asks for no "jti".
 */
#ifndef RLT_TESTS_SUPPORT_JWT_H
#define RLT_TESTS_SUPPORT_JWT_H

#include <stdint.h>

enum jwt_kind { JWT_OPERATOR, JWT_ACCOUNT, JWT_USER };

struct jwt_key {
    enum jwt_kind kind;
    uint8_t secret[32];
    char public_key[57];
    char seed[59];
};

/** Make a new key. Aborts if there is no randomness. */
struct jwt_key jwt_key_make(enum jwt_kind kind);

/**
 * Make the JWT of `subject`, without limits, that `issuer` (its operator or account; an operator
 * is its own) signs. `expires_s`: seconds since 1970; 0: never.
 *
 * Ownership: the caller's; free() it.
 * Returns:   a text; aborts if there is no memory.
 */
char *jwt_make(const struct jwt_key *subject, const struct jwt_key *issuer, int64_t expires_s);

#endif
