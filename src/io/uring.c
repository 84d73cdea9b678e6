/* SPDX-License-Identifier: MIT */
#include "io/uring.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "io/clock.h"
#include "io/park.h"
#include "io/socket.h"
#include "io/uring_break.h"
#include "io/uring_open.h"
#include "io/uring_race.h"
#include "io/uring_setup.h"
#include "io/uring_slots.h"
#include "io/watch.h"
#include "roulette.h"

/* Per slot: receive, send, connects, and a cancel for each. With many clusters seldom all at once:
 * what does not fit is submitted early. */
#define ENTRIES_PER_SLOT 8
#define ENTRIES_MIN      16
#define ENTRIES_MAX      256
/* What can be complete at once of a slot: a receive and a send, and either all racers, or what is
 * left of them behind a winner, and a cancel for each; of a port its watch; and the wake-up.
 * Without room the kernel has to find memory for each, and old ones submit nothing before we have
 * taken some (EBUSY, io_uring_enter(2)). */
#define COMPLETIONS_PER_SLOT (2 * (2 + RLT_URING_RACERS - 1))

/* Interruptions of an operation in a row, after which it has failed: a kernel that says nothing
 * else must not keep this thread busy. */
#define REPEATS_MAX 1000
/* Failures in a row to read what other threads wake this one by, after which it does without. */
#define WAKE_FAILURES_MAX 3

/* ---- Submission --------------------------------------------------------------------------- */

static void uring_receive(struct rlt_transport *transport, uint32_t slot_index,
                          const struct rlt_span *spans, uint32_t count)
{
    struct rlt_uring *uring = rlt_uring_of(transport);
    uint32_t index = rlt_uring_index(transport, slot_index);
    struct rlt_uring_slot *slot = &uring->slots[index];
    struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
    rlt_message_fill(&slot->receive, spans, count);
    rlt_message_check_writable(&slot->receive);
    if (count == 1) {
        io_uring_prep_recv(entry, slot->fd, spans[0].bytes, spans[0].len, 0);
    } else {
        io_uring_prep_recvmsg(entry, slot->fd, &slot->receive.header, 0);
    }
    rlt_uring_begin(uring, index, RLT_URING_RECEIVE, entry);
}

static void uring_send(struct rlt_transport *transport, uint32_t slot_index,
                       const struct rlt_span *spans, uint32_t count)
{
    struct rlt_uring *uring = rlt_uring_of(transport);
    uint32_t index = rlt_uring_index(transport, slot_index);
    struct rlt_uring_slot *slot = &uring->slots[index];
    struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
    rlt_message_fill(&slot->send, spans, count);
    if (count == 1) {
        io_uring_prep_send(entry, slot->fd, spans[0].bytes, spans[0].len, MSG_NOSIGNAL);
    } else {
        io_uring_prep_sendmsg(entry, slot->fd, &slot->send.header, MSG_NOSIGNAL);
    }
    rlt_uring_begin(uring, index, RLT_URING_SEND, entry);
}

static size_t uring_send_now(struct rlt_transport *transport, uint32_t slot_index,
                             const struct rlt_span *spans, uint32_t count)
{
    uint32_t index = rlt_uring_index(transport, slot_index);
    return rlt_socket_send_now(rlt_uring_of(transport)->slots[index].fd, spans, count);
}

static bool uring_is_acknowledged(struct rlt_transport *transport, uint32_t slot_index)
{
    uint32_t index = rlt_uring_index(transport, slot_index);
    return rlt_socket_is_acknowledged(rlt_uring_of(transport)->slots[index].fd);
}

static int64_t uring_receive_now(struct rlt_transport *transport, uint32_t slot_index,
                                 const struct rlt_span *spans, uint32_t count)
{
    uint32_t index = rlt_uring_index(transport, slot_index);
    return rlt_socket_receive_now(rlt_uring_of(transport)->slots[index].fd, spans, count);
}

static bool uring_watch(struct rlt_transport *transport, uint32_t slot_index, bool on)
{
    struct rlt_uring *uring = rlt_uring_of(transport);
    uint32_t index = rlt_uring_index(transport, slot_index);
    struct rlt_uring_slot *slot = &uring->slots[index];
    RLT_ASSERT(slot->watched != on && !slot->in_progress[RLT_URING_RECEIVE]);
    struct rlt_port *port = rlt_container_of(transport, struct rlt_port, transport);
    struct rlt_watch *watch = &port->watch;
    uint32_t *count = &uring->watches[port - uring->backend.ports].count;
    if (!on) {
        rlt_watch_remove(watch, slot->fd);
    } else if (uring->broken != 0 || (*count == 0 && rlt_watch_is_attended(watch)) ||
               !rlt_watch_add(watch, slot->fd)) {
        /* A reader that attends still began with what was watched before. It may be another
         * subscriber's, held up; or the same, just being woken, and then it will have left soon. */
        return false;
    }
    slot->watched = on;
    slot->told = false;
    *count += on ? 1 : (uint32_t)-1;
    return true;
}

/* Poll what is watched, for each port; not while the core has still to be told of the last time. */
static void arm_watches(struct rlt_uring *uring)
{
    if (uring->early.count != 0) {
        return;
    }
    for (uint32_t i = 0; i < uring->backend.port_count; i++) {
        if (uring->watches[i].armed || uring->watches[i].count == 0) {
            continue;
        }
        struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
        io_uring_prep_poll_add(entry, uring->backend.ports[i].watch.owner, POLLIN);
        io_uring_sqe_set_data64(entry, rlt_uring_tag(i, 0, RLT_URING_WATCH));
        uring->watches[i].armed = true;
    }
}

static void arm_wake(struct rlt_uring *uring)
{
    struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
    io_uring_prep_read(entry, uring->wake_fd, &uring->wake_count, sizeof(uring->wake_count), 0);
    io_uring_sqe_set_data64(entry, rlt_uring_tag(0, 0, RLT_URING_WAKE));
    uring->wake_armed = true;
}

/* TLS is a layer above: see tls_layer.h. */
static void uring_secure(struct rlt_transport *transport, uint32_t slot_index, const char *host)
{
    (void)host;
    rlt_event_queue_add(&rlt_uring_of(transport)->early, rlt_uring_index(transport, slot_index),
                        RLT_IO_SECURED, ROULETTE_ENOTSUP);
}

/* ---- Closing ------------------------------------------------------------------------------ */

/* All operations have ended: now the descriptor may be given back to the system. */
void rlt_uring_finish_close(struct rlt_uring *uring, uint32_t index)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    rlt_socket_close(&slot->fd);
    slot->closing = false;
    slot->generation++;
    rlt_event_queue_add(&uring->early, index, RLT_IO_CLOSED, 0);
}

static void uring_close(struct rlt_transport *transport, uint32_t slot_index)
{
    struct rlt_uring *uring = rlt_uring_of(transport);
    uint32_t index = rlt_uring_index(transport, slot_index);
    struct rlt_uring_slot *slot = &uring->slots[index];
    RLT_ASSERT(!slot->closing && !slot->watched);
    slot->closing = true;
    slot->next_ns = RLT_NEVER;
    rlt_uring_forget_lookup(slot);
    rlt_uring_race_cancel(uring, index);
    if (!rlt_uring_is_busy(slot)) {
        rlt_uring_finish_close(uring, index);
        return;
    }
    /* The kernel may use our memory until each operation's own completion, and the descriptor's
     * number must not be used again before: shut down, cancel, wait, then close. */
    if (slot->fd >= 0) {
        (void)shutdown(slot->fd, SHUT_RDWR);
    }
    for (uint32_t op = 0; op < RLT_URING_TRANSFERS; op++) {
        if (slot->in_progress[op]) {
            rlt_uring_cancel(uring, index, op);
        }
    }
}

/* ---- Completion --------------------------------------------------------------------------- */

/* The result of a receive or send as an event. */
static void on_transfer(struct rlt_uring *uring, uint32_t index, enum rlt_uring_op op, int result,
                        struct rlt_io_event *event)
{
    if (rlt_unlikely(result < 0 && !uring->slots[index].closing)) {
        rlt_uring_explain(&uring->slots[index], op == RLT_URING_RECEIVE ? "recv()" : "send()",
                          -result, "");
    }
    if (op == RLT_URING_RECEIVE && result > 0) {
        rlt_message_check_writable(&uring->slots[index].receive);
    }
    event->slot = index;
    event->kind = op == RLT_URING_RECEIVE ? RLT_IO_RECEIVED : RLT_IO_SENT;
    event->error = result > 0 ? 0 : ROULETTE_EDISCONNECTED;
    event->bytes = result > 0 ? (size_t)result : 0;
}

/* An operation was interrupted before it moved a byte: ask for the same once more. */
static void repeat(struct rlt_uring *uring, uint32_t index, enum rlt_uring_op op)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    struct io_uring_sqe *entry = rlt_uring_next_entry(uring);
    if (op == RLT_URING_RECEIVE) {
        io_uring_prep_recvmsg(entry, slot->fd, &slot->receive.header, 0);
    } else {
        io_uring_prep_sendmsg(entry, slot->fd, &slot->send.header, MSG_NOSIGNAL);
    }
    rlt_uring_begin(uring, index, op, entry);
}

/* A watched slot of the port can be read; which one is not known. Or the watch has failed. */
static void on_watch(struct rlt_uring *uring, uint32_t port_index, int result)
{
    uring->watches[port_index].armed = false;
    const struct rlt_port *port = &uring->backend.ports[port_index];
    for (uint32_t i = port->first_slot; i < port->first_slot + port->slot_count; i++) {
        if (uring->slots[i].watched) {
            rlt_event_queue_add(&uring->early, i, RLT_IO_READABLE,
                                result < 0 ? ROULETTE_ESYSTEM : 0);
        }
    }
}

/* Another thread has ended the wait. Or it cannot: then this one looks by itself, and not at once
 * again. */
static void on_wake(struct rlt_uring *uring, int result)
{
    uring->wake_armed = false;
    uring->backend.wakeups++;
    uring->wake_failures = result < 0 ? uring->wake_failures + 1 : 0;
    uring->wake_lost = uring->wake_failures >= WAKE_FAILURES_MAX;
}

/* What a slot asked for has ended. True if `event` was filled. */
static bool on_slot(struct rlt_uring *uring, uint32_t index, uint32_t op, int result,
                    struct rlt_io_event *event)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    if (op >= RLT_URING_CONNECT) {
        rlt_uring_race_on_connect(uring, index, op - RLT_URING_CONNECT, result);
        return false;
    }
    RLT_ASSERT(slot->in_progress[op]);
    slot->in_progress[op] = false;
    bool interrupted = result == -EINTR || result == -EAGAIN;
    slot->repeats = interrupted ? slot->repeats + 1 : 0;
    if (interrupted && !slot->closing && slot->repeats <= REPEATS_MAX) {
        repeat(uring, index, (enum rlt_uring_op)op);
        return false;
    }
    on_transfer(uring, index, (enum rlt_uring_op)op, result, event);
    return true;
}

/* Handle one completion. True if `event` was filled. */
static bool on_completion(struct rlt_uring *uring, const struct io_uring_cqe *completion,
                          struct rlt_io_event *event)
{
    uint64_t data = io_uring_cqe_get_data64(completion);
    uint32_t op = (uint32_t)(data & 0xff);
    uint32_t index = (uint32_t)(data >> 8) & 0xffffff;
    if (op == RLT_URING_WAKE) {
        on_wake(uring, completion->res);
        return false;
    }
    if (op == RLT_URING_WATCH) {
        on_watch(uring, index, completion->res);
        return false;
    }
    if (op == RLT_URING_CANCEL) {
        return false; /* the operation itself completes too */
    }
    struct rlt_uring_slot *slot = &uring->slots[index];
    RLT_ASSERT((uint32_t)(data >> 32) == slot->generation);
    bool is_event = on_slot(uring, index, op, completion->res, event);
    if (slot->closing && !rlt_uring_is_busy(slot)) {
        rlt_uring_finish_close(uring, index);
    }
    return is_event;
}

/* Submit what is asked for and wait. Returns: a negative errno, or not. */
static int submit_and_wait(struct rlt_uring *uring, uint64_t deadline_ns)
{
    uint64_t now_ns = deadline_ns != 0 ? rlt_clock_ns() : 0;
    if (rlt_unlikely(uring->wake_lost)) {
        deadline_ns = rlt_min_u64(deadline_ns, now_ns + RLT_URING_TICK_NS);
    }
    if (deadline_ns <= now_ns) {
        return io_uring_submit_and_get_events(&uring->ring);
    }
    struct io_uring_cqe *completion;
    struct __kernel_timespec timeout;
    struct __kernel_timespec *limit = NULL;
    if (deadline_ns != RLT_NEVER) {
        timeout.tv_sec = (int64_t)((deadline_ns - now_ns) / RLT_NS_PER_S);
        timeout.tv_nsec = (long long)((deadline_ns - now_ns) % RLT_NS_PER_S);
        limit = &timeout;
    }
    return io_uring_submit_and_wait_timeout(&uring->ring, &completion, 1, limit, NULL);
}

static void submit(struct rlt_uring *uring, uint64_t deadline_ns)
{
    if (!uring->wake_armed && !uring->wake_lost) {
        arm_wake(uring);
    }
    arm_watches(uring);
    int result = submit_and_wait(uring, deadline_ns);
    if (rlt_unlikely(result < 0 && result != -ETIME)) {
        rlt_uring_on_failure(uring, result);
    } else {
        uring->failing_ns = 0;
    }
}

/* Take what the kernel has completed, up to `max` events with the `count` that there are. Returns:
 * how many there are then. */
static uint32_t reap(struct rlt_uring *uring, struct rlt_io_event *events, uint32_t count,
                     uint32_t max)
{
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
    return count;
}

static uint32_t uring_wait(struct rlt_backend *backend, uint64_t deadline_ns,
                           struct rlt_io_event *events, uint32_t max)
{
    struct rlt_uring *uring = rlt_container_of(backend, struct rlt_uring, backend);
    /* First what had no room the last time, however much the kernel has by now: it is behind all
     * events that came with it or before. */
    uint32_t count = rlt_event_queue_take(&uring->early, events, max);
    deadline_ns = count != 0 ? 0 : rlt_min_u64(deadline_ns, uring->race_ns);
    if (rlt_likely(uring->broken == 0)) {
        submit(uring, deadline_ns);
        count = reap(uring, events, count, max);
    } else {
        rlt_uring_settle(uring);
        rlt_uring_rest(uring, uring->early.count != 0 ? 0 : deadline_ns);
    }
    if (rlt_unlikely(uring->broken != 0)) {
        rlt_uring_settle(uring);
    }
    rlt_uring_take_resolved(uring);
    if (rlt_unlikely(uring->race_ns != RLT_NEVER)) {
        uint64_t now_ns = rlt_clock_ns();
        if (uring->race_ns <= now_ns) {
            rlt_uring_race_on_time(uring, now_ns);
        }
    }
    /* After the kernel's: RLT_IO_CLOSED comes behind the events of the slot's operations. */
    return count + rlt_event_queue_take(&uring->early, events + count, max - count);
}

static void uring_wake(struct rlt_backend *backend)
{
    rlt_park_descriptor_signal(rlt_container_of(backend, struct rlt_uring, backend)->wake_fd);
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
        rlt_socket_close(&uring->slots[i].fd);
        rlt_uring_race_abandon(&uring->slots[i]);
    }
    /* Not io_uring_queue_exit(): the mappings were not inherited (IORING dontfork). */
    rlt_socket_close(&uring->ring.ring_fd);
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
    /* In a child process the parent's lookups go on, and their answers are not for it. */
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        rlt_uring_forget_lookup(&uring->slots[i]);
    }
    uring_free(uring);
}

static const struct rlt_transport_ops transport_ops = {
    .name = "io_uring",
    .open = rlt_uring_open,
    .secure = uring_secure,
    .receive = uring_receive,
    .receive_now = uring_receive_now,
    .watch = uring_watch,
    .send = uring_send,
    .send_now = uring_send_now,
    .explain = uring_explain,
    .is_acknowledged = uring_is_acknowledged,
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
