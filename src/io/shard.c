/* SPDX-License-Identifier: MIT */
#include "io/shard.h"

#include "core/cluster/direct_receive.h"
#include "core/cluster/direct_send.h"
#include "io/system/clock.h"

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

/* Wake the event thread for this cluster, whatever the doorbells say: it waits for a loan that the
 * caller has given back, or does not know of work that the caller has left. */
static void call(struct rlt_shard *shard)
{
    rlt_cluster_call(shard->cluster);
    wake(shard);
}

void rlt_shard_send_or_wake(struct rlt_shard *shard, uint32_t path, struct rlt_pace *pace)
{
    struct rlt_cluster *cluster = shard->cluster;
    uint64_t now_ns = rlt_clock_ns();
    enum rlt_direct_result result = rlt_pace_is_sparse(pace, now_ns)
                                        ? rlt_direct_send(cluster, path, now_ns)
                                        : RLT_DIRECT_KNOCK;
    if (result == RLT_DIRECT_WAKE) {
        call(shard);
    } else if (result == RLT_DIRECT_KNOCK && rlt_cluster_knock(cluster, RLT_WAKE_LANES)) {
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

/* ---- What application threads read of the cluster ------------------------------------------ */

uint64_t rlt_shard_queued_bytes(const struct rlt_shard *shard)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < shard->config->pool_size; i++) {
        bytes += rlt_wire_queue_bytes(&shard->cluster->paths[i].queue);
    }
    return bytes;
}

void rlt_shard_count_excess(struct rlt_shard *shard, uint32_t count)
{
    rlt_counter_add_shared(&shard->cluster->env.metrics.dropped_limit, count);
}

void rlt_shard_ledger(const struct rlt_shard *shard, struct roulette_ledger *ledger)
{
    rlt_cluster_ledger(shard->cluster, rlt_shard_is_stopped(shard), ledger);
}

void rlt_shard_ledger_if_stopped(const struct rlt_shard *shard, struct roulette_ledger *ledger)
{
    rlt_cluster_ledger(shard->cluster, true, ledger);
}

int rlt_shard_failure(const struct rlt_shard *shard, char text[RLT_TEXT_CELL_BYTES])
{
    return rlt_text_cell_get(&shard->cluster->env.failure, text);
}

void rlt_shard_denial(const struct rlt_shard *shard, char text[RLT_TEXT_CELL_BYTES])
{
    (void)rlt_text_cell_get(&shard->cluster->env.denial, text);
}

/* Relaxed: a flush that begins while another one reports may report the same messages. */
uint64_t rlt_shard_denied_told(const struct rlt_shard *shard)
{
    return atomic_load_explicit(&shard->cluster->env.denied_told, memory_order_relaxed);
}

void rlt_shard_note_denied_told(struct rlt_shard *shard, uint64_t denied)
{
    uint64_t told = rlt_shard_denied_told(shard);
    while (told < denied &&
           !atomic_compare_exchange_weak_explicit(&shard->cluster->env.denied_told, &told, denied,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

const char *rlt_shard_backend_name(const struct rlt_shard *shard)
{
    return shard->port->transport.ops->name;
}

const uint8_t *rlt_shard_slab_arena(const struct rlt_shard *shard)
{
    return shard->cluster->exchange.slabs.arena;
}

struct rlt_slab *rlt_shard_slab(const struct rlt_shard *shard, uint32_t index)
{
    return rlt_slab_at(&shard->cluster->exchange.slabs, index);
}

/* ---- The end ------------------------------------------------------------------------------- */

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
