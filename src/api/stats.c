/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "api/client.h"
#include "base/counter.h"
#include "base/defs.h"
#include "base/error.h"

static void read_counters(const struct rlt_metrics *metrics, struct roulette_stats *stats)
{
#define READ(field) stats->field = rlt_counter_get(&metrics->field)
    READ(published_bytes);
    READ(received_messages);
    READ(received_bytes);
    READ(delivered_messages);
    READ(dropped_ring_full);
    READ(dropped_pinned);
    READ(dropped_oversized);
    READ(dropped_limit);
    READ(unknown_sid);
    READ(joins);
    READ(joined_bytes);
    READ(connects);
    READ(connect_failures);
    READ(disconnects);
    READ(lost_by_server);
    READ(lost_by_ping);
    READ(protocol_errors);
    READ(server_errors);
    READ(subscriptions);
    READ(sends);
    READ(direct_sends);
    READ(receives);
    READ(direct_receives);
    READ(wakeups);
    READ(slabs_in_use);
    READ(suppressed);
    READ(unmatched);
    READ(held_early);
    READ(held_ns_max);
    READ(denied_publishes);
    READ(stray_pongs);
    READ(probes);
    READ(held_back);
#undef READ
    stats->held_messages = rlt_counter_get(&metrics->held);
    stats->connected = (uint32_t)rlt_counter_get(&metrics->connected);
    stats->last_error = (int32_t)(int64_t)rlt_counter_get(&metrics->last_error);
}

int roulette_stats_sized(const roulette_client *client, size_t index, struct roulette_stats *stats,
                         size_t size)
{
    if (client == NULL || stats == NULL || size < sizeof(stats->size)) {
        return rlt_error_set(ROULETTE_EINVAL, "the client or stats is NULL, or size is too small");
    }
    if (index >= client->cluster_count) {
        return rlt_error_set(ROULETTE_EINVAL, "cluster %zu: there are %zu, counted from 0", index,
                             client->cluster_count);
    }
    const struct rlt_shard *shard = &client->shards[index];
    struct roulette_stats all = {
        .size = size,
        .backend = rlt_shard_backend_name(shard),
        .queued_bytes = rlt_shard_queued_bytes(shard),
    };
    rlt_shard_ledger(shard, &all.ledger);
    read_counters(rlt_shard_metrics(shard), &all);
    memset(stats, 0, size);
    memcpy(stats, &all, rlt_min_size(size, sizeof(all)));
    return 0;
}
