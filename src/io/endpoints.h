/* SPDX-License-Identifier: MIT */
/**
 * The addresses of a host, of both families, and the order in which they are tried.
 */
#ifndef RLT_IO_ENDPOINTS_H
#define RLT_IO_ENDPOINTS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/random.h"

/** The most addresses of one family that are used. */
#define RLT_FAMILY_MAX 16

union rlt_endpoint {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

struct rlt_endpoints {
    uint32_t count;
    const char *failure; /* the resolver's reason why there is none; static; may be NULL */
    union rlt_endpoint list[2 * RLT_FAMILY_MAX];
};

/**
 * Look a name up. Blocks as long as the system's resolver does: nsswitch.conf decides who is asked.
 *
 * Names of the loopback ("localhost", "x.localhost", RFC 6761) always have 127.0.0.1 and ::1 too:
 * a process that sees one family beside the loopback may have a local server that listens on the
 * other one, and an address that does not exist is refused at once.
 *
 * Returns: 0, with at least one address; ROULETTE_ERESOLVE; ROULETTE_ENOMEM.
 */
int rlt_endpoints_resolve(struct rlt_endpoints *endpoints, const char *host);

/** Parse `host` as an address; a name is an error. Does not block. Returns: as above. */
int rlt_endpoints_numeric(struct rlt_endpoints *endpoints, const char *host);

/**
 * Give all addresses a port, and put them into the order in which they are tried: the families in
 * turn, beginning with that of the first address (RFC 8305, 4); within a family at random, so that
 * clients that start together spread over the addresses.
 */
void rlt_endpoints_arrange(struct rlt_endpoints *endpoints, uint16_t port,
                           struct rlt_random *random);

/** Write "1.2.3.4:5" or "[::1]:5". */
void rlt_endpoint_format(const union rlt_endpoint *endpoint, char *text, size_t size);

static inline socklen_t rlt_endpoint_len(const union rlt_endpoint *endpoint)
{
    return endpoint->any.sa_family == AF_INET6 ? sizeof(endpoint->v6) : sizeof(endpoint->v4);
}

#endif
