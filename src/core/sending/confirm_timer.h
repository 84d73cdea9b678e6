/* SPDX-License-Identifier: MIT */
/**
 * When a PING is due because messages were sent and none follows them: at most `wait_ns` behind
 * the first of these, and at least half of it. The moments are the same for all connections (the
 * multiples of half of it), so that a thread of many wakes up once for all of them.
 *
 * It is one PING at a time: while any is without PONG, that is waited for. A connection on which
 * nothing is published has nothing to confirm, and no timer.
 *
 * An event thread that sleeps has no timer for what a publisher sends by itself
 * (core/cluster/direct_send.h). The first one that does so behind a PING wakes it, and no other
 * until the next.
 *
 * Owner: who has the sender's lanes and batch.
 */
#ifndef RLT_CORE_SENDING_CONFIRM_TIMER_H
#define RLT_CORE_SENDING_CONFIRM_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"

struct rlt_confirm_timer {
    uint64_t wait_ns; /* 0: no PING for that */
    uint64_t due_ns;  /* RLT_NEVER: nothing was sent behind the last PING */
    bool seen;        /* lent: the event thread wakes up in time for what is sent now */
};

static inline void rlt_confirm_timer_init(struct rlt_confirm_timer *timer, uint64_t wait_ns)
{
    *timer = (struct rlt_confirm_timer){.wait_ns = wait_ns, .due_ns = RLT_NEVER};
}

/** Messages are being sent, and no PING with them. */
static inline void rlt_confirm_timer_on_sent(struct rlt_confirm_timer *timer, uint64_t now_ns)
{
    if (timer->due_ns == RLT_NEVER && timer->wait_ns != 0) {
        uint64_t tick_ns = (timer->wait_ns + 1) / 2;
        timer->due_ns = (now_ns / tick_ns + 2) * tick_ns;
    }
}

/** A PING is behind all that was sent; or the connection is lost. */
static inline void rlt_confirm_timer_on_ping(struct rlt_confirm_timer *timer)
{
    timer->due_ns = RLT_NEVER;
}

/** The event thread lends the sender, and sleeps. `awaits_pong`: and wakes up for that. */
static inline void rlt_confirm_timer_on_lent(struct rlt_confirm_timer *timer, bool awaits_pong)
{
    timer->seen = awaits_pong || timer->due_ns != RLT_NEVER;
}

/** A publisher has sent. Returns: whether the event thread is to be woken for the timer. */
static inline bool rlt_confirm_timer_tell(struct rlt_confirm_timer *timer)
{
    bool tell = !timer->seen && timer->due_ns != RLT_NEVER;
    timer->seen = timer->seen || tell;
    return tell;
}

#endif
