/* SPDX-License-Identifier: MIT */
#include "workload.h"

#include <stdio.h>

#define PUBLISH(payload_len, threads)                       \
    {                                                       \
        WORKLOAD_PUBLISH, SERVER_NULL, payload_len, threads \
    }
#define DELIVER(payload_len)                          \
    {                                                 \
        WORKLOAD_DELIVER, SERVER_NULL, payload_len, 0 \
    }
#define ON_NATS(kind, payload_len)        \
    {                                     \
        kind, SERVER_NATS, payload_len, 1 \
    }

const struct workload workloads[] = {
    PUBLISH(16, 1),
    PUBLISH(16, 2),
    PUBLISH(16, 4),
    PUBLISH(128, 1),
    PUBLISH(128, 2),
    PUBLISH(128, 4),
    PUBLISH(1024, 1),
    PUBLISH(1024, 2),
    PUBLISH(1024, 4),
    ON_NATS(WORKLOAD_PUBLISH, 128),
    DELIVER(16),
    DELIVER(128),
    DELIVER(1024),
    DELIVER(16384),
    ON_NATS(WORKLOAD_THROUGH, 128),
};
const size_t workload_count = sizeof(workloads) / sizeof(workloads[0]);

const char *workload_group(const struct workload *workload)
{
    static const char *const names[] = {
        [WORKLOAD_PUBLISH] = "publish",
        [WORKLOAD_DELIVER] = "deliver",
        [WORKLOAD_THROUGH] = "through",
    };
    return names[workload->kind];
}

const char *workload_title(const struct workload *workload, char *text, size_t size)
{
    char threads[32] = "";
    if (workload->threads != 0) {
        (void)snprintf(threads, sizeof(threads), ", %u thread%s", workload->threads,
                       workload->threads == 1 ? "" : "s");
    }
    (void)snprintf(text, size, "%s %u B%s%s", workload_group(workload), workload->payload_len,
                   threads, workload->server == SERVER_NATS ? ", nats-server" : "");
    return text;
}

size_t workload_publish_frame_len(const char *topic, uint32_t payload_len)
{
    int line = snprintf(NULL, 0, "PUB %s %u\r\n", topic, payload_len);
    return (size_t)line + payload_len + 2;
}
