/* SPDX-License-Identifier: MIT */
#include "core/cluster.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "base/random.h"
#include "core/direct_receive.h"
#include "core/direct_send.h"
#include "core/refused_login.h"
#include "roulette.h"

/* ---- Life --------------------------------------------------------------------------------- */

int rlt_cluster_create(const struct rlt_config *config, const struct rlt_address *address,
                       uint32_t index, struct rlt_transport *transport, uint64_t seed,
                       struct rlt_cluster **created)
{
    uint32_t slot_count = rlt_cluster_slot_count(config);
    size_t size = sizeof(struct rlt_cluster) + slot_count * sizeof(struct rlt_connection);
    struct rlt_cluster *cluster = rlt_memory_alloc_aligned(RLT_CACHE_LINE, size);
    if (cluster == NULL) {
        return ROULETTE_ENOMEM;
    }
    memset(cluster, 0, size);
    cluster->config = config;
    cluster->address = address;
    cluster->index = index;
    cluster->transport = transport;
    cluster->stop.kind = RLT_COMMAND_STOP;
    int result = rlt_subscriptions_init(&cluster->subscriptions);
    if (result == 0) {
        result =
            rlt_slab_pool_init(&cluster->slabs, config->slab_bytes, config->slab_count, slot_count);
    }
    struct rlt_random random = {seed};
    for (uint32_t i = 0; i < slot_count && result == 0; i++) {
        result =
            rlt_connection_init(&cluster->connections[i], cluster, i, rlt_random_next(&random));
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
    for (uint32_t i = 0; i < rlt_cluster_slot_count(cluster->config); i++) {
        rlt_connection_fini(&cluster->connections[i]);
    }
    rlt_subscriptions_fini(&cluster->subscriptions);
    rlt_slab_pool_fini(&cluster->slabs);
    rlt_memory_free(cluster);
}

void rlt_cluster_start(struct rlt_cluster *cluster, uint64_t now_ns)
{
    for (uint32_t i = 0; i < cluster->config->pool_size; i++) {
        cluster->active[i] = &cluster->connections[i];
        rlt_connection_start(&cluster->connections[i], now_ns);
    }
}

/* ---- Mailboxes ---------------------------------------------------------------------------- */

/* Make visible what was pushed since the last time, and wake who sleeps. */
static void publish_dirty(struct rlt_cluster *cluster)
{
    while (cluster->dirty != NULL) {
        struct rlt_mailbox *mailbox = cluster->dirty;
        cluster->dirty = mailbox->dirty_next;
        mailbox->dirty = false;
        cluster->last_mailbox = mailbox->member_count != 0 ? mailbox : cluster->last_mailbox;
        if (rlt_mailbox_publish(mailbox)) {
            cluster->transport->ops->signal(cluster->transport, mailbox->descriptor);
        }
    }
}

static void notify_member(struct rlt_cluster *cluster, struct rlt_member *member,
                          enum rlt_notice notice, int error)
{
    rlt_cluster_mark_dirty(cluster, member->mailbox);
    rlt_mailbox_notify(member->mailbox, member, notice, error);
}

void rlt_cluster_notify(struct rlt_cluster *cluster, struct rlt_subscription *subscription,
                        enum rlt_notice notice, int error)
{
    struct rlt_member **members = rlt_subscription_members(subscription);
    for (uint32_t i = 0; i < subscription->member_count; i++) {
        struct rlt_member *member = members[i];
        if (notice == RLT_NOTICE_RESTORED && !member->lost) {
            continue; /* it came while the subscription was lost, and knows of no gap */
        }
        member->lost = notice == RLT_NOTICE_LOST;
        notify_member(cluster, member, notice, error);
    }
}

/* A member has no subscription any more. */
static void let_go(struct rlt_cluster *cluster, struct rlt_subscription *subscription,
                   struct rlt_member *member)
{
    struct rlt_mailbox *mailbox = member->mailbox;
    rlt_subscriptions_leave(subscription, member);
    cluster->counted -= member->own.counted ? 1 : 0;
    if (--mailbox->member_count == 0) {
        cluster->mailbox_count--;
        cluster->last_mailbox = NULL;
        rlt_direct_receive_tell(cluster);
    }
}

void rlt_cluster_end_subscription(struct rlt_cluster *cluster,
                                  struct rlt_subscription *subscription, int error)
{
    while (subscription->member_count != 0) {
        struct rlt_member *member =
            rlt_subscription_members(subscription)[subscription->member_count - 1];
        let_go(cluster, subscription, member);
        notify_member(cluster, member, RLT_NOTICE_ENDED, error);
    }
    rlt_cluster_forget(cluster, subscription);
}

void rlt_cluster_forget(struct rlt_cluster *cluster, struct rlt_subscription *subscription)
{
    if (subscription->member_count == 0 && !subscription->on_server && !subscription->on_second) {
        rlt_subscriptions_remove(&cluster->subscriptions, subscription);
    }
}

/* ---- Commands ----------------------------------------------------------------------------- */

bool rlt_cluster_submit(struct rlt_cluster *cluster, struct rlt_command *command)
{
    rlt_stack_push(&cluster->commands, &command->node);
    return rlt_cluster_ring(cluster, RLT_WAKE_COMMANDS);
}

bool rlt_cluster_ask(struct rlt_cluster *cluster, struct rlt_member *member, enum rlt_ask what)
{
    return rlt_member_ask(member, what) && rlt_cluster_submit(cluster, &member->command);
}

static void subscribe(struct rlt_cluster *cluster, struct rlt_member *member)
{
    int result = cluster->stopping ? ROULETTE_ECLOSED
                                   : rlt_subscriptions_join(&cluster->subscriptions, member);
    if (result < 0) {
        notify_member(cluster, member, RLT_NOTICE_ENDED, result);
        return;
    }
    cluster->mailbox_count += member->mailbox->member_count++ == 0 ? 1 : 0;
    cluster->counted += member->own.counted ? 1 : 0;
    rlt_refused_login_enlist(cluster, member->mailbox);
    struct rlt_subscription *subscription = rlt_subscriptions_of(&cluster->subscriptions, member);
    struct rlt_connection *connection = cluster->active[subscription->connection];
    if (!subscription->on_server &&
        !rlt_sub_suspects_keep(&connection->sub_suspects, subscription->sid)) {
        rlt_subscription_queue_push(&connection->pending, subscription);
    }
}

static void drain(struct rlt_cluster *cluster, struct rlt_member *member)
{
    struct rlt_subscription *subscription = rlt_subscriptions_of(&cluster->subscriptions, member);
    if (subscription == NULL || member->draining) {
        return;
    }
    member->draining = true;
    subscription->draining_count++;
    if (!rlt_subscription_is_wanted(subscription)) {
        rlt_subscription_queue_push(&cluster->active[subscription->connection]->pending,
                                    subscription);
    }
}

/* Take a member out of the table; without any, the server is told, or the subscription goes. */
static void leave(struct rlt_cluster *cluster, struct rlt_member *member)
{
    struct rlt_subscription *subscription = rlt_subscriptions_of(&cluster->subscriptions, member);
    if (subscription == NULL) {
        return;
    }
    struct rlt_connection *connection = cluster->active[subscription->connection];
    let_go(cluster, subscription, member);
    if (!rlt_subscription_is_wanted(subscription) && subscription->on_server) {
        rlt_subscription_queue_push(&connection->pending, subscription);
    } else if (subscription->member_count == 0) {
        rlt_subscription_queue_remove(&connection->pending, subscription);
        rlt_cluster_forget(cluster, subscription);
    }
}

static void unsubscribe(struct rlt_cluster *cluster, struct rlt_member *member)
{
    leave(cluster, member);
    notify_member(cluster, member, RLT_NOTICE_REMOVED, 0);
}

static void finish(struct rlt_cluster *cluster, struct rlt_member *member)
{
    if (!member->finished) {
        leave(cluster, member);
        notify_member(cluster, member, RLT_NOTICE_ENDED, 0);
    }
}

/* Do what was asked about a member since the last time; once it is taken, the command may be put
 * into the queue again. */
static void carry_out(struct rlt_cluster *cluster, struct rlt_member *member)
{
    /* Partner of rlt_member_ask(). Acquire: what was written before it was asked. Release: we are
     * through with the command's link, which the next one who asks writes. */
    uint32_t asked = atomic_exchange_explicit(&member->command.asked, 0, memory_order_acq_rel);
    if (asked & RLT_ASK_SUBSCRIBE) {
        subscribe(cluster, member);
    }
    /* Notices are not published before all is done, so the member is still here. */
    if (asked & RLT_ASK_DRAIN) {
        drain(cluster, member);
    }
    if (asked & RLT_ASK_FINISH) {
        finish(cluster, member);
    }
    if (asked & RLT_ASK_UNSUBSCRIBE) {
        unsubscribe(cluster, member);
    }
}

static void add_fence(struct rlt_cluster *cluster, struct rlt_fence_part *part)
{
    const struct rlt_fence *fence = part->fence;
    bool one = fence->scope == RLT_FENCE_SUBSCRIPTION;
    part->pending = one ? 1 : cluster->config->pool_size;
    for (uint32_t i = 0; i < cluster->config->pool_size; i++) {
        struct rlt_handover *handover = &cluster->handovers[i];
        struct rlt_fence_link *link = &part->links[i];
        link->part = part;
        if (one && i != fence->position) {
            continue;
        }
        if (rlt_handover_is_leaving(handover)) {
            /* What it waits for is published by the connection that takes over. */
            link->next = handover->held;
            handover->held = link;
        } else {
            rlt_ping_marks_add_fence(&cluster->active[i]->sender.pings, link);
        }
    }
    for (uint32_t i = 0; cluster->stopping && i < cluster->config->pool_size; i++) {
        rlt_cluster_finish_fences(cluster,
                                  rlt_ping_marks_take_waiting(&cluster->active[i]->sender.pings),
                                  ROULETTE_ECLOSED);
    }
}

void rlt_cluster_finish_fences(struct rlt_cluster *cluster, struct rlt_fence_link *links, int error)
{
    while (links != NULL) {
        struct rlt_fence_link *next = links->next;
        struct rlt_fence *over = rlt_fence_link_done(links, error);
        if (over != NULL) {
            cluster->transport->ops->wake(cluster->transport, &over->done);
            rlt_fence_release(over);
        }
        links = next;
    }
}

/* All earlier commands are carried out. A mailbox that they left may be freed after this. */
static void sync_part(struct rlt_cluster *cluster, struct rlt_fence_part *part)
{
    publish_dirty(cluster);
    part->pending = 1;
    part->links[0] = (struct rlt_fence_link){.part = part};
    rlt_cluster_finish_fences(cluster, &part->links[0], 0);
}

/* End all subscriptions, fail all fences, close all connections. */
static void stop(struct rlt_cluster *cluster)
{
    cluster->stopping = true;
    for (uint32_t i = 0; i < cluster->config->pool_size; i++) {
        rlt_handover_stop(cluster, i);
    }
    for (uint32_t i = 0; i < rlt_cluster_slot_count(cluster->config); i++) {
        struct rlt_connection *connection = &cluster->connections[i];
        rlt_cluster_finish_fences(cluster, rlt_ping_marks_take_waiting(&connection->sender.pings),
                                  ROULETTE_ECLOSED);
        rlt_connection_stop(connection);
    }
    struct rlt_subscriptions *table = &cluster->subscriptions;
    for (uint32_t i = 0; i < table->index_count; i++) {
        struct rlt_subscription *subscription = rlt_subscriptions_at(table, i);
        if (subscription != NULL) {
            rlt_subscription_queue_remove(&cluster->active[subscription->connection]->pending,
                                          subscription);
            subscription->on_server = false;
            subscription->on_second = false;
            rlt_cluster_end_subscription(cluster, subscription, ROULETTE_ECLOSED);
        }
    }
    rlt_counter_set(&cluster->metrics.subscriptions, 0);
    rlt_report_end(cluster);
}

static void execute(struct rlt_cluster *cluster, struct rlt_command *command)
{
    switch (command->kind) {
    case RLT_COMMAND_MEMBER:
        carry_out(cluster, rlt_container_of(command, struct rlt_member, command));
        break;
    case RLT_COMMAND_RETRY: {
        struct rlt_mailbox *mailbox = rlt_container_of(command, struct rlt_mailbox, retry);
        rlt_cluster_mark_dirty(cluster, mailbox);
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
        /* Read first: the command's memory may be its owner's again once it is carried out. */
        node = node->next;
        execute(cluster, command);
    }
}

/* ---- Driving ------------------------------------------------------------------------------ */

void rlt_cluster_show_delivered(struct rlt_cluster *cluster)
{
    /* Before the messages are visible: nobody receives what is not counted. */
    rlt_counter_add(&cluster->metrics.received_messages, cluster->batch_received);
    rlt_counter_add(&cluster->metrics.delivered_messages, cluster->batch_delivered);
    cluster->batch_received = 0;
    cluster->batch_delivered = 0;
    publish_dirty(cluster);
}

void rlt_cluster_run(struct rlt_cluster *cluster, uint64_t now_ns)
{
    cluster->now_ns = now_ns;
    /* In this order: see rlt_sender_look(). */
    for (uint32_t i = 0; i < cluster->config->pool_size; i++) {
        struct rlt_connection *active = cluster->active[i];
        if (!rlt_sender_is_busy(&active->sender)) {
            rlt_sender_look(&active->sender);
        }
        if (rlt_handover_is_leaving(&cluster->handovers[i])) {
            /* It may take over in this run. */
            rlt_sender_look(&rlt_cluster_twin(cluster, active)->sender);
        }
    }
    execute_all(cluster);
    for (uint32_t i = 0; i < cluster->config->pool_size; i++) {
        rlt_handover_run(cluster, i, now_ns);
        rlt_probe_run(cluster, i, now_ns);
    }
    for (uint32_t i = 0; i < rlt_cluster_slot_count(cluster->config); i++) {
        rlt_connection_run(&cluster->connections[i], now_ns);
    }
    rlt_report_run(cluster, now_ns);
    rlt_cluster_show_delivered(cluster);
    rlt_slab_pool_collect(&cluster->slabs);
    rlt_counter_set(&cluster->metrics.slabs_in_use, rlt_slab_pool_in_use(&cluster->slabs));
}

void rlt_cluster_on_event(struct rlt_cluster *cluster, const struct rlt_io_event *event,
                          uint64_t now_ns)
{
    RLT_ASSERT(event->slot < rlt_cluster_slot_count(cluster->config));
    cluster->now_ns = now_ns;
    rlt_connection_on_event(&cluster->connections[event->slot], event, now_ns);
    rlt_cluster_show_delivered(cluster);
}

bool rlt_cluster_has_work(struct rlt_cluster *cluster)
{
    if (!rlt_stack_is_empty(&cluster->commands) || rlt_direct_send_is_back(cluster)) {
        return true;
    }
    for (uint32_t i = 0; i < cluster->config->pool_size; i++) {
        if (rlt_handover_has_work(cluster, i)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < rlt_cluster_slot_count(cluster->config); i++) {
        if (rlt_connection_has_work(&cluster->connections[i])) {
            return true;
        }
    }
    return false;
}

void rlt_cluster_arm(struct rlt_cluster *cluster)
{
    uint32_t interests = RLT_WAKE_COMMANDS;
    for (uint32_t i = 0; i < cluster->config->pool_size; i++) {
        interests |= rlt_connection_wants_lanes(cluster->active[i]) ? RLT_WAKE_LANES : 0;
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
    cluster->now_ns = now_ns;
    rlt_doorbell_disarm(&cluster->doorbell);
    RLT_ASSERT(rlt_loan_is_home(&cluster->receiving));
    rlt_direct_send_recall(cluster, now_ns);
    rlt_direct_receive_go_on(cluster, now_ns);
}

uint64_t rlt_cluster_deadline(struct rlt_cluster *cluster)
{
    uint64_t deadline = rlt_report_deadline(&cluster->reports);
    for (uint32_t i = 0; i < cluster->config->pool_size; i++) {
        deadline = rlt_min_u64(deadline, rlt_handover_deadline(&cluster->handovers[i]));
        deadline = rlt_min_u64(deadline, rlt_probe_deadline(cluster, i));
    }
    for (uint32_t i = 0; i < rlt_cluster_slot_count(cluster->config); i++) {
        deadline = rlt_min_u64(deadline, rlt_connection_deadline(&cluster->connections[i]));
    }
    return deadline;
}

bool rlt_cluster_is_stopped(const struct rlt_cluster *cluster)
{
    if (!cluster->stopping) {
        return false;
    }
    for (uint32_t i = 0; i < rlt_cluster_slot_count(cluster->config); i++) {
        if (!cluster->connections[i].stopped) {
            return false;
        }
    }
    return true;
}

void rlt_cluster_ledger(const struct rlt_cluster *cluster, bool stopped,
                        struct roulette_ledger *ledger)
{
    const struct rlt_metrics *metrics = &cluster->metrics;
    uint64_t confirmed = rlt_counter_get(&metrics->confirmed);
    uint64_t in_doubt = rlt_counter_get(&metrics->in_doubt);
    uint64_t failed = rlt_counter_get(&metrics->failed);
    uint64_t denied = rlt_counter_get(&metrics->denied);
    uint64_t accepted = 0;
    for (uint32_t i = 0; i < cluster->config->pool_size; i++) {
        accepted += rlt_wire_queue_accepted(&cluster->connections[i].queue);
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
