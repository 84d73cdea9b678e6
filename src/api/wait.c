/* SPDX-License-Identifier: MIT */
#include "api/wait.h"

#include "api/denied.h"
#include "base/assert.h"
#include "core/sending/fence.h"
#include "io/system/clock.h"
#include "io/wake/park.h"

/* ---- A fence ------------------------------------------------------------------------------ */

/* The result of a part: 0, an error, or ROULETTE_ETIMEDOUT if it is not over. */
static int look_at_part(const struct rlt_fence_part *part)
{
    /* Acquire: partner of the release in rlt_fence_link_done(). */
    bool over = atomic_load_explicit(&part->over, memory_order_acquire);
    return over ? part->error : ROULETTE_ETIMEDOUT;
}

/* Count the parts by result. Returns: the first failure, or ROULETTE_ETIMEDOUT if parts are only
 * late. */
static int sum_up(const struct rlt_fence *fence, struct rlt_fence_outcome *outcome)
{
    int first = 0;
    *outcome = (struct rlt_fence_outcome){0};
    for (uint32_t i = 0; i < fence->part_count; i++) {
        int result = look_at_part(&fence->parts[i]);
        outcome->passed += result == 0 ? 1 : 0;
        outcome->late += result == ROULETTE_ETIMEDOUT ? 1 : 0;
        outcome->failed += result != 0 && result != ROULETTE_ETIMEDOUT ? 1 : 0;
        if (result != 0 && (first == 0 || (first == ROULETTE_ETIMEDOUT && result != first))) {
            first = result;
            outcome->first = i;
        }
    }
    return first;
}

/* Wait for a fence, at most until the deadline. Returns: as sum_up(). */
static int await_fence(struct rlt_fence *fence, uint64_t deadline_ns,
                       struct rlt_fence_outcome *outcome)
{
    bool in_time = true;
    /* Acquire: partner of the release in rlt_fence_link_done(). */
    while (in_time && atomic_load_explicit(&fence->done, memory_order_acquire) == 0) {
        in_time = rlt_park_wait(&fence->done, 0, deadline_ns);
    }
    return sum_up(fence, outcome);
}

static struct rlt_fence *submit_fence(roulette_client *client, const struct rlt_fence_wish *wish,
                                      enum rlt_command_kind kind)
{
    size_t first = wish->one_cluster ? wish->place.cluster : 0;
    size_t count = wish->one_cluster ? 1 : client->cluster_count;
    struct rlt_fence *fence = rlt_fence_create((uint32_t)count, kind);
    if (fence == NULL) {
        return NULL;
    }
    fence->scope = wish->scope;
    fence->path = wish->place.path;
    rlt_denied_begin(client, fence, first);
    for (size_t i = 0; i < count; i++) {
        rlt_shard_submit(&client->shards[first + i], &fence->parts[i].command);
    }
    return fence;
}

void rlt_wait_require_other_thread(const char *call)
{
    RLT_REQUIRE(!rlt_event_thread_is_here(), call,
                "it was called from a log callback, by an event thread, which it would wait for: "
                "call it from a thread of your own");
}

/* Wait until the event threads have ended; the client is closing. */
static void await_stopped(roulette_client *client)
{
    uint32_t state;
    /* Acquire: the event threads' writes. */
    while ((state = atomic_load_explicit(&client->state, memory_order_acquire)) <
           RLT_CLIENT_STOPPED) {
        (void)rlt_park_wait(&client->state, state, RLT_NEVER);
    }
}

void rlt_client_sync(roulette_client *client)
{
    rlt_wait_require_other_thread("roulette_subscriber_close() or _drain()");
    struct rlt_fence *fence = NULL;
    while (fence == NULL && rlt_client_enter(client)) {
        /* Without memory for the fence all that can be done is to try again. */
        fence = submit_fence(client, &(struct rlt_fence_wish){0}, RLT_COMMAND_SYNC);
        rlt_client_leave(client);
    }
    if (fence != NULL) {
        (void)await_fence(fence, RLT_NEVER, &(struct rlt_fence_outcome){0});
        rlt_fence_release(fence);
    } else {
        await_stopped(client);
    }
}

int rlt_client_fence(roulette_client *client, const struct rlt_fence_wish *wish, int timeout_ms,
                     struct rlt_fence_outcome *outcome)
{
    rlt_wait_require_other_thread("a call that waits for the servers");
    *outcome = (struct rlt_fence_outcome){0};
    if (!rlt_client_enter(client)) {
        return rlt_client_gone(client);
    }
    struct rlt_fence *fence = submit_fence(client, wish, RLT_COMMAND_FENCE);
    rlt_client_leave(client);
    if (fence == NULL) {
        return ROULETTE_ENOMEM;
    }
    int result = await_fence(fence, rlt_clock_deadline(timeout_ms), outcome);
    outcome->first += wish->one_cluster ? wish->place.cluster : 0;
    if (result == 0 && wish->scope == RLT_FENCE_ALL) {
        result = rlt_denied_tell(client, fence, wish->one_cluster ? wish->place.cluster : 0);
    }
    rlt_fence_release(fence);
    return result;
}

/* ---- Until all is settled ----------------------------------------------------------------- */

/* Whether a cluster has no message that could still be confirmed. */
static bool is_settled(const struct rlt_shard *shard)
{
    struct roulette_ledger ledger;
    rlt_shard_ledger_if_stopped(shard, &ledger);
    return ledger.discarded == 0;
}

/* End a part of a fence that was not given to its event thread, as it has nothing to wait for. */
static void skip_part(struct rlt_fence_part *part)
{
    part->pending = 1;
    part->links[0].part = part;
    struct rlt_fence *over = rlt_fence_link_done(&part->links[0], 0);
    if (over != NULL) {
        rlt_fence_release(over);
    }
}

/* Pass one fence through the clusters that are not settled. */
static int drain_once(roulette_client *client, uint64_t deadline_ns)
{
    uint32_t count = (uint32_t)client->cluster_count;
    struct rlt_fence *fence = rlt_fence_create(count, RLT_COMMAND_FENCE);
    if (fence == NULL) {
        return ROULETTE_ENOMEM;
    }
    fence->scope = RLT_FENCE_MESSAGES;
    for (uint32_t i = 0; i < count; i++) {
        if (is_settled(&client->shards[i])) {
            skip_part(&fence->parts[i]);
        } else {
            rlt_shard_submit(&client->shards[i], &fence->parts[i].command);
        }
    }
    int result = await_fence(fence, deadline_ns, &(struct rlt_fence_outcome){0});
    rlt_fence_release(fence);
    return result;
}

void rlt_client_settle(roulette_client *client, int timeout_ms)
{
    /* A lost connection ends the fence, and leaves unsent messages, and those to be sent again, to
     * the next fence. */
    uint64_t deadline_ns = rlt_clock_deadline(timeout_ms);
    int result = ROULETTE_EDISCONNECTED;
    while (timeout_ms != 0 && result == ROULETTE_EDISCONNECTED && rlt_clock_ns() < deadline_ns) {
        result = drain_once(client, deadline_ns);
    }
}
