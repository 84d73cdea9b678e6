/* SPDX-License-Identifier: MIT */
#include "sim/sim_transport.h"

#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "roulette.h"

/* The longest that a server does not serve a connection. */
#define STALL_NS (20 * RLT_NS_PER_S)

static struct sim_transport *of(struct rlt_transport *transport)
{
    return (struct sim_transport *)(void *)transport;
}

static struct sim_slot *slot_of(struct rlt_transport *transport, uint32_t index)
{
    struct sim_transport *self = of(transport);
    SIM_CHECK(self->sim, index < self->slot_count);
    return &self->slots[index];
}

/* ---- What the core asks for --------------------------------------------------------------- */

static void sim_open(struct rlt_transport *transport, uint32_t index, const char *host,
                     uint16_t port)
{
    struct sim *sim = of(transport)->sim;
    struct sim_slot *slot = slot_of(transport, index);
    SIM_CHECK(sim, strcmp(host, "sim") == 0 && port == 4222);
    SIM_CHECK(sim, !slot->opening && !slot->open && !slot->closing);
    sim_trace(sim, 0x100 + index);
    slot->opening = true;
    slot->hangs = sim_chance(sim, sim->faults.open_hang);
}

static void begin(struct sim *sim, struct sim_slot *slot, struct sim_operation *operation,
                  const struct rlt_span *spans, uint32_t count)
{
    SIM_CHECK(sim, slot->open && !slot->closing && !operation->in_progress && !slot->securing);
    SIM_CHECK(sim, operation != &slot->receive || !slot->watched);
    SIM_CHECK(sim, count != 0 && count <= SIM_SPANS_MAX);
    memcpy(operation->spans, spans, count * sizeof(*spans));
    operation->count = count;
    operation->in_progress = true;
    operation->taken = 0;
}

static size_t total_of(const struct sim_operation *operation)
{
    size_t total = 0;
    for (uint32_t i = 0; i < operation->count; i++) {
        total += operation->spans[i].len;
    }
    return total;
}

static void sim_receive(struct rlt_transport *transport, uint32_t index,
                        const struct rlt_span *spans, uint32_t count)
{
    struct sim_slot *slot = slot_of(transport, index);
    SIM_CHECK(of(transport)->sim, count <= 2);
    begin(of(transport)->sim, slot, &slot->receive, spans, count);
    for (uint32_t i = 0; i < count; i++) {
        SIM_CHECK(of(transport)->sim, spans[i].len != 0);
    }
}

/* The kernel takes `len` bytes of a send; those that it has no way for are gone. */
static void collect(struct sim_slot *slot, size_t len, bool gone)
{
    for (uint32_t i = 0; len != 0; i++) {
        size_t part = slot->send.spans[i].len < len ? slot->send.spans[i].len : len;
        if (!gone) {
            memcpy(slot->up + slot->up_len, slot->send.spans[i].bytes, part);
            slot->up_len += part;
        }
        len -= part;
    }
}

/* How many bytes of the send the kernel takes if it takes some now; 0: it is full. */
static size_t takeable(struct sim *sim, const struct sim_slot *slot)
{
    size_t len = total_of(&slot->send);
    size_t room = slot->dead ? len : SIM_UP_MAX - slot->up_len;
    len = len < room ? len : room;
    return len != 0 ? sim_part(sim, sim->send_style, len) : 0;
}

static void sim_send(struct rlt_transport *transport, uint32_t index, const struct rlt_span *spans,
                     uint32_t count)
{
    struct sim_slot *slot = slot_of(transport, index);
    begin(of(transport)->sim, slot, &slot->send, spans, count);
    SIM_CHECK(of(transport)->sim, total_of(&slot->send) != 0);
}

/* A publisher sends: at once, some of it or nothing. */
static size_t sim_send_now(struct rlt_transport *transport, uint32_t index,
                           const struct rlt_span *spans, uint32_t count)
{
    struct sim *sim = of(transport)->sim;
    struct sim_slot *slot = slot_of(transport, index);
    SIM_CHECK(sim, slot->open && !slot->closing);
    sim_send(transport, index, spans, count);
    slot->send.in_progress = false;
    if (slot->server.ended || sim_below(sim, 8) == 0) {
        return 0;
    }
    size_t len = takeable(sim, slot);
    collect(slot, len, slot->dead);
    return len;
}

/* Move `len` bytes of the server's stream into the receive's memory. */
static void scatter(struct sim_slot *slot, size_t len)
{
    for (uint32_t i = 0; len != 0; i++) {
        size_t part = slot->receive.spans[i].len < len ? slot->receive.spans[i].len : len;
        sim_server_received(&slot->server, slot->receive.spans[i].bytes, part);
        slot->received += part;
        slot->down_left -= part;
        len -= part;
    }
    slot->dead = slot->dead || slot->down_left == 0;
}

/* How many bytes of the server's stream there are for the receive. */
static size_t receivable(const struct sim_slot *slot)
{
    size_t len = slot->server.out_len;
    size_t room = total_of(&slot->receive);
    len = len < slot->down_left ? len : (size_t)slot->down_left;
    return len < room ? len : room;
}

static bool is_over(const struct sim_slot *slot)
{
    return slot->dead || (slot->server.ended && slot->server.out_len == 0);
}

static int64_t sim_receive_now(struct rlt_transport *transport, uint32_t index,
                               const struct rlt_span *spans, uint32_t count)
{
    struct sim *sim = of(transport)->sim;
    struct sim_slot *slot = slot_of(transport, index);
    SIM_CHECK(sim, slot->watched);
    slot->watched = false; /* a receive is in progress now, for a moment */
    sim_receive(transport, index, spans, count);
    slot->watched = true;
    slot->receive.in_progress = false;
    if (is_over(slot)) {
        slot->server.network->sights[SIM_SIGHT_WATCHED_OVER]++;
        return -1;
    }
    size_t len = receivable(slot);
    if (len == 0 || slot->lag != 0 || sim_below(sim, 8) == 0) {
        return 0;
    }
    len = sim_part(sim, sim->receive_style, len);
    sim_trace(sim, 0x900 + len);
    scatter(slot, len);
    of(transport)->on_received(of(transport)->context, index);
    return (int64_t)len;
}

static bool is_any_watched(const struct sim_transport *transport)
{
    for (uint32_t i = 0; i < transport->slot_count; i++) {
        if (transport->slots[i].watched) {
            return true;
        }
    }
    return false;
}

static bool sim_watch(struct rlt_transport *transport, uint32_t index, bool on)
{
    struct sim *sim = of(transport)->sim;
    struct sim_slot *slot = slot_of(transport, index);
    SIM_CHECK(sim, slot->open && !slot->closing && slot->watched != on);
    SIM_CHECK(sim, !slot->receive.in_progress);
    if (on && (sim->tls || sim_below(sim, 16) == 0 ||
               (of(transport)->attended && !is_any_watched(of(transport))))) {
        return false;
    }
    slot->watched = on;
    return true;
}

static void sim_close(struct rlt_transport *transport, uint32_t index)
{
    struct sim *sim = of(transport)->sim;
    struct sim_slot *slot = slot_of(transport, index);
    SIM_CHECK(sim, !slot->closing && !slot->watched);
    sim_trace(sim, 0x200 + index);
    slot->closing = true;
}

static void sim_secure(struct rlt_transport *transport, uint32_t index, const char *host)
{
    struct sim *sim = of(transport)->sim;
    struct sim_slot *slot = slot_of(transport, index);
    SIM_CHECK(sim, sim->tls && strcmp(host, "sim") == 0);
    SIM_CHECK(sim, slot->open && !slot->closing && !slot->securing && !slot->server.secure);
    SIM_CHECK(sim, !slot->receive.in_progress && !slot->send.in_progress);
    slot->securing = true;
    slot->tls_hangs = sim_chance(sim, sim->faults.tls_hang);
    slot->server.network->sights[SIM_SIGHT_TLS_HANG] += slot->tls_hangs ? 1 : 0;
}

static void sim_signal(struct rlt_transport *transport, int descriptor)
{
    of(transport)->on_signal(of(transport)->context, descriptor);
}

static void sim_wake(struct rlt_transport *transport, _Atomic(uint32_t) *word)
{
    of(transport)->on_wake(of(transport)->context, word);
}

static const struct rlt_transport_ops ops = {
    .name = "simulation",
    .open = sim_open,
    .secure = sim_secure,
    .receive = sim_receive,
    .receive_now = sim_receive_now,
    .watch = sim_watch,
    .send = sim_send,
    .send_now = sim_send_now,
    .close = sim_close,
    .signal = sim_signal,
    .wake = sim_wake,
};

/* ---- Life --------------------------------------------------------------------------------- */

void sim_transport_create(struct sim_transport *transport)
{
    memset(transport, 0, sizeof(*transport));
    transport->transport.ops = &ops;
    for (uint32_t i = 0; i < SIM_SLOTS_MAX; i++) {
        transport->slots[i].up = malloc(SIM_UP_MAX);
        transport->slots[i].server.in = malloc(SIM_IN_MAX);
        transport->slots[i].server.out = malloc(SIM_OUT_MAX);
    }
}

void sim_transport_destroy(struct sim_transport *transport)
{
    for (uint32_t i = 0; i < SIM_SLOTS_MAX; i++) {
        free(transport->slots[i].up);
        free(transport->slots[i].server.in);
        free(transport->slots[i].server.out);
    }
}

void sim_transport_reset(struct sim_transport *transport, struct sim *sim, uint32_t slot_count)
{
    transport->sim = sim;
    transport->slot_count = slot_count;
    transport->attended = false;
    transport->first_up = UINT64_MAX;
    transport->first_down = UINT64_MAX;
    for (uint32_t i = 0; i < SIM_SLOTS_MAX; i++) {
        struct sim_slot *slot = &transport->slots[i];
        slot->opening = slot->open = slot->closing = slot->dead = slot->silent = false;
        slot->securing = slot->watched = false;
        slot->stalled_ns = 0;
        slot->server.silent = false;
        slot->lag = 0;
        slot->server.live = false;
        slot->server.begins = 0;
        slot->server.twin = &transport->slots[(i + slot_count / 2) % slot_count].server;
        slot->receive.in_progress = slot->send.in_progress = false;
        slot->up_len = 0;
        slot->received = 0;
        slot->incarnation = 0;
        slot->server.sim = sim;
        slot->server.slot = i;
    }
}

/* ---- The network and the servers ---------------------------------------------------------- */

/* The server reads up to `len` of the bytes that the kernel has. */
static void feed_server(struct sim_slot *slot, size_t len)
{
    if (len > slot->up_left) {
        len = (size_t)slot->up_left;
    }
    if (len != 0) {
        sim_server_take(&slot->server, slot->up, len);
        slot->up_len -= len;
        memmove(slot->up, slot->up + len, slot->up_len);
        slot->up_left -= len;
    }
    slot->dead = slot->dead || slot->up_left == 0;
}

static void step_slot(struct sim *sim, struct sim_slot *slot, bool act)
{
    sim_server_take_routed(&slot->server);
    if (!slot->open || slot->dead || slot->closing) {
        return;
    }
    if (sim_chance(sim, sim->faults.close)) {
        slot->dead = true;
        return;
    }
    /* The answer to a send may be there before the send's own event. */
    if (slot->send.in_progress && slot->send.taken == 0 && sim_below(sim, 4) == 0) {
        slot->send.taken = takeable(sim, slot);
        collect(slot, slot->send.taken, false);
    }
    slot->silent = slot->silent || sim_chance(sim, sim->faults.silent);
    /* A server that is held up by a slow reader still serves others. */
    if (sim_chance(sim, sim->faults.stall) && !slot->server.twin->silent) {
        slot->stalled_ns = sim->now_ns + sim_below(sim, STALL_NS);
    }
    slot->server.silent = slot->silent || sim->now_ns < slot->stalled_ns;
    if (slot->server.silent) {
        return;
    }
    if (slot->up_len != 0 && sim_chance(sim, sim->pace)) {
        feed_server(slot, sim_part(sim, sim->receive_style, slot->up_len));
    }
    if (act && sim_below(sim, 4) == 0) {
        sim_server_act(&slot->server);
    }
}

void sim_transport_step(struct sim_transport *transport, bool act)
{
    for (uint32_t i = 0; i < transport->slot_count; i++) {
        step_slot(transport->sim, &transport->slots[i], act);
    }
}

/* ---- Completion --------------------------------------------------------------------------- */

static struct rlt_io_event made(struct sim_transport *transport, const struct sim_slot *slot,
                                enum rlt_io_kind kind, int error, size_t bytes)
{
    uint32_t index = (uint32_t)(slot - transport->slots);
    sim_trace(transport->sim, ((uint64_t)kind << 40) | ((uint64_t)index << 32) | (bytes << 1) |
                                  (error != 0 ? 1 : 0));
    return (struct rlt_io_event){.slot = index, .kind = kind, .error = error, .bytes = bytes};
}

/* A byte of either direction at which the new connection breaks; often a small one. */
static uint64_t random_cut(struct sim *sim)
{
    return sim_below(sim, UINT64_C(1) << (4 + sim_below(sim, 14)));
}

static bool complete_open(struct sim_transport *transport, struct sim_slot *slot,
                          struct rlt_io_event *event)
{
    static const int errors[] = {ROULETTE_ERESOLVE, ROULETTE_ECONNECT, ROULETTE_ESYSTEM};
    struct sim *sim = transport->sim;
    if (slot->hangs && !slot->closing) {
        return false;
    }
    slot->opening = false;
    if (slot->closing || sim_chance(sim, sim->faults.open_error)) {
        *event = made(transport, slot, RLT_IO_OPENED, errors[sim_below(sim, 3)], 0);
        return true;
    }
    slot->open = true;
    slot->dead = false;
    slot->silent = false;
    slot->stalled_ns = 0;
    slot->lag = 0;
    slot->up_len = 0;
    slot->received = 0;
    slot->incarnation++;
    bool is_cut = sim_chance(sim, sim->faults.cut);
    bool is_up = sim_below(sim, 2) == 0;
    slot->up_left = is_cut && is_up ? random_cut(sim) : UINT64_MAX;
    slot->down_left = is_cut && !is_up ? random_cut(sim) : UINT64_MAX;
    if (slot == &transport->slots[0] && slot->incarnation == 1) {
        slot->up_left = transport->first_up < slot->up_left ? transport->first_up : slot->up_left;
        slot->down_left =
            transport->first_down < slot->down_left ? transport->first_down : slot->down_left;
    }
    sim_server_begin(&slot->server);
    *event = made(transport, slot, RLT_IO_OPENED, 0, 0);
    return true;
}

static bool complete_receive(struct sim_transport *transport, struct sim_slot *slot,
                             struct rlt_io_event *event)
{
    struct sim *sim = transport->sim;
    size_t len = receivable(slot);
    bool over = slot->closing || is_over(slot);
    if (!over && slot->lag != 0) {
        slot->lag--;
        return false;
    }
    slot->lag = sim_chance(sim, sim->lag) ? (uint32_t)sim_below(sim, 10) : 0;
    /* What was on its way may still come, even while the slot is being closed. */
    if (len == 0 || (over && sim_below(sim, 2) == 0)) {
        if (!over) {
            return false;
        }
        slot->receive.in_progress = false;
        slot->server.out_len = 0;
        *event = made(transport, slot, RLT_IO_RECEIVED, ROULETTE_EDISCONNECTED, 0);
        return true;
    }
    if (slot->server.secure && sim_chance(sim, sim->faults.tls_garbage)) {
        slot->server.network->sights[SIM_SIGHT_TLS_GARBAGE]++;
        slot->receive.in_progress = false;
        slot->dead = true;
        *event = made(transport, slot, RLT_IO_RECEIVED, ROULETTE_ETLS, 0);
        return true;
    }
    len = sim_part(sim, sim->receive_style, len);
    scatter(slot, len);
    slot->receive.in_progress = false;
    *event = made(transport, slot, RLT_IO_RECEIVED, 0, len);
    return true;
}

static bool complete_send(struct sim_transport *transport, struct sim_slot *slot,
                          struct rlt_io_event *event)
{
    struct sim *sim = transport->sim;
    bool over = slot->dead || slot->closing || slot->server.ended;
    size_t len = slot->send.taken;
    if (len == 0 && !(over && sim_below(sim, 2) == 0)) {
        len = takeable(sim, slot);
        collect(slot, len, slot->dead);
    }
    if (len == 0 && !over) {
        return false;
    }
    slot->send.in_progress = false;
    *event = made(transport, slot, RLT_IO_SENT, len != 0 ? 0 : ROULETTE_EDISCONNECTED, len);
    return true;
}

/* Nothing is in progress any more. What the kernel had may still have reached the server. */
static bool complete_close(struct sim_transport *transport, struct sim_slot *slot,
                           struct rlt_io_event *event)
{
    struct sim *sim = transport->sim;
    if (slot->open && !slot->dead && slot->up_len != 0 && sim_below(sim, 2) == 0) {
        feed_server(slot, sim_part(sim, SIM_RANDOM, slot->up_len));
    }
    slot->open = false;
    slot->opening = false;
    slot->closing = false;
    slot->server.live = false;
    *event = made(transport, slot, RLT_IO_CLOSED, 0, 0);
    return true;
}

/* Whatever was in clear before the handshake, or behind INFO, is no part of one. */
static bool complete_secure(struct sim_transport *transport, struct sim_slot *slot,
                            struct rlt_io_event *event)
{
    struct sim *sim = transport->sim;
    bool over = slot->closing || slot->dead;
    if (!over && (slot->tls_hangs || !sim_chance(sim, sim->pace / 4))) {
        return false;
    }
    slot->securing = false;
    bool failed = over || slot->server.out_len != 0 || sim_chance(sim, sim->faults.tls);
    if (!failed) {
        sim_server_secure(&slot->server);
    }
    int error = over ? ROULETTE_EDISCONNECTED : ROULETTE_ETLS;
    *event = made(transport, slot, RLT_IO_SECURED, failed ? error : 0, 0);
    return true;
}

static bool is_readable(const struct sim_slot *slot)
{
    return slot->watched && (is_over(slot) || slot->server.out_len != 0);
}

bool sim_transport_is_readable(const struct sim_transport *transport)
{
    for (uint32_t i = 0; i < transport->slot_count; i++) {
        if (is_readable(&transport->slots[i])) {
            return true;
        }
    }
    return false;
}

static bool complete_some(struct sim_transport *transport, struct sim_slot *slot,
                          struct rlt_io_event *event)
{
    struct sim *sim = transport->sim;
    /* The event of an open that is closed may be missing. */
    if (slot->opening && (!slot->closing || sim_below(sim, 2) == 0)) {
        return complete_open(transport, slot, event);
    }
    if (slot->securing && complete_secure(transport, slot, event)) {
        return true;
    }
    if (slot->watched && !transport->attended && sim_chance(sim, sim->pace) &&
        (is_readable(slot) || sim_below(sim, 64) == 0)) {
        slot->server.network->sights[SIM_SIGHT_UNATTENDED]++;
        int error = sim_below(sim, 64) == 0 ? ROULETTE_ESYSTEM : 0;
        *event = made(transport, slot, RLT_IO_READABLE, error, 0);
        return true;
    }
    bool send_first = sim_below(sim, 2) == 0;
    for (int i = 0; i < 2; i++) {
        bool is_send = send_first == (i == 0);
        struct sim_operation *operation = is_send ? &slot->send : &slot->receive;
        if (operation->in_progress && sim_chance(sim, sim->pace) &&
            (is_send ? complete_send(transport, slot, event)
                     : complete_receive(transport, slot, event))) {
            return true;
        }
    }
    if (slot->closing && !slot->send.in_progress && !slot->receive.in_progress) {
        return complete_close(transport, slot, event);
    }
    return false;
}

bool sim_transport_next(struct sim_transport *transport, struct rlt_io_event *event)
{
    uint64_t first = sim_below(transport->sim, transport->slot_count);
    for (uint64_t i = 0; i < transport->slot_count; i++) {
        struct sim_slot *slot = &transport->slots[(first + i) % transport->slot_count];
        if (complete_some(transport, slot, event)) {
            return true;
        }
    }
    return false;
}
