/* SPDX-License-Identifier: MIT */
/**
 * The list of clusters that a user writes, as addresses and credentials.
 *
 * Source: design.md 5; nats-clients.md A.2 (%-decoding; a user without password is a token).
 */
#ifndef RLT_PROTO_ADDRESS_H
#define RLT_PROTO_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RLT_DEFAULT_PORT 4222
/** The most clusters of one client. */
#define RLT_CLUSTERS_MAX 256

/** One cluster's address. Owns its strings. */
struct rlt_address {
    char *host;     /* lower case; IPv6 without brackets */
    uint16_t port;  /* 1 to 65535 */
    char *user;     /* %-decoded; NULL: none */
    char *password; /* %-decoded; NULL: none */
    char *token;    /* %-decoded; NULL: none */
    bool tls;       /* tls:// */
    char *label;    /* "host:port" or "[v6]:port", for logs: never credentials */
};

/**
 * Parse a comma-separated list: `host`, `host:port`, `[v6]:port`, `nats://[user[:password]@]…`, the
 * same with `tls://`. Blanks around entries are ignored.
 *
 * Ownership: on success `*addresses` is the caller's, to be freed by rlt_addresses_free().
 * Returns:   0; ROULETTE_ESERVERS (empty list, empty entry, bad or missing host, port not 1 to
 *            65535, other scheme, path behind the port, bad %-escape, credentials without a user
 *            or a scheme, blank or control byte, two entries with the same host and port, more
 *            than RLT_CLUSTERS_MAX); ROULETTE_ENOTSUP; ROULETTE_ENOMEM. On failure
 *            `roulette_last_error()` quotes the entry (certain and possible credentials replaced
 *            by "***") and says what to change.
 */
int rlt_addresses_parse(const char *list, struct rlt_address **addresses, size_t *count);

/** Free a list; passwords and tokens are wiped first. NULL is allowed. */
void rlt_addresses_free(struct rlt_address *addresses, size_t count);

#endif
