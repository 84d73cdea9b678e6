/* SPDX-License-Identifier: MIT */
#include "api/client.h"

#include <string.h>

#include "api/registry.h"
#include "api/subscribers.h"
#include "base/assert.h"
#include "base/error.h"
#include "base/memory.h"
#include "io/wake/park.h"

/* ---- References and states ---------------------------------------------------------------- */

bool rlt_client_enter(roulette_client *client)
{
    /* seq_cst, with the closer's store and load of the same two words: either the closer sees this
     * thread inside and waits, or this thread sees that the client is closing. */
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
    /* Acquire-release: all use of the client comes before the free. */
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
    /* Release: publishes the event threads' writes. */
    atomic_store_explicit(&client->state, RLT_CLIENT_STOPPED, memory_order_release);
    rlt_park_wake(&client->state);
    rlt_subscribers_wake(client);
}

/* ---- For calls ---------------------------------------------------------------------------- */

size_t rlt_text_len(const char *text, size_t len)
{
    return len == ROULETTE_STRLEN ? strlen(text) : len;
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

void rlt_client_ledgers(const roulette_client *client, struct roulette_ledger *ledgers,
                        size_t count)
{
    for (size_t i = 0; ledgers != NULL && i < count && i < client->cluster_count; i++) {
        rlt_shard_ledger(&client->shards[i], &ledgers[i]);
    }
}
