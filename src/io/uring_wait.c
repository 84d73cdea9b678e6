/* SPDX-License-Identifier: MIT */
#include "io/uring_wait.h"

#include <errno.h>
#include <poll.h>

#include "io/system/clock.h"
#include "io/uring_break.h"
#include "io/uring_open.h"
#include "io/uring_race.h"
#include "io/uring_slots.h"
#include "io/uring_transfer.h"
#include "io/wake/watch.h"
#include "roulette.h"

/* Interruptions of an operation in a row, after which it has failed: a kernel that always
 * interrupts must not keep this thread busy. */
#define REPEATS_MAX 1000
/* Failures in a row to read wake_fd, after which this thread does without. */
#define WAKE_FAILURES_MAX 3

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
        rlt_iovecs_check_writable(&uring->slots[index].receive);
    }
    event->slot = index;
    event->kind = op == RLT_URING_RECEIVE ? RLT_IO_RECEIVED : RLT_IO_SENT;
    event->error = result > 0 ? 0 : ROULETTE_EDISCONNECTED;
    event->bytes = result > 0 ? (size_t)result : 0;
}

/* Handle a port's watch: some slot is readable, which is not known; or the watch has failed. */
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

/* Handle the completion on wake_fd: another thread has ended the wait; or the read failed, and is
 * not tried again at once. */
static void on_wake(struct rlt_uring *uring, int result)
{
    uring->wake_armed = false;
    uring->backend.wakeups++;
    uring->wake_failures = result < 0 ? uring->wake_failures + 1 : 0;
    uring->wake_lost = uring->wake_failures >= WAKE_FAILURES_MAX;
}

/* Handle the end of a slot's operation. Returns: whether `event` was filled. */
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
        rlt_uring_repeat(uring, index, (enum rlt_uring_op)op);
        return false;
    }
    on_transfer(uring, index, (enum rlt_uring_op)op, result, event);
    return true;
}

/* Handle one completion. Returns: whether `event` was filled. */
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

/* ---- Submission --------------------------------------------------------------------------- */

/* Poll the watch of each port, unless its last event is still to be reported to the core. */
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

/* Submit the queued operations and wait. Returns: a negative errno, or >= 0. */
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

/* Take the kernel's completions, up to `max` events with the `count` that there are. Returns: the
 * new number of events. */
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

uint32_t rlt_uring_wait(struct rlt_backend *backend, uint64_t deadline_ns,
                        struct rlt_io_event *events, uint32_t max)
{
    struct rlt_uring *uring = rlt_container_of(backend, struct rlt_uring, backend);
    /* First the events that had no room the last time, however many completions there are: they
     * come behind all events that came with them or before. */
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
