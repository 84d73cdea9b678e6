/* SPDX-License-Identifier: MIT */
#include "harness/workload.h"

#include <stdio.h>
#include <string.h>

#include "harness/nats_release.h"
#include "harness/sample.h"
#include "harness/topic.h"

#define QUICK   .quick = true
#define CALLS   .calls = true
#define JOINED  .joined = true
#define POLLED  .polled = true
#define ONE_CPU .one_cpu = true
#define OVER    .over_clusters = true
#define TLS     .tls = true
/* nats-server from 2.10 on: records of 512 bytes. */
#define TLS_512 .tls = true, .record_len = 512

/* Over 3, 8 and 16 clusters they cannot be divided evenly: some have one topic more than others. */
#define OVER_TOPICS 100

#define PUBLISH(len, thread_count, cluster_count, topic_count, ...) \
    {.kind = WORKLOAD_PUBLISH,                                      \
     .payload_len = (len),                                          \
     .threads = (thread_count),                                     \
     .clusters = (cluster_count),                                   \
     .topics = (topic_count),                                       \
     __VA_ARGS__}
#define PUBLISH_NATS(server_kind, len, ...) \
    {.kind = WORKLOAD_PUBLISH,              \
     .server = (server_kind),               \
     .payload_len = (len),                  \
     .threads = 1,                          \
     .clusters = 1,                         \
     .topics = 1,                           \
     __VA_ARGS__}
#define DELIVER(len, topic_count, subscription_count, ...) \
    {.kind = WORKLOAD_DELIVER,                             \
     .payload_len = (len),                                 \
     .clusters = 1,                                        \
     .topics = (topic_count),                              \
     .subscriptions = (subscription_count),                \
     .subscribers = 1,                                     \
     __VA_ARGS__}
#define PUBLISH_OVER(len, thread_count, cluster_count, ...) \
    PUBLISH(len, thread_count, cluster_count, OVER_TOPICS, OVER, __VA_ARGS__)
#define DELIVER_OVER(cluster_count, ...) \
    {.kind = WORKLOAD_DELIVER,           \
     .payload_len = 128,                 \
     .clusters = (cluster_count),        \
     .topics = OVER_TOPICS,              \
     .subscriptions = OVER_TOPICS,       \
     .subscribers = 1,                   \
     OVER,                               \
     __VA_ARGS__}
#define THROUGH(server_kind, len, ...) \
    {.kind = WORKLOAD_THROUGH,         \
     .server = (server_kind),          \
     .payload_len = (len),             \
     .threads = 1,                     \
     .clusters = 1,                    \
     .topics = 1,                      \
     .subscriptions = 1,               \
     .subscribers = 1,                 \
     __VA_ARGS__}
#define FAN_OUT(subscriber_count, ...)  \
    {.kind = WORKLOAD_FAN_OUT,          \
     .server = SERVER_NATS,             \
     .payload_len = 128,                \
     .threads = 1,                      \
     .clusters = 1,                     \
     .topics = 1,                       \
     .subscriptions = 1,                \
     .subscribers = (subscriber_count), \
     __VA_ARGS__}
#define LATENCY(server_kind, rate, ...) \
    {.kind = WORKLOAD_LATENCY,          \
     .server = (server_kind),           \
     .payload_len = 16,                 \
     .threads = 1,                      \
     .clusters = 1,                     \
     .topics = 1,                       \
     .subscriptions = 1,                \
     .subscribers = 1,                  \
     .pace = (rate),                    \
     __VA_ARGS__}

/* A topic for each cluster: each message goes to another one than that before it. */
#define LATENCY_OVER(rate, cluster_count, ...) \
    {.kind = WORKLOAD_LATENCY,                 \
     .payload_len = 16,                        \
     .threads = 1,                             \
     .clusters = (cluster_count),              \
     .topics = (cluster_count),                \
     .subscriptions = (cluster_count),         \
     .subscribers = 1,                         \
     .pace = (rate),                           \
     OVER,                                     \
     __VA_ARGS__}

#define KIB 1024

const struct workload workloads[] = {
    PUBLISH(16, 1, 1, 1, QUICK, CALLS),
    PUBLISH(16, 2, 1, 1, JOINED),
    PUBLISH(16, 4, 1, 1, JOINED, QUICK),
    PUBLISH(16, 8, 1, 1, JOINED),
    PUBLISH_OVER(16, 1, 1, JOINED),
    PUBLISH_OVER(16, 1, 4, JOINED),
    PUBLISH(128, 1, 1, 1, QUICK),
    PUBLISH(128, 2, 1, 1, JOINED),
    PUBLISH(128, 4, 1, 1, JOINED, QUICK),
    PUBLISH(128, 8, 1, 1, JOINED),
    PUBLISH(128, 1, 1, 10000, JOINED, QUICK),
    PUBLISH_OVER(128, 1, 1, JOINED, QUICK, CALLS),
    PUBLISH_OVER(128, 1, 2, JOINED),
    PUBLISH_OVER(128, 1, 3, JOINED),
    PUBLISH_OVER(128, 1, 4, JOINED, QUICK, CALLS),
    PUBLISH_OVER(128, 1, 8, JOINED),
    PUBLISH_OVER(128, 1, 16, JOINED, QUICK, CALLS),
    PUBLISH_OVER(128, 4, 1, ),
    PUBLISH_OVER(128, 4, 2, JOINED),
    PUBLISH_OVER(128, 4, 3, JOINED),
    PUBLISH_OVER(128, 4, 4, JOINED),
    PUBLISH_OVER(128, 4, 8, JOINED),
    PUBLISH_OVER(128, 4, 16, JOINED),
    PUBLISH(1 * KIB, 1, 1, 1, QUICK),
    PUBLISH(1 * KIB, 2, 1, 1, JOINED),
    PUBLISH(1 * KIB, 4, 1, 1, JOINED),
    PUBLISH(1 * KIB, 8, 1, 1, JOINED),
    PUBLISH(16 * KIB, 1, 1, 1, ),
    PUBLISH(64 * KIB, 1, 1, 1, ),
    PUBLISH(128, 1, 1, 1, TLS, QUICK),
    PUBLISH(1 * KIB, 1, 1, 1, TLS),
    PUBLISH_NATS(SERVER_NATS, 128, ),
    PUBLISH_NATS(SERVER_NATS_NEWER, 128, ),
    DELIVER(16, 1, 1, QUICK, CALLS, POLLED),
    DELIVER(128, 1, 1, QUICK, POLLED),
    DELIVER(128, 10, 10, JOINED),
    DELIVER(128, 10000, 10000, JOINED, QUICK),
    DELIVER(128, 1, 10, JOINED),
    DELIVER(128, 1, 1000000, JOINED),
    DELIVER_OVER(1, QUICK),
    DELIVER_OVER(2, JOINED),
    DELIVER_OVER(4, JOINED, QUICK, POLLED),
    DELIVER_OVER(8, JOINED),
    DELIVER_OVER(16, JOINED, QUICK),
    DELIVER(1 * KIB, 1, 1, QUICK),
    DELIVER(16 * KIB, 1, 1, ),
    DELIVER(64 * KIB, 1, 1, ),
    DELIVER(128, 1, 1, TLS, QUICK),
    DELIVER(128, 1, 1, TLS_512, QUICK),
    DELIVER(1 * KIB, 1, 1, TLS),
    DELIVER(1 * KIB, 1, 1, TLS_512),
    THROUGH(SERVER_NATS, 128, ),
    THROUGH(SERVER_NATS_NEWER, 128, ),
    FAN_OUT(1, ),
    FAN_OUT(10, QUICK),
    FAN_OUT(100, ),
    FAN_OUT(1000, ),
    LATENCY_OVER(0, 1, QUICK, POLLED),
    LATENCY_OVER(0, 4, JOINED, QUICK),
    LATENCY_OVER(1000, 1, POLLED),
    LATENCY_OVER(1000, 4, JOINED),
    LATENCY(SERVER_NULL, 1000, ONE_CPU, QUICK),
    LATENCY_OVER(10000, 1, ),
    LATENCY_OVER(10000, 4, JOINED),
    LATENCY(SERVER_NATS, 0, QUICK),
    LATENCY(SERVER_NATS, 1000, ),
    LATENCY(SERVER_NATS, 1000, ONE_CPU),
    LATENCY(SERVER_NATS, 10000, ),
    LATENCY(SERVER_NATS_NEWER, 0, ),
    LATENCY(SERVER_NATS_NEWER, 1000, ),
};
const size_t workload_count = sizeof(workloads) / sizeof(workloads[0]);

const char *workload_group(const struct workload *workload)
{
    static const char *const names[] = {
        [WORKLOAD_PUBLISH] = "publish", [WORKLOAD_DELIVER] = "deliver",
        [WORKLOAD_THROUGH] = "through", [WORKLOAD_FAN_OUT] = "fan-out",
        [WORKLOAD_LATENCY] = "latency",
    };
    return names[workload->kind];
}

bool workload_is_of(const struct workload *workload, const char *group)
{
    return strcmp(workload_group(workload), group) == 0 ||
           (workload->over_clusters && strcmp(group, "clusters") == 0);
}

/* Append to a text that ends at `at`. Returns: where it ends now. */
static size_t append(char *text, size_t size, size_t at, const char *format, uint32_t count)
{
    int len = snprintf(text + at, size - at, format, count);
    return at + (size_t)len < size ? at + (size_t)len : size - 1;
}

const char *workload_title(const struct workload *workload, char *text, size_t size)
{
    char mode[32];
    size_t at =
        (size_t)snprintf(text, size, "%s %u B", workload_group(workload), workload->payload_len);
    if (workload->kind == WORKLOAD_PUBLISH) {
        at = append(text, size, at, workload->threads == 1 ? ", %u thread" : ", %u threads",
                    workload->threads);
    }
    if (workload->clusters > 1) {
        at = append(text, size, at, ", %u clusters", workload->clusters);
    }
    if (workload->topics > 1) {
        at = append(text, size, at, ", %u topics", workload->topics);
    } else if (workload->subscriptions > 1) {
        at = append(text, size, at, ", 1 of %u subscriptions", workload->subscriptions);
    }
    if (workload->kind == WORKLOAD_FAN_OUT) {
        at = append(text, size, at,
                    workload->subscribers == 1 ? ", %u subscriber" : ", %u subscribers",
                    workload->subscribers);
    }
    if (workload_mode(workload, mode, sizeof(mode)) != NULL) {
        at += (size_t)snprintf(text + at, size - at, ", %s", mode);
    }
    if (workload->tls) {
        at = append(text, size, at, workload->record_len != 0 ? ", TLS, records of %u B" : ", TLS",
                    workload->record_len);
    }
    if (workload->server != SERVER_NULL) {
        (void)snprintf(text + at, size - at, ", %s", workload_server(workload));
    }
    return text;
}

const char *workload_server(const struct workload *workload)
{
    return workload->server == SERVER_NULL   ? "null"
           : workload->server == SERVER_NATS ? "nats-server"
                                             : nats_release_newer_name();
}

const char *workload_mode(const struct workload *workload, char *text, size_t size)
{
    if (workload->kind != WORKLOAD_LATENCY) {
        return NULL;
    }
    if (workload->pace == 0) {
        (void)snprintf(text, size, "closed loop");
    } else {
        (void)snprintf(text, size, "paced %u%s", workload->pace,
                       workload->one_cpu ? ", one CPU" : "");
    }
    return text;
}

uint32_t workload_rounds(const struct workload *workload, uint32_t rounds)
{
    uint32_t all = workload->pace != 0 ? rounds * WORKLOAD_PACED_TIMES : rounds;
    return all < SAMPLE_ROUNDS_MAX ? all : SAMPLE_ROUNDS_MAX;
}

double workload_estimate_seconds(const struct workload *workload, uint32_t rounds, double seconds)
{
    /* A run has a warm-up, and servers that start; two shorter ones come before the first. */
    double run = seconds * 1.1 + 0.1;
    double subscribe = (double)workload->subscriptions * 3e-6;
    return (run + subscribe) * workload_rounds(workload, rounds) +
           (workload->pace != 0 ? 0 : run + 2 * subscribe);
}

size_t workload_publish_frame_len(uint32_t payload_len)
{
    int line = snprintf(NULL, 0, "PUB  %u\r\n", payload_len);
    return (size_t)line + TOPIC_LEN + payload_len + 2;
}
