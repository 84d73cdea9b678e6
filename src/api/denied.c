/* SPDX-License-Identifier: MIT */
#include "api/denied.h"

#include <inttypes.h>

#include "base/error.h"
#include "core/cluster.h"

/* Relaxed: a flush that begins while another one tells may tell of the same. */
static uint64_t told_of(const struct rlt_cluster *cluster)
{
    return atomic_load_explicit(&cluster->denied_told, memory_order_relaxed);
}

static void note_told(struct rlt_cluster *cluster, uint64_t denied)
{
    uint64_t told = told_of(cluster);
    while (told < denied &&
           !atomic_compare_exchange_weak_explicit(&cluster->denied_told, &told, denied,
                                                  memory_order_relaxed, memory_order_relaxed)) {
    }
}

/* Tell of what a cluster's servers have refused beyond `told`. */
static int tell(struct rlt_cluster *cluster, uint64_t told)
{
    char text[RLT_TEXT_CELL_BYTES];
    uint64_t denied = rlt_counter_get(&cluster->metrics.denied);
    if (denied <= told) {
        return 0;
    }
    note_told(cluster, denied);
    (void)rlt_text_cell_get(&cluster->denial, text);
    return rlt_error_set(ROULETTE_EPERMISSION,
                         "cluster %u (%s) refused %" PRIu64 " message%s: %s: publish to another "
                         "topic, or give this user the permission",
                         cluster->index, cluster->address->label, denied - told,
                         denied - told == 1 ? "" : "s", text);
}

void rlt_denied_begin(const roulette_client *client, struct rlt_fence *fence, size_t first)
{
    for (uint32_t i = 0; i < fence->part_count && first + i < client->cluster_count; i++) {
        fence->parts[i].denied_told = told_of(client->shards[first + i].cluster);
    }
}

int rlt_denied_tell(roulette_client *client, const struct rlt_fence *fence, size_t first)
{
    int result = 0;
    for (uint32_t i = 0; i < fence->part_count; i++) {
        int one = tell(client->shards[first + i].cluster, fence->parts[i].denied_told);
        result = one < 0 ? one : result;
    }
    return result;
}

int rlt_denied_tell_rest(roulette_client *client)
{
    int result = 0;
    for (size_t i = 0; i < client->cluster_count; i++) {
        struct rlt_cluster *cluster = client->shards[i].cluster;
        int one = tell(cluster, told_of(cluster));
        result = one < 0 ? one : result;
    }
    return result;
}
