/* SPDX-License-Identifier: MIT */
#include "footprint/footprint.h"

#include <stdio.h>

void footprint_topic(uint32_t index, char topic[FOOTPRINT_TOPIC_LEN + 1])
{
    (void)snprintf(topic, FOOTPRINT_TOPIC_LEN + 1, "user.%07u",
                   index % (FOOTPRINT_SUBSCRIPTIONS_MAX + 1));
}
