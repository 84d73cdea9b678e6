/* SPDX-License-Identifier: MIT */
#include "io/event_thread.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "base/assert.h"
#include "base/memory.h"
#include "io/system/barrier.h"
#include "io/system/clock.h"
#include "io/system/leaving.h"
#include "io/system/system_text.h"
#include "io/uring.h"
#include "io/wake/park.h"
#include "roulette.h"

/* The most events of a slot and of a shard since the last wait: all are reported at once, on which
 * the core relies (rlt_cluster_step()). */
#define SLOT_EVENTS_MAX  6
#define SHARD_EVENTS_MAX (2 * RLT_POOL_MAX * SLOT_EVENTS_MAX)

/* ---- Waiting ------------------------------------------------------------------------------ */

/* Whether no TLS layer has work that no event announces. */
static bool layers_may_sleep(const struct rlt_event_thread *thread)
{
    for (uint32_t i = 0; i < thread->shard_count; i++) {
        const struct rlt_tls_layer *layer = thread->shards[i]->layer;
        if (layer != NULL && !rlt_tls_layer_may_sleep(layer)) {
            return false;
        }
    }
    return true;
}

/*
 * Until when to wait for events; 0: only look. The thread spins for a while after the last event:
 * its doorbell is not armed then, so no thread makes a system call to wake it.
 */
static uint64_t waiting_deadline(struct rlt_event_thread *thread, uint64_t event_ns)
{
    if (thread->spin_ns != 0 && rlt_clock_ns() - event_ns < thread->spin_ns) {
        return 0;
    }
    return rlt_loop_may_sleep(&thread->loop) && layers_may_sleep(thread)
               ? rlt_loop_deadline(&thread->loop)
               : 0;
}

/* Take the receive side back before any other work; wait for a borrower that still has it. */
static void bring_home(struct rlt_loan *loan)
{
    while (!rlt_loan_recall(loan)) {
        (void)rlt_park_wait(&loan->state, RLT_LOAN_RECALLED, RLT_NEVER);
    }
}

/* ---- Events ------------------------------------------------------------------------------- */

/* Pick the events of one shard's slots, with slots as its cluster counts them. */
static uint32_t pick_events(const struct rlt_port *port, const struct rlt_io_event *events,
                            uint32_t count, struct rlt_io_event *picked)
{
    uint32_t picked_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].slot - port->first_slot < port->slot_count) {
            RLT_ASSERT(picked_count < SHARD_EVENTS_MAX);
            picked[picked_count] = events[i];
            picked[picked_count++].slot -= port->first_slot;
        }
    }
    return picked_count;
}

/* Give the events of a shard to its cluster. */
static void serve_shard(struct rlt_event_thread *thread, uint32_t index,
                        const struct rlt_io_event *all, uint32_t all_count, uint64_t now_ns)
{
    struct rlt_shard *shard = thread->shards[index];
    struct rlt_io_event inner[SHARD_EVENTS_MAX];
    struct rlt_io_event outer[SHARD_EVENTS_MAX];
    const struct rlt_io_event *events = inner;
    uint32_t count = pick_events(shard->port, all, all_count, inner);
    if (shard->layer != NULL) {
        count = rlt_tls_layer_filter(shard->layer, inner, count, outer, SHARD_EVENTS_MAX);
        events = outer;
    }
    for (uint32_t i = 0; i < count; i++) {
        rlt_loop_on_event(&thread->loop, index, &events[i], now_ns);
    }
}

static void serve_events(struct rlt_event_thread *thread, const struct rlt_io_event *events,
                         uint32_t count, uint64_t now_ns)
{
    for (uint32_t i = 0; i < thread->shard_count; i++) {
        serve_shard(thread, i, events, count, now_ns);
    }
}

/* The loop of the thread. */
static void serve(struct rlt_event_thread *thread)
{
    struct rlt_loop *loop = &thread->loop;
    struct rlt_backend *backend = thread->backend;
    struct rlt_io_event *events = thread->events;
    uint64_t event_ns = rlt_clock_ns(); /* of the last one */
    rlt_loop_start(loop, event_ns);
    for (;;) {
        rlt_loop_step(loop, rlt_clock_ns());
        if (rlt_loop_is_over(loop)) {
            return;
        }
        uint64_t wakeups = backend->wakeups;
        uint32_t count = backend->ops->wait(backend, waiting_deadline(thread, event_ns), events,
                                            thread->event_max);
        uint64_t now_ns = rlt_clock_ns();
        rlt_loop_awake(loop, backend->wakeups != wakeups, now_ns);
        event_ns = count != 0 ? now_ns : event_ns;
        serve_events(thread, events, count, now_ns);
    }
}

/* ---- Life --------------------------------------------------------------------------------- */

static void announce(struct rlt_event_thread *thread)
{
    /* Release: partner of the acquire in rlt_event_thread_start(). */
    atomic_store_explicit(&thread->phase, 1, memory_order_release);
    rlt_park_wake(&thread->phase);
}

static void on_stopped(void *context, uint32_t index)
{
    const struct rlt_event_thread *thread = context;
    rlt_shard_announce_stopped(thread->shards[index]);
}

/* Make the backend and its shards' clusters. The fini functions free what was made. */
static int set_up(struct rlt_event_thread *thread)
{
    const struct rlt_backend_options *options = &thread->options;
    thread->event_max = options->port_count * options->slots_per_port * SLOT_EVENTS_MAX;
    thread->events = rlt_memory_alloc(thread->event_max, sizeof(*thread->events));
    if (thread->events == NULL) {
        return ROULETTE_ENOMEM;
    }
    int result = rlt_uring_create(options, &thread->backend);
    if (result < 0) {
        return result;
    }
    for (uint32_t i = 0; i < thread->shard_count && result == 0; i++) {
        result = rlt_shard_set_up(thread->shards[i], &thread->backend->ports[i]);
        if (result == 0) {
            rlt_loop_add(&thread->loop, thread->shards[i]->cluster);
        }
    }
    if (result < 0) {
        thread->backend->ops->shut_down(thread->backend);
    }
    return result;
}

static _Thread_local bool is_here;

bool rlt_event_thread_is_here(void)
{
    return is_here;
}

static void *run(void *argument)
{
    struct rlt_event_thread *thread = argument;
    is_here = true;
    char name[16];
    (void)snprintf(name, sizeof(name), "roulette-%u", thread->index & 0xfff);
    (void)prctl(PR_SET_NAME, name);
    int error = set_up(thread);
    if (error < 0) {
        /* The starter thread has a last error of its own. */
        (void)snprintf(thread->start_failure, sizeof(thread->start_failure), "%s",
                       roulette_last_error());
    }
    thread->start_error = error;
    announce(thread);
    if (error == 0) {
        serve(thread);
        thread->backend->ops->shut_down(thread->backend);
    }
    rlt_leaving_thread();
    return NULL;
}

int rlt_event_thread_init(struct rlt_event_thread *thread, uint32_t index, uint32_t shard_max)
{
    thread->index = index;
    thread->joined = true;
    thread->loop.bring_home = bring_home;
    thread->loop.on_stopped = on_stopped;
    thread->loop.barrier = rlt_barrier_register() ? rlt_barrier_execute : NULL;
    thread->loop.context = thread;
    thread->shards = rlt_memory_alloc(shard_max, sizeof(*thread->shards));
    thread->loop.entries = rlt_memory_alloc(shard_max, sizeof(*thread->loop.entries));
    return thread->shards == NULL || thread->loop.entries == NULL ? ROULETTE_ENOMEM : 0;
}

void rlt_event_thread_add(struct rlt_event_thread *thread, struct rlt_shard *shard)
{
    thread->shards[thread->shard_count++] = shard;
    thread->spin_ns = shard->config->spin_ns;
    thread->options.slots_per_port = rlt_cluster_slot_count(shard->config);
}

int rlt_event_thread_start(struct rlt_event_thread *thread, const struct rlt_socket_options *socket,
                           uint64_t seed)
{
    thread->options.port_count = thread->shard_count;
    thread->options.socket = *socket;
    thread->options.seed = seed;
    atomic_store_explicit(&thread->phase, 0, memory_order_relaxed);
    /* The thread inherits a full mask: the application's threads handle signals. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&thread->thread, NULL, run, thread);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        char text[RLT_SYSTEM_TEXT_MAX];
        (void)snprintf(thread->start_failure, sizeof(thread->start_failure),
                       "pthread_create() has failed: %s", rlt_system_text(result, text));
        return ROULETTE_ESYSTEM;
    }
    thread->joined = false;
    while (atomic_load_explicit(&thread->phase, memory_order_acquire) == 0) {
        (void)rlt_park_wait(&thread->phase, 0, RLT_NEVER);
    }
    if (thread->start_error < 0) {
        rlt_event_thread_join(thread);
    }
    return thread->start_error;
}

void rlt_event_thread_join(struct rlt_event_thread *thread)
{
    if (!thread->joined) {
        (void)pthread_join(thread->thread, NULL);
        thread->joined = true;
    }
}

void rlt_event_thread_abandon(struct rlt_event_thread *thread)
{
    if (thread->backend != NULL) {
        thread->backend->ops->abandon(thread->backend);
    }
}

void rlt_event_thread_fini(struct rlt_event_thread *thread)
{
    if (thread->backend != NULL) {
        thread->backend->ops->destroy(thread->backend);
        thread->backend = NULL;
    }
    rlt_memory_free(thread->events);
    rlt_memory_free((void *)thread->shards);
    rlt_memory_free(thread->loop.entries);
}
