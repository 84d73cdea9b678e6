/* SPDX-License-Identifier: MIT */
#include "io/resolver.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/memory.h"
#include "io/system/clock.h"
#include "roulette.h"

struct rlt_query {
    CK_STAILQ_ENTRY(rlt_query) link;
    CK_SLIST_HEAD(, rlt_lookup) askers;
    bool running; /* a thread runs it; otherwise it waits for one */
    bool lost;    /* no lookup joins it any more */
    uint64_t started_ns;
    char host[256];
};

/* Guards all below. Held for a few instructions, or while a thread is made; around fork(), so that
 * a child finds it free. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static CK_STAILQ_HEAD(, rlt_query) queries = CK_STAILQ_HEAD_INITIALIZER(queries); /* as asked */
static uint32_t thread_count; /* without those of lost queries */
static uint32_t lost_count;

/* ---- Queries ------------------------------------------------------------------------------ */

static void remove_query(struct rlt_query *query)
{
    CK_STAILQ_REMOVE(&queries, query, rlt_query, link);
    rlt_memory_free(query);
}

/* Mark an overdue query as lost: only lookups that have joined it wait for it. */
static void lose_if_overdue(struct rlt_query *query)
{
    if (query->running && lost_count < RLT_RESOLVER_LOST_MAX &&
        rlt_clock_ns() - query->started_ns >= RLT_RESOLVER_OVERDUE_NS) {
        query->lost = true;
        lost_count++;
        thread_count--;
    }
}

/* The query for a host that a lookup can join, or NULL. */
static struct rlt_query *find_query(const char *host)
{
    struct rlt_query *query;
    CK_STAILQ_FOREACH (query, &queries, link) {
        if (!query->lost && strcmp(query->host, host) == 0) {
            lose_if_overdue(query);
            return query->lost ? NULL : query;
        }
    }
    return NULL;
}

/* The first one that waits for a thread, or NULL. */
static struct rlt_query *next_query(void)
{
    struct rlt_query *query;
    CK_STAILQ_FOREACH (query, &queries, link) {
        if (!query->running && !query->lost) {
            break;
        }
    }
    return query;
}

static void begin_query(struct rlt_query *query)
{
    query->running = true;
    query->started_ns = rlt_clock_ns();
}

static void answer_all(struct rlt_query *query, int error, const struct rlt_endpoints *found)
{
    struct rlt_lookup *lookup;
    struct rlt_lookup *next; /* read first: the asker may free a lookup once `done` is called */
    CK_SLIST_FOREACH_SAFE (lookup, &query->askers, link, next) {
        lookup->query = NULL;
        lookup->error = error;
        lookup->found = *found;
        /* Under the lock: rlt_resolver_leave() sees later that the lookup is over. */
        lookup->done(lookup->context, lookup);
    }
    CK_SLIST_INIT(&query->askers);
}

/* ---- Threads ------------------------------------------------------------------------------ */

static void *run(void *argument)
{
    struct rlt_query *query = argument;
    (void)prctl(PR_SET_NAME, "roulette-dns");
    while (query != NULL) {
        struct rlt_endpoints found;
        int error = rlt_endpoints_resolve(&found, query->host);
        (void)pthread_mutex_lock(&lock);
        bool lost = query->lost;
        answer_all(query, error, &found);
        remove_query(query);
        query = lost ? NULL : next_query();
        if (query != NULL) {
            begin_query(query);
        } else if (lost) {
            lost_count--;
        } else {
            thread_count--;
        }
        (void)pthread_mutex_unlock(&lock);
    }
    return NULL;
}

/* Make a thread for a query. */
static bool start_thread(struct rlt_query *query)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    begin_query(query);
    (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    /* Threads of the library handle no signals: they inherit a full mask. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    query->running = pthread_create(&thread, &attributes, run, query) == 0;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    thread_count += query->running ? 1 : 0;
    return query->running;
}

/* ---- Forks -------------------------------------------------------------------------------- */

static void before_fork(void)
{
    (void)pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
    (void)pthread_mutex_unlock(&lock);
}

/* The threads are the parent's: no lookup is answered here. Askers leave when their client is
 * freed. */
static void after_fork_in_child(void)
{
    struct rlt_query *query;
    CK_STAILQ_FOREACH (query, &queries, link) {
        query->running = false;
        query->lost = true;
    }
    thread_count = 0;
    lost_count = 0;
    (void)pthread_mutex_unlock(&lock);
}

static void watch_forks(void)
{
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* ---- Asking ------------------------------------------------------------------------------- */

struct rlt_lookup *rlt_lookup_create(const char *host, uint16_t port)
{
    struct rlt_lookup *lookup = rlt_memory_alloc(1, sizeof(*lookup));
    if (lookup != NULL) {
        (void)snprintf(lookup->host, sizeof(lookup->host), "%s", host);
        lookup->port = port;
    }
    return lookup;
}

/* A query for a host, with a thread if there may be one more. */
static int make_query(const char *host, struct rlt_query **made)
{
    struct rlt_query *query = rlt_memory_alloc(1, sizeof(*query));
    if (query == NULL) {
        return ROULETTE_ENOMEM;
    }
    (void)snprintf(query->host, sizeof(query->host), "%s", host);
    CK_STAILQ_INSERT_TAIL(&queries, query, link);
    bool started = thread_count < RLT_RESOLVER_THREADS_MAX && start_thread(query);
    if (!started && thread_count == 0) {
        remove_query(query);
        return ROULETTE_ESYSTEM;
    }
    *made = query;
    return 0;
}

int rlt_resolver_ask(struct rlt_lookup *lookup)
{
    (void)pthread_once(&fork_once, watch_forks);
    (void)pthread_mutex_lock(&lock);
    struct rlt_query *query = find_query(lookup->host);
    int result = 0;
    if (query == NULL) {
        result = make_query(lookup->host, &query);
    } else if (!query->running && thread_count < RLT_RESOLVER_THREADS_MAX) {
        (void)start_thread(query); /* no thread could be made at the first request */
    }
    if (result == 0) {
        lookup->query = query;
        CK_SLIST_INSERT_HEAD(&query->askers, lookup, link);
    }
    (void)pthread_mutex_unlock(&lock);
    return result;
}

bool rlt_resolver_leave(struct rlt_lookup *lookup)
{
    (void)pthread_mutex_lock(&lock);
    struct rlt_query *query = lookup->query;
    if (query != NULL) {
        CK_SLIST_REMOVE(&query->askers, lookup, rlt_lookup, link);
        lookup->query = NULL;
        if (CK_SLIST_EMPTY(&query->askers) && !query->running) {
            remove_query(query); /* no thread runs it, and no lookup waits for it */
        }
    }
    (void)pthread_mutex_unlock(&lock);
    return query != NULL;
}
