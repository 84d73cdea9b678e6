/* SPDX-License-Identifier: MIT */
#include "sim/sim_subscribers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cluster/direct_receive.h"
#include "core/seam/ring.h"
#include "roulette.h"

void sim_subscribers_create(struct sim_subscribers *self)
{
    memset(self, 0, sizeof(*self));
    for (uint32_t i = 0; i < SIM_SUBSCRIBERS_MAX; i++) {
        self->subscribers[i].expected = malloc(SIM_EXPECTED_MAX * sizeof(struct sim_expected));
        self->subscribers[i].held = malloc(SIM_HELD_MAX * sizeof(struct sim_held));
    }
}

void sim_subscribers_destroy(struct sim_subscribers *self)
{
    for (uint32_t i = 0; i < SIM_SUBSCRIBERS_MAX; i++) {
        free(self->subscribers[i].expected);
        free(self->subscribers[i].held);
    }
}

static void begin_one(struct sim_subscribers *self, uint32_t index)
{
    struct sim_subscriber *subscriber = &self->subscribers[index];
    const struct rlt_config *config = self->cluster->env.config;
    struct sim_expected *expected = subscriber->expected;
    struct sim_held *held = subscriber->held;
    memset(subscriber, 0, sizeof(*subscriber));
    subscriber->expected = expected;
    subscriber->held = held;
    subscriber->hold = (uint32_t)sim_below(self->sim, 1001);
    struct rlt_mailbox_options options = {
        .ring_slots = UINT64_C(8) << sim_below(self->sim, 5),
        .slab_bytes = config->slab_bytes,
        .slab_indexes = config->slab_count,
        .pinned_max = 1 + sim_below(self->sim, config->slab_count),
        .doorbell = &subscriber->doorbell,
        .descriptor = (int)index,
    };
    SIM_CHECK(self->sim, rlt_mailbox_init(&subscriber->mailbox, &options) == 0);
}

static void on_release(void *context, const struct sim_waiting *released);
static void on_drop(void *context);

void sim_subscribers_begin(struct sim_subscribers *self, struct sim *sim,
                           struct rlt_cluster *cluster, struct sim_transport *transport)
{
    self->sim = sim;
    self->cluster = cluster;
    self->transport = transport;
    self->call_due = false;
    self->messages = 0;
    self->deliveries = 0;
    self->unknown = 0;
    self->suppressed = 0;
    self->losses = 0;
    self->holdback.on_release = on_release;
    self->holdback.on_drop = on_drop;
    self->holdback.context = self;
    sim_holdback_begin(&self->holdback, sim, cluster);
    self->groups = sim_below(sim, 2) == 0 ? 0 : (uint32_t)sim_below(sim, 1001);
    memset(self->oversized_noted, 0, sizeof(self->oversized_noted));
    self->count = 1 + (uint32_t)sim_below(sim, SIM_SUBSCRIBERS_MAX);
    for (uint32_t i = 0; i < self->count; i++) {
        begin_one(self, i);
    }
}

/* ---- Subscribing -------------------------------------------------------------------------- */

static void ask(struct sim_subscribers *self, struct sim_handle *handle, enum rlt_ask what)
{
    sim_wake_thread(self->sim, rlt_cluster_ask(self->cluster, handle->member, what));
}

static struct sim_handle *handle_of(struct rlt_member *member)
{
    return rlt_subscription_of(member)->user_data;
}

static void free_handle(struct sim_handle *handle)
{
    rlt_subscription_release(rlt_subscription_of(handle->member));
    free(handle);
}

static void subscribe(struct sim_subscribers *self, struct sim_subscriber *subscriber,
                      uint32_t topic)
{
    struct sim_handle *handle = calloc(1, sizeof(*handle));
    bool exclusive = sim_chance(self->sim, self->groups);
    int len = snprintf(handle->text, sizeof(handle->text), "t.%u", topic);
    struct rlt_subscription *block = rlt_subscription_create(
        handle->text, (size_t)len, exclusive ? "g" : NULL, exclusive ? 1 : 0, 1, 0);
    block->user_data = handle;
    handle->topic = topic;
    handle->member = &block->members[0];
    handle->member->mailbox = &subscriber->mailbox;
    handle->member->own.path = (uint8_t)(topic % self->cluster->env.config->pool_size);
    subscriber->handles[topic] = handle;
    ask(self, handle, RLT_ASK_SUBSCRIBE);
}

static void unsubscribe(struct sim_subscribers *self, struct sim_subscriber *subscriber,
                        uint32_t topic)
{
    struct sim_handle *handle = subscriber->handles[topic];
    subscriber->handles[topic] = NULL;
    handle->leaving = true;
    handle->next = subscriber->leaving;
    subscriber->leaving = handle;
    ask(self, handle, RLT_ASK_UNSUBSCRIBE);
}

/* Begin to drain, and later, when all that was on its way may have come, finish. */
static void drain(struct sim_subscribers *self, struct sim_handle *handle)
{
    if (!handle->draining) {
        handle->draining = true;
        ask(self, handle, RLT_ASK_DRAIN);
    } else if (!handle->finishing && rlt_stack_is_empty(&self->cluster->commands)) {
        handle->finishing = true;
        ask(self, handle, RLT_ASK_FINISH);
    }
}

/* ---- Receiving ---------------------------------------------------------------------------- */

static void release(struct sim_subscriber *subscriber, const struct sim_held *held)
{
    struct rlt_slab *slab = rlt_slab_of(held->base, subscriber->mailbox.slab_bytes);
    rlt_mailbox_note_released(&subscriber->mailbox, slab->index, 1);
    rlt_slab_release(slab, 1);
}

static void release_some(struct sim_subscribers *self, struct sim_subscriber *subscriber,
                         uint64_t count)
{
    for (; count != 0 && subscriber->held_count != 0; count--) {
        uint64_t index = sim_below(self->sim, subscriber->held_count);
        struct sim_held held = subscriber->held[index];
        subscriber->held[index] = subscriber->held[--subscriber->held_count];
        /* Nobody wrote over it while it was held. */
        SIM_CHECK(self->sim, sim_read(self->sim, held.body, held.len) == held.number);
        release(subscriber, &held);
    }
}

/* Each publisher's messages of a topic come in the order in which they were published. */
static void check_order(struct sim_subscribers *self, struct sim_handle *handle, uint32_t number)
{
    const struct sim_copy *copy = &self->network->copies[number];
    /* Without room to wait order is not promised. */
    if (!self->sim->in_order || copy->message == 0 ||
        rlt_counter_get(&self->cluster->env.metrics.held_early) != 0) {
        return;
    }
    uint64_t *last = &handle->last_message[copy->origin];
    SIM_CHECK(self->sim, copy->message > *last, "message %u, %lu of publisher %d, comes behind %lu",
              number, copy->message, (int)copy->origin, *last);
    *last = copy->message;
}

/* Messages up to the expected one that were not received were told as dropped before. */
static void take_message(struct sim_subscribers *self, struct sim_subscriber *subscriber,
                         const struct rlt_delivery *delivery)
{
    struct sim *sim = self->sim;
    struct rlt_member *member = delivery->target;
    struct sim_handle *handle = handle_of(member);
    const uint8_t *body = delivery->base + delivery->body_offset + delivery->header_len;
    uint32_t len = delivery->body_len - delivery->header_len;
    uint32_t number = sim_read(sim, body, len);
    SIM_CHECK(sim, delivery->topic_len == 3 && memcmp(delivery->base, handle->text, 3) == 0);
    SIM_CHECK(sim, (delivery->reply_offset != 0) == (number % 3 == 0));
    SIM_CHECK(sim, (delivery->header_len != 0) == (number % 5 == 0));
    SIM_CHECK(sim, handle->last_notice == 0 || handle->last_notice == 'R',
              "a message behind notice %c", handle->last_notice);
    SIM_CHECK(sim,
              subscriber->expected_seen + (subscriber->told - subscriber->skipped) <
                  subscriber->expected_count,
              "message %u must not come", number);
    subscriber->expected_seen += (uint32_t)(subscriber->told - subscriber->skipped);
    subscriber->skipped = subscriber->told;
    const struct sim_expected *expected = &subscriber->expected[subscriber->expected_seen++];
    SIM_CHECK(sim, expected->member == member && expected->number == number,
              "message %u comes, %u must", number, expected->number);
    check_order(self, handle, number);
    subscriber->received++;
    sim_trace(sim, 0x600 + number);
    struct sim_held held = {body, delivery->base, len, number};
    if (sim_chance(sim, subscriber->hold) && subscriber->held_count < SIM_HELD_MAX) {
        subscriber->held[subscriber->held_count++] = held;
    } else {
        release(subscriber, &held);
    }
}

/* Take up to `count` messages of a delivery. Returns: how many. */
static uint64_t take_messages(struct sim_subscribers *self, struct sim_subscriber *subscriber,
                              const struct rlt_delivery *delivery, uint64_t count)
{
    uint32_t *taken = &subscriber->mailbox.taken;
    count = rlt_min_u64(count, rlt_delivery_count(delivery) - *taken);
    for (uint64_t i = 0; i < count; i++) {
        struct rlt_delivery one = *delivery;
        one.base += (*taken)++ * rlt_delivery_stride(delivery);
        take_message(self, subscriber, &one);
    }
    return count;
}

static void take_drops(struct sim_subscribers *self, struct sim_subscriber *subscriber,
                       uint64_t count)
{
    subscriber->told += count;
    sim_trace(self->sim, 0x700 + count);
    SIM_CHECK(self->sim, subscriber->told + subscriber->received <= subscriber->expected_count);
}

static void forget(struct sim_subscriber *subscriber, struct sim_handle *handle)
{
    if (handle->leaving) {
        struct sim_handle **link = &subscriber->leaving;
        while (*link != handle) {
            link = &(*link)->next;
        }
        *link = handle->next;
    } else {
        subscriber->handles[handle->topic] = NULL;
    }
    if (handle->draining) {
        handle->next = subscriber->over;
        subscriber->over = handle;
    } else {
        free_handle(handle);
    }
}

/* Whether an end is right that only a refusal can have brought. */
static bool may_end(const struct sim_subscribers *self, const struct sim_handle *handle, int error)
{
    /* For other reasons than these a permanent subscription is lost, not ended. */
    bool by_refusal = error == ROULETTE_ETOPIC ||
                      (error == ROULETTE_ESERVER &&
                       self->cluster->env.config->restart == ROULETTE_RESTART_PERMANENT);
    /* One that has not been seen has joined another one when that ended. */
    return !by_refusal || !handle->seen || handle->refused;
}

static void take_notice(struct sim_subscribers *self, struct sim_subscriber *subscriber,
                        const struct rlt_delivery *delivery)
{
    struct sim *sim = self->sim;
    struct rlt_member *member = delivery->target;
    struct sim_handle *handle = handle_of(member);
    char before = handle->last_notice;
    sim_trace(sim, 0x800 + delivery->notice.kind);
    SIM_CHECK(sim, before != 'X' && (before != 'E' || delivery->notice.kind == RLT_NOTICE_REMOVED));
    switch (delivery->notice.kind) {
    case RLT_NOTICE_LOST:
        SIM_CHECK(sim, self->cluster->env.config->restart == ROULETTE_RESTART_PERMANENT);
        SIM_CHECK(sim, delivery->notice.error < 0);
        handle->last_notice = 'L';
        handle->was_lost = true;
        self->losses++;
        break;
    case RLT_NOTICE_RESTORED:
        SIM_CHECK(sim, before == 'L');
        handle->last_notice = 'R';
        break;
    case RLT_NOTICE_ENDED:
        SIM_CHECK(sim, delivery->notice.error < (handle->finishing ? 1 : 0));
        SIM_CHECK(sim, may_end(self, handle, delivery->notice.error), "%s ends and was let in",
                  handle->text);
        handle->last_notice = 'E';
        /* If it is leaving, REMOVED follows. */
        if (!handle->leaving) {
            forget(subscriber, handle);
        }
        break;
    default:
        SIM_CHECK(sim, delivery->notice.kind == RLT_NOTICE_REMOVED && handle->leaving);
        forget(subscriber, handle);
        break;
    }
}

static void take(struct sim_subscribers *self, struct sim_subscriber *subscriber, uint64_t count)
{
    struct rlt_mailbox *mailbox = &subscriber->mailbox;
    uint64_t start = rlt_delivery_ring_head(&mailbox->ring);
    uint64_t path = start;
    for (; count != 0; count--) {
        const struct rlt_delivery *delivery = rlt_delivery_ring_peek(&mailbox->ring, path);
        if (delivery == NULL) {
            uint32_t bounds = 0;
            uint64_t dropped = rlt_mailbox_take_dropped(mailbox, path, &bounds);
            SIM_CHECK(self->sim, (dropped != 0) == (bounds != 0));
            take_drops(self, subscriber, dropped);
            break;
        }
        if (delivery->base != NULL) {
            count -= take_messages(self, subscriber, delivery, count) - 1;
            if (mailbox->taken != rlt_delivery_count(delivery)) {
                break;
            }
            mailbox->taken = 0;
            path++;
            continue;
        }
        path++;
        if (delivery->notice.kind == RLT_NOTICE_REFUSED) {
            SIM_CHECK(self->sim, delivery->notice.error < 0);
        } else if (delivery->notice.kind != RLT_NOTICE_DROPPED) {
            take_notice(self, subscriber, delivery);
        } else if ((int64_t)(delivery->notice.count - mailbox->dropped_seen) > 0) {
            take_drops(self, subscriber, delivery->notice.count - mailbox->dropped_seen);
            mailbox->dropped_seen = delivery->notice.count;
        }
    }
    if (path != start) {
        rlt_delivery_ring_advance(&mailbox->ring, path);
        if (rlt_mailbox_must_retry(mailbox)) {
            sim_wake_thread(self->sim, rlt_cluster_submit(self->cluster, &mailbox->retry));
        }
    }
}

static bool has_some(struct sim_subscriber *subscriber)
{
    struct rlt_mailbox *mailbox = &subscriber->mailbox;
    uint64_t head = rlt_delivery_ring_head(&mailbox->ring);
    return rlt_delivery_ring_peek(&mailbox->ring, head) != NULL ||
           atomic_load_explicit(&mailbox->dropped, memory_order_acquire) != mailbox->dropped_seen;
}

static void sleep_if_nothing(struct sim_subscriber *subscriber)
{
    rlt_doorbell_arm(&subscriber->doorbell, 1);
    subscriber->asleep = !has_some(subscriber);
    if (!subscriber->asleep) {
        rlt_doorbell_disarm(&subscriber->doorbell);
    }
}

static void leave(struct sim_subscribers *self, struct sim_subscriber *subscriber)
{
    if (subscriber->attends) {
        subscriber->attends = false;
        self->transport->attended = false;
    }
}

static void attend(struct sim_subscribers *self, struct sim_subscriber *subscriber)
{
    rlt_mailbox_note_awaited(&subscriber->mailbox);
    if (rlt_direct_receive_is_for(self->cluster, &subscriber->mailbox) &&
        !self->transport->attended && sim_below(self->sim, 8) != 0) {
        subscriber->attends = true;
        self->transport->attended = true;
    }
}

/* What a sleeper does that is told of something to receive. */
static void receive_directly(struct sim_subscribers *self, struct sim_subscriber *subscriber)
{
    uint64_t *sights = self->network->sights;
    const struct rlt_metrics *metrics = &self->cluster->env.metrics;
    uint64_t before = rlt_counter_get(&metrics->direct_receives);
    (void)rlt_doorbell_take(&subscriber->doorbell);
    subscriber->asleep = false;
    enum rlt_receipt receipt = rlt_direct_receive(self->cluster, &subscriber->mailbox);
    sim_subscribers_check(self);
    sim_trace(self->sim, 0xa00 + receipt);
    uint64_t received = rlt_counter_get(&metrics->direct_receives) - before;
    sights[SIM_SIGHT_RECEIVE] += received;
    sights[SIM_SIGHT_RECEIVE_BUSY] += self->sim->sleeping ? 0 : received;
    sights[SIM_SIGHT_RECEIVE_LEFT] += receipt == RLT_RECEIPT_WAKE ? 1 : 0;
    sights[SIM_SIGHT_RECEIVE_AWAKE] += receipt == RLT_RECEIPT_LEFT && received == 0 ? 1 : 0;
    self->call_due = receipt == RLT_RECEIPT_WAKE;
    if (receipt != RLT_RECEIPT_DONE) {
        leave(self, subscriber);
    }
    sleep_if_nothing(subscriber);
}

/* Whoever has left something to the event thread does nothing else before. */
static void call(struct sim_subscribers *self)
{
    if (self->call_due) {
        self->call_due = false;
        rlt_cluster_call(self->cluster);
        sim_wake_thread(self->sim, true);
    }
}

/* Receive, and sleep if there is nothing. */
static void receive(struct sim_subscribers *self, struct sim_subscriber *subscriber, uint64_t count)
{
    if (subscriber->asleep) {
        if (subscriber->attends && sim_transport_is_readable(self->transport)) {
            receive_directly(self, subscriber);
        }
        return;
    }
    leave(self, subscriber);
    take(self, subscriber, count);
    sleep_if_nothing(subscriber);
    if (subscriber->asleep) {
        attend(self, subscriber);
    }
}

void sim_subscribers_step(struct sim_subscribers *self)
{
    struct sim *sim = self->sim;
    struct sim_subscriber *subscriber = &self->subscribers[sim_below(sim, self->count)];
    uint32_t topic = (uint32_t)sim_below(sim, SIM_TOPICS);
    call(self);
    switch (sim_below(sim, 8)) {
    case 0:
        if (subscriber->handles[topic] == NULL) {
            subscribe(self, subscriber, topic);
        } else if (sim_below(sim, 3) == 0) {
            drain(self, subscriber->handles[topic]);
        } else if (sim_below(sim, 3) == 0) {
            unsubscribe(self, subscriber, topic);
        }
        break;
    case 1:
    case 2:
        release_some(self, subscriber, sim_below(sim, 30));
        break;
    default:
        receive(self, subscriber, sim_below(sim, 40));
        break;
    }
}

void sim_subscribers_drain(struct sim_subscribers *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        call(self);
        receive(self, &self->subscribers[i], UINT64_MAX);
        release_some(self, &self->subscribers[i], UINT64_MAX);
    }
}

void sim_subscribers_on_signal(struct sim_subscribers *self, int descriptor)
{
    SIM_CHECK(self->sim, descriptor >= 0 && (uint32_t)descriptor < self->count);
    SIM_CHECK(self->sim, self->subscribers[descriptor].asleep, "a signal for one that is awake");
    self->subscribers[descriptor].asleep = false;
}

/* ---- What must come ----------------------------------------------------------------------- */

static struct sim_subscriber *subscriber_of(struct rlt_mailbox *mailbox)
{
    return (struct sim_subscriber *)(void *)((char *)mailbox -
                                             offsetof(struct sim_subscriber, mailbox));
}

/* A message is delivered now, if somebody is there for it. */
static void expect_delivery(struct sim_subscribers *self, struct rlt_interest *interest,
                            uint64_t sid, uint32_t number)
{
    self->messages++;
    if (interest == NULL || interest->member_count == 0) {
        self->unknown++;
        return;
    }
    struct rlt_member **members = rlt_interest_members(interest);
    for (uint32_t i = 0; i < interest->member_count; i++) {
        struct sim_subscriber *subscriber = subscriber_of(members[i]->mailbox);
        SIM_CHECK(self->sim, subscriber->expected_count < SIM_EXPECTED_MAX, "%lu", sid);
        subscriber->expected[subscriber->expected_count++] =
            (struct sim_expected){members[i], number};
        self->deliveries++;
    }
}

/* The core lets go what has waited. */
static void on_release(void *context, const struct sim_waiting *released)
{
    struct sim_subscribers *self = context;
    struct rlt_interest *interest =
        rlt_interests_find(&self->cluster->exchange.interests, released->sid);
    self->network->copies[released->number].delivered++;
    expect_delivery(self, interest, released->sid, released->number);
}

/* What has waited is dropped. */
static void on_drop(void *context)
{
    ((struct sim_subscribers *)context)->suppressed++;
}

/* Whether a first copy has to wait: core/merging/merge.h. */
static bool must_wait(const struct sim_subscribers *self, int side,
                      const struct rlt_interest *interest)
{
    const struct rlt_merge *merge = &self->cluster->paths[interest->path].handover.merge;
    if (!rlt_merge_is_open(merge) || side == merge->overlap.old || merge->overlap.ended ||
        interest->member_count == 0) {
        return false;
    }
    return interest->on_server || !rlt_interest_is_wanted(interest);
}

static bool is_old_side(const struct sim_subscribers *self, int side,
                        const struct rlt_interest *interest)
{
    const struct rlt_merge *merge = &self->cluster->paths[interest->path].handover.merge;
    return rlt_merge_is_open(merge) && side == merge->overlap.old;
}

/* Whether the second connection has been told to leave it. */
static bool is_over_on_second(const struct sim_subscribers *self, int side,
                              const struct rlt_interest *interest)
{
    const struct rlt_merge *merge = &self->cluster->paths[interest->path].handover.merge;
    return rlt_merge_is_open(merge) && side != merge->overlap.old && !merge->overlap.ended &&
           !interest->on_second;
}

/* A message of a server's stream reaches the client now. */
static void expect(struct sim_subscribers *self, uint32_t slot, const struct sim_record *record,
                   const struct sim_denial *denial)
{
    struct rlt_interest *interest =
        rlt_interests_find(&self->cluster->exchange.interests, record->sid);
    bool is_over = denial != NULL;
    if (record->early || (is_over && denial->gone)) {
        interest = NULL;
    }
    struct sim_copy *copy = &self->network->copies[record->number];
    int side = slot < self->cluster->env.config->pool_size ? 0 : 1;
    copy->got[side]++;
    bool shared = interest != NULL && !copy->exclusive;
    if (shared && is_over_on_second(self, side, interest)) {
        self->suppressed++;
        return;
    }
    if (shared && copy->got[side] <= copy->delivered) {
        self->suppressed++;
        return;
    }
    if (shared && !is_over && must_wait(self, side, interest)) {
        sim_holdback_push(&self->holdback, (struct sim_waiting){record->sid, record->number});
        return;
    }
    if (shared) {
        copy->delivered++;
        if (is_old_side(self, side, interest)) {
            self->suppressed += sim_holdback_cancel(&self->holdback, record->number) ? 1 : 0;
        }
        SIM_CHECK(self->sim,
                  interest->member_count == 0 ||
                      handle_of(rlt_interest_members(interest)[0])->topic == record->topic);
    }
    expect_delivery(self, is_over ? NULL : interest, record->sid, record->number);
}

static const struct sim_denial *find_denial(const struct sim_denial *denials, uint32_t count,
                                            uint64_t sid)
{
    for (uint32_t i = 0; i < count; i++) {
        if (denials[i].sid == sid) {
            return &denials[i];
        }
    }
    return NULL;
}

/* Which live subscription a permissions violation ends; sid 0: none. */
static struct sim_denial denial_of(struct sim_subscribers *self, uint32_t slot, uint32_t topic)
{
    char text[8];
    int len = snprintf(text, sizeof(text), "t.%u", topic);
    struct rlt_interest *interest = rlt_interests_find_topic(
        &self->cluster->exchange.interests, text, (size_t)len, rlt_ring_hash(text, (size_t)len));
    uint32_t path = slot % self->cluster->env.config->pool_size;
    if (interest == NULL || interest->path != path) {
        return (struct sim_denial){0};
    }
    bool was_active = self->cluster->paths[path].active->slot == slot;
    bool told = was_active ? interest->on_server : interest->on_second;
    bool told_other = was_active ? interest->on_second : interest->on_server;
    return (struct sim_denial){told ? interest->sid : 0, !told_other};
}

/* Whether a subscriber may expect the message of a record that is lost with its connection. */
static bool is_missed(struct sim_subscribers *self, const struct sim_copy *copy,
                      struct rlt_interest *interest)
{
    if (interest == NULL || !rlt_interest_is_wanted(interest)) {
        return false;
    }
    if (copy->exclusive) {
        return self->was_active ? interest->on_server : interest->on_second;
    }
    int most = copy->sent[0] > copy->sent[1] ? copy->sent[0] : copy->sent[1];
    int left[2] = {copy->sent[0] - copy->lost[0], copy->sent[1] - copy->lost[1]};
    return self->was_active && interest->on_server && left[0] < most && left[1] < most;
}

/* A connection is closed, and what was not received is lost. That is told, or is nothing. */
static void note_losses(struct sim_subscribers *self, uint32_t slot)
{
    const struct rlt_connection *connection = rlt_cluster_connection(self->cluster, slot);
    struct sim_server *server = &self->transport->slots[slot].server;
    self->was_active = self->cluster->paths[connection->path].active == connection;
    int side = slot < self->cluster->env.config->pool_size ? 0 : 1;
    for (; server->record_count != 0 && !self->cluster->env.stopping; server->record_count--) {
        const struct sim_record *record = &server->records[server->record_first];
        server->record_first = (server->record_first + 1) % SIM_RECORDS_MAX;
        struct sim_copy *copy = &self->network->copies[record->number];
        if (record->kind != SIM_RECORD_MESSAGE || record->early || copy->sent[side] == 0) {
            continue;
        }
        copy->lost[side]++;
        struct rlt_interest *interest =
            rlt_interests_find(&self->cluster->exchange.interests, record->sid);
        bool missed = is_missed(self, copy, interest);
        if (connection->retiring) {
            /* It has left its groups, and the other one has the rest, unless it hangs or has
             * refused the topic: the subscription is lost, or over, when that is found. */
            const struct sim_server *twin = server->twin;
            bool hangs = twin->silent || twin->ended || twin->denied[record->topic] ||
                         self->transport->slots[twin->slot].dead;
            int left[2] = {copy->sent[0] - copy->lost[0], copy->sent[1] - copy->lost[1]};
            bool wanted = interest != NULL && rlt_interest_is_wanted(interest);
            missed = wanted && left[1 - side] < copy->sent[side] &&
                     !sim_server_awaits(twin, copy->message);
            SIM_CHECK(self->sim, !wanted || (!copy->exclusive && (!missed || hangs)),
                      "message %u of %lu is lost by moving: %d, sent %u %u, lost %u %u",
                      record->number, record->sid, copy->exclusive, copy->sent[0], copy->sent[1],
                      copy->lost[0], copy->lost[1]);
        }
        for (uint32_t i = 0; missed && i < interest->member_count; i++) {
            struct sim_handle *handle = handle_of(rlt_interest_members(interest)[i]);
            handle->must_lose = true;
        }
    }
}

/* What is asked on a connection because a refusal named no SUB. */
static void note_inquiry(struct sim_subscribers *self, const struct rlt_inquiry *inquiry)
{
    uint64_t *sights = self->network->sights;
    bool goes_on = inquiry->last_ping != 0;
    sights[SIM_SIGHT_ASKED] += goes_on && inquiry->phase == RLT_INQUIRY_ASKING ? 1 : 0;
    sights[SIM_SIGHT_TESTED] += goes_on && inquiry->phase == RLT_INQUIRY_TESTING ? 1 : 0;
    sights[SIM_SIGHT_REMADE] += goes_on && inquiry->phase == RLT_INQUIRY_REMAKING ? 1 : 0;
}

/* What may end because of a refusal. */
static void note_refused(struct sim_subscribers *self, struct sim_handle *handle)
{
    struct rlt_interest *interest =
        rlt_interests_of(&self->cluster->exchange.interests, handle->member);
    if (interest != NULL) {
        handle->seen = true;
        handle->refused = sim_network_has_refused(self->network, interest->sid);
    }
}

static void note_all_refused(struct sim_subscribers *self)
{
    for (uint32_t i = 0; i < self->transport->slot_count; i++) {
        note_inquiry(self, &rlt_cluster_connection(self->cluster, i)->inquiry);
    }
    for (uint32_t i = 0; i < self->count; i++) {
        struct sim_subscriber *subscriber = &self->subscribers[i];
        for (uint32_t topic = 0; topic < SIM_TOPICS; topic++) {
            if (subscriber->handles[topic] != NULL) {
                note_refused(self, subscriber->handles[topic]);
            }
        }
        for (struct sim_handle *handle = subscriber->leaving; handle; handle = handle->next) {
            note_refused(self, handle);
        }
    }
}

static bool is_reading(const struct rlt_connection *connection)
{
    enum rlt_session_state state = connection->session.state;
    return state == RLT_SESSION_GREETING || state == RLT_SESSION_VERIFYING ||
           state == RLT_SESSION_READY;
}

void sim_subscribers_before_event(struct sim_subscribers *self, const struct rlt_io_event *event)
{
    if (event->kind == RLT_IO_CLOSED) {
        self->oversized_noted[event->slot] = false;
        note_losses(self, event->slot);
    }
    if (event->kind == RLT_IO_RECEIVED && event->error == 0 &&
        is_reading(rlt_cluster_connection(self->cluster, event->slot))) {
        sim_subscribers_on_received(self, event->slot);
    }
}

void sim_subscribers_on_received(struct sim_subscribers *self, uint32_t index)
{
    sim_holdback_note_receive(&self->holdback);
    struct sim_slot *slot = &self->transport->slots[index];
    struct sim_server *server = &slot->server;
    struct sim_denial denials[16];
    uint32_t denial_count = 0;
    while (server->record_count != 0) {
        struct sim_record *record = &server->records[server->record_first];
        if (record->end > slot->received || record->kind == SIM_RECORD_FATAL) {
            return;
        }
        if (record->kind == SIM_RECORD_REFUSED) {
            self->network->refusals_read[record->topic]++;
        } else if (record->kind == SIM_RECORD_SLANDER) {
            self->network->slanders_read++;
        } else if (record->kind == SIM_RECORD_REFUSAL) {
            self->network->refused[record->sid % SIM_REFUSED_MAX] = record->sid;
            note_all_refused(self); /* it may end at once */
        } else if (record->kind == SIM_RECORD_DENIAL) {
            struct sim_denial denial = denial_of(self, index, record->topic);
            if (denial.sid != 0 && denial_count < 16) {
                denials[denial_count++] = denial;
            }
        } else if (self->oversized_noted[index]) {
            self->oversized_noted[index] = false;
        } else {
            expect(self, index, record, find_denial(denials, denial_count, record->sid));
        }
        server->record_first = (server->record_first + 1) % SIM_RECORDS_MAX;
        server->record_count--;
    }
}

/* A message that is too large is dropped when its line is there. */
static void note_oversized(struct sim_subscribers *self, uint32_t slot)
{
    struct sim_server *server = &self->transport->slots[slot].server;
    const struct rlt_connection *connection = rlt_cluster_connection(self->cluster, slot);
    if (connection->receiver.skip != 0 && !self->oversized_noted[slot] &&
        server->record_count != 0 &&
        server->records[server->record_first].kind == SIM_RECORD_MESSAGE) {
        expect(self, slot, &server->records[server->record_first], NULL);
        self->oversized_noted[slot] = true;
    }
}

void sim_subscribers_check(struct sim_subscribers *self)
{
    sim_holdback_note_end(&self->holdback);
    note_all_refused(self);
    const struct rlt_metrics *metrics = &self->cluster->env.metrics;
    for (uint32_t i = 0; i < self->transport->slot_count; i++) {
        if (rlt_cluster_connection(self->cluster, i)->left_over) {
            return; /* until the event thread has gone on with it */
        }
        note_oversized(self, i);
    }
    uint64_t dropped = rlt_counter_get(&metrics->dropped_ring_full) +
                       rlt_counter_get(&metrics->dropped_pinned) +
                       rlt_counter_get(&metrics->dropped_oversized);
    uint64_t delivered = rlt_counter_get(&metrics->delivered_messages);
    SIM_CHECK(self->sim, rlt_counter_get(&metrics->received_messages) == self->messages,
              "%lu received, %lu must be", rlt_counter_get(&metrics->received_messages),
              self->messages);
    SIM_CHECK(self->sim, rlt_counter_get(&metrics->suppressed) == self->suppressed,
              "%lu suppressed, %lu must be", rlt_counter_get(&metrics->suppressed),
              self->suppressed);
    SIM_CHECK(self->sim, rlt_counter_get(&metrics->unknown_sid) == self->unknown);
    SIM_CHECK(self->sim, delivered + dropped == self->deliveries,
              "%lu delivered and %lu dropped, %lu must be", delivered, dropped, self->deliveries);
}

/* ---- At the end --------------------------------------------------------------------------- */

bool sim_subscribers_are_settled(struct sim_subscribers *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        struct sim_subscriber *subscriber = &self->subscribers[i];
        if (subscriber->received + subscriber->told != subscriber->expected_count ||
            subscriber->leaving != NULL) {
            return false;
        }
        for (uint32_t topic = 0; topic < SIM_TOPICS; topic++) {
            const struct sim_handle *handle = subscriber->handles[topic];
            /* What drains when a server that hangs is given up is not subscribed any more. */
            if (handle != NULL && handle->must_lose && !handle->was_lost && !handle->draining) {
                return false;
            }
        }
    }
    return true;
}

bool sim_subscribers_agree(struct sim_subscribers *self)
{
    for (uint32_t topic = 0; topic < SIM_TOPICS; topic++) {
        uint32_t members = 0;
        bool wanted = false;
        for (uint32_t i = 0; i < self->count; i++) {
            const struct sim_handle *handle = self->subscribers[i].handles[topic];
            if (handle == NULL || handle->draining) {
                continue;
            }
            wanted = wanted || !handle->member->own.exclusive;
            members += handle->member->own.exclusive ? 1 : 0;
        }
        uint32_t found = 0;
        uint32_t found_members = 0;
        for (uint32_t slot = 0; slot < self->transport->slot_count; slot++) {
            const struct sim_server *server = &self->transport->slots[slot].server;
            for (uint32_t i = 0; i < server->sub_count; i++) {
                bool is_ours = server->live && server->subs[i].topic == topic;
                found += is_ours && !server->subs[i].exclusive ? 1 : 0;
                found_members += is_ours && server->subs[i].exclusive ? 1 : 0;
            }
        }
        if (found != (wanted ? 1 : 0) || found_members != members) {
            return false;
        }
    }
    return true;
}

static void end_one(struct sim_subscribers *self, struct sim_subscriber *subscriber)
{
    /* What the event thread pushed before it ended is there. */
    subscriber->asleep = false;
    take(self, subscriber, UINT64_MAX);
    SIM_CHECK(self->sim, subscriber->received + subscriber->told == subscriber->expected_count,
              "%lu received and %lu told, %u must be", subscriber->received, subscriber->told,
              subscriber->expected_count);
    release_some(self, subscriber, UINT64_MAX);
}

static void free_all(struct sim_handle *handle)
{
    while (handle != NULL) {
        struct sim_handle *next = handle->next;
        free_handle(handle);
        handle = next;
    }
}

void sim_subscribers_end(struct sim_subscribers *self)
{
    for (uint32_t i = 0; i < self->count; i++) {
        struct sim_subscriber *subscriber = &self->subscribers[i];
        end_one(self, subscriber);
        /* Their last notice is owed to a full ring, or their command came after the stop. */
        for (uint32_t topic = 0; topic < SIM_TOPICS; topic++) {
            if (subscriber->handles[topic] != NULL) {
                free_handle(subscriber->handles[topic]);
            }
        }
        free_all(subscriber->leaving);
        free_all(subscriber->over);
        rlt_mailbox_fini(&subscriber->mailbox);
    }
}
