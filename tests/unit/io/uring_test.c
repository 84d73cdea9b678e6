/* SPDX-License-Identifier: MIT */
/*
 * One ring for the slots of several clusters: whose events are whose, and that no slot is kept
 * waiting by others. What a slot does by itself is reached through the integration tests.
 */
#include "io/uring.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/defs.h"
#include "io/system/clock.h"
#include "io/uring_slots.h"
#include "roulette.h"
#include "support/net.h"
#include "support/test.h"

#define PORTS      3
#define SLOTS      2 /* of each port */
#define ALL        (PORTS * SLOTS)
#define EVENTS_MAX 8
#define TURNS_MAX  100

static struct rlt_backend *backend;
static int listener;
static uint16_t listener_port;
static int peers[ALL]; /* of the slots that are open; -1 */
static uint8_t bytes[ALL];

static struct rlt_backend *make(uint32_t ports, uint32_t slots)
{
    struct rlt_backend_options options = {.port_count = ports, .slots_per_port = slots};
    struct rlt_backend *made = NULL;
    cr_assert_eq(rlt_uring_create(&options, &made), 0);
    return made;
}

static void end(struct rlt_backend *made)
{
    made->ops->shut_down(made);
    made->ops->destroy(made);
}

/* What a slot of all belongs to. */
static struct rlt_transport *transport_of(uint32_t index)
{
    return &backend->ports[index / SLOTS].transport;
}

static uint32_t wait_for(struct rlt_io_event *events, uint32_t max)
{
    return backend->ops->wait(backend, rlt_clock_deadline(10000), events, max);
}

/* Take events one by one up to this one. */
static struct rlt_io_event await(uint32_t index, enum rlt_io_kind kind)
{
    struct rlt_io_event event = {.slot = ALL};
    for (int turn = 0; event.slot != index || event.kind != kind; turn++) {
        cr_assert_lt(turn, TURNS_MAX, "slot %u, event %d", index, kind);
        event.slot = ALL;
        (void)wait_for(&event, 1);
    }
    return event;
}

static void open_slot(uint32_t index)
{
    struct rlt_transport *transport = transport_of(index);
    transport->ops->open(transport, index % SLOTS, "127.0.0.1", listener_port);
    cr_assert_eq(await(index, RLT_IO_OPENED).error, 0);
    peers[index] = accept(listener, NULL, NULL);
    cr_assert_geq(peers[index], 0);
}

static void begin_close(uint32_t index)
{
    struct rlt_transport *transport = transport_of(index);
    transport->ops->close(transport, index % SLOTS);
    (void)close(peers[index]);
    peers[index] = -1;
}

static void begin_receive(uint32_t index)
{
    struct rlt_transport *transport = transport_of(index);
    struct rlt_span span = {&bytes[index], 1};
    transport->ops->receive(transport, index % SLOTS, &span, 1);
}

static void write_to(uint32_t index, const void *text, size_t len)
{
    cr_assert_eq(write(peers[index], text, len), (ssize_t)len);
}

static void open_all(void)
{
    listener = net_listen(&listener_port);
    cr_assert_geq(listener, 0);
    backend = make(PORTS, SLOTS);
    for (uint32_t i = 0; i < ALL; i++) {
        open_slot(i);
    }
}

static void close_all(void)
{
    for (uint32_t i = 0; i < ALL; i++) {
        if (peers[i] >= 0) {
            begin_close(i);
            (void)await(i, RLT_IO_CLOSED);
        }
    }
    end(backend);
    (void)close(listener);
}

#define UringTest(name) Test(uring, name, .init = open_all, .fini = close_all)

UringTest(event_is_of_the_slot_that_its_port_began)
{
    for (uint32_t i = 0; i < ALL; i++) {
        begin_receive(i);
    }
    for (uint32_t i = ALL; i-- > 0;) {
        struct rlt_io_event event;
        uint8_t byte = (uint8_t)('a' + i);
        write_to(i, &byte, 1);
        cr_assert_eq(wait_for(&event, 1), 1);
        cr_assert_eq(event.slot, i);
        cr_assert_eq(event.kind, RLT_IO_RECEIVED);
        cr_assert_eq(bytes[i], byte);
    }
}

UringTest(another_thread_ends_the_wait)
{
    struct rlt_io_event event;
    backend->ops->wake(backend);
    cr_assert_eq(wait_for(&event, 1), 0);
    cr_assert_eq(backend->wakeups, 1);
}

/* ---- While others flood ------------------------------------------------------------------- */

/* Slots 0 and 1 have so much to receive that each wait returns an event of both. */
static void begin_flood(void)
{
    static const uint8_t many[4096];
    for (uint32_t i = 0; i < 2; i++) {
        write_to(i, many, sizeof(many));
        begin_receive(i);
    }
}

/* Receive the flood, with room for no more than that, until this event comes. */
static void await_in_flood(uint32_t index, enum rlt_io_kind kind)
{
    for (int turn = 0; turn < 10; turn++) {
        struct rlt_io_event events[2];
        uint32_t count = wait_for(events, 2);
        for (uint32_t i = 0; i < count; i++) {
            if (events[i].slot == index && events[i].kind == kind) {
                return;
            }
            if (events[i].kind == RLT_IO_RECEIVED) {
                begin_receive(events[i].slot);
            }
        }
    }
    cr_assert_fail("slot %u waits", index);
}

UringTest(slot_is_closed_while_others_flood)
{
    begin_flood();
    begin_close(4);
    await_in_flood(4, RLT_IO_CLOSED);
}

UringTest(slot_is_closed_behind_its_receive_while_others_flood)
{
    begin_receive(4);
    begin_flood();
    begin_close(4);
    await_in_flood(4, RLT_IO_RECEIVED);
    await_in_flood(4, RLT_IO_CLOSED);
}

UringTest(watched_slot_is_told_while_others_flood)
{
    struct rlt_transport *transport = transport_of(4);
    cr_assert(transport->ops->watch(transport, 0, true));
    write_to(4, "x", 1);
    begin_flood();
    await_in_flood(4, RLT_IO_READABLE);
    (void)transport->ops->watch(transport, 0, false);
}

/* Nobody receives what the first one is told of again and again. */
UringTest(watched_slots_of_all_ports_are_told)
{
    for (uint32_t i = 0; i < ALL; i += SLOTS) {
        struct rlt_transport *transport = transport_of(i);
        cr_assert(transport->ops->watch(transport, 0, true));
        write_to(i, "x", 1);
    }
    (void)await(4, RLT_IO_READABLE);
    (void)await(2, RLT_IO_READABLE);
    (void)await(0, RLT_IO_READABLE);
    for (uint32_t i = 0; i < ALL; i += SLOTS) {
        struct rlt_transport *transport = transport_of(i);
        (void)transport->ops->watch(transport, 0, false);
    }
}

/* ---- Many --------------------------------------------------------------------------------- */

Test(uring, completions_of_all_slots_have_room)
{
    struct rlt_backend *large = make(64, 32);
    const struct rlt_uring *uring = rlt_container_of(large, struct rlt_uring, backend);
    /* A receive and a send, losers of a race, a cancel for each, the ports' watches, the wake-up.
     */
    cr_assert_geq(uring->ring.cq.ring_entries, 64 * 32 * 2 * (2 + RLT_URING_RACERS - 1) + 64 + 1);
    end(large);
}

/* A program has closed the descriptor and opened something else. Nobody can wake the thread then;
 * it looks by itself now and then, and does not run in circles. */
Test(uring, waits_though_nobody_can_wake_it)
{
    enum { WAIT_MS = 200, TURNS = 60 };
    struct rlt_backend *made = make(1, 1);
    struct rlt_uring *uring = rlt_container_of(made, struct rlt_uring, backend);
    struct rlt_io_event event;
    int unreadable = open("/dev/null", O_WRONLY | O_CLOEXEC);
    cr_assert_eq(dup3(unreadable, uring->wake_fd, O_CLOEXEC), uring->wake_fd);
    (void)close(unreadable);
    uint64_t deadline_ns = rlt_clock_deadline(WAIT_MS);
    int turns = 0;
    for (; rlt_clock_ns() < deadline_ns; turns++) {
        cr_assert_eq(made->ops->wait(made, deadline_ns, &event, 1), 0);
    }
    cr_assert_lt(turns, TURNS);
    end(made);
}
