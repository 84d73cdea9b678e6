/* SPDX-License-Identifier: MIT */
#include "api/client.h"
#include "api/denied.h"
#include "api/given.h"
#include "api/reason.h"
#include "api/wait.h"
#include "base/error.h"
#include "io/wake/park.h"

/* Count the messages that will not be confirmed any more. */
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

int roulette_close(roulette_client *client, int timeout_ms, struct roulette_ledger *ledgers,
                   size_t count)
{
    if (client == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the client is NULL");
    }
    rlt_wait_require_other_thread("roulette_close()");
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
    rlt_client_settle(client, timeout_ms);
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
