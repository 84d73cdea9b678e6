/* SPDX-License-Identifier: MIT */
/**
 * The nkey of a user: an Ed25519 key pair. A client proves its identity with it, by signing the
 * nonce of the server's INFO.
 *
 * Source: nats-clients.md A.2; ADR-14; github.com/nats-io/nkeys, strkey.go: a seed is base32
 * (RFC 4648, no padding) of two prefix bytes, 32 secret bytes and a CRC-16/XMODEM, low byte first;
 * a public key is the same with one prefix byte.
 */
#ifndef RLT_PROTO_NKEY_H
#define RLT_PROTO_NKEY_H

#include <stddef.h>
#include <stdint.h>

/** Characters of a seed ("SU…") and of a public key ("U…"). */
#define RLT_NKEY_SEED_LEN   58
#define RLT_NKEY_PUBLIC_LEN 56
/** Characters of a signature: base64url of 64 bytes. */
#define RLT_NKEY_SIGNATURE_LEN 86

/** A user's key pair, in the caller's memory. Holds a secret until rlt_nkey_fini(). */
struct rlt_nkey {
    uint8_t secret[32];
    char public_key[RLT_NKEY_PUBLIC_LEN + 1];
};

/**
 * Take over a user's seed: exactly its characters, without blanks around them.
 *
 * Threads: any thread. OpenSSL allocates while it runs (a control-path operation).
 * Returns: 0; ROULETTE_EINVAL (not a seed, the seed of an operator, an account or a server, wrong
 *          length, a character that is not of base32, wrong checksum); ROULETTE_ENOTSUP (this
 *          OpenSSL has no Ed25519, or no memory). On failure `roulette_last_error()` says which,
 *          never with a part of the seed.
 */
int rlt_nkey_init(struct rlt_nkey *nkey, const char *seed, size_t len);

/** Wipe the secret. A zeroed object is allowed. */
void rlt_nkey_fini(struct rlt_nkey *nkey);

/**
 * Sign a nonce, as it stands in INFO (its characters, not decoded). `signature` takes
 * RLT_NKEY_SIGNATURE_LEN characters and a NUL, for CONNECT's "sig".
 *
 * Threads: any thread; the key is only read. OpenSSL allocates while it runs.
 * Returns: 0; ROULETTE_ENOTSUP, as rlt_nkey_init().
 */
int rlt_nkey_sign(const struct rlt_nkey *nkey, const char *nonce, size_t nonce_len,
                  char *signature);

#endif
