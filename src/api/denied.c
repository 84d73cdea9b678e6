/* SPDX-License-Identifier: MIT */
#include "api/denied.h"

#include <inttypes.h>

#include "base/counter.h"
#include "base/error.h"

/* Report the messages beyond `told` that a cluster's servers have refused. */
static int tell(struct rlt_shard *shard, uint64_t told)
{
    char text[RLT_TEXT_CELL_BYTES];
    uint64_t denied = rlt_counter_get(&rlt_shard_metrics(shard)->denied);
    if (denied <= told) {
        return 0;
    }
    rlt_shard_note_denied_told(shard, denied);
    rlt_shard_denial(shard, text);
    return rlt_error_set(ROULETTE_EPERMISSION,
                         "cluster %u (%s) refused %" PRIu64 " message%s: %s: publish to another "
                         "topic, or give this user the permission",
                         shard->index, shard->address->label, denied - told,
                         denied - told == 1 ? "" : "s", text);
}

void rlt_denied_begin(const roulette_client *client, struct rlt_fence *fence, size_t first)
{
    for (uint32_t i = 0; i < fence->part_count && first + i < client->cluster_count; i++) {
        fence->parts[i].denied_told = rlt_shard_denied_told(&client->shards[first + i]);
    }
}

int rlt_denied_tell(roulette_client *client, const struct rlt_fence *fence, size_t first)
{
    int result = 0;
    for (uint32_t i = 0; i < fence->part_count; i++) {
        int one = tell(&client->shards[first + i], fence->parts[i].denied_told);
        result = one < 0 ? one : result;
    }
    return result;
}

int rlt_denied_tell_rest(roulette_client *client)
{
    int result = 0;
    for (size_t i = 0; i < client->cluster_count; i++) {
        struct rlt_shard *shard = &client->shards[i];
        int one = tell(shard, rlt_shard_denied_told(shard));
        result = one < 0 ? one : result;
    }
    return result;
}
