/* SPDX-License-Identifier: MIT */
/**
 * The server's INFO, as far as a client needs it. Source: nats-clients.md A.1.
 */
#ifndef RLT_PROTO_INFO_H
#define RLT_PROTO_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RLT_INFO_TEXT_MAX 128

/** Fields that the INFO does not have, or has in another JSON type, are zero or empty. */
struct rlt_info {
    char server_id[RLT_INFO_TEXT_MAX];   /* cut to fit */
    char server_name[RLT_INFO_TEXT_MAX]; /* cut to fit */
    char cluster[RLT_INFO_TEXT_MAX];     /* cut to fit */
    char version[32];                    /* cut to fit */
    char nonce[RLT_INFO_TEXT_MAX];       /* empty if longer: a cut nonce would be wrong */
    int64_t max_payload;                 /* <= 0: unlimited */
    uint64_t client_id;
    int protocol; /* "proto" */
    bool headers;
    bool auth_required;
    bool tls_required;
    bool tls_available;
    bool lame_duck; /* "ldm" */
};

/**
 * Parse the JSON of an INFO line. At most 8 levels deep, with 131072 commas, 4096 members and 1024
 * objects and arrays; duplicate keys: the last counts; unknown keys are ignored; numbers out of
 * range are clamped. `*info` is written whole on success and untouched on failure.
 *
 * Threads: any thread. Allocates while it runs (a control-path operation): with RLT_INFO_LEN_MAX
 *          bytes at most 16 MiB, however they are arranged.
 * Returns: 0; ROULETTE_EPROTOCOL (not a JSON object, beyond a limit above, a number beyond a
 *          double); ROULETTE_ENOMEM.
 */
int rlt_info_parse(const char *json, size_t len, struct rlt_info *info);

#endif
