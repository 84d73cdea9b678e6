/* SPDX-License-Identifier: MIT */
#include "micro/micro.h"

#include <stdio.h>
#include <stdlib.h>

#include "harness/stop.h"

void *micro_memory(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (memory == NULL) {
        stop("no memory");
    }
    return memory;
}

void micro_topic(uint64_t index, char topic[static MICRO_TOPIC_LEN])
{
    char text[32];
    (void)snprintf(text, sizeof(text), "room.%07u.new", (unsigned)(index % 10000000));
    memcpy(topic, text, MICRO_TOPIC_LEN);
}
