/* SPDX-License-Identifier: MIT */
#include "io/uring_break.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

#include "io/system/clock.h"
#include "io/uring_race.h"
#include "io/uring_setup.h"
#include "io/wake/park.h"
#include "roulette.h"

/* How long to pause where waiting itself fails. */
#define PAUSE_NS RLT_NS_PER_MS

/* ---- Breaking ----------------------------------------------------------------------------- */

static void pause_shortly(void)
{
    (void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
}

static bool may_pass(int error)
{
    return error == EINTR || error == EAGAIN || error == EBUSY || error == ENOMEM;
}

void rlt_uring_on_failure(struct rlt_uring *uring, int result)
{
    uint64_t now_ns = rlt_clock_ns();
    if (!may_pass(-result)) {
        rlt_uring_break(uring, -result);
    } else if (uring->failing_ns == 0) {
        uring->failing_ns = now_ns; /* a single failure may pass */
    } else if (now_ns - uring->failing_ns < RLT_URING_PATIENCE_NS) {
        pause_shortly();
    } else {
        rlt_uring_break(uring, -result);
    }
}

/* ---- Failing ------------------------------------------------------------------------------ */

static void shut_down(int fd)
{
    if (fd >= 0) {
        (void)shutdown(fd, SHUT_RDWR);
    }
}

/* End the ring, which cancels its operations; no borrower sends or receives beside it any more. */
static void end_ring(struct rlt_uring *uring)
{
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        shut_down(uring->slots[i].fd);
    }
    io_uring_queue_exit(&uring->ring);
    uring->ring.ring_fd = -1;
    uring->wake_armed = false;
    for (uint32_t i = 0; i < uring->backend.port_count; i++) {
        uring->watches[i].armed = false;
    }
}

static void fail_transfer(struct rlt_uring *uring, uint32_t index, enum rlt_uring_op op,
                          enum rlt_io_kind kind)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    if (slot->in_progress[op]) {
        slot->in_progress[op] = false;
        rlt_event_queue_add(&uring->early, index, kind, ROULETTE_ESYSTEM);
    }
}

static void fail_slot(struct rlt_uring *uring, uint32_t index)
{
    struct rlt_uring_slot *slot = &uring->slots[index];
    if (slot->watched && !slot->told) {
        slot->told = true;
        rlt_event_queue_add(&uring->early, index, RLT_IO_READABLE, ROULETTE_ESYSTEM);
    }
    fail_transfer(uring, index, RLT_URING_SEND, RLT_IO_SENT);
    fail_transfer(uring, index, RLT_URING_RECEIVE, RLT_IO_RECEIVED);
    rlt_uring_race_fail(uring, index);
    if (slot->closing && !rlt_uring_is_busy(slot)) {
        rlt_uring_finish_close(uring, index);
    }
}

void rlt_uring_settle(struct rlt_uring *uring)
{
    RLT_ASSERT(uring->broken != 0);
    if (uring->ring.ring_fd >= 0) {
        end_ring(uring);
    }
    for (uint32_t i = 0; i < uring->slot_count; i++) {
        fail_slot(uring, i);
    }
}

/* ---- Going on ----------------------------------------------------------------------------- */

void rlt_uring_rest(struct rlt_uring *uring, uint64_t deadline_ns)
{
    uint64_t now_ns = rlt_clock_ns();
    struct rlt_park_entry entry = {.descriptor = uring->wake_lost ? -1 : uring->wake_fd};
    if (uring->wake_lost) {
        deadline_ns = rlt_min_u64(deadline_ns, now_ns + RLT_URING_TICK_NS);
    }
    if (deadline_ns <= now_ns) {
        return;
    }
    bool in_time = rlt_park_descriptors_wait(&entry, 1, deadline_ns);
    if (entry.readable) {
        uring->backend.wakeups++;
        uring->wake_lost = rlt_park_descriptor_clear(uring->wake_fd) == 0;
    } else if (in_time) {
        pause_shortly(); /* it cannot wait */
    }
}

bool rlt_uring_mend(struct rlt_uring *uring)
{
    rlt_uring_settle(uring);
    if (rlt_uring_setup(&uring->ring, uring->entries, uring->completions) < 0) {
        uring->ring.ring_fd = -1;
        (void)snprintf(uring->failure, sizeof(uring->failure), "%s", roulette_last_error());
        return false;
    }
    uring->broken = 0;
    uring->failing_ns = 0;
    uring->failure[0] = '\0';
    return true;
}
