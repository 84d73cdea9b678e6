/* SPDX-License-Identifier: MIT */
/*
 * bench_null_server discard
 * bench_null_server blast <payload bytes> <messages>
 *
 * A server that costs as little as a peer of a client can. It listens on a free port of
 * 127.0.0.1, prints "port <port>", and serves one connection after the other: INFO, a PONG for
 * each PING, and then
 *
 *     discard: reads and forgets what is published;
 *     blast:   upon the first SUB, sends so many ready-made messages of its topic and sid.
 *
 * After each connection it prints "closed <bytes received> <bytes sent> <CPU ns so far>". It
 * does not end by itself.
 *
 * PINGs are found without parsing what is between them: a search for their G, which runs at the
 * speed of memory because the bench's topics and payloads have none, and then a look at the
 * bytes around it. A payload with the line "PING" in it would be answered too.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/net.h"

#define CHUNK_BYTES ((size_t)256 * 1024)
#define TOPIC_MAX   256

static const char info_line[] =
    "INFO {\"server_id\":\"NULL\",\"server_name\":\"null\",\"version\":\"2.9.10\",\"proto\":1,"
    "\"headers\":true,\"max_payload\":1048576,\"host\":\"127.0.0.1\",\"port\":4222}\r\n";
static const char pong_line[] = "PONG\r\n";
static const char ping_line[] = "\nPING\r\n"; /* with the end of the line before it */

#define PING_LEN (sizeof(ping_line) - 1)
/* Bytes before the G. */
#define G_OFFSET ((size_t)4)

/* What to send upon a SUB. */
struct load {
    bool wanted;
    size_t payload_len;
    uint64_t messages;
};

struct connection {
    int fd;
    bool over;
    uint64_t received_bytes;
    uint64_t sent_bytes;
    /* The end of what was received before, too short for a PING line, and behind it room. */
    size_t carried;
    uint8_t in[PING_LEN - 1 + CHUNK_BYTES];
    size_t in_len;
};

static void send_all(struct connection *connection, const void *bytes, size_t len)
{
    const uint8_t *next = bytes;
    while (len != 0 && !connection->over) {
        ssize_t sent = send(connection->fd, next, len, MSG_NOSIGNAL);
        if (sent < 0) {
            connection->over = true;
            return;
        }
        next += sent;
        len -= (size_t)sent;
        connection->sent_bytes += (uint64_t)sent;
    }
}

/* ---- Receiving ---------------------------------------------------------------------------- */

static uint32_t count_pings(const uint8_t *bytes, size_t len)
{
    uint32_t count = 0;
    const uint8_t *end = bytes + len;
    const uint8_t *at = bytes;
    while ((at = memchr(at, 'G', (size_t)(end - at))) != NULL) {
        size_t before = (size_t)(at - bytes);
        if (before >= G_OFFSET && (size_t)(end - at) >= PING_LEN - G_OFFSET &&
            memcmp(at - G_OFFSET, ping_line, PING_LEN) == 0) {
            count++;
        }
        at++;
    }
    return count;
}

/* Receive, and answer the PINGs in it. False if there was nothing. */
static bool receive(struct connection *connection, int flags)
{
    ssize_t got = recv(connection->fd, connection->in + connection->carried, CHUNK_BYTES, flags);
    if (got <= 0) {
        connection->over = got == 0 || (flags & MSG_DONTWAIT) == 0;
        return false;
    }
    connection->received_bytes += (uint64_t)got;
    connection->in_len = connection->carried + (size_t)got;
    uint32_t pings = count_pings(connection->in, connection->in_len);
    while (pings-- != 0) {
        send_all(connection, pong_line, sizeof(pong_line) - 1);
    }
    return true;
}

/* Keep what may be the start of a PING line. */
static void carry(struct connection *connection)
{
    size_t keep = connection->in_len < PING_LEN - 1 ? connection->in_len : PING_LEN - 1;
    memmove(connection->in, connection->in + connection->in_len - keep, keep);
    connection->carried = keep;
    connection->in_len = keep;
}

static void discard(struct connection *connection)
{
    while (!connection->over) {
        if (receive(connection, 0)) {
            carry(connection);
        }
    }
}

/* ---- Blasting ----------------------------------------------------------------------------- */

/* Find the SUB line in a handshake's bytes. */
static bool find_sub(const char *handshake, char topic[TOPIC_MAX], char sid[32])
{
    const char *line = strstr(handshake, "\nSUB ");
    if (line == NULL || strchr(line + 1, '\n') == NULL) {
        return false;
    }
    char middle[TOPIC_MAX];
    char end;
    if (sscanf(line, "\nSUB %255s %31[0-9]%c", topic, sid, &end) == 3 && end == '\r') {
        return true;
    }
    return sscanf(line, "\nSUB %255s %255s %31s", topic, middle, sid) == 3;
}

/* Wait for a SUB. False if the client closed first. */
static bool await_sub(struct connection *connection, char topic[TOPIC_MAX], char sid[32])
{
    static char handshake[64 * 1024];
    size_t len = 0;
    while (receive(connection, 0)) {
        size_t fresh = connection->in_len - connection->carried;
        if (fresh >= sizeof(handshake) - len) {
            break;
        }
        memcpy(handshake + len, connection->in + connection->carried, fresh);
        len += fresh;
        handshake[len] = '\0';
        carry(connection);
        if (find_sub(handshake, topic, sid)) {
            return true;
        }
    }
    return false;
}

/* Whole frames, as many as fit into a chunk; one at least. */
static uint8_t *make_frames(const char *topic, const char *sid, size_t payload_len,
                            size_t *frame_len, uint64_t *count)
{
    char line[TOPIC_MAX + 64];
    size_t line_len =
        (size_t)snprintf(line, sizeof(line), "MSG %s %s %zu\r\n", topic, sid, payload_len);
    *frame_len = line_len + payload_len + 2;
    *count = *frame_len < CHUNK_BYTES ? CHUNK_BYTES / *frame_len : 1;
    uint8_t *frames = malloc(*count * *frame_len);
    for (uint64_t i = 0; frames != NULL && i < *count; i++) {
        uint8_t *frame = frames + i * *frame_len;
        memcpy(frame, line, line_len);
        memset(frame + line_len, 'x', payload_len);
        memcpy(frame + line_len + payload_len, "\r\n", 2);
    }
    return frames;
}

static void blast(struct connection *connection, const struct load *load)
{
    char topic[TOPIC_MAX];
    char sid[32];
    if (!await_sub(connection, topic, sid)) {
        return;
    }
    size_t frame_len;
    uint64_t count;
    uint8_t *frames = make_frames(topic, sid, load->payload_len, &frame_len, &count);
    uint64_t left = frames != NULL ? load->messages : 0;
    while (left != 0 && !connection->over) {
        uint64_t now = left < count ? left : count;
        send_all(connection, frames, (size_t)now * frame_len);
        left -= now;
        if (receive(connection, MSG_DONTWAIT)) {
            carry(connection);
        }
    }
    free(frames);
    discard(connection);
}

/* ---- Serving ------------------------------------------------------------------------------ */

static uint64_t cpu_ns(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    uint64_t us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                  (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    return us * 1000;
}

static void serve(int fd, const struct load *load)
{
    static struct connection connection;
    connection.fd = fd;
    connection.over = false;
    connection.received_bytes = 0;
    connection.sent_bytes = 0;
    connection.carried = 0;
    send_all(&connection, info_line, sizeof(info_line) - 1);
    if (load->wanted) {
        blast(&connection, load);
    } else {
        discard(&connection);
    }
    (void)close(fd);
    printf("closed %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", connection.received_bytes,
           connection.sent_bytes, cpu_ns());
    (void)fflush(stdout);
}

static bool read_load(int argc, char **argv, struct load *load)
{
    memset(load, 0, sizeof(*load));
    if (argc == 2 && strcmp(argv[1], "discard") == 0) {
        return true;
    }
    if (argc != 4 || strcmp(argv[1], "blast") != 0) {
        return false;
    }
    load->wanted = true;
    load->payload_len = strtoul(argv[2], NULL, 10);
    load->messages = strtoull(argv[3], NULL, 10);
    return true;
}

int main(int argc, char **argv)
{
    struct load load;
    uint16_t port;
    if (!read_load(argc, argv, &load)) {
        fprintf(stderr, "usage: bench_null_server discard | blast <payload bytes> <messages>\n");
        return 2;
    }
    int listener = net_listen(&port);
    if (listener < 0) {
        fprintf(stderr, "bench_null_server: no free port\n");
        return 1;
    }
    printf("port %u\n", port);
    (void)fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0) {
            serve(fd, &load);
        }
    }
}
