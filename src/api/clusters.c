/* SPDX-License-Identifier: MIT */
/*
 * Queries about a client's clusters: how many, where, and which one carries a topic. Why a cluster
 * is not connected: api/reason.c.
 */
#include "api/client.h"
#include "base/error.h"
#include "proto/topic.h"
#include "proto/topic_fault.h"

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
