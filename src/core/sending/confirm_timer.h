/* SPDX-License-Identifier: MIT */
/**
 * When a PING is due because messages were sent and no PING follows them: at most `wait_ns`, and at
 * least half of that, behind the first message. All connections use the same moments (multiples of
 * half of `wait_ns`), so that an event thread with many of them wakes up once for all.
 *
 * There is one such PING at a time: none is sent while any PING is without PONG. A connection on
 * which nothing is published has no timer.
 *
 * A sleeping event thread has no timer for messages that a borrower sends
 * (core/cluster/direct_send.h). The first borrower that sends behind a PING wakes it, and no other
 * one until the next PING.
 *
 * Owner: the thread that has the sender's lanes and batch.
 */
#ifndef RLT_CORE_SENDING_CONFIRM_TIMER_H
#define RLT_CORE_SENDING_CONFIRM_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"

struct rlt_confirm_timer {
    uint64_t wait_ns; /* 0: no PING for that */
    uint64_t due_ns;  /* RLT_NEVER: nothing was sent behind the last PING */
    bool seen;        /* lent: the event thread wakes up in time for messages sent now */
};

static inline void rlt_confirm_timer_init(struct rlt_confirm_timer *timer, uint64_t wait_ns)
{
    *timer = (struct rlt_confirm_timer){.wait_ns = wait_ns, .due_ns = RLT_NEVER};
}

/** Start the timer, if it is not running: messages are being sent without a PING. */
static inline void rlt_confirm_timer_on_sent(struct rlt_confirm_timer *timer, uint64_t now_ns)
{
    if (timer->due_ns == RLT_NEVER && timer->wait_ns != 0) {
        uint64_t tick_ns = (timer->wait_ns + 1) / 2;
        timer->due_ns = (now_ns / tick_ns + 2) * tick_ns;
    }
}

/** Stop the timer: a PING follows all that was sent, or the connection is lost. */
static inline void rlt_confirm_timer_on_ping(struct rlt_confirm_timer *timer)
{
    timer->due_ns = RLT_NEVER;
}

/** Note that the event thread lends the sender and sleeps. `awaits_pong`: a PONG will wake it. */
static inline void rlt_confirm_timer_on_lent(struct rlt_confirm_timer *timer, bool awaits_pong)
{
    timer->seen = awaits_pong || timer->due_ns != RLT_NEVER;
}

/** Note that a borrower has sent. Returns: whether it must wake the event thread for the timer. */
static inline bool rlt_confirm_timer_tell(struct rlt_confirm_timer *timer)
{
    bool tell = !timer->seen && timer->due_ns != RLT_NEVER;
    timer->seen = timer->seen || tell;
    return tell;
}

#endif
