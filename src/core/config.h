/* SPDX-License-Identifier: MIT */
/**
 * What the core needs to know of a client's options. Made by api/, immutable, shared by all
 * clusters of the client.
 */
#ifndef RLT_CORE_CONFIG_H
#define RLT_CORE_CONFIG_H

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "roulette.h"

#define RLT_POOL_MAX 16

struct rlt_config {
    uint64_t connection_timeout_ns;
    uint64_t ping_interval_ns;
    uint64_t reconnect_interval_ns;
    uint64_t base_backoff_ms;
    uint64_t max_backoff_ms;
    uint32_t max_ping_failure;
    uint32_t max_retry;
    enum roulette_restart restart;

    uint32_t pool_size;
    size_t lane_capacity;
    size_t slab_bytes;
    uint32_t slab_count;

    const char *name;
    const char *user; /* NULL, or the credentials of clusters that have none of their own */
    const char *password;
    const char *token;

    struct rlt_log log;
};

#endif
