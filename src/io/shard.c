/* SPDX-License-Identifier: MIT */
#include "io/shard.h"

#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "base/assert.h"
#include "core/direct_receive.h"
#include "core/direct_send.h"
#include "io/clock.h"
#include "io/park.h"
#include "io/uring.h"
#include "roulette.h"

#define EVENTS_MAX 64

static void announce(struct rlt_shard *shard, uint32_t phase)
{
    /* Release: partner of the acquires in rlt_shard_start() and rlt_shard_is_stopped(). */
    atomic_store_explicit(&shard->phase, phase, memory_order_release);
    rlt_park_wake(&shard->phase);
}

/* Make the backend and what stands on it. On failure rlt_shard_fini() frees what was made. */
static int set_up(struct rlt_shard *shard)
{
    const struct rlt_config *config = shard->config;
    struct rlt_backend_options options = {
        .slot_count = rlt_cluster_slot_count(config),
        .socket = shard->options.socket,
        .seed = ~shard->options.seed,
    };
    int result = rlt_uring_create(&options, &shard->backend);
    if (result < 0) {
        return result;
    }
    struct rlt_transport *transport = &shard->backend->transport;
    if (shard->options.tls != NULL) {
        result =
            rlt_tls_layer_create(transport, options.slot_count, shard->options.tls, &shard->layer);
        transport = result == 0 ? rlt_tls_layer_transport(shard->layer) : NULL;
    }
    if (result == 0) {
        result = rlt_cluster_create(config, shard->address, shard->index, transport,
                                    shard->options.seed, &shard->cluster);
    }
    if (result < 0) {
        shard->backend->ops->shut_down(shard->backend);
    }
    return result;
}

/* Wait for events of the core's transport. */
static uint32_t wait_for_events(struct rlt_shard *shard, uint64_t deadline_ns,
                                struct rlt_io_event *events)
{
    struct rlt_backend *backend = shard->backend;
    if (shard->layer == NULL) {
        return backend->ops->wait(backend, deadline_ns, events, EVENTS_MAX);
    }
    struct rlt_io_event inner[EVENTS_MAX];
    deadline_ns = rlt_tls_layer_may_sleep(shard->layer) ? deadline_ns : 0;
    uint32_t count = backend->ops->wait(backend, deadline_ns, inner, EVENTS_MAX);
    return rlt_tls_layer_filter(shard->layer, inner, count, events, EVENTS_MAX);
}

/*
 * Up to when to wait for events; 0: only look. Before that, spin for a while after the last event:
 * the doorbell is not armed then, so that nobody pays for waking us.
 */
static uint64_t waiting_deadline(const struct rlt_shard *shard, uint64_t event_ns)
{
    uint64_t spin_ns = shard->config->spin_ns;
    if (spin_ns != 0 && rlt_clock_ns() - event_ns < spin_ns) {
        return 0;
    }
    uint64_t deadline_ns = rlt_cluster_deadline(shard->cluster);
    return rlt_cluster_may_sleep(shard->cluster) ? deadline_ns : 0;
}

/* What the cluster receives is lent while we sleep: without it there is nothing that we can do. */
static void bring_home(struct rlt_loan *loan)
{
    while (!rlt_loan_recall(loan)) {
        (void)rlt_park_wait(&loan->state, RLT_LOAN_RECALLED, RLT_NEVER);
    }
}

/* The loop of the event thread. */
static void serve(struct rlt_shard *shard)
{
    struct rlt_cluster *cluster = shard->cluster;
    struct rlt_backend *backend = shard->backend;
    struct rlt_io_event events[EVENTS_MAX];
    uint64_t event_ns = rlt_clock_ns(); /* of the last one */
    rlt_cluster_start(cluster, event_ns);
    for (;;) {
        rlt_cluster_run(cluster, rlt_clock_ns());
        if (rlt_cluster_is_stopped(cluster)) {
            return;
        }
        uint32_t count = wait_for_events(shard, waiting_deadline(shard, event_ns), events);
        bring_home(&cluster->receiving);
        uint64_t now_ns = rlt_clock_ns();
        rlt_cluster_awake(cluster, now_ns);
        rlt_counter_set(&cluster->metrics.wakeups, backend->wakeups);
        event_ns = count != 0 ? now_ns : event_ns;
        for (uint32_t i = 0; i < count; i++) {
            rlt_cluster_on_event(cluster, &events[i], now_ns);
        }
    }
}

static void *run(void *argument)
{
    struct rlt_shard *shard = argument;
    char name[16];
    (void)snprintf(name, sizeof(name), "roulette-%u", shard->index & 0xfff);
    (void)prctl(PR_SET_NAME, name);
    shard->start_error = set_up(shard);
    int error = shard->start_error;
    announce(shard, 1);
    if (error < 0) {
        return NULL;
    }
    serve(shard);
    shard->backend->ops->shut_down(shard->backend);
    announce(shard, 2);
    return NULL;
}

int rlt_shard_start(struct rlt_shard *shard, const struct rlt_config *config,
                    const struct rlt_address *address, uint32_t index,
                    const struct rlt_shard_options *options)
{
    shard->config = config;
    shard->address = address;
    shard->index = index;
    shard->options = *options;
    shard->joined = false;
    atomic_store_explicit(&shard->phase, 0, memory_order_relaxed);
    /* The thread inherits a full mask: signals are the application's threads'. */
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&shard->thread, NULL, run, shard);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        return ROULETTE_ESYSTEM;
    }
    while (atomic_load_explicit(&shard->phase, memory_order_acquire) == 0) {
        (void)rlt_park_wait(&shard->phase, 0, RLT_NEVER);
    }
    if (shard->start_error < 0) {
        rlt_shard_join(shard);
    }
    return shard->start_error;
}

void rlt_shard_send_or_wake(struct rlt_shard *shard, uint32_t position)
{
    struct rlt_cluster *cluster = shard->cluster;
    enum rlt_direct_result result = rlt_direct_send(cluster, position, rlt_clock_ns());
    if (result == RLT_DIRECT_WAKE ||
        (result == RLT_DIRECT_RING && rlt_doorbell_ring(&cluster->doorbell, RLT_WAKE_LANES))) {
        shard->backend->ops->wake(shard->backend);
    }
}

bool rlt_shard_attend(struct rlt_shard *shard, const struct rlt_mailbox *mailbox)
{
    return rlt_direct_receive_is_for(shard->cluster, mailbox) &&
           rlt_watch_attend(&shard->backend->watch);
}

void rlt_shard_leave(struct rlt_shard *shard)
{
    rlt_watch_leave(&shard->backend->watch);
}

bool rlt_shard_receive(struct rlt_shard *shard, const struct rlt_mailbox *mailbox)
{
    enum rlt_receipt receipt = rlt_direct_receive(shard->cluster, mailbox);
    if (receipt == RLT_RECEIPT_WAKE) {
        shard->backend->ops->wake(shard->backend);
    }
    return receipt == RLT_RECEIPT_DONE;
}

void rlt_shard_submit(struct rlt_shard *shard, struct rlt_command *command)
{
    if (rlt_cluster_submit(shard->cluster, command)) {
        shard->backend->ops->wake(shard->backend);
    }
}

void rlt_shard_ask(struct rlt_shard *shard, struct rlt_member *member, enum rlt_ask what)
{
    if (rlt_cluster_ask(shard->cluster, member, what)) {
        shard->backend->ops->wake(shard->backend);
    }
}

void rlt_shard_stop(struct rlt_shard *shard)
{
    rlt_shard_submit(shard, &shard->cluster->stop);
}

void rlt_shard_join(struct rlt_shard *shard)
{
    if (!shard->joined) {
        (void)pthread_join(shard->thread, NULL);
        shard->joined = true;
    }
}

void rlt_shard_fini(struct rlt_shard *shard)
{
    rlt_tls_layer_destroy(shard->layer);
    shard->layer = NULL;
    if (shard->backend != NULL) {
        shard->backend->ops->destroy(shard->backend);
        shard->backend = NULL;
    }
    rlt_cluster_destroy(shard->cluster);
    shard->cluster = NULL;
}
