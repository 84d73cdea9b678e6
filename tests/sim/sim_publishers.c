/* SPDX-License-Identifier: MIT */
#include "sim/sim_publishers.h"

#include <stdio.h>
#include <string.h>

#include "proto/encode.h"

#define FRAME_MAX (65536 / 2)

void sim_publishers_begin(struct sim_publishers *self, struct sim *sim, struct rlt_cluster *cluster,
                          struct sim_transport *transport)
{
    memset(self, 0, offsetof(struct sim_publishers, messages));
    self->sim = sim;
    self->cluster = cluster;
    self->transport = transport;
    self->message_count = 0;
    self->committed = 0;
    self->processed = 0;
    self->flush_count = 0;
    memset(self->last_processed, -1, sizeof(self->last_processed));
    self->count = 1 + (uint32_t)sim_below(sim, SIM_PUBLISHERS_MAX);
    self->large = sim_below(sim, 4) == 0 ? (uint32_t)sim_below(sim, 300) : 5;
    /* In some worlds the lanes are all taken but one: then the others share a lane. */
    bool crowded = sim_below(sim, 3) == 0;
    for (uint32_t slot = 0; slot < cluster->config->pool_size; slot++) {
        struct rlt_wire_queue *queue = &cluster->connections[slot].queue;
        for (int lane = 0; crowded && lane < RLT_WIRE_LANES - 1; lane++) {
            atomic_store_explicit(&queue->taken[lane], 1, memory_order_relaxed);
        }
        for (uint32_t i = 0; i < self->count; i++) {
            self->publishers[i].lanes[slot] = rlt_wire_queue_acquire(queue);
            SIM_CHECK(sim, self->publishers[i].lanes[slot] >= 0);
        }
    }
}

/* ---- Publishing --------------------------------------------------------------------------- */

static struct rlt_wire_queue *queue_of(struct sim_publishers *self, uint32_t slot)
{
    return &self->cluster->connections[slot].queue;
}

static void ring(struct sim_publishers *self)
{
    self->woke |= rlt_doorbell_ring(&self->cluster->doorbell, RLT_WAKE_LANES);
}

static void commit(struct sim_publishers *self, struct sim_publisher *publisher)
{
    struct rlt_wire_queue *queue = queue_of(self, publisher->claimed_slot);
    struct sim_message *message = &self->messages[publisher->claimed_number];
    publisher->claimed = false;
    message->committed = true;
    message->committed_index = self->committed++;
    if (publisher->lanes[publisher->claimed_slot] == RLT_WIRE_LANES) {
        rlt_shared_lane_commit(&queue->shared, &publisher->claim, publisher->claimed_len);
    } else {
        rlt_lane_commit(&queue->lanes[publisher->lanes[publisher->claimed_slot]],
                        publisher->claimed_len);
    }
    ring(self);
}

/* Claim room and write the frame. */
static bool claim(struct sim_publishers *self, struct sim_publisher *publisher, uint32_t slot,
                  uint32_t topic, uint32_t payload_len)
{
    static uint8_t payload[FRAME_MAX];
    struct rlt_wire_queue *queue = queue_of(self, slot);
    char text[8];
    int topic_len = snprintf(text, sizeof(text), "t.%u", topic);
    struct rlt_pub pub = {
        .topic = text,
        .topic_len = (size_t)topic_len,
        .payload = payload,
        .payload_len = payload_len,
    };
    size_t len = rlt_encode_pub_len(&pub);
    int lane = publisher->lanes[slot];
    uint8_t *out;
    if (lane == RLT_WIRE_LANES) {
        out = rlt_shared_lane_claim(&queue->shared, len, &publisher->claim) ? publisher->claim.bytes
                                                                            : NULL;
    } else {
        out = rlt_lane_claim(&queue->lanes[lane], len);
    }
    if (out == NULL) {
        return false;
    }
    uint32_t number = self->message_count++;
    self->messages[number] = (struct sim_message){.slot = (uint8_t)slot, .lane = (uint8_t)lane};
    sim_fill(payload, payload_len, number);
    (void)rlt_encode_pub(out, &pub);
    publisher->claimed = true;
    publisher->claimed_slot = slot;
    publisher->claimed_number = number;
    publisher->claimed_len = len;
    return true;
}

/* The lane is full: announce sleep, and look once more. */
static void wait_for_room(struct sim_publishers *self, struct sim_publisher *publisher,
                          uint32_t slot, uint32_t topic, uint32_t payload_len)
{
    struct rlt_wire_queue *queue = queue_of(self, slot);
    int lane = publisher->lanes[slot];
    if (lane == RLT_WIRE_LANES) {
        rlt_shared_lane_wait_begin(&queue->shared);
    } else {
        rlt_lane_wait_begin(&queue->lanes[lane]);
    }
    uint32_t state = atomic_load_explicit(&queue->state, memory_order_relaxed);
    if (state != RLT_WIRE_OPEN) {
        return;
    }
    if (claim(self, publisher, slot, topic, payload_len)) {
        commit(self, publisher);
        return;
    }
    publisher->asleep =
        lane == RLT_WIRE_LANES ? &queue->shared.waiting : &queue->lanes[lane].waiting;
    sim_trace(self->sim, 0x300);
}

static void publish(struct sim_publishers *self, struct sim_publisher *publisher)
{
    struct sim *sim = self->sim;
    uint32_t topic = (uint32_t)sim_below(sim, SIM_TOPICS);
    uint32_t slot = topic % self->cluster->config->pool_size;
    struct rlt_wire_queue *queue = queue_of(self, slot);
    uint32_t most = sim_chance(sim, self->large) ? FRAME_MAX - 100 : 120;
    uint32_t payload_len = SIM_NUMBER_LEN + (uint32_t)sim_below(sim, most - SIM_NUMBER_LEN);
    uint32_t payload_max = atomic_load_explicit(&queue->payload_max, memory_order_relaxed);
    uint32_t state = atomic_load_explicit(&queue->state, memory_order_relaxed);
    if (state != RLT_WIRE_OPEN || (payload_max != 0 && payload_len > payload_max) ||
        self->message_count == SIM_MESSAGES_MAX) {
        return;
    }
    if (!claim(self, publisher, slot, topic, payload_len)) {
        wait_for_room(self, publisher, slot, topic, payload_len);
    } else if (sim_below(sim, 8) != 0) {
        commit(self, publisher);
    }
}

void sim_publishers_step(struct sim_publishers *self)
{
    struct sim_publisher *publisher = &self->publishers[sim_below(self->sim, self->count)];
    if (publisher->asleep != NULL) {
        return;
    }
    if (publisher->claimed) {
        commit(self, publisher);
    } else {
        publish(self, publisher);
    }
}

void sim_publishers_settle(struct sim_publishers *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->publishers[i].claimed) {
            commit(self, &self->publishers[i]);
        }
    }
}

void sim_publishers_on_wake(struct sim_publishers *self, _Atomic(uint32_t) *word)
{
    for (uint32_t i = 0; i < self->count; i++) {
        if (self->publishers[i].asleep == word) {
            self->publishers[i].asleep = NULL;
        }
    }
}

/* ---- The servers' side -------------------------------------------------------------------- */

void sim_publishers_on_publish(void *context, uint32_t slot, uint32_t topic, const uint8_t *payload,
                               size_t len)
{
    struct sim_publishers *self = context;
    uint32_t number = sim_read(self->sim, payload, len);
    SIM_CHECK(self->sim, number < self->message_count);
    struct sim_message *message = &self->messages[number];
    SIM_CHECK(self->sim, message->committed, "message %u was not published", number);
    SIM_CHECK(self->sim, !message->processed, "message %u twice", number);
    SIM_CHECK(self->sim, message->slot == slot && topic % self->cluster->config->pool_size == slot);
    SIM_CHECK(self->sim, self->last_processed[slot][message->lane] < number,
              "message %u behind a later one of its lane", number);
    self->last_processed[slot][message->lane] = number;
    message->processed = true;
    self->processed++;
    sim_trace(self->sim, 0x400 + number);
}

/* ---- Flushes ------------------------------------------------------------------------------ */

void sim_publishers_flush(struct sim_publishers *self, bool leave)
{
    if (self->flush_count == SIM_FENCES_MAX) {
        return;
    }
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    struct sim_flush *flush = &self->flushes[self->flush_count];
    *flush = (struct sim_flush){.fence = fence, .committed = self->committed};
    self->woke |= rlt_cluster_submit(self->cluster, &fence->parts[0].command);
    if (leave) {
        rlt_fence_release(fence);
    } else {
        self->flush_count++;
    }
}

void sim_publishers_before_run(struct sim_publishers *self)
{
    for (uint32_t i = 0; i < self->flush_count; i++) {
        if (!self->flushes[i].begun) {
            self->flushes[i].begun = true;
            self->flushes[i].in_doubt = rlt_counter_get(&self->cluster->metrics.in_doubt);
        }
    }
}

/* All that was accepted before a flush was processed, or is failed, or was in doubt before. */
static void check_passed(struct sim_publishers *self, const struct sim_flush *flush)
{
    uint64_t missing = 0;
    for (uint32_t i = 0; i < self->message_count; i++) {
        const struct sim_message *message = &self->messages[i];
        missing += message->committed && message->committed_index < flush->committed &&
                   !message->processed;
    }
    uint64_t failed = rlt_counter_get(&self->cluster->metrics.failed);
    SIM_CHECK(self->sim, self->lied || missing <= failed + flush->in_doubt,
              "a flush passed before %lu messages", missing - failed - flush->in_doubt);
}

static void check_flushes(struct sim_publishers *self)
{
    for (uint32_t i = 0; i < self->flush_count; i++) {
        struct rlt_fence *fence = self->flushes[i].fence;
        if (atomic_load_explicit(&fence->done, memory_order_acquire) == 0) {
            continue;
        }
        sim_trace(self->sim, 0x500 + (fence->parts[0].error != 0));
        if (fence->parts[0].error == 0) {
            check_passed(self, &self->flushes[i]);
        }
        rlt_fence_release(fence);
        self->flushes[i--] = self->flushes[--self->flush_count];
    }
}

/* ---- The ledger --------------------------------------------------------------------------- */

/* Messages of one connection that have no final state: queued, in a batch, or unconfirmed. */
static uint64_t on_the_way(struct sim_publishers *self, uint32_t slot)
{
    struct rlt_connection *connection = &self->cluster->connections[slot];
    struct rlt_sender *sender = &connection->sender;
    uint64_t cursors = connection->queue.shared.cursor.count;
    for (int lane = 0; lane < RLT_WIRE_LANES; lane++) {
        cursors += connection->queue.lanes[lane].cursor.count;
    }
    uint64_t messages = rlt_wire_queue_accepted(&connection->queue) - cursors;
    for (uint32_t i = sender->span_done; i < sender->span_count; i++) {
        const struct rlt_sender_part *part = &sender->parts[i];
        messages += part->lane >= 0 ? part->end.count - part->start.count : 0;
    }
    SIM_CHECK(self->sim, sender->confirmed <= sender->sent);
    return messages + sender->sent - sender->confirmed;
}

/* A connection that is ready takes messages; one that is out of reach holds none. */
static void check_state(struct sim_publishers *self, uint32_t slot)
{
    struct rlt_connection *connection = &self->cluster->connections[slot];
    const struct rlt_session *session = &connection->session;
    uint32_t state = atomic_load_explicit(&connection->queue.state, memory_order_relaxed);
    SIM_CHECK(self->sim, !connection->sender.pong_early || connection->sender.ping_in_batch,
              "an early PONG is forgotten");
    if (self->cluster->stopping) {
        return;
    }
    SIM_CHECK(self->sim, session->state != RLT_SESSION_READY || state == RLT_WIRE_OPEN);
    bool out_of_reach = session->attempts >= self->cluster->config->max_retry;
    SIM_CHECK(self->sim, (state == RLT_WIRE_UNREACHABLE) == out_of_reach);
}

void sim_publishers_on_closed(struct sim_publishers *self, uint32_t slot)
{
    struct rlt_connection *connection = &self->cluster->connections[slot];
    SIM_CHECK(self->sim,
              connection->session.attempts < self->cluster->config->max_retry ||
                  self->cluster->stopping || rlt_wire_queue_is_empty(&connection->queue),
              "out of reach, and messages wait");
}

void sim_publishers_check(struct sim_publishers *self)
{
    struct roulette_ledger ledger;
    rlt_cluster_ledger(self->cluster, false, &ledger);
    SIM_CHECK(self->sim, ledger.accepted == self->committed);
    uint64_t sum = ledger.confirmed + ledger.in_doubt + ledger.failed;
    for (uint32_t slot = 0; slot < self->cluster->config->pool_size; slot++) {
        const struct sim_slot *link = &self->transport->slots[slot];
        self->lied = self->lied || link->server.lied;
        sum += on_the_way(self, slot);
        SIM_CHECK(self->sim,
                  !link->open || self->lied ||
                      self->cluster->connections[slot].sender.confirmed <= link->server.published,
                  "confirmed and not processed");
        check_state(self, slot);
    }
    SIM_CHECK(self->sim, sum == ledger.accepted, "%lu accepted, %lu accounted for", ledger.accepted,
              sum);
    SIM_CHECK(self->sim, self->lied || ledger.confirmed <= self->processed);
    SIM_CHECK(self->sim, self->processed + ledger.failed <= ledger.accepted);
    check_flushes(self);
}

void sim_publishers_end(struct sim_publishers *self)
{
    sim_publishers_check(self);
    SIM_CHECK(self->sim, self->flush_count == 0, "a flush is forgotten");
    struct roulette_ledger ledger;
    rlt_cluster_ledger(self->cluster, true, &ledger);
    SIM_CHECK(self->sim, ledger.discarded <= ledger.accepted);
    SIM_CHECK(self->sim, ledger.accepted ==
                             ledger.confirmed + ledger.in_doubt + ledger.failed + ledger.discarded);
    /* What failed or was discarded never reached a server; what is neither, may have. */
    SIM_CHECK(self->sim, self->processed <= ledger.confirmed + ledger.in_doubt);
    for (uint32_t i = 0; i < self->count; i++) {
        SIM_CHECK(self->sim, self->publishers[i].asleep == NULL, "a publisher sleeps for ever");
    }
}
