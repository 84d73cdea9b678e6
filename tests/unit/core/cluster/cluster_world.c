/* SPDX-License-Identifier: MIT */
#include "unit/core/cluster/cluster_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/defs.h"
#include "core/seam/ring.h"
#include "proto/encode.h"
#include "roulette.h"

/* More turns than any step of a test needs. */
#define TURNS_MAX 1000

struct world world;

/* ---- The transport ------------------------------------------------------------------------ */

static void open_slot(struct rlt_transport *transport, uint32_t slot, const char *host,
                      uint16_t port)
{
    (void)transport;
    (void)host;
    (void)port;
    cr_assert(!world.slots[slot].opening && !world.slots[slot].open);
    world.slots[slot].opening = true;
    world.slots[slot].opens++;
}

static void receive(struct rlt_transport *transport, uint32_t index, const struct rlt_span *spans,
                    uint32_t count)
{
    struct world_slot *slot = &world.slots[index];
    (void)transport;
    cr_assert(slot->open && !slot->closing && !slot->receiving && !slot->watched);
    memcpy(slot->in, spans, count * sizeof(*spans));
    slot->in_count = count;
    slot->receiving = true;
}

static int64_t receive_now(struct rlt_transport *transport, uint32_t index,
                           const struct rlt_span *spans, uint32_t count)
{
    struct world_slot *slot = &world.slots[index];
    (void)transport;
    cr_assert(slot->watched && count >= 1);
    size_t len = rlt_min_size(slot->arrived_len, spans[0].len);
    if (len == 0) {
        return slot->over ? -1 : 0;
    }
    memcpy(spans[0].bytes, slot->arrived, len);
    slot->arrived_len -= len;
    memmove(slot->arrived, slot->arrived + len, slot->arrived_len);
    return (int64_t)len;
}

static bool watch(struct rlt_transport *transport, uint32_t index, bool on)
{
    struct world_slot *slot = &world.slots[index];
    (void)transport;
    cr_assert(slot->open && !slot->closing && !slot->receiving && slot->watched != on);
    slot->watched = on && !slot->no_watch;
    return slot->watched == on;
}

static size_t send_now(struct rlt_transport *transport, uint32_t index,
                       const struct rlt_span *spans, uint32_t count)
{
    struct world_slot *slot = &world.slots[index];
    size_t taken = 0;
    (void)transport;
    cr_assert(slot->open && !slot->closing && slot->sending == 0);
    for (uint32_t i = 0; i < count && taken < slot->room; i++) {
        size_t len = rlt_min_size(spans[i].len, slot->room - taken);
        memcpy(slot->sent + slot->sent_len, spans[i].bytes, len);
        slot->sent_len += len;
        taken += len;
    }
    return taken;
}

static void send_spans(struct rlt_transport *transport, uint32_t index,
                       const struct rlt_span *spans, uint32_t count)
{
    struct world_slot *slot = &world.slots[index];
    (void)transport;
    cr_assert(slot->open && !slot->closing && slot->sending == 0);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert(slot->sent_len + spans[i].len < WORLD_SENT_MAX);
        memcpy(slot->sent + slot->sent_len, spans[i].bytes, spans[i].len);
        slot->sent_len += spans[i].len;
        slot->sending += spans[i].len;
    }
    const char *line = slot->sent + slot->sent_len - slot->sending;
    while ((line = strstr(line, "PING\r\n")) != NULL) {
        slot->pings++;
        line++;
    }
}

static void close_slot(struct rlt_transport *transport, uint32_t slot)
{
    (void)transport;
    cr_assert(!world.slots[slot].closing && !world.slots[slot].watched);
    world.slots[slot].closing = true;
}

static bool is_acknowledged(struct rlt_transport *transport, uint32_t slot)
{
    (void)transport;
    return !world.slots[slot].unacknowledged;
}

static void signal_descriptor(struct rlt_transport *transport, int descriptor)
{
    (void)transport;
    (void)descriptor;
}

static void wake(struct rlt_transport *transport, _Atomic(uint32_t) *word)
{
    (void)transport;
    (void)word;
}

static const struct rlt_transport_ops ops = {
    .name = "test",
    .open = open_slot,
    .receive = receive,
    .receive_now = receive_now,
    .watch = watch,
    .send = send_spans,
    .send_now = send_now,
    .close = close_slot,
    .is_acknowledged = is_acknowledged,
    .signal = signal_descriptor,
    .wake = wake,
};

static void awake(void)
{
    cr_assert(rlt_loan_recall(&world.cluster->receiving));
    rlt_cluster_awake(world.cluster, world.now_ns);
}

static void on_event(uint32_t slot, enum rlt_io_kind kind, int error, size_t bytes)
{
    struct rlt_io_event event = {.slot = slot, .kind = kind, .error = error, .bytes = bytes};
    rlt_cluster_on_event(world.cluster, &event, world.now_ns);
}

static bool end_of_slot(struct world_slot *slot, uint32_t index)
{
    if (slot->sending != 0) {
        slot->sending = 0;
        on_event(index, RLT_IO_SENT, ROULETTE_EDISCONNECTED, 0);
    } else if (slot->receiving) {
        slot->receiving = false;
        on_event(index, RLT_IO_RECEIVED, ROULETTE_EDISCONNECTED, 0);
    } else {
        slot->opening = slot->open = slot->closing = false;
        slot->pings = 0;
        on_event(index, RLT_IO_CLOSED, 0, 0);
    }
    return true;
}

/* Something ends that is in progress on a slot. */
static bool progress(uint32_t index)
{
    struct world_slot *slot = &world.slots[index];
    if (slot->closing) {
        return !slot->busy && end_of_slot(slot, index);
    }
    if (slot->opening && !slot->hang) {
        slot->opening = false;
        slot->open = !slot->refuse;
        on_event(index, RLT_IO_OPENED, slot->refuse ? ROULETTE_ECONNECT : 0, 0);
        return true;
    }
    if (slot->receiving && slot->arrived_len != 0) {
        size_t len = rlt_min_size(slot->arrived_len, slot->in[0].len);
        memcpy(slot->in[0].bytes, slot->arrived, len);
        slot->arrived_len -= len;
        memmove(slot->arrived, slot->arrived + len, slot->arrived_len);
        slot->receiving = false;
        on_event(index, RLT_IO_RECEIVED, 0, len);
        return true;
    }
    if (slot->receiving && slot->over) {
        slot->receiving = slot->over = false;
        on_event(index, RLT_IO_RECEIVED, ROULETTE_EDISCONNECTED, 0);
        return true;
    }
    if (slot->watched && !world.attended && (slot->arrived_len != 0 || slot->over)) {
        on_event(index, RLT_IO_READABLE, 0, 0);
        return true;
    }
    if (slot->sending != 0 && !slot->stuck) {
        size_t len = slot->sending;
        slot->sending = 0;
        on_event(index, RLT_IO_SENT, 0, len);
        return true;
    }
    return false;
}

/* As the loop of an event thread does it, for one cluster. */
static bool falls_asleep(void)
{
    rlt_cluster_arm(world.cluster);
    atomic_thread_fence(memory_order_seq_cst);
    if (rlt_cluster_has_work(world.cluster)) {
        return false;
    }
    rlt_cluster_sleep(world.cluster);
    return true;
}

void world_go(void)
{
    for (int turn = 0;; turn++) {
        cr_assert(turn < TURNS_MAX, "the event thread spins");
        rlt_cluster_step(world.cluster, world.now_ns);
        if (rlt_cluster_is_stopped(world.cluster)) {
            return;
        }
        bool more = false;
        for (uint32_t i = 0; i < WORLD_SLOTS; i++) {
            more = progress(i) || more;
        }
        bool sleeps = !more && falls_asleep();
        awake();
        if (sleeps && rlt_cluster_deadline(world.cluster) > world.now_ns) {
            return;
        }
    }
}

void world_sleep(void)
{
    cr_assert(falls_asleep());
}

void world_awake(void)
{
    awake();
    world_go();
}

void world_pass(uint64_t ns)
{
    uint64_t end_ns = world.now_ns + ns;
    while (rlt_cluster_deadline(world.cluster) <= end_ns) {
        world.now_ns = rlt_cluster_deadline(world.cluster);
        world_go();
    }
    world.now_ns = end_ns;
    world_go();
}

/* ---- The servers -------------------------------------------------------------------------- */

void world_say(uint32_t index, const char *text)
{
    struct world_slot *slot = &world.slots[index];
    size_t len = strlen(text);
    cr_assert(slot->open && slot->receiving && slot->in[0].len >= len, "slot %u", index);
    memcpy(slot->in[0].bytes, text, len);
    slot->receiving = false;
    on_event(index, RLT_IO_RECEIVED, 0, len);
    world_go();
}

void world_arrive(uint32_t index, const char *text)
{
    struct world_slot *slot = &world.slots[index];
    size_t len = strlen(text);
    cr_assert(slot->open && slot->arrived_len + len <= WORLD_ARRIVED_MAX);
    memcpy(slot->arrived + slot->arrived_len, text, len);
    slot->arrived_len += len;
}

void world_pong(uint32_t index)
{
    char text[512] = "";
    struct world_slot *slot = &world.slots[index];
    cr_assert(slot->pings != 0 && slot->pings * 6 < sizeof(text));
    for (; slot->pings != 0; slot->pings--) {
        strcat(text, "PONG\r\n");
    }
    world_say(index, text);
}

static const char *message_for(const struct world_member *member, const char *body)
{
    static char text[WORLD_ARRIVED_MAX];
    const struct rlt_interest *interest =
        rlt_interests_of(&world.cluster->exchange.interests, member->member);
    cr_assert_not_null(interest);
    (void)snprintf(text, sizeof(text), "MSG %c %" PRIu64 " %zu\r\n%s\r\n", member->topic,
                   interest->sid, strlen(body), body);
    return text;
}

void world_message(uint32_t slot, const struct world_member *member, const char *body)
{
    world_say(slot, message_for(member, body));
}

void world_arrive_message(uint32_t slot, const struct world_member *member, const char *body)
{
    world_arrive(slot, message_for(member, body));
}

void world_accept(uint32_t slot)
{
    world_say(slot, WORLD_INFO);
    cr_assert_not_null(strstr(world.slots[slot].sent, "CONNECT {"));
    memset(world.slots[slot].sent, 0, world.slots[slot].sent_len);
    world.slots[slot].sent_len = 0;
    world_pong(slot);
}

void world_cut(uint32_t slot)
{
    cr_assert(world.slots[slot].receiving);
    world.slots[slot].receiving = false;
    on_event(slot, RLT_IO_RECEIVED, ROULETTE_EDISCONNECTED, 0);
    world_go();
}

/* ---- The application ---------------------------------------------------------------------- */

void world_submit(struct rlt_command *command)
{
    (void)rlt_cluster_submit(world.cluster, command);
    world_go();
}

void world_ask(struct world_member *member, enum rlt_ask what)
{
    (void)rlt_cluster_ask(world.cluster, member->member, what);
    world_go();
}

static struct world_member *subscribe(const char *name, const char *topic, const char *group,
                                      uint32_t path, uint64_t max)
{
    cr_assert(world.member_count < WORLD_MEMBERS);
    struct world_member *member = &world.members[world.member_count++];
    struct rlt_subscription *subscription = rlt_subscription_create(
        topic, strlen(topic), group, group != NULL ? strlen(group) : 0, 1, max);
    cr_assert_not_null(subscription);
    subscription->user_data = member;
    member->name = name;
    member->topic = topic[0];
    member->member = &subscription->members[0];
    member->member->mailbox = &world.mailbox;
    member->member->own.path = (uint8_t)path;
    world_ask(member, RLT_ASK_SUBSCRIBE);
    return member;
}

struct world_member *world_subscribe(const char *name, const char *topic, const char *group,
                                     uint32_t path)
{
    return subscribe(name, topic, group, path, 0);
}

struct world_member *world_subscribe_limited(const char *name, const char *topic, uint64_t max)
{
    return subscribe(name, topic, "g", 0, max);
}

void world_put(const char *topic, const char *payload)
{
    struct rlt_wire_queue *queue = &world.cluster->paths[0].queue;
    struct rlt_pub pub = {
        .topic = topic,
        .topic_len = strlen(topic),
        .payload = payload,
        .payload_len = (uint32_t)strlen(payload),
    };
    if (world.lane < 0) {
        world.lane = rlt_wire_queue_acquire(queue);
        cr_assert_geq(world.lane, 0);
    }
    size_t len = rlt_encode_pub_len(&pub);
    uint8_t *out = rlt_lane_claim(&queue->lanes[world.lane], len);
    cr_assert_not_null(out);
    (void)rlt_encode_pub(out, &pub);
    rlt_lane_commit(&queue->lanes[world.lane], len);
}

void world_publish(const char *topic, const char *payload)
{
    world_put(topic, payload);
    world_go();
}

/* ---- What came of it ---------------------------------------------------------------------- */

void world_assert_sent(uint32_t index, const char *expected)
{
    struct world_slot *slot = &world.slots[index];
    static char text[WORLD_SENT_MAX];
    size_t len = 0;
    for (size_t i = 0; i < slot->sent_len; i++) {
        if (slot->sent[i] != '\r') {
            text[len++] = slot->sent[i] == '\n' ? '|' : slot->sent[i];
        }
    }
    text[len] = '\0';
    memset(slot->sent, 0, slot->sent_len);
    slot->sent_len = 0;
    cr_assert(strcmp(text, expected) == 0, "slot %u: \"%s\", not \"%s\"", index, text, expected);
}

void world_ignore_last_ping(uint32_t index)
{
    static const char ping[] = "PING\r\n";
    struct world_slot *slot = &world.slots[index];
    size_t len = sizeof(ping) - 1;
    cr_assert(slot->sent_len >= len && memcmp(slot->sent + slot->sent_len - len, ping, len) == 0);
    slot->sent_len -= len;
    memset(slot->sent + slot->sent_len, 0, len);
}

/* A notice, or a run of messages, of large ones their beginnings. */
static size_t tell(char *out, size_t room, const struct rlt_delivery *delivery)
{
    static const char *const notices[] = {
        [RLT_NOTICE_LOST] = "-lost",
        [RLT_NOTICE_RESTORED] = "-restored",
        [RLT_NOTICE_ENDED] = "-ended",
        [RLT_NOTICE_REMOVED] = "-removed",
    };
    if (delivery->base == NULL && delivery->notice.kind == RLT_NOTICE_REFUSED) {
        return (size_t)snprintf(out, room, "refused%d ", delivery->notice.error);
    }
    if (delivery->base == NULL && delivery->target == NULL) {
        return (size_t)snprintf(out, room, "dropped:%d ", (int)delivery->notice.count);
    }
    const struct world_member *member = rlt_subscription_of(delivery->target)->user_data;
    if (delivery->base == NULL) {
        return (size_t)snprintf(out, room, "%s%s ", member->name, notices[delivery->notice.kind]);
    }
    uint32_t count = rlt_delivery_count(delivery);
    size_t len = 0;
    for (uint32_t i = 0; i < count && len < room; i++) {
        const uint8_t *base = delivery->base + i * rlt_delivery_stride(delivery);
        len += (size_t)snprintf(out + len, room - len, "%s:%.*s ", member->name,
                                (int)rlt_min_u32(delivery->body_len, 64),
                                (const char *)base + delivery->body_offset);
    }
    struct rlt_slab *slab = rlt_slab_of(delivery->base, world.mailbox.slab_bytes);
    rlt_mailbox_note_released(&world.mailbox, slab->index, count);
    rlt_slab_release(slab, count);
    return len;
}

static void take_all(void)
{
    struct rlt_delivery_ring *ring = &world.mailbox.ring;
    uint64_t path = rlt_delivery_ring_head(ring);
    const struct rlt_delivery *delivery;
    size_t len = 0;
    world.told[0] = '\0';
    while ((delivery = rlt_delivery_ring_peek(ring, path)) != NULL) {
        len += tell(world.told + len, WORLD_TOLD_MAX - len, delivery);
        cr_assert(len < WORLD_TOLD_MAX);
        path++;
    }
    rlt_delivery_ring_advance(ring, path);
}

void world_assert_told(const char *expected)
{
    take_all();
    cr_assert(strcmp(world.told, expected) == 0, "told \"%s\", not \"%s\"", world.told, expected);
}

void world_ignore_told(void)
{
    take_all();
}

/* ---- Life --------------------------------------------------------------------------------- */

void world_open(uint32_t pool_size, enum roulette_restart restart,
                enum roulette_guarantee guarantee)
{
    memset(&world, 0, sizeof(world));
    world.now_ns = 1000 * RLT_NS_PER_S;
    world.lane = -1;
    world.transport.ops = &ops;
    world.address = (struct rlt_address){.host = "test", .port = 4222, .label = "test:4222"};
    world.config = (struct rlt_config){
        .connection_timeout_ns = 2 * RLT_NS_PER_S,
        .ping_interval_ns = 3600 * RLT_NS_PER_S,
        .reconnect_interval_ns = 100 * RLT_NS_PER_MS,
        .base_backoff_ms = 10,
        .max_backoff_ms = 100,
        .max_ping_failure = 2,
        .max_retry = 3,
        .restart = restart,
        .guarantee = guarantee,
        .pool_size = pool_size,
        .lane_capacity = 65536,
        .slab_bytes = 131072,
        .slab_count = 8,
        .name = "test",
    };
    cr_assert_eq(
        rlt_cluster_create(&world.config, &world.address, 0, &world.transport, 7, &world.cluster),
        0);
    struct rlt_mailbox_options options = {
        .ring_slots = 1024,
        .slab_bytes = world.config.slab_bytes,
        .slab_indexes = world.config.slab_count,
        .pinned_max = world.config.slab_count,
        .doorbell = &world.doorbell,
    };
    cr_assert_eq(rlt_mailbox_init(&world.mailbox, &options), 0);
    rlt_cluster_start(world.cluster, world.now_ns);
    world_go();
    for (uint32_t i = 0; i < pool_size; i++) {
        world.slots[i].room = SIZE_MAX;
        world_accept(i);
    }
}

void world_close(void)
{
    for (uint32_t i = 0; i < WORLD_SLOTS; i++) {
        world.slots[i].busy = false;
    }
    if (!world.cluster->env.stopping) {
        world_submit(&world.cluster->stop);
    }
    cr_assert(rlt_cluster_is_stopped(world.cluster));
    struct roulette_ledger ledger;
    rlt_cluster_ledger(world.cluster, true, &ledger);
    cr_assert_eq(ledger.confirmed + ledger.in_doubt + ledger.failed + ledger.discarded +
                     ledger.denied,
                 ledger.accepted);
    take_all();
    for (uint32_t i = 0; i < world.member_count; i++) {
        rlt_subscription_release(rlt_subscription_of(world.members[i].member));
    }
    rlt_mailbox_fini(&world.mailbox);
    rlt_cluster_destroy(world.cluster);
}
