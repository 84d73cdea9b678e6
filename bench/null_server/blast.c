/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "harness/topic.h"
#include "null_server/modes.h"

/* A subscription to send to. */
struct target {
    char topic[TOPIC_SIZE];
    uint32_t sid;
};

/* Ready-made frames: a cycle through all topics, or several. Frame i begins at offsets[i]. */
struct frames {
    size_t count;
    size_t *offsets; /* count + 1 of them */
    uint8_t *bytes;
};

/* Read a SUB line. False if its topic is not one that carries messages. */
static bool read_sub(const char *line, struct target *target)
{
    static const char head[] = "SUB " TOPIC_PREFIX;
    return strncmp(line, head, sizeof(head) - 1) == 0 &&
           sscanf(line, "SUB %23s %u", target->topic, &target->sid) == 2;
}

static int compare(const void *left, const void *right)
{
    return strcmp(((const struct target *)left)->topic, ((const struct target *)right)->topic);
}

/* Wait for all SUBs. False if the client closed first, or there are too few to send to. */
static bool await_subs(struct connection *connection, const struct load *load,
                       struct target *targets)
{
    uint64_t left = load->subscriptions;
    uint32_t found = 0;
    while (left != 0) {
        const char *line = connection_line(connection, 0);
        if (line == NULL) {
            return false;
        }
        if (strncmp(line, "SUB ", 4) == 0) {
            found += found < load->topics && read_sub(line, &targets[found]) ? 1 : 0;
            left--;
        } else {
            (void)connection_answer(connection, line);
        }
    }
    /* The turns are the same for each client, in whichever order it subscribes. */
    qsort(targets, found, sizeof(targets[0]), compare);
    return found == load->topics;
}

static size_t write_frame(uint8_t *frame, const struct target *target, size_t payload_len)
{
    int line_len = snprintf((char *)frame, TOPIC_SIZE + 64, "MSG %s %u %zu\r\n", target->topic,
                            target->sid, payload_len);
    memset(frame + line_len, 'x', payload_len);
    memcpy(frame + (size_t)line_len + payload_len, "\r\n", 2);
    return (size_t)line_len + payload_len + 2;
}

static bool frames_make(struct frames *frames, const struct load *load,
                        const struct target *targets)
{
    size_t size = TOPIC_SIZE + 64 + load->payload_len + 2;
    size_t cycles = CONNECTION_CHUNK / (size * load->topics);
    frames->count = load->topics * (cycles != 0 ? cycles : 1);
    frames->bytes = malloc(frames->count * size);
    frames->offsets = calloc(frames->count + 1, sizeof(frames->offsets[0]));
    if (frames->bytes == NULL || frames->offsets == NULL) {
        return false;
    }
    for (size_t i = 0; i < frames->count; i++) {
        size_t at = frames->offsets[i];
        frames->offsets[i + 1] =
            at + write_frame(frames->bytes + at, &targets[i % load->topics], load->payload_len);
    }
    return true;
}

/* Send up to `left` frames from frame `first` on, about a chunk. Returns: how many. */
static uint64_t send_some(struct connection *connection, const struct frames *frames, size_t first,
                          uint64_t left)
{
    size_t end = first + 1;
    while (end < frames->count && end - first < left &&
           frames->offsets[end + 1] - frames->offsets[first] <= CONNECTION_CHUNK) {
        end++;
    }
    connection_send(connection, frames->bytes + frames->offsets[first],
                    frames->offsets[end] - frames->offsets[first]);
    return end - first;
}

static void answer_all(struct connection *connection, int flags)
{
    const char *line;
    while ((line = connection_line(connection, flags)) != NULL) {
        (void)connection_answer(connection, line);
    }
}

void null_blast(struct connection *connection, const struct load *load)
{
    struct frames frames = {0};
    struct target *targets = calloc(load->topics, sizeof(targets[0]));
    if (targets != NULL && await_subs(connection, load, targets) &&
        frames_make(&frames, load, targets)) {
        uint64_t left = load->messages;
        size_t next = 0;
        while (left != 0 && !connection->over) {
            uint64_t sent = send_some(connection, &frames, next, left);
            left -= sent;
            next = (next + sent) % frames.count;
            answer_all(connection, MSG_DONTWAIT);
        }
        answer_all(connection, 0);
    }
    free(frames.bytes);
    free(frames.offsets);
    free(targets);
}
