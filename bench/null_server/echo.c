/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/topic.h"
#include "null_server/modes.h"

/* The payload of a frame at most; a larger one ends the connection. */
#define PAYLOAD_MAX ((size_t)64 * 1024)

/* The last subscription. */
struct listener {
    char topic[TOPIC_SIZE];
    char sid[24];
};

/* The frame of a PUB line goes back in one send. False if it is not one that can. */
static bool echo(struct connection *connection, const struct listener *listener, const char *line)
{
    static uint8_t frame[PAYLOAD_MAX + 128];
    char topic[TOPIC_SIZE];
    size_t len;
    if (sscanf(line, "PUB %23s %zu", topic, &len) != 2 || len > PAYLOAD_MAX) {
        return false;
    }
    const uint8_t *payload = connection_bytes(connection, len + 2);
    if (payload == NULL) {
        return false;
    }
    if (strcmp(topic, listener->topic) == 0) {
        int line_len = snprintf((char *)frame, 128, "MSG %s %s %zu\r\n", topic, listener->sid, len);
        memcpy(frame + line_len, payload, len + 2);
        connection_send(connection, frame, (size_t)line_len + len + 2);
    }
    return true;
}

void null_echo(struct connection *connection)
{
    struct listener listener = {{0}, {0}};
    const char *line;
    while ((line = connection_line(connection, 0)) != NULL) {
        if (strncmp(line, "PUB ", 4) == 0) {
            if (!echo(connection, &listener, line)) {
                fprintf(stderr, "bench_null_server: cannot echo \"%s\"\n", line);
                return;
            }
        } else if (strncmp(line, "SUB ", 4) == 0) {
            (void)sscanf(line, "SUB %23s %23s", listener.topic, listener.sid);
        } else {
            (void)connection_answer(connection, line);
        }
    }
}
