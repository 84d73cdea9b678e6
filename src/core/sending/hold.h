/* SPDX-License-Identifier: MIT */
/**
 * Holding published messages back for company. A connection that gets many messages, but shares its
 * event thread and the CPUs with others, would be sent a few at a time, and each send has a price
 * that does not depend on its size: two system calls, and a wake-up of the server. So after a send
 * of many messages the next one waits until RLT_HOLD_BYTES are there, or RLT_HOLD_MAX_NS have
 * passed since.
 *
 * A hold lasts only as long as messages keep coming: the event thread looks every 50 us, at the
 * same moments for all connections, and sends at once if no message came since the last look. A
 * publisher that waits for an answer loses a tick or two by that: such a connection is not held
 * again for one send, then for three, and so on up to 127. (A publisher that was preempted looks
 * the same once, not in a row.) Flushes and subscriptions are never held.
 *
 * Besides, an option holds all messages for a stated time after a reconnect, since receivers may
 * reconnect later than the publisher. Flushes wait for the end of that hold.
 *
 *     idle --- many messages sent ---> held --- enough, too long, no more come, ended ---> idle
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_SENDING_HOLD_H
#define RLT_CORE_SENDING_HOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

/** A send of fewer messages starts no hold: its publisher may wait for an answer. */
#define RLT_HOLD_COUNT 16
/** Bytes that are worth a send. */
#define RLT_HOLD_BYTES ((size_t)64 * 1024)
/** The longest wait of a message for company: half of the delay that other clients give to all. */
#define RLT_HOLD_MAX_NS (500 * RLT_NS_PER_US)

struct rlt_hold {
    bool active;
    uint64_t until_ns; /* while active: sent then, whatever there is */
    uint64_t tick_ns;  /* while active: the next look */
    size_t seen;       /* bytes at the last look */
    uint64_t sent_ns;  /* when messages were sent the last time; 0: not yet */
    uint32_t skip;     /* sends to go without a hold, because a hold gained nothing */
    uint32_t penalty;  /* the last value that `skip` began with: grows with each in a row */
    uint64_t back_ns;  /* after a reconnect: nothing is sent until then; 0: not so */
};

/** Note a send of `count` messages in `bytes`. The next ones may be held, until `limit` bytes wait
 *  at most. */
void rlt_hold_on_send(struct rlt_hold *hold, uint64_t count, size_t bytes, size_t limit,
                      uint64_t now_ns);

/** End the hold if enough has come: `bytes` wait. `limit`: as above. */
void rlt_hold_look(struct rlt_hold *hold, size_t bytes, size_t limit, uint64_t now_ns);

/** End the hold: a waiting message is urgent, or is not to be sent. */
static inline void rlt_hold_end(struct rlt_hold *hold)
{
    hold->active = false;
}

/** Hold all messages until `back_ns`, after a reconnect. */
static inline void rlt_hold_on_return(struct rlt_hold *hold, uint64_t back_ns)
{
    hold->back_ns = back_ns;
}

/** End the hold after a reconnect, if its time is over. */
static inline void rlt_hold_step(struct rlt_hold *hold, uint64_t now_ns)
{
    if (now_ns >= hold->back_ns) {
        hold->back_ns = 0;
    }
}

/** Whether messages are held back, for whatever reason. */
static inline bool rlt_hold_is_on(const struct rlt_hold *hold)
{
    return hold->active || hold->back_ns != 0;
}

/** End all holds, with the connection. */
static inline void rlt_hold_on_closed(struct rlt_hold *hold)
{
    hold->active = false;
    hold->back_ns = 0;
}

/** When to look again; RLT_NEVER: nothing is held. */
static inline uint64_t rlt_hold_deadline(const struct rlt_hold *hold)
{
    uint64_t back_ns = hold->back_ns != 0 ? hold->back_ns : RLT_NEVER;
    return rlt_min_u64(hold->active ? hold->tick_ns : RLT_NEVER, back_ns);
}

#endif
