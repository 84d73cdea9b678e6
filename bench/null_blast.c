/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "null_modes.h"
#include "topic.h"

/* Ready-made frames: a cycle through all topics, or several. Frame i begins at offsets[i]. */
struct frames {
    size_t count;
    size_t *offsets; /* count + 1 of them */
    uint8_t *bytes;
};

/* Remember the sid of a SUB line if its topic is one of those to send to. */
static void note_sid(const char *line, const struct load *load, uint32_t *sids)
{
    static const char head[] = "SUB " TOPIC_PREFIX;
    const char *sid = strrchr(line, ' ');
    if (strncmp(line, head, sizeof(head) - 1) == 0 && sid != NULL) {
        uint64_t index = strtoull(line + sizeof(head) - 1, NULL, 10) - TOPIC_FIRST;
        if (index < load->topics) {
            sids[index] = (uint32_t)strtoul(sid + 1, NULL, 10);
        }
    }
}

/* Wait for all SUBs. False if the client closed first. */
static bool await_subs(struct connection *connection, const struct load *load, uint32_t *sids)
{
    uint64_t left = load->subscriptions;
    while (left != 0) {
        const char *line = connection_line(connection, 0);
        if (line == NULL) {
            return false;
        }
        if (strncmp(line, "SUB ", 4) == 0) {
            note_sid(line, load, sids);
            left--;
        } else {
            (void)connection_answer(connection, line);
        }
    }
    return true;
}

static size_t write_frame(uint8_t *frame, uint32_t index, uint32_t sid, size_t payload_len)
{
    char topic[TOPIC_SIZE];
    topic_write(topic, index);
    int line_len =
        snprintf((char *)frame, TOPIC_SIZE + 64, "MSG %s %u %zu\r\n", topic, sid, payload_len);
    memset(frame + line_len, 'x', payload_len);
    memcpy(frame + (size_t)line_len + payload_len, "\r\n", 2);
    return (size_t)line_len + payload_len + 2;
}

static bool frames_make(struct frames *frames, const struct load *load, const uint32_t *sids)
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
        uint32_t index = (uint32_t)(i % load->topics);
        size_t at = frames->offsets[i];
        frames->offsets[i + 1] =
            at + write_frame(frames->bytes + at, index, sids[index], load->payload_len);
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
    uint32_t *sids = calloc(load->topics, sizeof(sids[0]));
    if (sids != NULL && await_subs(connection, load, sids) && frames_make(&frames, load, sids)) {
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
    free(sids);
}
