/* SPDX-License-Identifier: MIT */
#include "io/shard.h"

#include "core/direct_receive.h"
#include "core/direct_send.h"
#include "io/clock.h"
#include "roulette.h"

/* ---- Life --------------------------------------------------------------------------------- */

void rlt_shard_init(struct rlt_shard *shard, uint32_t index, const struct rlt_config *config,
                    const struct rlt_address *address, struct rlt_tls_context *tls, uint64_t seed)
{
    shard->index = index;
    shard->config = config;
    shard->address = address;
    shard->tls = tls;
    shard->seed = seed;
}

int rlt_shard_set_up(struct rlt_shard *shard, struct rlt_port *port)
{
    struct rlt_transport *transport = &port->transport;
    shard->port = port;
    if (shard->tls != NULL) {
        int result = rlt_tls_layer_create(transport, port->slot_count, shard->tls, &shard->layer);
        if (result < 0) {
            return result;
        }
        transport = rlt_tls_layer_transport(shard->layer);
    }
    return rlt_cluster_create(shard->config, shard->address, shard->index, transport, shard->seed,
                              &shard->cluster);
}

void rlt_shard_announce_stopped(struct rlt_shard *shard)
{
    /* Release: partner of the acquire in rlt_shard_is_stopped(). */
    atomic_store_explicit(&shard->stopped, true, memory_order_release);
}

/* ---- Other threads ------------------------------------------------------------------------ */

static void wake(struct rlt_shard *shard)
{
    struct rlt_backend *backend = shard->port->backend;
    backend->ops->wake(backend);
}

/* Wake the event thread for this cluster, whatever the doorbells say: it waits for what the caller
 * has given back, or does not know of what the caller has left to it. */
static void call(struct rlt_shard *shard)
{
    rlt_cluster_call(shard->cluster);
    wake(shard);
}

void rlt_shard_send_or_wake(struct rlt_shard *shard, uint32_t position, struct rlt_pace *pace)
{
    struct rlt_cluster *cluster = shard->cluster;
    uint64_t now_ns = rlt_clock_ns();
    enum rlt_direct_result result = rlt_pace_is_sparse(pace, now_ns)
                                        ? rlt_direct_send(cluster, position, now_ns)
                                        : RLT_DIRECT_RING;
    if (result == RLT_DIRECT_WAKE) {
        call(shard);
    } else if (result == RLT_DIRECT_RING && rlt_cluster_ring(cluster, RLT_WAKE_LANES)) {
        wake(shard);
    }
}

bool rlt_shard_attend(struct rlt_shard *shard, const struct rlt_mailbox *mailbox)
{
    return rlt_direct_receive_is_for(shard->cluster, mailbox) &&
           rlt_watch_attend(&shard->port->watch);
}

void rlt_shard_leave(struct rlt_shard *shard)
{
    rlt_watch_leave(&shard->port->watch);
}

bool rlt_shard_receive(struct rlt_shard *shard, const struct rlt_mailbox *mailbox)
{
    enum rlt_receipt receipt = rlt_direct_receive(shard->cluster, mailbox);
    if (receipt == RLT_RECEIPT_WAKE) {
        call(shard);
    }
    return receipt == RLT_RECEIPT_DONE;
}

void rlt_shard_submit(struct rlt_shard *shard, struct rlt_command *command)
{
    if (rlt_cluster_submit(shard->cluster, command)) {
        wake(shard);
    }
}

void rlt_shard_ask(struct rlt_shard *shard, struct rlt_member *member, enum rlt_ask what)
{
    if (rlt_cluster_ask(shard->cluster, member, what)) {
        wake(shard);
    }
}

void rlt_shard_stop(struct rlt_shard *shard)
{
    rlt_shard_submit(shard, &shard->cluster->stop);
}

void rlt_shard_fini(struct rlt_shard *shard)
{
    rlt_tls_layer_destroy(shard->layer);
    shard->layer = NULL;
    rlt_cluster_destroy(shard->cluster);
    shard->cluster = NULL;
}
