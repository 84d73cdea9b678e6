/* SPDX-License-Identifier: MIT */
#include "api/reason.h"

#include "base/error.h"
#include "core/cluster.h"

static int last_error_of(const roulette_client *client, size_t cluster)
{
    return (int)(int64_t)rlt_counter_get(&client->shards[cluster].cluster->metrics.last_error);
}

static bool is_away(const roulette_client *client, size_t cluster)
{
    const struct rlt_metrics *metrics = &client->shards[cluster].cluster->metrics;
    return rlt_counter_get(&metrics->connected) < client->config.pool_size;
}

int rlt_reason_of_wait(const roulette_client *client, const struct rlt_fence_wish *wish, int error)
{
    bool in_vain = error == ROULETTE_ETIMEDOUT || error == ROULETTE_EUNREACHABLE;
    size_t i = wish->one_cluster ? wish->place.cluster : 0;
    size_t end = wish->one_cluster ? i + 1 : client->cluster_count;
    while (i < end && !is_away(client, i)) {
        i++;
    }
    if (!in_vain || i == end) {
        return rlt_error_set_plain(error);
    }
    int reason = last_error_of(client, i);
    return rlt_error_set(error, "%s: cluster %zu (%s) is not connected%s%s",
                         roulette_error_text(error), i, client->addresses[i].label,
                         reason != 0 ? ": " : " yet",
                         reason != 0 ? roulette_error_text(reason) : "");
}

int rlt_reason_unreachable(const roulette_client *client, uint32_t cluster)
{
    int error = ROULETTE_EUNREACHABLE;
    return rlt_error_set(error, "cluster %u (%s): %s; the last one: %s", cluster,
                         client->addresses[cluster].label, roulette_error_text(error),
                         roulette_error_text(last_error_of(client, cluster)));
}
