/* SPDX-License-Identifier: MIT */
#include <assert.h>

#include "api/client.h"
#include "api/sized.h"
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

static const struct rlt_sized_kind kind = {
    .name = "stats",
    .advice = "set it to the size of the struct, as roulette_stats_get() does",
    .size = sizeof(struct roulette_stats),
    .size_min = rlt_end_of(struct roulette_stats, ledger),
};

static_assert(rlt_end_of(struct roulette_stats, held_back) == sizeof(struct roulette_stats),
              "no padding at the end: see api/sized.h");
static_assert(sizeof(struct roulette_ledger) == 128, "for ever: it stands in arrays");

int roulette_stats_fill(const roulette_client *client, size_t cluster, struct roulette_stats *stats)
{
    int result = rlt_client_check_cluster(client, cluster);
    if (result == 0 && stats == NULL) {
        result = rlt_error_set(ROULETTE_EINVAL, "stats is NULL");
    }
    if (result == 0) {
        result = rlt_sized_check(&kind, stats);
    }
    if (result < 0) {
        return result;
    }
    const struct rlt_shard *shard = &client->shards[cluster];
    struct roulette_stats all = {
        .backend = rlt_shard_backend_name(shard),
        .queued_bytes = rlt_shard_queued_bytes(shard),
    };
    rlt_shard_ledger(shard, &all.ledger);
    read_counters(rlt_shard_metrics(shard), &all);
    rlt_sized_write(&kind, &all, stats);
    return 0;
}
