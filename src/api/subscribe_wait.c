/* SPDX-License-Identifier: MIT */
#include "api/subscribe_wait.h"

#include "api/ending.h"
#include "api/reason.h"
#include "api/wait.h"

/* The first refusal among the clusters that have answered. */
static int refusal_of(const struct rlt_subscription *entry, uint32_t *cluster)
{
    for (uint32_t i = 0; i < entry->member_count; i++) {
        /* Relaxed: written before the fence's PONG was reported. */
        int error = atomic_load_explicit(&entry->members[i].end_error, memory_order_relaxed);
        if (error < 0) {
            *cluster = entry->members[i].mailbox->cluster;
            return error;
        }
    }
    return 0;
}

int rlt_subscription_confirm(struct roulette_subscriber *subscriber, struct rlt_subscription *entry,
                             const struct rlt_fence_wish *fence, int timeout_ms)
{
    struct rlt_fence_outcome outcome;
    int result = rlt_client_fence(subscriber->client, fence, timeout_ms, &outcome);
    bool partly = result == ROULETTE_ETIMEDOUT && outcome.passed != 0;
    int refusal = result == 0 || partly ? refusal_of(entry, &outcome.first) : 0;
    if (refusal < 0) {
        outcome.failed = 1;
        outcome.late = 0;
        result = refusal;
    } else if (partly) {
        rlt_reason_partly(subscriber->client, &outcome);
        return (int)outcome.late;
    }
    if (result < 0) {
        rlt_subscriber_end(subscriber, entry, NULL);
        return rlt_reason_of_wait(subscriber->client, &outcome, result);
    }
    return 0;
}
