/* SPDX-License-Identifier: MIT */
#include "io/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

struct rlt_lookup *rlt_lookup_create(const char *host, uint16_t port)
{
    struct rlt_lookup *lookup = rlt_memory_alloc(1, sizeof(*lookup));
    if (lookup != NULL) {
        (void)snprintf(lookup->host, sizeof(lookup->host), "%s", host);
        (void)snprintf(lookup->port, sizeof(lookup->port), "%u", (unsigned)port);
    }
    return lookup;
}

void rlt_lookup_drop(struct rlt_lookup *lookup, uint32_t index)
{
    RLT_ASSERT(index < lookup->count);
    lookup->count--;
    lookup->addresses[index] = lookup->addresses[lookup->count];
    lookup->lengths[index] = lookup->lengths[lookup->count];
}

static int resolve(struct rlt_lookup *lookup, int flags)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | flags,
    };
    struct addrinfo *list = NULL;
    if (getaddrinfo(lookup->host, lookup->port, &hints, &list) != 0) {
        return ROULETTE_ERESOLVE;
    }
    lookup->count = 0;
    for (struct addrinfo *i = list; i != NULL && lookup->count < RLT_RESOLVED_MAX; i = i->ai_next) {
        if (i->ai_addrlen <= sizeof(lookup->addresses[0])) {
            memcpy(&lookup->addresses[lookup->count], i->ai_addr, i->ai_addrlen);
            lookup->lengths[lookup->count] = i->ai_addrlen;
            lookup->count++;
        }
    }
    freeaddrinfo(list);
    return lookup->count != 0 ? 0 : ROULETTE_ERESOLVE;
}

int rlt_resolver_numeric(struct rlt_lookup *lookup)
{
    lookup->error = resolve(lookup, AI_NUMERICHOST);
    return lookup->error;
}

static void *run(void *argument)
{
    struct rlt_lookup *lookup = argument;
    lookup->error = resolve(lookup, AI_ADDRCONFIG);
    lookup->done(lookup->context, lookup);
    return NULL;
}

int rlt_resolver_start(struct rlt_lookup *lookup)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    if (pthread_attr_init(&attributes) != 0) {
        return ROULETTE_ESYSTEM;
    }
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    /* Threads of the library handle no signals: they inherit a full mask. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&thread, &attributes, run, lookup);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    return result == 0 ? 0 : ROULETTE_ESYSTEM;
}
