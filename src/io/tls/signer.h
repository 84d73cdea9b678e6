/* SPDX-License-Identifier: MIT */
/**
 * The authenticator (core/seam/authenticator.h) of clients with an nkey or a credentials file. The
 * file is read anew for each connection, so that a rotated one is picked up without a restart.
 */
#ifndef RLT_IO_TLS_SIGNER_H
#define RLT_IO_TLS_SIGNER_H

#include "core/seam/authenticator.h"
#include "proto/nkey.h"

struct rlt_signer {
    struct rlt_authenticator authenticator;
    const char *credentials_file; /* NULL: `nkey` is used; the client's */
    struct rlt_nkey nkey;
};

/**
 * Make a signer with a credentials file, or else with a seed. The file is read once, so that an
 * unusable one is reported at once.
 *
 * Ownership: rlt_signer_fini() wipes it. `credentials_file` is used until then, `seed` is not.
 * Returns:   0; ROULETTE_EINVAL (the file cannot be read, or holds no JWT and seed; no seed); as
 *            rlt_nkey_init() and rlt_leaving_enter_crypto().
 */
int rlt_signer_init(struct rlt_signer *signer, const char *credentials_file, const char *seed);

/** Wipe the key. A zeroed object is allowed. */
void rlt_signer_fini(struct rlt_signer *signer);

#endif
