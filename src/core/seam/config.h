/* SPDX-License-Identifier: MIT */
/**
 * The configuration of the core, from a client's options. Made by api/, immutable, shared by all
 * clusters of the client.
 */
#ifndef RLT_CORE_SEAM_CONFIG_H
#define RLT_CORE_SEAM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counter.h"
#include "base/log.h"
#include "core/seam/authenticator.h"
#include "roulette.h"

#define RLT_POOL_MAX 16

struct rlt_config {
    uint64_t connection_timeout_ns;
    uint64_t ping_interval_ns;
    uint64_t reconnect_interval_ns;
    uint64_t reconnect_hold_ns; /* after a reconnect, published messages wait so long */
    uint64_t base_backoff_ms;
    uint64_t max_backoff_ms;
    uint64_t held_back_max_ns; /* a silent peer that answers elsewhere is kept so long; 0: not */
    uint64_t confirm_ns;       /* a PING follows sent messages after so long; 0: no PING for that */
    uint32_t max_ping_failure;
    uint32_t max_retry;
    enum roulette_restart restart;
    enum roulette_guarantee guarantee;
    enum roulette_role role;

    uint32_t pool_size;
    size_t lane_capacity;
    size_t slab_bytes;
    uint32_t slab_count;
    uint64_t spin_ns; /* before a thread sleeps; 0: none */

    const char *name;
    const char *user; /* NULL, or the credentials of clusters that have none of their own */
    const char *password;
    const char *token;

    /* Signs the server's nonce; NULL: no signature. */
    const struct rlt_authenticator *authenticator;
    bool tls;       /* on all clusters; otherwise on those whose address says so */
    bool tls_first; /* the server expects the handshake before INFO */

    /* By cluster: a hash of the name that its servers give it; 0: not known yet. Each is written
     * by the cluster's event thread and read by the others, to find one cluster given twice. */
    rlt_counter *identities; /* NULL: not looked for */
    uint32_t cluster_count;

    struct rlt_log log;
};

#endif
