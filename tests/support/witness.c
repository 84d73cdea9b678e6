/* SPDX-License-Identifier: MIT */
#include "support/witness.h"

#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/condition.h"
#include "support/net.h"

enum { BUFFER_BYTES = 1 << 20 };

struct witness {
    int fd;
    witness_fn *on_message;
    void *context;
    pthread_t thread;
    size_t len; /* bytes in the buffer that are no whole frame yet */
    char buffer[BUFFER_BYTES];
};

static void send_all(int fd, const void *bytes, size_t len)
{
    REQUIRE(send(fd, bytes, len, MSG_NOSIGNAL) == (ssize_t)len);
}

/** Read until the last bytes are `end`. */
static void await(int fd, const char *end)
{
    char text[4096];
    size_t len = 0;
    while (len < strlen(end) || memcmp(text + len - strlen(end), end, strlen(end)) != 0) {
        REQUIRE(len < sizeof(text) && net_wait(fd, POLLIN, net_now_ms() + EVENTUALLY_MS), "%s",
                end);
        ssize_t got = recv(fd, text + len, sizeof(text) - len, 0);
        REQUIRE(got > 0, "%s", end);
        len += (size_t)got;
    }
}

int witness_connect(uint16_t port)
{
    int fd = net_connect(port);
    REQUIRE(fd >= 0);
    await(fd, "\r\n");
    static const char hello[] = "CONNECT {\"verbose\":false,\"name\":\"witness\"}\r\nPING\r\n";
    send_all(fd, hello, sizeof(hello) - 1);
    await(fd, "PONG\r\n");
    return fd;
}

void witness_publish(int fd, const char *topic, const void *payload, size_t len)
{
    char frame[1024];
    int start = snprintf(frame, sizeof(frame), "PUB %s %zu\r\n", topic, len);
    REQUIRE(start > 0 && (size_t)start + len + 8 < sizeof(frame));
    memcpy(frame + start, payload, len);
    memcpy(frame + start + len, "\r\nPING\r\n", 8);
    send_all(fd, frame, (size_t)start + len + 8);
    await(fd, "PONG\r\n");
}

/** Take one frame from the front of `len` bytes. Returns: its length; 0 if it is not whole. */
static size_t take_frame(struct witness *witness, const char *at, size_t len)
{
    const char *end = memchr(at, '\n', len);
    if (end == NULL) {
        return 0;
    }
    size_t line_len = (size_t)(end + 1 - at);
    if (strncmp(at, "MSG ", 4) != 0) {
        if (strncmp(at, "PING", 4) == 0) {
            send_all(witness->fd, "PONG\r\n", 6);
        }
        REQUIRE(strncmp(at, "-ERR", 4) != 0, "%.*s", (int)line_len, at);
        return line_len;
    }
    const char *number = end;
    while (number[-1] != ' ') {
        number--;
    }
    size_t payload_len = strtoul(number, NULL, 10);
    if (len < line_len + payload_len + 2) {
        return 0;
    }
    witness->on_message(witness->context, end + 1, payload_len);
    return line_len + payload_len + 2;
}

static void *watch(void *argument)
{
    struct witness *witness = argument;
    ssize_t got;
    while ((got = recv(witness->fd, witness->buffer + witness->len, BUFFER_BYTES - witness->len,
                       0)) > 0) {
        size_t done = 0;
        size_t frame;
        witness->len += (size_t)got;
        while ((frame = take_frame(witness, witness->buffer + done, witness->len - done)) != 0) {
            done += frame;
        }
        witness->len -= done;
        memmove(witness->buffer, witness->buffer + done, witness->len);
    }
    return NULL;
}

struct witness *witness_start(uint16_t port, const char *topic, witness_fn *on_message,
                              void *context)
{
    struct witness *witness = calloc(1, sizeof(*witness));
    REQUIRE(witness != NULL);
    witness->fd = witness_connect(port);
    witness->on_message = on_message;
    witness->context = context;
    char line[256];
    int len = snprintf(line, sizeof(line), "SUB %s 1\r\n", topic);
    REQUIRE(len > 0 && (size_t)len < sizeof(line));
    send_all(witness->fd, line, (size_t)len);
    REQUIRE(pthread_create(&witness->thread, NULL, watch, witness) == 0);
    return witness;
}

void witness_stop(struct witness *witness)
{
    (void)shutdown(witness->fd, SHUT_RDWR);
    (void)pthread_join(witness->thread, NULL);
    (void)close(witness->fd);
    free(witness);
}
