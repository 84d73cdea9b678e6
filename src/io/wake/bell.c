/* SPDX-License-Identifier: MIT */
#include "io/wake/bell.h"

#include <string.h>

#include "io/wake/park.h"

int rlt_bell_init(struct rlt_bell *bell)
{
    memset(bell, 0, sizeof(*bell));
    bell->descriptor = rlt_park_descriptor_create();
    return bell->descriptor >= 0 ? 0 : bell->descriptor;
}

void rlt_bell_fini(struct rlt_bell *bell)
{
    rlt_park_descriptor_destroy(bell->descriptor);
    bell->descriptor = -1;
}

static void clear_due(struct rlt_bell *bell)
{
    if (bell->due != 0) {
        bell->due -= rlt_min_u64(rlt_park_descriptor_clear(bell->descriptor), bell->due);
    }
}

void rlt_bell_disarm(struct rlt_bell *bell)
{
    bool was_rung = !rlt_doorbell_take(&bell->doorbell);
    bell->due += bell->armed && was_rung ? 1 : 0;
    bell->armed = false;
}

/* Count calls as due signals. A caller counts before it signals, so its signal is cleared, however
 * late. If that has happened already, the sleeper's next look finds the call. */
static void count_calls(struct rlt_bell *bell)
{
    uint32_t calls = atomic_load_explicit(&bell->calls, memory_order_acquire);
    bell->due += calls - bell->calls_due;
    bell->calls_due = calls;
}

void rlt_bell_arm(struct rlt_bell *bell)
{
    count_calls(bell);
    /* Relaxed: if a ring is missed here, its signal stays until the next time, as it should. */
    if (bell->armed && bell->due == 0 &&
        atomic_load_explicit(&bell->doorbell.armed, memory_order_relaxed) != 0) {
        /* As rlt_doorbell_arm(): before the following look. */
        atomic_thread_fence(memory_order_seq_cst);
        return;
    }
    /* Disarm first: a signal that is cleared must have been counted. */
    rlt_bell_disarm(bell);
    clear_due(bell);
    rlt_doorbell_arm(&bell->doorbell, 1);
    bell->armed = true;
}

void rlt_bell_signal(struct rlt_bell *bell)
{
    bell->due++;
    rlt_park_descriptor_signal(bell->descriptor);
}

void rlt_bell_call(struct rlt_bell *bell)
{
    /* Release: see the struct. The system call orders it before the signal. */
    atomic_fetch_add_explicit(&bell->calls, 1, memory_order_release);
    rlt_park_descriptor_signal(bell->descriptor);
}
