/* SPDX-License-Identifier: MIT */
#include "base/gate.h"

#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/assert.h"
#include "base/defs.h"

#define STRIPES 16

/* How many are inside, of the threads that share the stripe. Its partner is `closed`. */
struct stripe {
    alignas(RLT_CACHE_LINE) _Atomic(uint32_t) inside;
};

static struct stripe stripes[RLT_GATES][STRIPES];
static _Atomic(bool) closed[RLT_GATES];
static _Atomic(uint32_t) next_stripe;

/* Of this thread: its stripe, from 1; 0 until it has one. How often it is inside. */
static _Thread_local uint32_t own_stripe;
static _Thread_local uint32_t own_depth[RLT_GATES];

static _Atomic(uint32_t) *own_count(enum rlt_gate gate)
{
    if (own_stripe == 0) {
        /* Relaxed: only spreads the threads. */
        uint32_t next = atomic_fetch_add_explicit(&next_stripe, 1, memory_order_relaxed);
        own_stripe = 1 + next % STRIPES;
    }
    return &stripes[gate][own_stripe - 1].inside;
}

bool rlt_gate_enter(enum rlt_gate gate)
{
    /* seq_cst, with the store and the load of the one who closes: either it sees us inside, or we
     * see that it is closed. */
    atomic_fetch_add_explicit(own_count(gate), 1, memory_order_seq_cst);
    own_depth[gate]++;
    if (!atomic_load_explicit(&closed[gate], memory_order_seq_cst)) {
        return true;
    }
    rlt_gate_leave(gate);
    return false;
}

void rlt_gate_leave(enum rlt_gate gate)
{
    RLT_ASSERT(own_depth[gate] != 0);
    own_depth[gate]--;
    /* Release: what we did inside comes before what follows the closer's look. */
    atomic_fetch_sub_explicit(own_count(gate), 1, memory_order_release);
}

void rlt_gate_close(enum rlt_gate gate)
{
    /* seq_cst: see rlt_gate_enter(). */
    atomic_store_explicit(&closed[gate], true, memory_order_seq_cst);
}

bool rlt_gate_is_empty(enum rlt_gate gate)
{
    uint32_t inside = 0;
    for (uint32_t i = 0; i < STRIPES; i++) {
        /* seq_cst: see rlt_gate_enter(). */
        inside += atomic_load_explicit(&stripes[gate][i].inside, memory_order_seq_cst);
    }
    return inside == own_depth[gate];
}

void rlt_gate_forked(void)
{
    for (uint32_t gate = 0; gate < RLT_GATES; gate++) {
        for (uint32_t i = 0; i < STRIPES; i++) {
            /* Relaxed: the child has one thread. */
            uint32_t own = own_stripe == i + 1 ? own_depth[gate] : 0;
            atomic_store_explicit(&stripes[gate][i].inside, own, memory_order_relaxed);
        }
    }
}
