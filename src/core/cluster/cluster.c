/* SPDX-License-Identifier: MIT */
#include "core/cluster/cluster.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "base/random.h"
#include "core/cluster/direct_receive.h"
#include "core/cluster/direct_send.h"
#include "core/cluster/membership.h"
#include "core/cluster/serve.h"
#include "core/delivery/refused_login.h"
#include "roulette.h"

/* ---- Life --------------------------------------------------------------------------------- */

static uint32_t slot_count(const struct rlt_cluster *cluster)
{
    return rlt_cluster_slot_count(cluster->env.config);
}

static int init_connection(struct rlt_cluster *cluster, uint32_t slot, uint64_t seed)
{
    struct rlt_path *path = &cluster->paths[slot % cluster->pool_size];
    struct rlt_connection *connection = rlt_cluster_connection(cluster, slot);
    struct rlt_connection_place place = {
        .env = &cluster->env,
        .exchange = &cluster->exchange,
        .wire = &path->queue,
        .slot = slot,
        .path = path->index,
        .side = (int)(slot / cluster->pool_size),
    };
    return rlt_connection_init(connection, &place, seed);
}

static void init_path(struct rlt_cluster *cluster, uint32_t index)
{
    struct rlt_path *path = &cluster->paths[index];
    path->env = &cluster->env;
    path->exchange = &cluster->exchange;
    path->index = index;
    path->active = &path->connections[0];
    rlt_wire_queue_init(&path->queue, cluster->env.config->lane_capacity);
}

int rlt_cluster_create(const struct rlt_config *config, const struct rlt_address *address,
                       uint32_t index, struct rlt_transport *transport, uint64_t seed,
                       struct rlt_cluster **created)
{
    size_t size = sizeof(struct rlt_cluster) + config->pool_size * sizeof(struct rlt_path);
    struct rlt_cluster *cluster = rlt_memory_alloc_aligned(RLT_CACHE_LINE, size);
    if (cluster == NULL) {
        return ROULETTE_ENOMEM;
    }
    memset(cluster, 0, size);
    cluster->env.config = config;
    cluster->env.address = address;
    cluster->env.index = index;
    cluster->env.transport = transport;
    cluster->pool_size = config->pool_size;
    cluster->stop.kind = RLT_COMMAND_STOP;
    for (uint32_t i = 0; i < config->pool_size; i++) {
        init_path(cluster, i);
    }
    int result = rlt_exchange_init(&cluster->exchange, &cluster->env, slot_count(cluster));
    struct rlt_random random = {seed};
    for (uint32_t i = 0; i < slot_count(cluster) && result == 0; i++) {
        result = init_connection(cluster, i, rlt_random_next(&random));
    }
    if (result < 0) {
        rlt_cluster_destroy(cluster);
        return result;
    }
    *created = cluster;
    return 0;
}

void rlt_cluster_destroy(struct rlt_cluster *cluster)
{
    if (cluster == NULL) {
        return;
    }
    for (uint32_t i = 0; i < slot_count(cluster); i++) {
        rlt_connection_fini(rlt_cluster_connection(cluster, i));
    }
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        rlt_wire_queue_fini(&cluster->paths[i].queue);
    }
    rlt_exchange_fini(&cluster->exchange);
    rlt_memory_free(cluster);
}

void rlt_cluster_start(struct rlt_cluster *cluster, uint64_t now_ns)
{
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        rlt_connection_start(cluster->paths[i].active, now_ns);
    }
}

/* ---- Commands ----------------------------------------------------------------------------- */

bool rlt_cluster_submit(struct rlt_cluster *cluster, struct rlt_command *command)
{
    rlt_stack_push(&cluster->commands, &command->node);
    return rlt_cluster_knock(cluster, RLT_WAKE_COMMANDS);
}

bool rlt_cluster_ask(struct rlt_cluster *cluster, struct rlt_member *member, enum rlt_ask what)
{
    return rlt_member_ask(member, what) && rlt_cluster_submit(cluster, &member->command);
}

/* End all fences of a connection: the cluster stops. */
static void end_fences(struct rlt_connection *connection)
{
    rlt_connection_finish_fences(connection, rlt_ping_marks_take_waiting(&connection->sender.pings),
                                 ROULETTE_ECLOSED);
}

static void add_fence(struct rlt_cluster *cluster, struct rlt_fence_part *part)
{
    const struct rlt_fence *fence = part->fence;
    bool one = fence->scope == RLT_FENCE_SUBSCRIPTION;
    part->pending = one ? 1 : cluster->pool_size;
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        struct rlt_handover *handover = &cluster->paths[i].handover;
        struct rlt_fence_link *link = &part->links[i];
        link->part = part;
        if (one && i != fence->path) {
            continue;
        }
        if (rlt_handover_is_leaving(handover)) {
            /* The connection that takes over publishes the messages that the link waits for. */
            link->next = handover->held;
            handover->held = link;
        } else {
            rlt_ping_marks_add_fence(&cluster->paths[i].active->sender.pings, link);
        }
    }
    for (uint32_t i = 0; cluster->env.stopping && i < cluster->pool_size; i++) {
        end_fences(cluster->paths[i].active);
    }
}

/* End a part of kind SYNC: all earlier commands are executed. A mailbox that they left may be freed
 * after this. */
static void sync_part(struct rlt_cluster *cluster, struct rlt_fence_part *part)
{
    rlt_exchange_publish_dirty(&cluster->exchange);
    part->pending = 1;
    part->links[0] = (struct rlt_fence_link){.part = part};
    rlt_fence_finish(&part->links[0], 0, cluster->env.transport);
}

static void end_subscription(struct rlt_exchange *exchange, struct rlt_interest *interest)
{
    rlt_exchange_undefer(exchange, interest);
    rlt_exchange_set_on_server(exchange, interest, false);
    interest->on_second = false;
    rlt_exchange_end(exchange, interest, ROULETTE_ECLOSED);
}

/* End all interests, fail all fences, close all connections. */
static void stop(struct rlt_cluster *cluster)
{
    cluster->env.stopping = true;
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        rlt_handover_stop(&cluster->paths[i]);
    }
    for (uint32_t i = 0; i < slot_count(cluster); i++) {
        struct rlt_connection *connection = rlt_cluster_connection(cluster, i);
        end_fences(connection);
        rlt_connection_stop(connection);
    }
    const struct rlt_interests *table = &cluster->exchange.interests;
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_interest *interest = rlt_interests_at(table, i);
        if (interest != NULL) {
            end_subscription(&cluster->exchange, interest);
        }
    }
    rlt_report_end(&cluster->env);
}

static void execute(struct rlt_cluster *cluster, struct rlt_command *command)
{
    switch (command->kind) {
    case RLT_COMMAND_MEMBER:
        rlt_membership_change(cluster, rlt_container_of(command, struct rlt_member, command));
        break;
    case RLT_COMMAND_RETRY: {
        struct rlt_mailbox *mailbox = rlt_container_of(command, struct rlt_mailbox, retry);
        rlt_exchange_mark_dirty(&cluster->exchange, mailbox);
        rlt_mailbox_retry(mailbox);
        break;
    }
    case RLT_COMMAND_LEAVE:
        rlt_refused_login_delist(rlt_container_of(command, struct rlt_mailbox, leave));
        break;
    case RLT_COMMAND_FENCE:
        add_fence(cluster, rlt_container_of(command, struct rlt_fence_part, command));
        break;
    case RLT_COMMAND_SYNC:
        sync_part(cluster, rlt_container_of(command, struct rlt_fence_part, command));
        break;
    case RLT_COMMAND_STOP:
        stop(cluster);
        break;
    }
}

static void execute_all(struct rlt_cluster *cluster)
{
    struct rlt_stack_node *node = rlt_stack_take(&cluster->commands);
    while (node != NULL) {
        struct rlt_command *command = rlt_container_of(node, struct rlt_command, node);
        /* Read first: an executed command's memory may be its owner's again. */
        node = rlt_stack_next(node);
        execute(cluster, command);
    }
}

/* ---- Driving ------------------------------------------------------------------------------ */

void rlt_cluster_step(struct rlt_cluster *cluster, uint64_t now_ns)
{
    cluster->env.now_ns = now_ns;
    /* In this order: see rlt_sender_look(). */
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        struct rlt_path *path = &cluster->paths[i];
        if (!rlt_sender_is_busy(&path->active->sender)) {
            rlt_sender_look(&path->active->sender);
        }
        if (rlt_handover_is_leaving(&path->handover)) {
            /* The second connection may take over in this step. */
            rlt_sender_look(&rlt_path_other(path, path->active)->sender);
        }
    }
    execute_all(cluster);
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        rlt_handover_step(&cluster->paths[i], now_ns);
        rlt_probe_step(&cluster->paths[i], now_ns);
    }
    for (uint32_t i = 0; i < slot_count(cluster); i++) {
        rlt_serve_step(rlt_cluster_connection(cluster, i), now_ns);
    }
    rlt_report_step(&cluster->env, now_ns);
    rlt_exchange_show(&cluster->exchange);
    rlt_slab_pool_collect(&cluster->exchange.slabs);
    rlt_exchange_note_slabs(&cluster->exchange);
}

void rlt_cluster_on_event(struct rlt_cluster *cluster, const struct rlt_io_event *event,
                          uint64_t now_ns)
{
    RLT_ASSERT(event->slot < slot_count(cluster));
    cluster->env.now_ns = now_ns;
    rlt_serve_on_event(rlt_cluster_connection(cluster, event->slot), event, now_ns);
    rlt_exchange_show(&cluster->exchange);
}

bool rlt_cluster_has_work(struct rlt_cluster *cluster)
{
    if (!rlt_stack_is_empty(&cluster->commands) || rlt_direct_send_is_back(cluster)) {
        return true;
    }
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        if (rlt_handover_has_work(&cluster->paths[i])) {
            return true;
        }
    }
    for (uint32_t i = 0; i < slot_count(cluster); i++) {
        if (rlt_serve_has_work(rlt_cluster_connection(cluster, i))) {
            return true;
        }
    }
    return false;
}

void rlt_cluster_arm(struct rlt_cluster *cluster)
{
    uint32_t interests = RLT_WAKE_COMMANDS;
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        interests |= rlt_connection_wants_lanes(cluster->paths[i].active) ? RLT_WAKE_LANES : 0;
    }
    rlt_doorbell_arm_unfenced(&cluster->doorbell, interests);
}

void rlt_cluster_sleep(struct rlt_cluster *cluster)
{
    rlt_direct_send_lend(cluster);
    rlt_direct_receive_lend(cluster);
}

void rlt_cluster_awake(struct rlt_cluster *cluster, uint64_t now_ns)
{
    cluster->env.now_ns = now_ns;
    rlt_doorbell_disarm(&cluster->doorbell);
    RLT_ASSERT(rlt_loan_is_home(&cluster->receiving));
    rlt_direct_send_recall(cluster, now_ns);
    rlt_direct_receive_go_on(cluster, now_ns);
}

uint64_t rlt_cluster_deadline(struct rlt_cluster *cluster)
{
    uint64_t deadline = rlt_report_deadline(&cluster->env.reports);
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        deadline = rlt_min_u64(deadline, rlt_handover_deadline(&cluster->paths[i].handover));
        deadline = rlt_min_u64(deadline, rlt_probe_deadline(&cluster->paths[i]));
    }
    for (uint32_t i = 0; i < slot_count(cluster); i++) {
        deadline = rlt_min_u64(deadline, rlt_serve_deadline(rlt_cluster_connection(cluster, i)));
    }
    return deadline;
}

bool rlt_cluster_is_stopped(const struct rlt_cluster *cluster)
{
    if (!cluster->env.stopping) {
        return false;
    }
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        const struct rlt_path *path = &cluster->paths[i];
        if (!path->connections[0].stopped || !path->connections[1].stopped) {
            return false;
        }
    }
    return true;
}

void rlt_cluster_ledger(const struct rlt_cluster *cluster, bool stopped,
                        struct roulette_ledger *ledger)
{
    const struct rlt_metrics *metrics = &cluster->env.metrics;
    uint64_t confirmed = rlt_counter_get(&metrics->confirmed);
    uint64_t in_doubt = rlt_counter_get(&metrics->in_doubt);
    uint64_t failed = rlt_counter_get(&metrics->failed);
    uint64_t denied = rlt_counter_get(&metrics->denied);
    uint64_t accepted = 0;
    for (uint32_t i = 0; i < cluster->pool_size; i++) {
        accepted += rlt_wire_queue_accepted(&cluster->paths[i].queue);
    }
    *ledger = (struct roulette_ledger){
        .accepted = accepted,
        .confirmed = confirmed,
        .in_doubt = in_doubt,
        .failed = failed,
        .denied = denied,
        .discarded = stopped ? accepted - confirmed - in_doubt - failed - denied : 0,
    };
}
