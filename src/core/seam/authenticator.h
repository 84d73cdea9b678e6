/* SPDX-License-Identifier: MIT */
/**
 * The seam to a client's credentials: a proof is made anew for each connection, so that rotated
 * credentials are picked up, and is forgotten at once.
 */
#ifndef RLT_CORE_SEAM_AUTHENTICATOR_H
#define RLT_CORE_SEAM_AUTHENTICATOR_H

/** Fields of CONNECT; NULL: none. The authenticator's memory, until forget(). */
struct rlt_proof {
    char *jwt;
    char *nkey; /* the public key */
    char *sig;  /* of the nonce */
};

struct rlt_authenticator {
    /**
     * Sign a nonce.
     *
     * Threads: any event thread.
     * Returns: 0, or an error whose text is in roulette_last_error(), without secrets.
     */
    int (*prove)(const struct rlt_authenticator *authenticator, const char *nonce,
                 struct rlt_proof *proof);
    /** Wipe and free a proof. */
    void (*forget)(struct rlt_proof *proof);
};

#endif
