/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "api/client.h"
#include "api/given.h"
#include "api/publish.h"
#include "base/error.h"
#include "base/memory.h"
#include "proto/topic.h"
#include "proto/topic_fault.h"

/* A topic, validated, hashed and placed. Immutable, so any thread may use it. Holds a reference to
 * its client. */
struct roulette_topic {
    roulette_client *client;
    struct rlt_place place;
    size_t len;
    char head[]; /* "PUB <topic> " */
};

int roulette_topic_create(roulette_client *client, const char *topic, size_t topic_len,
                          roulette_topic **handle)
{
    if (client == NULL || topic == NULL || handle == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the client, topic or handle is NULL");
    }
    topic_len = rlt_text_len(topic, topic_len);
    const char *reason = NULL;
    int result = rlt_topic_check(topic, topic_len, &reason);
    if (result < 0) {
        return rlt_topic_refuse(result, "topic", "cannot be published to", topic, topic_len,
                                reason);
    }
    if (atomic_load_explicit(&client->state, memory_order_relaxed) != RLT_CLIENT_OPEN) {
        return rlt_error_set_plain(rlt_client_gone(client));
    }
    struct roulette_topic *made = rlt_memory_alloc(1, sizeof(*made) + topic_len + 5);
    if (made == NULL || rlt_given_add(made) < 0) {
        rlt_memory_free(made);
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    made->client = client;
    made->len = topic_len;
    memcpy(made->head, "PUB ", 4);
    memcpy(made->head + 4, topic, topic_len);
    made->head[topic_len + 4] = ' ';
    uint64_t hash = rlt_ring_hash(topic, topic_len);
    made->place = rlt_client_place(client, topic, topic_len, hash);
    rlt_client_acquire(client);
    *handle = made;
    return 0;
}

void roulette_topic_free(roulette_topic *handle)
{
    if (handle != NULL) {
        rlt_given_take(handle, "roulette_topic_free()");
        rlt_client_release(handle->client);
        rlt_memory_free(handle);
    }
}

int roulette_topic_cluster(const roulette_topic *handle)
{
    if (handle == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the topic handle is NULL");
    }
    return (int)handle->place.cluster;
}

int roulette_topic_publish_wait(roulette_topic *handle, const void *payload, size_t payload_len,
                                int timeout_ms)
{
    if (rlt_unlikely(handle == NULL || (payload == NULL && payload_len != 0))) {
        return rlt_error_set(ROULETTE_EINVAL, "the topic handle or the payload is NULL");
    }
    if (rlt_unlikely(payload_len > RLT_SIZE_MAX)) {
        return rlt_error_set(ROULETTE_EPAYLOAD, "the payload has %zu bytes, NATS takes %u",
                             payload_len, RLT_SIZE_MAX);
    }
    struct rlt_pub pub = {
        .head = handle->head,
        .topic = handle->head + 4,
        .topic_len = handle->len,
        .payload = payload,
        .payload_len = (uint32_t)payload_len,
    };
    return rlt_publish(handle->client, handle->place, &pub, timeout_ms);
}

int roulette_topic_publish(roulette_topic *handle, const void *payload, size_t payload_len)
{
    return roulette_topic_publish_wait(handle, payload, payload_len, 0);
}
