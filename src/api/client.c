/* SPDX-License-Identifier: MIT */
#include "api/client.h"

#include <stdio.h>
#include <string.h>

#include "api/denied.h"
#include "api/given.h"
#include "api/reason.h"
#include "api/registry.h"
#include "api/subscriber.h"
#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/fence.h"
#include "io/clock.h"
#include "io/park.h"
#include "proto/topic.h"
#include "proto/topic_fault.h"

#define TEXT2(x) #x
#define TEXT(x)  TEXT2(x)

const char *roulette_version(void)
{
    return TEXT(ROULETTE_VERSION_MAJOR) "." TEXT(ROULETTE_VERSION_MINOR) "." TEXT(
        ROULETTE_VERSION_PATCH);
}

size_t rlt_text_len(const char *text, size_t len)
{
    return len == ROULETTE_STRLEN ? strlen(text) : len;
}

/* ---- References and states ---------------------------------------------------------------- */

bool rlt_client_enter(roulette_client *client)
{
    /* seq_cst, with the closer's store and load of the same two: either it sees us inside and
     * waits, or we see that it is closing. */
    atomic_fetch_add_explicit(&client->entered, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&client->state, memory_order_seq_cst) == RLT_CLIENT_OPEN) {
        return true;
    }
    rlt_client_leave(client);
    return false;
}

void rlt_client_leave(roulette_client *client)
{
    /* seq_cst as above. The closer sleeps on the count. */
    uint32_t before = atomic_fetch_sub_explicit(&client->entered, 1, memory_order_seq_cst);
    RLT_ASSERT(before > 0);
    if (before == 1 &&
        atomic_load_explicit(&client->state, memory_order_seq_cst) != RLT_CLIENT_OPEN) {
        rlt_park_wake(&client->entered);
    }
}

/* Wait until the event threads have ended; the client is closing. */
static void await_stopped(roulette_client *client)
{
    uint32_t state;
    /* Acquire: what the event threads wrote. */
    while ((state = atomic_load_explicit(&client->state, memory_order_acquire)) <
           RLT_CLIENT_STOPPED) {
        (void)rlt_park_wait(&client->state, state, RLT_NEVER);
    }
}

void rlt_client_acquire(roulette_client *client)
{
    /* Relaxed: the caller has a reference already. */
    atomic_fetch_add_explicit(&client->references, 1, memory_order_relaxed);
}

static void destroy(roulette_client *client)
{
    rlt_registry_remove(client);
    for (size_t i = 0; i < client->cluster_count; i++) {
        rlt_shard_fini(&client->shards[i]);
    }
    for (size_t i = 0; i < client->thread_count; i++) {
        rlt_event_thread_fini(&client->threads[i]);
    }
    rlt_memory_free(client->threads);
    rlt_ring_destroy(client->ring);
    rlt_memory_free((void *)client->identities);
    rlt_tls_context_destroy(client->tls);
    rlt_signer_fini(&client->signer);
    rlt_memory_free(client->credentials_file);
    rlt_addresses_free(client->addresses, client->cluster_count);
    rlt_memory_free(client->texts);
    (void)pthread_mutex_destroy(&client->subscribers_lock);
    rlt_memory_free(client);
}

void rlt_client_release(roulette_client *client)
{
    /* Acquire-release: all use of it comes before the free. */
    uint32_t before = atomic_fetch_sub_explicit(&client->references, 1, memory_order_acq_rel);
    RLT_ASSERT(before > 0);
    if (before == 1) {
        destroy(client);
    }
}

/* ---- Stopping ----------------------------------------------------------------------------- */

void rlt_client_stop_threads(roulette_client *client, size_t count)
{
    for (size_t i = 0; i < client->cluster_count; i++) {
        if (i % client->thread_count < count) {
            rlt_shard_stop(&client->shards[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        rlt_event_thread_join(&client->threads[i]);
    }
}

void rlt_client_stop(roulette_client *client)
{
    rlt_client_stop_threads(client, client->thread_count);
    /* Release: publishes what the event threads wrote. */
    atomic_store_explicit(&client->state, RLT_CLIENT_STOPPED, memory_order_release);
    rlt_park_wake(&client->state);
    rlt_subscribers_wake(client);
}

int rlt_client_check_cluster(const roulette_client *client, size_t cluster)
{
    if (client == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the client is NULL");
    }
    return cluster < client->cluster_count
               ? 0
               : rlt_error_set(ROULETTE_EINVAL, "there is no cluster %zu: give 0 to %zu", cluster,
                               client->cluster_count - 1);
}

/* ---- Flush -------------------------------------------------------------------------------- */

void rlt_client_ledgers(const roulette_client *client, struct roulette_ledger *ledgers,
                        size_t count)
{
    for (size_t i = 0; ledgers != NULL && i < count && i < client->cluster_count; i++) {
        rlt_shard_ledger(&client->shards[i], &ledgers[i]);
    }
}

/* How a part stands: 0, an error, or ROULETTE_ETIMEDOUT if it is not over. */
static int look_at_part(const struct rlt_fence_part *part)
{
    /* Acquire: partner of the release in rlt_fence_link_done(). */
    bool over = atomic_load_explicit(&part->over, memory_order_acquire);
    return over ? part->error : ROULETTE_ETIMEDOUT;
}

/* Count the parts by how they stand; the first failure, or ROULETTE_ETIMEDOUT if only time was
 * short. */
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
    fence->position = wish->place.connection;
    rlt_denied_begin(client, fence, first);
    for (size_t i = 0; i < count; i++) {
        rlt_shard_submit(&client->shards[first + i], &fence->parts[i].command);
    }
    return fence;
}

/* Before a wait for event threads. */
static void require_other_thread(const char *call)
{
    RLT_REQUIRE(!rlt_event_thread_is_here(), call,
                "it was called from a log callback, by an event thread, which it would wait for: "
                "call it from a thread of your own");
}

void rlt_client_sync(roulette_client *client)
{
    require_other_thread("roulette_subscriber_close() or _drain()");
    struct rlt_fence *fence = NULL;
    while (fence == NULL && rlt_client_enter(client)) {
        /* Without memory for the fence there is nothing better than to try again. */
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
    require_other_thread("a call that waits for the servers");
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

static int flush(roulette_client *client, const struct rlt_fence_wish *wish, int timeout_ms)
{
    struct rlt_fence_outcome outcome;
    int result = rlt_client_fence(client, wish, timeout_ms, &outcome);
    return result < 0 && result != ROULETTE_EPERMISSION
               ? rlt_reason_of_wait(client, &outcome, result)
               : result;
}

int roulette_flush(roulette_client *client, int timeout_ms, struct roulette_ledger *ledgers,
                   size_t count)
{
    if (client == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the client is NULL");
    }
    int result = flush(client, &(struct rlt_fence_wish){.scope = RLT_FENCE_ALL}, timeout_ms);
    rlt_client_ledgers(client, ledgers, count);
    return result;
}

int roulette_flush_cluster(roulette_client *client, size_t cluster, int timeout_ms,
                           struct roulette_ledger *ledger)
{
    int result = rlt_client_check_cluster(client, cluster);
    if (result < 0) {
        return result;
    }
    const struct rlt_fence_wish wish = {
        .one_cluster = true,
        .place = {.cluster = (uint32_t)cluster},
        .scope = RLT_FENCE_ALL,
    };
    result = flush(client, &wish, timeout_ms);
    if (ledger != NULL) {
        rlt_shard_ledger(&client->shards[cluster], ledger);
    }
    return result;
}

/* ---- Close -------------------------------------------------------------------------------- */

/* Messages that will not be confirmed any more. */
static uint64_t count_unconfirmed(const roulette_client *client)
{
    uint64_t count = 0;
    for (size_t i = 0; i < client->cluster_count; i++) {
        struct roulette_ledger ledger;
        rlt_shard_ledger(&client->shards[i], &ledger);
        count += ledger.in_doubt + ledger.failed + ledger.discarded;
    }
    return count;
}

/* Whether a cluster has nothing that could still be confirmed. */
static bool is_settled(const struct rlt_shard *shard)
{
    struct roulette_ledger ledger;
    rlt_shard_ledger_if_stopped(shard, &ledger);
    return ledger.discarded == 0;
}

/* This part of a fence has nothing to wait for: it was not given to its event thread. */
static void skip_part(struct rlt_fence_part *part)
{
    part->pending = 1;
    part->links[0].part = part;
    struct rlt_fence *over = rlt_fence_link_done(&part->links[0], 0);
    if (over != NULL) {
        rlt_fence_release(over);
    }
}

/* One fence through the clusters that are not settled. */
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

/* Wait until what was accepted is in a final state. A connection that is lost ends the fence, and
 * leaves what was not sent yet, or what is sent again, to the next one. */
static void drain(roulette_client *client, int timeout_ms)
{
    uint64_t deadline_ns = rlt_clock_deadline(timeout_ms);
    int result = ROULETTE_EDISCONNECTED;
    while (timeout_ms != 0 && result == ROULETTE_EDISCONNECTED && rlt_clock_ns() < deadline_ns) {
        result = drain_once(client, deadline_ns);
    }
}

int roulette_close(roulette_client *client, int timeout_ms, struct roulette_ledger *ledgers,
                   size_t count)
{
    if (client == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the client is NULL");
    }
    require_other_thread("roulette_close()");
    uint32_t state = RLT_CLIENT_OPEN;
    /* seq_cst: see rlt_client_enter(). */
    if (!atomic_compare_exchange_strong_explicit(&client->state, &state, RLT_CLIENT_CLOSING,
                                                 memory_order_seq_cst, memory_order_seq_cst)) {
        return rlt_error_set_plain(rlt_client_gone(client));
    }
    uint32_t entered;
    while ((entered = atomic_load_explicit(&client->entered, memory_order_seq_cst)) != 0) {
        (void)rlt_park_wait(&client->entered, entered, RLT_NEVER);
    }
    uint64_t before = count_unconfirmed(client);
    drain(client, timeout_ms);
    rlt_client_stop(client);
    rlt_client_ledgers(client, ledgers, count);
    uint64_t unconfirmed = count_unconfirmed(client) - before;
    return unconfirmed != 0 ? rlt_reason_unconfirmed(client, unconfirmed)
                            : rlt_denied_tell_rest(client);
}

void roulette_free(roulette_client *client)
{
    if (client == NULL) {
        return;
    }
    rlt_given_take(client, "roulette_free()");
    if (!rlt_client_is_stopped(client)) {
        (void)roulette_close(client, 0, NULL, 0);
    }
    rlt_client_release(client);
}

/* ---- Questions ---------------------------------------------------------------------------- */

int roulette_cluster_count(const roulette_client *client)
{
    if (client == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the client is NULL");
    }
    return (int)client->cluster_count;
}

int roulette_cluster_of(const roulette_client *client, const char *topic, size_t topic_len)
{
    if (client == NULL || topic == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the client or topic is NULL");
    }
    topic_len = rlt_text_len(topic, topic_len);
    const char *reason = NULL;
    int result = rlt_topic_check(topic, topic_len, &reason);
    if (result < 0) {
        return rlt_topic_refuse(result, "topic", "is on no single cluster", topic, topic_len,
                                reason);
    }
    uint64_t hash = rlt_ring_hash(topic, topic_len);
    return (int)rlt_client_place(client, topic, topic_len, hash).cluster;
}

const char *roulette_cluster_address(const roulette_client *client, size_t cluster)
{
    if (client == NULL) {
        (void)rlt_error_set(ROULETTE_EINVAL, "the client is NULL");
        return NULL;
    }
    if (cluster >= client->cluster_count) {
        (void)rlt_error_set(ROULETTE_EINVAL, "cluster %zu: there are %zu, counted from 0", cluster,
                            client->cluster_count);
        return NULL;
    }
    return client->addresses[cluster].label;
}
