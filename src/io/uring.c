/* SPDX-License-Identifier: MIT */
#include "io/uring.h"

#include <string.h>

#include "base/memory.h"
#include "io/system/descriptor.h"
#include "io/uring_open.h"
#include "io/uring_race.h"
#include "io/uring_setup.h"
#include "io/uring_slots.h"
#include "io/uring_transfer.h"
#include "io/uring_wait.h"
#include "io/wake/park.h"
#include "io/wake/watch.h"
#include "roulette.h"

/* Per slot: receive, send, connects, and a cancel for each. With many clusters seldom all at once:
 * a full queue is submitted early. */
#define ENTRIES_PER_SLOT 8
#define ENTRIES_MIN      16
#define ENTRIES_MAX      256
/* Completions that a slot can have at once: a receive and a send, and either all racers, or the
 * losers behind a winner, and a cancel for each; a port's watch; and the wake-up. Without room the
 * kernel allocates memory for each, and old kernels submit nothing before some are taken (EBUSY,
 * io_uring_enter(2)). */
#define COMPLETIONS_PER_SLOT (2 * (2 + RLT_URING_RACERS - 1))

/* TLS is a layer above: see io/tls/layer.h. */
static void uring_secure(struct rlt_transport *transport, uint32_t slot_index, const char *host)
{
    (void)host;
    rlt_event_queue_add(&rlt_uring_of(transport)->early, rlt_uring_index(transport, slot_index),
                        RLT_IO_SECURED, ROULETTE_ENOTSUP);
}

/* ---- Waking and explaining ---------------------------------------------------------------- */

static void uring_wake(struct rlt_backend *backend)
{
    rlt_park_descriptor_signal(rlt_container_of(backend, struct rlt_uring, backend)->wake_fd);
}

static void uring_signal(struct rlt_transport *transport, int descriptor)
{
    (void)transport;
    rlt_park_descriptor_signal(descriptor);
}

static void uring_wake_word(struct rlt_transport *transport, _Atomic(uint32_t) *word)
{
    (void)transport;
    rlt_park_wake(word);
}

static const char *uring_explain(struct rlt_transport *transport, uint32_t slot_index)
{
    const struct rlt_uring *uring = rlt_uring_of(transport);
    const char *own = uring->slots[rlt_uring_index(transport, slot_index)].failure;
    return own[0] != '\0' && uring->broken == 0 ? own : uring->failure;
}

/* ---- Life --------------------------------------------------------------------------------- */

static void uring_shut_down(struct rlt_backend *backend)
{
    struct rlt_uring *uring = rlt_container_of(backend, struct rlt_uring, backend);
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        RLT_ASSERT(!rlt_uring_is_busy(&uring->slots[i]) && uring->slots[i].fd < 0);
        RLT_ASSERT(uring->slots[i].lookup == NULL);
    }
    if (uring->ring.ring_fd >= 0) {
        io_uring_queue_exit(&uring->ring);
        uring->ring.ring_fd = -1;
    }
}

static void uring_abandon(struct rlt_backend *backend)
{
    struct rlt_uring *uring = rlt_container_of(backend, struct rlt_uring, backend);
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        rlt_descriptor_close(&uring->slots[i].fd);
        rlt_uring_race_abandon(&uring->slots[i]);
    }
    /* Not io_uring_queue_exit(): the mappings were not inherited (IORING dontfork). */
    rlt_descriptor_close(&uring->ring.ring_fd);
    rlt_park_descriptor_destroy(uring->wake_fd);
    uring->wake_fd = -1;
    for (uint32_t i = 0; i < backend->port_count; i++) {
        rlt_watch_fini(&backend->ports[i].watch);
    }
}

static void uring_free(struct rlt_uring *uring)
{
    struct rlt_stack_node *node = rlt_stack_take(&uring->resolved);
    while (node != NULL) {
        struct rlt_lookup *lookup = rlt_container_of(node, struct rlt_lookup, node);
        node = rlt_stack_next(node);
        rlt_memory_free(lookup);
    }
    rlt_park_descriptor_destroy(uring->wake_fd);
    for (uint32_t i = 0; i < uring->backend.port_count; i++) {
        rlt_watch_fini(&uring->backend.ports[i].watch);
    }
    rlt_memory_free(uring->early.events);
    rlt_memory_free(uring->slots);
    rlt_memory_free(uring->watches);
    rlt_memory_free(uring->backend.ports);
    rlt_memory_free(uring);
}

static void uring_destroy(struct rlt_backend *backend)
{
    struct rlt_uring *uring = rlt_container_of(backend, struct rlt_uring, backend);
    /* In a child process: the parent's lookups go on, and are not answered here. */
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        rlt_uring_forget_lookup(&uring->slots[i]);
    }
    uring_free(uring);
}

static const struct rlt_transport_ops transport_ops = {
    .name = "io_uring",
    .open = rlt_uring_open,
    .secure = uring_secure,
    .receive = rlt_uring_receive,
    .receive_now = rlt_uring_receive_now,
    .watch = rlt_uring_watch,
    .send = rlt_uring_send,
    .send_now = rlt_uring_send_now,
    .explain = uring_explain,
    .is_acknowledged = rlt_uring_is_acknowledged,
    .close = rlt_uring_close,
    .signal = uring_signal,
    .wake = uring_wake_word,
};

static const struct rlt_backend_ops backend_ops = {
    .wait = rlt_uring_wait,
    .wake = uring_wake,
    .shut_down = uring_shut_down,
    .abandon = uring_abandon,
    .destroy = uring_destroy,
};

/* The memory of ports and slots. */
static int allocate(struct rlt_uring *uring, const struct rlt_backend_options *options)
{
    uint32_t ports = options->port_count;
    size_t ports_size = ports * sizeof(struct rlt_port);
    uring->slot_count = ports * options->slots_per_port;
    uring->early.capacity = uring->slot_count * RLT_URING_EARLY;
    uring->backend.ports = rlt_memory_alloc_aligned(RLT_CACHE_LINE, ports_size);
    uring->watches = rlt_memory_alloc(ports, sizeof(*uring->watches));
    uring->slots = rlt_memory_alloc(uring->slot_count, sizeof(*uring->slots));
    uring->early.events = rlt_memory_alloc(uring->early.capacity, sizeof(*uring->early.events));
    if (uring->backend.ports == NULL || uring->watches == NULL || uring->slots == NULL ||
        uring->early.events == NULL) {
        return ROULETTE_ENOMEM;
    }
    memset(uring->backend.ports, 0, ports_size);
    uring->backend.port_count = ports;
    for (uint32_t i = 0; i < ports; i++) {
        struct rlt_port *port = &uring->backend.ports[i];
        port->transport.ops = &transport_ops;
        port->backend = &uring->backend;
        port->first_slot = i * options->slots_per_port;
        port->slot_count = options->slots_per_port;
        rlt_watch_init(&port->watch);
    }
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        uring->slots[i].fd = -1;
        rlt_uring_race_init(&uring->slots[i]);
    }
    return 0;
}

int rlt_uring_create(const struct rlt_backend_options *options, struct rlt_backend **backend)
{
    struct rlt_uring *uring = rlt_memory_alloc(1, sizeof(*uring));
    if (uring == NULL) {
        return ROULETTE_ENOMEM;
    }
    uring->backend.ops = &backend_ops;
    uring->socket_options = options->socket;
    uring->random.state = options->seed;
    uring->race_ns = RLT_NEVER;
    unsigned entries = ENTRIES_MIN;
    while (entries < options->port_count * options->slots_per_port * ENTRIES_PER_SLOT &&
           entries < ENTRIES_MAX) {
        entries *= 2;
    }
    uring->wake_fd = rlt_park_descriptor_create();
    int result = uring->wake_fd < 0 ? uring->wake_fd : allocate(uring, options);
    if (result == 0) {
        uring->entries = entries;
        uring->completions = uring->slot_count * COMPLETIONS_PER_SLOT + options->port_count + 1;
        result = rlt_uring_setup(&uring->ring, entries, uring->completions);
    }
    if (result < 0) {
        uring_free(uring);
        return result;
    }
    *backend = &uring->backend;
    return 0;
}
