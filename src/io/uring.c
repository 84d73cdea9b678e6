/* SPDX-License-Identifier: MIT */
#include "io/uring.h"

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/defs.h"
#include "base/memory.h"
#include "base/random.h"
#include "io/clock.h"
#include "io/event_queue.h"
#include "io/message.h"
#include "io/park.h"
#include "io/resolver.h"
#include "io/socket.h"
#include "io/uring_setup.h"
#include "io/watch.h"
#include "roulette.h"

/* Per slot: connect, receive, send, and a cancel for each. */
#define ENTRIES_PER_SLOT 8
#define ENTRIES_MIN      16
#define EARLY_PER_SLOT   3

enum op {
    OP_CONNECT,
    OP_RECEIVE,
    OP_SEND,
    OP_COUNT,
    OP_WAKE,
    OP_WATCH,
    OP_CANCEL,
};

/* One connection's socket. Owner: the event thread. */
struct slot {
    int fd; /* -1: none */
    uint32_t generation;
    bool in_progress[OP_COUNT];
    bool resolving;
    bool closing;
    bool watched;
    struct rlt_lookup *lookup; /* addresses being tried */
    uint32_t picked;           /* the one in progress */
    struct rlt_message receive;
    struct rlt_message send;
};

struct uring {
    struct rlt_backend backend;
    struct io_uring ring;
    int wake_fd;
    uint64_t wake_count; /* what the kernel reads from wake_fd */
    bool wake_armed;
    bool watch_armed;
    uint32_t watched_count; /* slots */
    struct rlt_socket_options socket_options;
    struct rlt_random random;
    /* Events that did not come from the kernel; at most EARLY_PER_SLOT for each. */
    struct rlt_event_queue early;

    /* Finished lookups, pushed by their threads. */
    struct rlt_stack resolved;
    /* Lookup threads that may still touch this struct, and one for the event thread. Acquire-
     * release: the last one frees. */
    _Atomic(uint32_t) references;

    uint32_t slot_count;
    struct slot slots[];
};

static struct uring *of(struct rlt_transport *transport)
{
    struct rlt_backend *backend = rlt_container_of(transport, struct rlt_backend, transport);
    return rlt_container_of(backend, struct uring, backend);
}

/* ---- Submission --------------------------------------------------------------------------- */

static uint64_t tag(uint32_t slot, uint32_t generation, enum op op)
{
    return ((uint64_t)generation << 32) | ((uint64_t)slot << 8) | (uint64_t)op;
}

static struct io_uring_sqe *next_entry(struct uring *uring)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&uring->ring);
    if (entry == NULL) {
        /* The queue is sized for every operation that can be in progress; a burst of cancels
         * may still fill it. Submitting empties it. */
        (void)io_uring_submit(&uring->ring);
        entry = io_uring_get_sqe(&uring->ring);
    }
    RLT_ASSERT(entry != NULL);
    return entry;
}

static void begin(struct uring *uring, uint32_t index, enum op op, struct io_uring_sqe *entry)
{
    struct slot *slot = &uring->slots[index];
    RLT_ASSERT(!slot->in_progress[op]);
    slot->in_progress[op] = true;
    io_uring_sqe_set_data64(entry, tag(index, slot->generation, op));
}

static void uring_receive(struct rlt_transport *transport, uint32_t index,
                          const struct rlt_span *spans, uint32_t count)
{
    struct uring *uring = of(transport);
    struct slot *slot = &uring->slots[index];
    struct io_uring_sqe *entry = next_entry(uring);
    rlt_message_fill(&slot->receive, spans, count);
    rlt_message_check_writable(&slot->receive);
    if (count == 1) {
        io_uring_prep_recv(entry, slot->fd, spans[0].bytes, spans[0].len, 0);
    } else {
        io_uring_prep_recvmsg(entry, slot->fd, &slot->receive.header, 0);
    }
    begin(uring, index, OP_RECEIVE, entry);
}

static void uring_send(struct rlt_transport *transport, uint32_t index,
                       const struct rlt_span *spans, uint32_t count)
{
    struct uring *uring = of(transport);
    struct slot *slot = &uring->slots[index];
    struct io_uring_sqe *entry = next_entry(uring);
    rlt_message_fill(&slot->send, spans, count);
    if (count == 1) {
        io_uring_prep_send(entry, slot->fd, spans[0].bytes, spans[0].len, MSG_NOSIGNAL);
    } else {
        io_uring_prep_sendmsg(entry, slot->fd, &slot->send.header, MSG_NOSIGNAL);
    }
    begin(uring, index, OP_SEND, entry);
}

static size_t uring_send_now(struct rlt_transport *transport, uint32_t index,
                             const struct rlt_span *spans, uint32_t count)
{
    return rlt_socket_send_now(of(transport)->slots[index].fd, spans, count);
}

static int64_t uring_receive_now(struct rlt_transport *transport, uint32_t index,
                                 const struct rlt_span *spans, uint32_t count)
{
    return rlt_socket_receive_now(of(transport)->slots[index].fd, spans, count);
}

static bool uring_watch(struct rlt_transport *transport, uint32_t index, bool on)
{
    struct uring *uring = of(transport);
    struct slot *slot = &uring->slots[index];
    RLT_ASSERT(slot->watched != on && !slot->in_progress[OP_RECEIVE]);
    struct rlt_watch *watch = &uring->backend.watch;
    if (!on) {
        rlt_watch_remove(watch, slot->fd);
    } else if ((uring->watched_count == 0 && rlt_watch_is_attended(watch)) ||
               !rlt_watch_add(watch, slot->fd)) {
        /* A reader that attends still began with what was watched before. It may be another
         * subscriber's, held up; or the same, just being woken, and then it will have left soon. */
        return false;
    }
    slot->watched = on;
    uring->watched_count += on ? 1 : (uint32_t)-1;
    return true;
}

static void arm_watch(struct uring *uring)
{
    struct io_uring_sqe *entry = next_entry(uring);
    io_uring_prep_poll_add(entry, uring->backend.watch.owner, POLLIN);
    io_uring_sqe_set_data64(entry, tag(0, 0, OP_WATCH));
    uring->watch_armed = true;
}

static void arm_wake(struct uring *uring)
{
    struct io_uring_sqe *entry = next_entry(uring);
    io_uring_prep_read(entry, uring->wake_fd, &uring->wake_count, sizeof(uring->wake_count), 0);
    io_uring_sqe_set_data64(entry, tag(0, 0, OP_WAKE));
    uring->wake_armed = true;
}

/* ---- Opening ------------------------------------------------------------------------------ */

/* Try the next address of the lookup; report failure when there is none left. */
static void connect_next(struct uring *uring, uint32_t index, int error)
{
    struct slot *slot = &uring->slots[index];
    struct rlt_lookup *lookup = slot->lookup;
    while (lookup->error == 0 && lookup->count != 0) {
        uint32_t pick = rlt_lookup_pick(lookup, &uring->random);
        slot->picked = pick;
        int fd = rlt_socket_create(lookup->addresses[pick].ss_family, &uring->socket_options);
        if (fd < 0) {
            error = fd;
            rlt_lookup_drop(lookup, pick);
            continue;
        }
        slot->fd = fd;
        struct io_uring_sqe *entry = next_entry(uring);
        io_uring_prep_connect(entry, slot->fd, (struct sockaddr *)&lookup->addresses[pick],
                              lookup->lengths[pick]);
        begin(uring, index, OP_CONNECT, entry);
        return;
    }
    rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED,
                        lookup->error != 0 ? lookup->error : error);
}

static void release_uring(struct uring *uring)
{
    /* Acquire-release: everything that was done to it comes before the free. */
    if (atomic_fetch_sub_explicit(&uring->references, 1, memory_order_acq_rel) == 1) {
        struct rlt_stack_node *node = rlt_stack_take(&uring->resolved);
        while (node != NULL) {
            struct rlt_lookup *lookup = rlt_container_of(node, struct rlt_lookup, node);
            node = node->next;
            rlt_memory_free(lookup);
        }
        rlt_park_descriptor_destroy(uring->wake_fd);
        rlt_watch_fini(&uring->backend.watch);
        rlt_memory_free(uring->early.events);
        rlt_memory_free(uring);
    }
}

/* On the lookup's thread. */
static void lookup_done(void *context, struct rlt_lookup *lookup)
{
    struct uring *uring = context;
    rlt_stack_push(&uring->resolved, &lookup->node);
    rlt_park_descriptor_signal(uring->wake_fd);
    release_uring(uring);
}

static void uring_open(struct rlt_transport *transport, uint32_t index, const char *host,
                       uint16_t port)
{
    struct uring *uring = of(transport);
    struct slot *slot = &uring->slots[index];
    RLT_ASSERT(slot->fd < 0 && !slot->closing && slot->lookup == NULL);
    struct rlt_lookup *lookup = rlt_lookup_create(host, port);
    if (lookup == NULL) {
        rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED, ROULETTE_ENOMEM);
        return;
    }
    lookup->slot = index;
    lookup->generation = slot->generation;
    lookup->done = lookup_done;
    lookup->context = uring;
    if (rlt_resolver_numeric(lookup) == 0) {
        slot->lookup = lookup;
        connect_next(uring, index, ROULETTE_ECONNECT);
        return;
    }
    /* Relaxed: the new thread gets the struct with its argument. */
    atomic_fetch_add_explicit(&uring->references, 1, memory_order_relaxed);
    slot->resolving = true;
    if (rlt_resolver_start(lookup) < 0) {
        slot->resolving = false;
        release_uring(uring);
        rlt_memory_free(lookup);
        rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED, ROULETTE_ESYSTEM);
    }
}

/* Take finished lookups; those of an open that was given up meanwhile are dropped. */
static void take_resolved(struct uring *uring)
{
    struct rlt_stack_node *node = rlt_stack_take(&uring->resolved);
    while (node != NULL) {
        struct rlt_lookup *lookup = rlt_container_of(node, struct rlt_lookup, node);
        node = node->next;
        struct slot *slot = &uring->slots[lookup->slot];
        if (lookup->generation != slot->generation || !slot->resolving) {
            rlt_memory_free(lookup);
            continue;
        }
        slot->resolving = false;
        slot->lookup = lookup;
        connect_next(uring, lookup->slot, ROULETTE_ECONNECT);
    }
}

/* TLS is a layer above: see tls_layer.h. */
static void uring_secure(struct rlt_transport *transport, uint32_t index, const char *host)
{
    (void)host;
    rlt_event_queue_add(&of(transport)->early, index, RLT_IO_SECURED, ROULETTE_ENOTSUP);
}

/* ---- Closing ------------------------------------------------------------------------------ */

static bool is_busy(const struct slot *slot)
{
    return slot->in_progress[OP_CONNECT] || slot->in_progress[OP_RECEIVE] ||
           slot->in_progress[OP_SEND];
}

/* All operations have ended: now the descriptor may be given back to the system. */
static void finish_close(struct uring *uring, uint32_t index)
{
    struct slot *slot = &uring->slots[index];
    rlt_socket_close(&slot->fd);
    rlt_memory_free(slot->lookup);
    slot->lookup = NULL;
    slot->resolving = false;
    slot->closing = false;
    slot->generation++;
    rlt_event_queue_add(&uring->early, index, RLT_IO_CLOSED, 0);
}

static void uring_close(struct rlt_transport *transport, uint32_t index)
{
    struct uring *uring = of(transport);
    struct slot *slot = &uring->slots[index];
    RLT_ASSERT(!slot->closing && !slot->watched);
    slot->closing = true;
    if (!is_busy(slot)) {
        finish_close(uring, index);
        return;
    }
    /* The kernel may use our memory until each operation's own completion, and the descriptor's
     * number must not be used again before: shut down, cancel, wait, then close. */
    (void)shutdown(slot->fd, SHUT_RDWR);
    for (int op = 0; op < OP_COUNT; op++) {
        if (slot->in_progress[op]) {
            struct io_uring_sqe *entry = next_entry(uring);
            io_uring_prep_cancel64(entry, tag(index, slot->generation, (enum op)op), 0);
            io_uring_sqe_set_data64(entry, tag(index, slot->generation, OP_CANCEL));
        }
    }
}

/* ---- Completion --------------------------------------------------------------------------- */

static void on_connect(struct uring *uring, uint32_t index, int result)
{
    struct slot *slot = &uring->slots[index];
    if (slot->closing) {
        return;
    }
    struct rlt_lookup *lookup = slot->lookup;
    if (result == 0) {
        rlt_memory_free(lookup);
        slot->lookup = NULL;
        rlt_event_queue_add(&uring->early, index, RLT_IO_OPENED, 0);
        return;
    }
    rlt_socket_close(&slot->fd);
    rlt_lookup_drop(lookup, slot->picked);
    connect_next(uring, index, ROULETTE_ECONNECT);
}

/* The result of a receive or send as an event. */
static void on_transfer(const struct uring *uring, uint32_t index, enum op op, int result,
                        struct rlt_io_event *event)
{
    if (op == OP_RECEIVE && result > 0) {
        rlt_message_check_writable(&uring->slots[index].receive);
    }
    event->slot = index;
    event->kind = op == OP_RECEIVE ? RLT_IO_RECEIVED : RLT_IO_SENT;
    event->error = result > 0 ? 0 : ROULETTE_EDISCONNECTED;
    event->bytes = result > 0 ? (size_t)result : 0;
}

/* An operation was interrupted before it moved a byte: ask for the same once more. */
static void repeat(struct uring *uring, uint32_t index, enum op op)
{
    struct slot *slot = &uring->slots[index];
    struct io_uring_sqe *entry = next_entry(uring);
    if (op == OP_RECEIVE) {
        io_uring_prep_recvmsg(entry, slot->fd, &slot->receive.header, 0);
    } else {
        io_uring_prep_sendmsg(entry, slot->fd, &slot->send.header, MSG_NOSIGNAL);
    }
    begin(uring, index, op, entry);
}

/* A watched slot can be read; which one is not known. Or the watch has failed. */
static void on_watch(struct uring *uring, int result)
{
    uring->watch_armed = false;
    if (uring->early.count != 0) {
        return; /* told once more by the next wait() */
    }
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        if (uring->slots[i].watched) {
            rlt_event_queue_add(&uring->early, i, RLT_IO_READABLE,
                                result < 0 ? ROULETTE_ESYSTEM : 0);
        }
    }
}

/* Handle one completion. True if `event` was filled. */
static bool on_completion(struct uring *uring, const struct io_uring_cqe *completion,
                          struct rlt_io_event *event)
{
    uint64_t data = io_uring_cqe_get_data64(completion);
    enum op op = (enum op)(data & 0xff);
    uint32_t index = (uint32_t)(data >> 8) & 0xffffff;
    if (op == OP_WAKE) {
        uring->wake_armed = false;
        uring->backend.wakeups++;
        return false;
    }
    if (op == OP_WATCH) {
        on_watch(uring, completion->res);
        return false;
    }
    if (op == OP_CANCEL) {
        return false; /* the operation itself completes too */
    }
    struct slot *slot = &uring->slots[index];
    RLT_ASSERT((uint32_t)(data >> 32) == slot->generation && slot->in_progress[op]);
    slot->in_progress[op] = false;
    bool interrupted = completion->res == -EINTR || completion->res == -EAGAIN;
    bool is_event = false;
    if (op == OP_CONNECT) {
        on_connect(uring, index, completion->res);
    } else if (interrupted && !slot->closing) {
        repeat(uring, index, op);
    } else {
        on_transfer(uring, index, op, completion->res, event);
        is_event = true;
    }
    if (slot->closing && !is_busy(slot)) {
        finish_close(uring, index);
    }
    return is_event;
}

static void submit(struct uring *uring, uint64_t deadline_ns)
{
    uint64_t now_ns = deadline_ns != 0 ? rlt_clock_ns() : 0;
    if (deadline_ns <= now_ns) {
        (void)io_uring_submit_and_get_events(&uring->ring);
        return;
    }
    struct io_uring_cqe *completion;
    struct __kernel_timespec timeout;
    struct __kernel_timespec *limit = NULL;
    if (deadline_ns != RLT_NEVER) {
        timeout.tv_sec = (int64_t)((deadline_ns - now_ns) / RLT_NS_PER_S);
        timeout.tv_nsec = (long long)((deadline_ns - now_ns) % RLT_NS_PER_S);
        limit = &timeout;
    }
    (void)io_uring_submit_and_wait_timeout(&uring->ring, &completion, 1, limit, NULL);
}

static uint32_t uring_wait(struct rlt_backend *backend, uint64_t deadline_ns,
                           struct rlt_io_event *events, uint32_t max)
{
    struct uring *uring = rlt_container_of(backend, struct uring, backend);
    if (!uring->wake_armed) {
        arm_wake(uring);
    }
    if (!uring->watch_armed && uring->watched_count != 0) {
        arm_watch(uring);
    }
    submit(uring, uring->early.count != 0 ? 0 : deadline_ns);
    uint32_t count = 0;
    unsigned head;
    unsigned seen = 0;
    struct io_uring_cqe *completion;
    io_uring_for_each_cqe(&uring->ring, head, completion)
    {
        if (count == max) {
            break;
        }
        count += on_completion(uring, completion, &events[count]) ? 1 : 0;
        seen++;
    }
    io_uring_cq_advance(&uring->ring, seen);
    take_resolved(uring);
    /* After the kernel's: RLT_IO_CLOSED comes behind the events of the slot's operations. */
    return count + rlt_event_queue_take(&uring->early, events + count, max - count);
}

static void uring_wake(struct rlt_backend *backend)
{
    rlt_park_descriptor_signal(rlt_container_of(backend, struct uring, backend)->wake_fd);
}

/* ---- Other threads ------------------------------------------------------------------------ */

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

/* ---- Life --------------------------------------------------------------------------------- */

static void uring_shut_down(struct rlt_backend *backend)
{
    struct uring *uring = rlt_container_of(backend, struct uring, backend);
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        RLT_ASSERT(!is_busy(&uring->slots[i]) && uring->slots[i].fd < 0);
    }
    io_uring_queue_exit(&uring->ring);
    uring->ring.ring_fd = -1;
}

static void uring_abandon(struct rlt_backend *backend)
{
    struct uring *uring = rlt_container_of(backend, struct uring, backend);
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        rlt_socket_close(&uring->slots[i].fd);
    }
    /* Not io_uring_queue_exit(): the mappings were not inherited (IORING dontfork). */
    rlt_socket_close(&uring->ring.ring_fd);
    rlt_park_descriptor_destroy(uring->wake_fd);
    uring->wake_fd = -1;
    rlt_watch_fini(&uring->backend.watch);
}

static void uring_destroy(struct rlt_backend *backend)
{
    release_uring(rlt_container_of(backend, struct uring, backend));
}

static const struct rlt_transport_ops transport_ops = {
    .name = "io_uring",
    .open = uring_open,
    .secure = uring_secure,
    .receive = uring_receive,
    .receive_now = uring_receive_now,
    .watch = uring_watch,
    .send = uring_send,
    .send_now = uring_send_now,
    .close = uring_close,
    .signal = uring_signal,
    .wake = uring_wake_word,
};

static const struct rlt_backend_ops backend_ops = {
    .wait = uring_wait,
    .wake = uring_wake,
    .shut_down = uring_shut_down,
    .abandon = uring_abandon,
    .destroy = uring_destroy,
};

int rlt_uring_create(const struct rlt_backend_options *options, struct rlt_backend **backend)
{
    struct uring *uring =
        rlt_memory_alloc(1, sizeof(*uring) + options->slot_count * sizeof(struct slot));
    if (uring == NULL) {
        return ROULETTE_ENOMEM;
    }
    uring->backend.transport.ops = &transport_ops;
    uring->backend.ops = &backend_ops;
    uring->socket_options = options->socket;
    uring->random.state = options->seed;
    uring->slot_count = options->slot_count;
    rlt_watch_init(&uring->backend.watch);
    atomic_store_explicit(&uring->references, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < options->slot_count; i++) {
        uring->slots[i].fd = -1;
    }
    unsigned entries = ENTRIES_MIN;
    while (entries < options->slot_count * ENTRIES_PER_SLOT) {
        entries *= 2;
    }
    uring->wake_fd = rlt_park_descriptor_create();
    uring->early.capacity = options->slot_count * EARLY_PER_SLOT;
    uring->early.events = rlt_memory_alloc(uring->early.capacity, sizeof(*uring->early.events));
    int result = uring->early.events == NULL ? ROULETTE_ENOMEM
                 : uring->wake_fd < 0        ? uring->wake_fd
                                             : 0;
    if (result == 0) {
        result = rlt_uring_setup(&uring->ring, entries);
    }
    if (result < 0) {
        release_uring(uring);
        return result;
    }
    *backend = &uring->backend;
    return 0;
}
