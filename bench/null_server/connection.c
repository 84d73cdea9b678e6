/* SPDX-License-Identifier: MIT */
#include "null_server/connection.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char pong_line[] = "PONG\r\n";

void connection_open(struct connection *connection, int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    connection->fd = fd;
    connection->ssl = NULL;
    connection->over = false;
    connection->received_bytes = 0;
    connection->sent_bytes = 0;
    connection->start = 0;
    connection->end = 0;
}

void connection_close(struct connection *connection)
{
    SSL_free(connection->ssl);
    (void)close(connection->fd);
}

void connection_secure(struct connection *connection, const struct null_tls *tls)
{
    connection->record_len = tls->record_len;
    connection->ssl = SSL_new(tls->context);
    if (connection->ssl == NULL || SSL_set_fd(connection->ssl, connection->fd) != 1 ||
        SSL_accept(connection->ssl) != 1) {
        connection->over = true;
    }
}

static ssize_t send_some(struct connection *connection, const void *bytes, size_t len)
{
    size_t sent;
    if (connection->ssl == NULL) {
        return send(connection->fd, bytes, len, MSG_NOSIGNAL);
    }
    len = len < connection->record_len ? len : connection->record_len;
    return SSL_write_ex(connection->ssl, bytes, len, &sent) == 1 ? (ssize_t)sent : -1;
}

/* With TLS, whatever comes is taken for a record that is here, or soon will be. */
static ssize_t receive_some(struct connection *connection, void *bytes, size_t len, int flags)
{
    char first;
    size_t got;
    if (connection->ssl == NULL) {
        return recv(connection->fd, bytes, len, flags);
    }
    if ((flags & MSG_DONTWAIT) != 0 && SSL_has_pending(connection->ssl) == 0 &&
        recv(connection->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
        return -1;
    }
    return SSL_read_ex(connection->ssl, bytes, len, &got) == 1 ? (ssize_t)got : 0;
}

void connection_send(struct connection *connection, const void *bytes, size_t len)
{
    const uint8_t *next = bytes;
    while (len != 0 && !connection->over) {
        ssize_t sent = send_some(connection, next, len);
        if (sent < 0) {
            connection->over = true;
            return;
        }
        next += sent;
        len -= (size_t)sent;
        connection->sent_bytes += (uint64_t)sent;
    }
}

bool connection_receive(struct connection *connection, int flags)
{
    size_t unused = connection->end - connection->start;
    if (connection->over || unused > CONNECTION_CHUNK) {
        connection->over = true;
        return false;
    }
    memmove(connection->in, connection->in + connection->start, unused);
    connection->start = 0;
    connection->end = unused;
    ssize_t got = receive_some(connection, connection->in + unused, CONNECTION_CHUNK, flags);
    if (got <= 0) {
        connection->over = got == 0 || (flags & MSG_DONTWAIT) == 0;
        return false;
    }
    connection->received_bytes += (uint64_t)got;
    connection->end += (size_t)got;
    return true;
}

char *connection_line(struct connection *connection, int flags)
{
    size_t scanned = 0;
    for (;;) {
        size_t from = connection->start + scanned;
        uint8_t *end = memchr(connection->in + from, '\n', connection->end - from);
        if (end != NULL) {
            char *line = (char *)connection->in + connection->start;
            connection->start = (size_t)(end - connection->in) + 1;
            *end = '\0';
            if (end != (uint8_t *)line && end[-1] == '\r') {
                end[-1] = '\0';
            }
            return line;
        }
        scanned = connection->end - connection->start;
        if (!connection_receive(connection, flags)) {
            return NULL;
        }
    }
}

const uint8_t *connection_bytes(struct connection *connection, size_t len)
{
    while (connection->end - connection->start < len) {
        if (!connection_receive(connection, 0)) {
            return NULL;
        }
    }
    const uint8_t *bytes = connection->in + connection->start;
    connection->start += len;
    return bytes;
}

bool connection_answer(struct connection *connection, const char *line)
{
    if (strcmp(line, "PING") != 0) {
        return false;
    }
    connection_send(connection, pong_line, sizeof(pong_line) - 1);
    return true;
}
