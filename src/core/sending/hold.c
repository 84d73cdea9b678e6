/* SPDX-License-Identifier: MIT */
#include "core/sending/hold.h"

/* A shorter hold is not worth its timer. */
#define NS_MIN  (25 * RLT_NS_PER_US)
#define TICK_NS (50 * RLT_NS_PER_US)
/* Sends without a hold, after several holds that gained nothing. */
#define PENALTY_MAX 127

/* The next moment at which the event thread looks at all holds; not too soon. */
static uint64_t next_tick(uint64_t now_ns)
{
    return ((now_ns + NS_MIN) / TICK_NS + 1) * TICK_NS;
}

void rlt_hold_on_send(struct rlt_hold *hold, uint64_t count, size_t bytes, size_t limit,
                      uint64_t now_ns)
{
    size_t enough = rlt_min_size(limit, RLT_HOLD_BYTES);
    uint64_t elapsed_ns = now_ns - hold->sent_ns;
    bool steady = hold->sent_ns != 0 && elapsed_ns < 2 * RLT_HOLD_MAX_NS;
    hold->sent_ns = now_ns;
    if (!steady || count < RLT_HOLD_COUNT || bytes >= enough) {
        return;
    }
    if (hold->skip != 0) {
        hold->skip--;
        return;
    }
    /* The time, at the rate of the last send, until enough is there. */
    uint64_t enough_ns = enough * elapsed_ns / bytes;
    if (enough_ns < NS_MIN) {
        return;
    }
    hold->active = true;
    hold->until_ns = now_ns + RLT_HOLD_MAX_NS;
    hold->tick_ns = next_tick(now_ns);
    hold->seen = 0;
}

void rlt_hold_look(struct rlt_hold *hold, size_t bytes, size_t limit, uint64_t now_ns)
{
    if (!hold->active || now_ns < hold->tick_ns) {
        return;
    }
    bool grows = bytes > hold->seen;
    if (bytes >= rlt_min_size(limit, RLT_HOLD_BYTES) || now_ns >= hold->until_ns || !grows) {
        bool for_nothing = bytes != 0 && !grows;
        hold->active = false;
        hold->penalty = for_nothing ? rlt_min_u32(hold->penalty * 2 + 1, PENALTY_MAX) : 0;
        hold->skip = hold->penalty;
        return;
    }
    hold->seen = bytes;
    hold->tick_ns = next_tick(now_ns);
}
