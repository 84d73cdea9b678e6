/* SPDX-License-Identifier: MIT */
/**
 * Host names to addresses, off the event threads: getaddrinfo() blocks for as long as a name
 * server likes.
 *
 * All clients of a process share the resolver. A name is looked up once at a time: others that ask
 * for it meanwhile wait for the same answer. Each lookup in progress has a thread,
 * RLT_RESOLVER_THREADS_MAX at most; further names wait for one of these. So name servers that hang
 * cost no more threads than there are names, however often they are asked.
 *
 * A lookup that has not ended after RLT_RESOLVER_OVERDUE_NS may never end: then the name is looked
 * up anew for later askers. RLT_RESOLVER_LOST_MAX threads may be lost in that way.
 *
 * getaddrinfo() and threads, not a resolver of our own: only getaddrinfo() uses the sources of
 * nsswitch.conf (files, systemd-resolved, LDAP), as every other program of the machine does.
 */
#ifndef RLT_IO_RESOLVER_H
#define RLT_IO_RESOLVER_H

#include <ck_queue.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "io/endpoints.h"
#include "lockfree/stack.h"

#define RLT_RESOLVER_THREADS_MAX 64
#define RLT_RESOLVER_LOST_MAX    4
#define RLT_RESOLVER_OVERDUE_NS  (60 * RLT_NS_PER_S)

struct rlt_lookup;
struct rlt_query; /* the resolver's: one name that is being looked up */

/** Called on a thread of the resolver: must not block or call the resolver. */
typedef void rlt_lookup_done_fn(void *context, struct rlt_lookup *lookup);

/** A request for a host's addresses, and the answer. */
struct rlt_lookup {
    struct rlt_stack_node node; /* for the asker */
    uint32_t slot;
    uint32_t generation;
    uint16_t port;
    rlt_lookup_done_fn *done;
    void *context;
    char host[256];

    /* The answer. */
    int error; /* 0, ROULETTE_ERESOLVE or _ENOMEM */
    struct rlt_endpoints found;

    /* The resolver's, from rlt_resolver_ask() until the answer or rlt_resolver_leave(). */
    struct rlt_query *query;
    CK_SLIST_ENTRY(rlt_lookup) link;
};

/**
 * Make a lookup of a host, which rlt_resolver_ask() begins.
 *
 * Ownership: the caller's, to be freed by rlt_memory_free().
 * Returns:   NULL if there is no memory.
 */
struct rlt_lookup *rlt_lookup_create(const char *host, uint16_t port);

/**
 * Ask for the addresses of `lookup->host`.
 *
 * Ownership: `lookup` is the resolver's until `done` is called with it or rlt_resolver_leave()
 *            gives it back; the caller's still if the call fails.
 * Threads:   any thread. Does not wait for an answer.
 * Returns:   0; ROULETTE_ENOMEM; ROULETTE_ESYSTEM (no thread runs, and none can be made).
 */
int rlt_resolver_ask(struct rlt_lookup *lookup);

/**
 * Cancel a lookup. Also in a child process, for lookups of its parent.
 *
 * Threads: any thread. Does not block.
 * Returns: true: `lookup` is the caller's again; false: `done` was called, and has returned.
 */
bool rlt_resolver_leave(struct rlt_lookup *lookup);

#endif
