/* SPDX-License-Identifier: MIT */
#include "api/client.h"
#include "api/reason.h"
#include "api/wait.h"
#include "base/error.h"

static int flush(roulette_client *client, const struct rlt_fence_wish *wish, int timeout_ms)
{
    struct rlt_fence_outcome outcome;
    int result = rlt_client_fence(client, wish, timeout_ms, &outcome);
    return result < 0 && result != ROULETTE_EPERMISSION
               ? rlt_reason_of_wait(client, &outcome, result)
               : result;
}

/* Whether to fill the ledgers: they show which messages a flush waited for in vain. */
static bool gives_ledgers(int result)
{
    return result == 0 || result == ROULETTE_ETIMEDOUT || result == ROULETTE_EDISCONNECTED ||
           result == ROULETTE_EUNREACHABLE || result == ROULETTE_EPERMISSION;
}

int roulette_flush(roulette_client *client, int timeout_ms, struct roulette_ledger *ledgers,
                   size_t count)
{
    if (client == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the client is NULL");
    }
    int result = flush(client, &(struct rlt_fence_wish){.scope = RLT_FENCE_ALL}, timeout_ms);
    if (gives_ledgers(result)) {
        rlt_client_ledgers(client, ledgers, count);
    }
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
    if (ledger != NULL && gives_ledgers(result)) {
        rlt_shard_ledger(&client->shards[cluster], ledger);
    }
    return result;
}
