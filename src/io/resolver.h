/* SPDX-License-Identifier: MIT */
/**
 * Host names to addresses, off the event threads: getaddrinfo() blocks for as long as a name
 * server likes.
 *
 * All clients of a process share what follows. A name is looked up once at a time: whoever asks for
 * it meanwhile waits for the same answer. There is a thread for each name that is being looked up,
 * RLT_RESOLVER_THREADS_MAX of them at most; further names wait for one of them. So name servers
 * that hang cost no more threads than there are names, however often they are asked.
 *
 * A lookup that has not ended after RLT_RESOLVER_OVERDUE_NS may never do so: then the name is
 * looked up anew for those that ask from there on. RLT_RESOLVER_LOST_MAX threads may be lost in
 * that way.
 *
 * getaddrinfo() and threads, not a resolver of our own: only that asks whom nsswitch.conf names
 * (files, systemd-resolved, LDAP), as every other program of the machine does.
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

/** Called on a thread of the resolver's, which must not be held up or call the resolver. */
typedef void rlt_lookup_done_fn(void *context, struct rlt_lookup *lookup);

/** One wish to know a host's addresses, and the answer. */
struct rlt_lookup {
    struct rlt_stack_node node; /* for the one who asked */
    uint32_t slot;
    uint32_t generation;
    uint16_t port;
    rlt_lookup_done_fn *done;
    void *context;
    char host[256];

    /* The answer. */
    int error; /* 0, ROULETTE_ERESOLVE or _ENOMEM */
    struct rlt_endpoints found;

    /* The resolver's, from rlt_resolver_ask() until it is answered or leaves. */
    struct rlt_query *query;
    CK_SLIST_ENTRY(rlt_lookup) link;
};

/**
 * A lookup of a host that was not begun.
 *
 * Ownership: the caller's, to be freed by rlt_memory_free().
 * Returns:   NULL if there is no memory.
 */
struct rlt_lookup *rlt_lookup_create(const char *host, uint16_t port);

/**
 * Ask for the addresses of `lookup->host`.
 *
 * Ownership: `lookup` is the resolver's until `done` is called with it or rlt_resolver_leave()
 * gives it back; the caller's still if the call fails. Threads:   any thread. Does not wait for an
 * answer. Returns:   0; ROULETTE_ENOMEM; ROULETTE_ESYSTEM (there is no thread, and none can be
 * made).
 */
int rlt_resolver_ask(struct rlt_lookup *lookup);

/**
 * Do not wait any more. Also in a child process, for what its parent has asked.
 *
 * Threads: any thread. Does not block.
 * Returns: true: `lookup` is the caller's again; false: `done` was called, and has returned.
 */
bool rlt_resolver_leave(struct rlt_lookup *lookup);

#endif
