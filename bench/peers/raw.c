/* SPDX-License-Identifier: MIT */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "harness/stop.h"
#include "harness/topic.h"
#include "harness/workload.h"
#include "peers/peer.h"
#include "support/net.h"

#define CHUNK_BYTES ((size_t)256 * 1024)

static const char connect_line[] = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";
static const char ping_line[] = "PING\r\n";
static const char pong_line[] = "PONG\r\n";

struct client {
    struct peer_options options;
    int fd;
    SSL *ssl; /* NULL: in clear */
    size_t frame_len;
    uint64_t frame_count; /* ready-made ones in `out`: a cycle through all topics, or several */
    uint8_t *out;
    uint8_t *in;
    size_t in_len; /* a frame that is not complete; only if time counts */
    /* How the last receive ended: before so much payload, or inside a line. */
    size_t skip;
    bool cut_line;
    bool cut_message; /* ... of a message */
    struct peer_tally *tally;
};

static ssize_t send_some(struct client *client, const void *bytes, size_t len)
{
    size_t sent;
    if (client->ssl == NULL) {
        return send(client->fd, bytes, len, MSG_NOSIGNAL);
    }
    return SSL_write_ex(client->ssl, bytes, len, &sent) == 1 ? (ssize_t)sent : -1;
}

static ssize_t receive_part(struct client *client, void *bytes, size_t len)
{
    size_t got;
    if (client->ssl == NULL) {
        return recv(client->fd, bytes, len, 0);
    }
    return SSL_read_ex(client->ssl, bytes, len, &got) == 1 ? (ssize_t)got : -1;
}

static void send_all(struct client *client, const void *bytes, size_t len)
{
    const uint8_t *next = bytes;
    while (len != 0) {
        ssize_t sent = send_some(client, next, len);
        if (sent < 0) {
            stop("raw: send: %m");
        }
        next += sent;
        len -= (size_t)sent;
    }
}

static size_t receive_some(struct client *client)
{
    ssize_t got = receive_part(client, client->in + client->in_len, CHUNK_BYTES);
    if (got <= 0) {
        stop("raw: recv: %s", got == 0 ? "the server closed" : "nothing came, or an error");
    }
    return (size_t)got;
}

/* TLS as OpenSSL has it on a socket; the server waits for it behind INFO. */
static void secure(struct client *client)
{
    char last = '\0';
    while (last != '\n') {
        if (recv(client->fd, &last, 1, 0) != 1) {
            stop("raw: no INFO");
        }
    }
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (context == NULL) {
        stop("no memory");
    }
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, CHUNK_BYTES);
    client->ssl = SSL_new(context);
    SSL_CTX_free(context);
    if (client->ssl == NULL || SSL_set_fd(client->ssl, client->fd) != 1 ||
        SSL_connect(client->ssl) != 1) {
        stop("raw: TLS");
    }
}

/* PING, and wait for the PONG. Nothing else is under way to this client then but INFO. */
static void flush(void *data)
{
    struct client *client = data;
    const size_t pong_len = sizeof(pong_line) - 1;
    uint8_t last[sizeof(pong_line) - 1] = {0};
    send_all(client, ping_line, sizeof(ping_line) - 1);
    while (memcmp(last, pong_line, pong_len) != 0) {
        size_t got = receive_some(client);
        for (size_t i = 0; i < got; i++) {
            memmove(last, last + 1, pong_len - 1);
            last[pong_len - 1] = client->in[i];
        }
    }
}

static void make_frames(struct client *client)
{
    const struct peer_options *options = &client->options;
    client->frame_len = workload_publish_frame_len(options->payload_len);
    uint64_t cycles = CHUNK_BYTES / (client->frame_len * options->topics);
    client->frame_count = options->topics * (cycles != 0 ? cycles : 1);
    client->out = malloc(client->frame_count * client->frame_len + 1);
    if (client->out == NULL) {
        stop("no memory");
    }
    for (uint64_t i = 0; i < client->frame_count; i++) {
        char topic[TOPIC_SIZE];
        uint8_t *frame = client->out + i * client->frame_len;
        size_t payload_at = client->frame_len - options->payload_len - 2;
        topic_write(topic, (uint32_t)(i % options->topics));
        (void)snprintf((char *)frame, payload_at + 1, "PUB %s %u\r\n", topic, options->payload_len);
        memcpy(frame + payload_at, options->payload, options->payload_len);
        memcpy(frame + client->frame_len - 2, "\r\n", 2);
    }
}

static void *open_client(const struct peer_options *options)
{
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL || (client->in = malloc(2 * CHUNK_BYTES)) == NULL) {
        stop("no memory");
    }
    client->options = *options;
    make_frames(client);
    client->fd = net_connect(options->ports[0]);
    if (client->fd < 0) {
        stop("raw: connect: %m");
    }
    int on = 1;
    struct timeval timeout = {.tv_sec = PEER_TIMEOUT_MS / 1000};
    (void)setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (options->tls) {
        secure(client);
    }
    send_all(client, connect_line, sizeof(connect_line) - 1);
    flush(client);
    return client;
}

/* The frame is ready-made but for its payload. */
static void publish_prompt(struct client *client)
{
    const struct peer_options *options = &client->options;
    memcpy(client->out + client->frame_len - options->payload_len - 2, options->payload,
           options->payload_len);
    send_all(client, client->out, client->frame_len);
}

/* Ready-made frames, about a chunk at a time. */
static void publish(void *data, uint32_t first, uint64_t count)
{
    struct client *client = data;
    uint64_t chunk = CHUNK_BYTES / client->frame_len;
    uint64_t next = first;
    if (client->options.prompt) {
        publish_prompt(client);
        return;
    }
    while (count != 0) {
        uint64_t now = client->frame_count - next;
        now = now < chunk ? now : chunk;
        now = now < count ? now : count;
        send_all(client, client->out + next * client->frame_len, (size_t)now * client->frame_len);
        count -= now;
        next = (next + now) % client->frame_count;
    }
}

/* ---- Receive ------------------------------------------------------------------------------ */

static void subscribe(void *data, struct peer_tally *tally)
{
    struct client *client = data;
    const struct peer_options *options = &client->options;
    char topic[TOPIC_SIZE];
    char *lines = NULL;
    size_t len = 0;
    client->tally = tally;
    FILE *text = open_memstream(&lines, &len);
    for (uint32_t i = 0; i < options->topics + options->held; i++) {
        if (i < options->topics) {
            topic_write(topic, i);
        } else {
            topic_write_held(topic, i - options->topics);
        }
        (void)fprintf(text, "SUB %s %u\r\n", topic, i + 1);
    }
    (void)fclose(text);
    send_all(client, lines, len);
    free(lines);
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
            at += client->options.payload_len + 2;
        }
    }
    client->skip = at - len;
    return count;
}

/* Count the messages that are here as a whole, and show their payloads. Keeps the rest. */
static uint64_t take_frames(struct client *client, size_t len)
{
    uint64_t count = 0;
    size_t at = 0;
    const uint8_t *end;
    while ((end = memchr(client->in + at, '\n', len - at)) != NULL) {
        size_t next = (size_t)(end - client->in) + 1;
        if (client->in[at] == 'M') {
            if (len - next < client->options.payload_len + 2) {
                break;
            }
            client->tally->on_payload(client->tally->context, client->in + next);
            next += client->options.payload_len + 2;
            count++;
        }
        at = next;
    }
    client->in_len = len - at;
    memmove(client->in, client->in + at, client->in_len);
    return count;
}

static void await(void *data, uint64_t total)
{
    struct client *client = data;
    bool whole = client->tally->on_payload != NULL;
    while (peer_tally_total(client->tally) < total) {
        size_t len = client->in_len + receive_some(client);
        uint64_t count = whole ? take_frames(client, len) : scan(client, len);
        peer_tally_add(&client->tally->received, count);
    }
}

static void close_client(void *data)
{
    struct client *client = data;
    SSL_free(client->ssl);
    (void)close(client->fd);
    free(client->out);
    free(client->in);
    free(client);
}

const struct peer peer_raw = {
    .name = "raw socket",
    .takes = PEER_ALL,
    .shares = false,
    .open = open_client,
    .publish = publish,
    .flush = flush,
    .subscribe = subscribe,
    .await = await,
    .close = close_client,
};
