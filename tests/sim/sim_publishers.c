/* SPDX-License-Identifier: MIT */
#include "sim/sim_publishers.h"

#include <stdio.h>
#include <string.h>

#include "core/cluster/direct_send.h"
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
    self->again = 0;
    self->in_doubt_seen = 0;
    self->in_doubt_midway = 0;
    self->keep = cluster->env.config->guarantee == ROULETTE_AT_LEAST_ONCE;
    memset(self->last_processed, -1, sizeof(self->last_processed));
    memset(self->stream, 0, sizeof(self->stream));
    self->count = 1 + (uint32_t)sim_below(sim, SIM_PUBLISHERS_MAX);
    self->large = sim_below(sim, 4) == 0 ? (uint32_t)sim_below(sim, 300) : 5;
    /* In some worlds the lanes are all taken but one: then the others share a lane. */
    bool crowded = sim_below(sim, 3) == 0;
    for (uint32_t slot = 0; slot < cluster->env.config->pool_size; slot++) {
        struct rlt_wire_queue *queue = &cluster->paths[slot].queue;
        for (int lane = 0; crowded && lane < RLT_WIRE_LANES - 1; lane++) {
            ck_pr_or_uint(&queue->taken, 1U << lane);
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
    return &self->cluster->paths[slot].queue;
}

static void ring(struct sim_publishers *self)
{
    sim_wake_thread(self->sim, rlt_cluster_knock(self->cluster, RLT_WAKE_LANES));
}

/* What is left to do behind a direct send. */
static void follow(struct sim_publishers *self, uint32_t path, enum rlt_direct_result result)
{
    self->borrowers[path].calls_due += result == RLT_DIRECT_WAKE ? 1 : 0;
    if (result == RLT_DIRECT_KNOCK) {
        ring(self);
    }
}

/* If somebody has borrowed the path's sending side, it gives it back. */
static void give_back(struct sim_publishers *self, uint32_t path)
{
    struct sim_borrower *borrower = &self->borrowers[path];
    if (borrower->borrowed) {
        uint64_t *sights = self->transport->slots[0].server.network->sights;
        const struct rlt_sender *sender = &self->cluster->paths[path].active->sender;
        bool recalled = rlt_loan_is_recalled(&self->cluster->paths[path].loan);
        borrower->borrowed = false;
        follow(self, path, rlt_direct_send_end(self->cluster, path, borrower->taken));
        sights[SIM_SIGHT_DIRECT]++;
        sights[SIM_SIGHT_DIRECT_RECALLED] += recalled ? 1 : 0;
        sights[SIM_SIGHT_DIRECT_CUT] += sender->batch.count != 0 ? 1 : 0;
        sights[SIM_SIGHT_DIRECT_CLOSE] += self->cluster->paths[path].active->close_due ? 1 : 0;
    }
}

static void call(struct sim_publishers *self, uint32_t path)
{
    struct sim_borrower *borrower = &self->borrowers[path];
    for (; borrower->calls_due != 0; borrower->calls_due--) {
        rlt_cluster_call(self->cluster);
        sim_wake_thread(self->sim, true);
    }
}

/* Who sends by itself goes on. */
static void go_on(struct sim_publishers *self, uint32_t path)
{
    call(self, path);
    give_back(self, path);
    if (sim_below(self->sim, 2) == 0) {
        call(self, path);
    }
}

bool sim_publishers_are_at(const struct sim_publishers *self, uint32_t path)
{
    return self->borrowers[path].borrowed || self->borrowers[path].calls_due != 0;
}

/* What a publisher does behind a message, up to where its send has returned; the rest may come
 * much later. */
static void send_or_ring(struct sim_publishers *self, uint32_t path)
{
    enum rlt_direct_result result;
    if (!rlt_doorbell_is_armed(&self->cluster->doorbell, RLT_WAKE_LANES)) {
        return;
    }
    if (sim_below(self->sim, 4) == 0) {
        ring(self); /* as one that publishes without a pause */
        return;
    }
    if (sim_below(self->sim, 2) == 0 && !self->borrowers[path].borrowed) {
        self->cluster->paths[path].active->sender.sent_ns = 0; /* as if long ago */
    }
    if (!rlt_direct_send_begin(self->cluster, path, self->sim->now_ns, &result)) {
        follow(self, path, result);
        return;
    }
    struct rlt_transport *transport = &self->transport->transport;
    const struct rlt_connection *connection = self->cluster->paths[path].active;
    struct sim_borrower *borrower = &self->borrowers[path];
    SIM_CHECK(self->sim, !borrower->borrowed, "two have borrowed");
    self->transport->slots[0].server.network->sights[SIM_SIGHT_DIRECT_BUSY] +=
        self->sim->sleeping ? 0 : 1;
    borrower->borrowed = true;
    borrower->taken =
        transport->ops->send_now(transport, connection->slot, connection->sender.batch.spans,
                                 connection->sender.batch.count);
    if (sim_below(self->sim, 2) == 0) {
        go_on(self, path);
    }
}

static void commit(struct sim_publishers *self, struct sim_publisher *publisher)
{
    struct rlt_wire_queue *queue = queue_of(self, publisher->claimed_slot);
    struct sim_message *message = &self->messages[publisher->claimed_number];
    publisher->claimed = false;
    message->committed = true;
    message->committed_index = self->committed++;
    if (publisher->lanes[publisher->claimed_slot] == RLT_WIRE_LANES) {
        message->lane_index = publisher->claim.slot;
        rlt_shared_lane_commit(&queue->shared, &publisher->claim, publisher->claimed_len);
    } else {
        const struct rlt_lane *lane = &queue->lanes[message->lane];
        message->lane_index = atomic_load_explicit(&lane->accepted, memory_order_relaxed);
        rlt_lane_commit(&queue->lanes[publisher->lanes[publisher->claimed_slot]],
                        publisher->claimed_len);
    }
    send_or_ring(self, publisher->claimed_slot);
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
    self->messages[number] =
        (struct sim_message){.slot = (uint8_t)slot, .lane = (uint8_t)lane, .topic = (uint8_t)topic};
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
    uint32_t slot = topic % self->cluster->env.config->pool_size;
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
    go_on(self, (uint32_t)sim_below(self->sim, self->cluster->env.config->pool_size));
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
    for (uint32_t i = 0; i < self->cluster->env.config->pool_size; i++) {
        give_back(self, i);
        call(self, i);
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

/* A name for the connection that a slot has now. */
static uint64_t stream_of(const struct sim_publishers *self, uint32_t slot)
{
    return self->transport->slots[slot].incarnation * SIM_SLOTS_MAX + slot;
}

static struct rlt_sender *owner_of(struct sim_publishers *self, uint32_t path)
{
    struct rlt_path *here = &self->cluster->paths[path];
    struct rlt_connection *first = &here->connections[0];
    struct rlt_connection *second = &here->connections[1];
    bool owns = rlt_connection_is_active(first);
    SIM_CHECK(self->sim, owns != rlt_connection_is_active(second), "who owns the lanes");
    SIM_CHECK(self->sim, here->active == (owns ? first : second), "who is active");
    return owns ? &first->sender : &second->sender;
}

/* A message comes twice only if it was not confirmed when its connection was lost. */
static void check_again(struct sim_publishers *self, uint32_t path,
                        const struct sim_message *message, uint64_t stream)
{
    uint32_t number = (uint32_t)(message - self->messages);
    SIM_CHECK(self->sim, self->keep, "message %u twice", number);
    SIM_CHECK(self->sim, message->stream != stream, "message %u twice on one connection", number);
    for (uint32_t slot = 0; slot < self->transport->slot_count; slot++) {
        self->lied = self->lied || self->transport->slots[slot].server.lied;
    }
    SIM_CHECK(self->sim,
              self->lied ||
                  owner_of(self, path)->released[message->lane].count <= message->lane_index,
              "message %u again after it was confirmed", number);
    self->again++;
}

void sim_publishers_on_publish(void *context, uint32_t slot, uint32_t topic, const uint8_t *payload,
                               size_t len, bool refused)
{
    struct sim_publishers *self = context;
    uint32_t number = sim_read(self->sim, payload, len);
    uint32_t path = slot % self->cluster->env.config->pool_size;
    SIM_CHECK(self->sim, number < self->message_count);
    struct sim_message *message = &self->messages[number];
    SIM_CHECK(self->sim, message->committed, "message %u was not published", number);
    SIM_CHECK(self->sim,
              message->slot == path && topic % self->cluster->env.config->pool_size == path);
    uint64_t stream = stream_of(self, slot);
    if (message->processed) {
        check_again(self, path, message, stream);
    }
    /* In each stream a lane's messages come in order: a replay goes back, then on. */
    int64_t *last = &self->last_processed[path][message->lane];
    if (self->stream[path] != stream && self->keep) {
        memset(self->last_processed[path], -1, sizeof(self->last_processed[path]));
    }
    self->stream[path] = stream;
    SIM_CHECK(self->sim, *last < number, "message %u behind a later one of its lane", number);
    *last = number;
    message->refused = message->refused || refused;
    if (!refused) {
        self->processed += message->processed ? 0 : 1;
        message->processed = true;
        message->stream = stream;
    }
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
    sim_wake_thread(self->sim, rlt_cluster_submit(self->cluster, &fence->parts[0].command));
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
            self->flushes[i].in_doubt = rlt_counter_get(&self->cluster->env.metrics.in_doubt);
        }
    }
}

/* At least once: messages that were struck out instead of others with the same topic, at most. Our
 * servers change their minds from one message to the next. */
static uint64_t taken_for_others(const struct sim_publishers *self)
{
    return self->keep ? rlt_counter_get(&self->cluster->env.metrics.denied) : 0;
}

/* All that was accepted before a flush was processed, or is failed, or was in doubt before. */
static void check_passed(struct sim_publishers *self, const struct sim_flush *flush)
{
    uint64_t missing = 0;
    for (uint32_t i = 0; i < self->message_count; i++) {
        const struct sim_message *message = &self->messages[i];
        missing += message->committed && message->committed_index < flush->committed &&
                   !message->processed && !message->refused;
    }
    uint64_t failed = rlt_counter_get(&self->cluster->env.metrics.failed);
    SIM_CHECK(self->sim,
              self->lied || missing <= failed + flush->in_doubt + self->in_doubt_midway +
                                           taken_for_others(self),
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
static const struct rlt_sender *sender_of_twin(struct sim_publishers *self, uint32_t path,
                                               const struct rlt_sender *sender)
{
    struct rlt_connection *connections = self->cluster->paths[path].connections;
    return &connections[sender == &connections[0].sender ? 1 : 0].sender;
}

static bool has_ended(struct sim_publishers *self, uint32_t path)
{
    return self->cluster->paths[path].active->stopped;
}

static uint64_t on_the_way(struct sim_publishers *self, uint32_t slot)
{
    struct rlt_wire_queue *queue = queue_of(self, slot);
    struct rlt_sender *sender = owner_of(self, slot);
    uint64_t messages = rlt_wire_queue_accepted(queue);
    for (int lane = 0; lane <= RLT_WIRE_LANES; lane++) {
        const struct rlt_lane_mark *cursor =
            lane == RLT_WIRE_LANES ? &queue->shared.cursor : &queue->lanes[lane].cursor;
        messages -= self->keep ? sender->released[lane].count : cursor->count;
        if (self->keep && has_ended(self, slot) &&
            sender->reached[lane].count > sender->released[lane].count) {
            messages -= sender->reached[lane].count - sender->released[lane].count; /* in doubt */
        }
    }
    if (self->keep && !has_ended(self, slot)) {
        messages -= rlt_denials_count_struck(sender);
    }
    const struct rlt_sender *other = sender_of_twin(self, slot, sender);
    SIM_CHECK(self->sim, other->sent == other->confirmed, "two senders have messages");
    if (self->keep) {
        return messages;
    }
    for (uint32_t i = sender->batch.done; i < sender->batch.count; i++) {
        const struct rlt_batch_part *part = &sender->batch.parts[i];
        messages += part->lane >= 0 ? part->end.count - part->start.count : 0;
    }
    SIM_CHECK(self->sim, sender->confirmed <= sender->sent);
    return messages + sender->sent - sender->confirmed;
}

/* A connection that is ready takes messages; one that is out of reach holds none. */
static void check_state(struct sim_publishers *self, uint32_t slot)
{
    struct rlt_connection *connection = self->cluster->paths[slot].active;
    const struct rlt_session *session = &connection->session;
    uint32_t state = atomic_load_explicit(&connection->wire->state, memory_order_relaxed);
    SIM_CHECK(self->sim, !connection->sender.pings.early || connection->sender.pings.in_batch,
              "an early PONG is forgotten");
    if (self->cluster->env.stopping) {
        return;
    }
    SIM_CHECK(self->sim, session->state != RLT_SESSION_READY || state == RLT_WIRE_OPEN);
    bool out_of_reach = session->attempts >= self->cluster->env.config->max_retry;
    SIM_CHECK(self->sim, (state == RLT_WIRE_UNREACHABLE) == out_of_reach);
}

void sim_publishers_on_closed(struct sim_publishers *self, uint32_t slot)
{
    uint32_t path = slot % self->cluster->env.config->pool_size;
    struct rlt_connection *connection = self->cluster->paths[path].active;
    self->in_doubt_seen = rlt_counter_get(&self->cluster->env.metrics.in_doubt);
    SIM_CHECK(self->sim,
              connection->session.attempts < self->cluster->env.config->max_retry ||
                  self->cluster->env.stopping || rlt_wire_queue_is_empty(connection->wire),
              "out of reach, and messages wait");
}

void sim_publishers_check(struct sim_publishers *self)
{
    uint64_t in_doubt = rlt_counter_get(&self->cluster->env.metrics.in_doubt);
    self->in_doubt_midway += in_doubt - self->in_doubt_seen;
    self->in_doubt_seen = in_doubt;
    struct roulette_ledger ledger;
    rlt_cluster_ledger(self->cluster, false, &ledger);
    SIM_CHECK(self->sim, ledger.accepted == self->committed);
    uint64_t sum = ledger.confirmed + ledger.in_doubt + ledger.failed + ledger.denied;
    for (uint32_t slot = 0; slot < self->cluster->env.config->pool_size; slot++) {
        sum += on_the_way(self, slot);
        check_state(self, slot);
    }
    for (uint32_t slot = 0; slot < self->transport->slot_count; slot++) {
        const struct sim_slot *link = &self->transport->slots[slot];
        self->lied = self->lied || link->server.lied;
        SIM_CHECK(self->sim,
                  !link->open || self->lied ||
                      rlt_cluster_connection(self->cluster, slot)->sender.confirmed <=
                          link->server.published,
                  "confirmed and not processed");
    }
    SIM_CHECK(self->sim, sum == ledger.accepted, "%lu accepted, %lu accounted for", ledger.accepted,
              sum);
    SIM_CHECK(self->sim, self->lied || ledger.confirmed <= self->processed);
    SIM_CHECK(self->sim, self->processed + ledger.failed <= ledger.accepted);
    check_flushes(self);
}

/* Each refusal that the client has read is booked, once, and nothing else is. */
static void check_refused(struct sim_publishers *self, uint64_t denied)
{
    const struct sim_network *network = self->transport->slots[0].server.network;
    uint64_t read = 0;
    for (uint32_t i = 0; i < SIM_TOPICS; i++) {
        read += network->refusals_read[i];
    }
    SIM_CHECK(self->sim, denied <= read + network->slanders_read, "%lu of %lu", denied, read);
    SIM_CHECK(self->sim, self->lied || network->slanders_read != 0 || denied == read, "%lu of %lu",
              denied, read);
    /* None is sent again, or it would be refused again now and then. */
    for (uint32_t i = 0; i < SIM_TOPICS; i++) {
        uint64_t published = 0;
        for (uint32_t k = 0; k < self->message_count; k++) {
            published += self->messages[k].topic == i && self->messages[k].committed ? 1 : 0;
        }
        SIM_CHECK(self->sim, network->refusals_read[i] <= published);
    }
}

void sim_publishers_end(struct sim_publishers *self)
{
    sim_publishers_check(self);
    SIM_CHECK(self->sim, self->flush_count == 0, "a flush is forgotten");
    struct roulette_ledger ledger;
    rlt_cluster_ledger(self->cluster, true, &ledger);
    SIM_CHECK(self->sim, ledger.discarded <= ledger.accepted);
    SIM_CHECK(self->sim, ledger.accepted == ledger.confirmed + ledger.in_doubt + ledger.failed +
                                                ledger.discarded + ledger.denied);
    check_refused(self, ledger.denied);
    /* What failed or was discarded never reached a server; what is neither, may have. */
    uint64_t slanders = self->transport->slots[0].server.network->slanders_read;
    SIM_CHECK(self->sim, self->processed <= ledger.confirmed + ledger.in_doubt + slanders +
                                                taken_for_others(self));
    for (uint32_t i = 0; i < self->count; i++) {
        SIM_CHECK(self->sim, self->publishers[i].asleep == NULL, "a publisher sleeps for ever");
    }
}
