/* SPDX-License-Identifier: MIT */
/**
 * The contents of a ".creds" file: a user's JWT, and the seed of the nkey that the JWT names.
 *
 * Source: nats-clients.md A.2; github.com/nats-io/nkeys, creds_utils.go.
 */
#ifndef RLT_PROTO_CREDENTIALS_H
#define RLT_PROTO_CREDENTIALS_H

#include <stddef.h>
#include <stdint.h>

#include "proto/nkey.h"

/** A user's credentials. Owns its JWT, and holds a secret until rlt_credentials_fini(). */
struct rlt_credentials {
    char *jwt;
    int64_t expires_s; /* seconds since 1970; 0: never */
    struct rlt_nkey nkey;
};

/**
 * Read the text of a ".creds" file. A part of it is a line between two fences, which are lines with
 * three dashes or more at both ends ("-----BEGIN NATS USER JWT-----",
 * "------END NATS USER JWT------"). The first part is the JWT, the second the seed; all else is
 * ignored. Blanks and CR at the ends of lines are tolerated, and so are a byte order mark and a
 * last line without LF.
 *
 * Ownership: nothing of `text` is kept, which the caller wipes. rlt_credentials_fini() ends the
 *            credentials.
 * Threads:   any thread. Allocates (a control-path operation).
 * Returns:   0; ROULETTE_EINVAL (JWT or seed missing, or not one: rlt_jwt_expiry() and
 *            rlt_nkey_init() say what is wrong with it); ROULETTE_ENOTSUP, as rlt_nkey_init();
 *            ROULETTE_ENOMEM. On failure `roulette_last_error()` names what is missing or wrong,
 *            without quoting the text.
 */
int rlt_credentials_parse(const char *text, size_t len, struct rlt_credentials *credentials);

/** Wipe and free. A zeroed object is allowed. */
void rlt_credentials_fini(struct rlt_credentials *credentials);

#endif
