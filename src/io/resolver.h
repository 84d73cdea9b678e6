/* SPDX-License-Identifier: MIT */
/**
 * Host names to addresses, off the event threads: getaddrinfo() blocks for as long as a name
 * server likes.
 *
 * One thread for the process' lookups at a time is not enough when one name server hangs, so
 * each lookup of a name has a detached thread of its own; at most one is running for each slot of
 * a backend that asks, and numeric addresses need none.
 */
#ifndef RLT_IO_RESOLVER_H
#define RLT_IO_RESOLVER_H

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/random.h"
#include "lockfree/stack.h"

#define RLT_RESOLVED_MAX 16

struct rlt_lookup;

/** Called on the lookup's thread when it is over; takes the lookup over. */
typedef void rlt_lookup_done_fn(void *context, struct rlt_lookup *lookup);

/** One lookup and its result. */
struct rlt_lookup {
    struct rlt_stack_node node; /* for the one who asked */
    uint32_t slot;
    uint32_t generation;
    int error; /* 0 or ROULETTE_ERESOLVE, _ENOMEM, _ESYSTEM */
    uint32_t count;
    struct sockaddr_storage addresses[RLT_RESOLVED_MAX];
    socklen_t lengths[RLT_RESOLVED_MAX];

    rlt_lookup_done_fn *done;
    void *context;
    char host[256];
    char port[8];
};

/**
 * A lookup of a host that was not begun.
 *
 * Ownership: the caller's, to be freed by rlt_memory_free().
 * Returns:   NULL if there is no memory.
 */
struct rlt_lookup *rlt_lookup_create(const char *host, uint16_t port);

/**
 * One of the addresses that are left, at random, so that clients that start together spread over
 * them. There must be one.
 */
static inline uint32_t rlt_lookup_pick(const struct rlt_lookup *lookup, struct rlt_random *random)
{
    return (uint32_t)rlt_random_below(random, lookup->count);
}

/** An address did not work: it is not left any more. */
void rlt_lookup_drop(struct rlt_lookup *lookup, uint32_t index);

/**
 * Fill `lookup` at once if its host is a numeric address.
 *
 * Returns: 0, or ROULETTE_ERESOLVE if it is a name.
 */
int rlt_resolver_numeric(struct rlt_lookup *lookup);

/**
 * Look a name up on a thread of its own.
 *
 * Ownership: `lookup` is the thread's until `done` is called with it; it always is, unless the
 *            call fails.
 * Returns:   0 or ROULETTE_ESYSTEM.
 */
int rlt_resolver_start(struct rlt_lookup *lookup);

#endif
