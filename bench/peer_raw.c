/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "peer.h"
#include "stop.h"
#include "support/net.h"
#include "workload.h"

#define CHUNK_BYTES ((size_t)256 * 1024)

static const char connect_line[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
static const char ping_line[] = "PING\r\n";
static const char pong_line[] = "PONG\r\n";

struct client {
    int fd;
    uint32_t payload_len;
    size_t frame_len;
    uint64_t frame_count; /* ready-made ones in `out` */
    uint8_t *out;
    uint8_t *in;
    /* How the last receive ended: before so much payload, or inside a line. */
    size_t skip;
    bool cut_line;
    bool cut_message; /* ... of a message */
    struct peer_tally *tally;
};

static void send_all(int fd, const void *bytes, size_t len)
{
    const uint8_t *next = bytes;
    while (len != 0) {
        ssize_t sent = send(fd, next, len, MSG_NOSIGNAL);
        if (sent < 0) {
            stop("raw: send: %m");
        }
        next += sent;
        len -= (size_t)sent;
    }
}

static size_t receive_some(struct client *client)
{
    ssize_t got = recv(client->fd, client->in, CHUNK_BYTES, 0);
    if (got <= 0) {
        stop("raw: recv: %s", got == 0 ? "the server closed" : "nothing came, or an error");
    }
    return (size_t)got;
}

/* PING, and wait for the PONG. Nothing else is under way to this client then but INFO. */
static void flush(void *data)
{
    struct client *client = data;
    const size_t pong_len = sizeof(pong_line) - 1;
    uint8_t last[sizeof(pong_line) - 1] = {0};
    send_all(client->fd, ping_line, sizeof(ping_line) - 1);
    while (memcmp(last, pong_line, pong_len) != 0) {
        size_t got = receive_some(client);
        for (size_t i = 0; i < got; i++) {
            memmove(last, last + 1, pong_len - 1);
            last[pong_len - 1] = client->in[i];
        }
    }
}

static void make_frames(struct client *client, const struct peer_options *options)
{
    char line[64];
    size_t line_len =
        (size_t)snprintf(line, sizeof(line), "PUB %s %u\r\n", PEER_TOPIC, options->payload_len);
    client->frame_len = workload_publish_frame_len(PEER_TOPIC, options->payload_len);
    client->frame_count = CHUNK_BYTES / client->frame_len;
    uint8_t *next = client->out;
    for (uint64_t i = 0; i < client->frame_count; i++) {
        memcpy(next, line, line_len);
        memcpy(next + line_len, options->payload, options->payload_len);
        memcpy(next + client->frame_len - 2, "\r\n", 2);
        next += client->frame_len;
    }
}

static void *open_client(const struct peer_options *options)
{
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL || (client->out = malloc(CHUNK_BYTES)) == NULL ||
        (client->in = malloc(CHUNK_BYTES)) == NULL) {
        stop("no memory");
    }
    client->payload_len = options->payload_len;
    make_frames(client, options);
    client->fd = net_connect(options->port);
    if (client->fd < 0) {
        stop("raw: connect: %m");
    }
    struct timeval timeout = {.tv_sec = PEER_TIMEOUT_MS / 1000};
    (void)setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    send_all(client->fd, connect_line, sizeof(connect_line) - 1);
    flush(client);
    return client;
}

static void publish(void *data, uint64_t count)
{
    struct client *client = data;
    while (count != 0) {
        uint64_t now = count < client->frame_count ? count : client->frame_count;
        send_all(client->fd, client->out, (size_t)now * client->frame_len);
        count -= now;
    }
}

static void subscribe(void *data, struct peer_tally *tally)
{
    static const char sub_line[] = "SUB " PEER_TOPIC " 1\r\n";
    struct client *client = data;
    client->tally = tally;
    send_all(client->fd, sub_line, sizeof(sub_line) - 1);
}

/*
 * Count the messages whose line ends in the received bytes: find the end of each line and step
 * over the payload behind it. Other lines (nats-server sends a PING in between) have none.
 */
static uint64_t scan(struct client *client, size_t len)
{
    uint64_t count = 0;
    size_t at = client->skip;
    client->skip = 0;
    while (at < len) {
        bool is_message = client->cut_line ? client->cut_message : client->in[at] == 'M';
        const uint8_t *end = memchr(client->in + at, '\n', len - at);
        client->cut_line = end == NULL;
        if (end == NULL) {
            client->cut_message = is_message;
            return count;
        }
        at = (size_t)(end - client->in) + 1;
        if (is_message) {
            count++;
            at += client->payload_len + 2;
        }
    }
    client->skip = at - len;
    return count;
}

static void await(void *data, uint64_t total)
{
    struct client *client = data;
    while (peer_tally_total(client->tally) < total) {
        size_t len = receive_some(client);
        peer_tally_add(&client->tally->received, scan(client, len));
    }
}

static void close_client(void *data)
{
    struct client *client = data;
    (void)close(client->fd);
    free(client->out);
    free(client->in);
    free(client);
}

const struct peer peer_raw = {
    .name = "raw socket",
    .threads_max = 1,
    .receives = true,
    .open = open_client,
    .publish = publish,
    .flush = flush,
    .subscribe = subscribe,
    .await = await,
    .close = close_client,
};
