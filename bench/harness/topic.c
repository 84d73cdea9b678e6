/* SPDX-License-Identifier: MIT */
#include "harness/topic.h"

#include <stdio.h>
#include <stdlib.h>

#include "harness/stop.h"

void topic_write(char text[TOPIC_SIZE], uint32_t index)
{
    (void)snprintf(text, TOPIC_SIZE, TOPIC_PREFIX "%u", TOPIC_FIRST + index);
}

void topic_write_held(char text[TOPIC_SIZE], uint32_t index)
{
    (void)snprintf(text, TOPIC_SIZE, "bench.held.%u", 1000000 + index);
}

char (*topic_list(uint32_t count))[TOPIC_SIZE]
{
    char(*list)[TOPIC_SIZE] = calloc(count, TOPIC_SIZE);
    if (list == NULL) {
        stop("no memory");
    }
    for (uint32_t i = 0; i < count; i++) {
        topic_write(list[i], i);
    }
    return list;
}
