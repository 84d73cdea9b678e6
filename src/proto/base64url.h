/* SPDX-License-Identifier: MIT */
/**
 * Base64 with the alphabet for URLs and without padding: the encoding of nkey signatures and JWTs.
 * Source: RFC 4648, 5 and 3.2.
 */
#ifndef RLT_PROTO_BASE64URL_H
#define RLT_PROTO_BASE64URL_H

#include <stddef.h>
#include <stdint.h>

/** Characters that encode `len` bytes; no NUL follows them. */
#define RLT_BASE64URL_LEN(len) ((len) / 3 * 4 + ((len) % 3 * 4 + 2) / 3)

/** Write RLT_BASE64URL_LEN(len) characters; returns the end of them. */
char *rlt_base64url_encode(char *out, const uint8_t *bytes, size_t len);

/**
 * Decode `len` characters into `out`, which has room for `len / 4 * 3 + 2` bytes. On failure
 * `out` may hold the beginning.
 *
 * Returns: 0 with `*out_len` set; ROULETTE_EINVAL (a character that is not of the alphabet, '='
 *          included, or a length that no number of bytes has).
 */
int rlt_base64url_decode(const char *text, size_t len, uint8_t *out, size_t *out_len);

#endif
