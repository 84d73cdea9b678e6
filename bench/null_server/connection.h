/* SPDX-License-Identifier: MIT */
/**
 * The one connection that a null server serves at a time: bytes out, and lines or blocks of bytes
 * in.
 */
#ifndef BENCH_NULL_SERVER_CONNECTION_H
#define BENCH_NULL_SERVER_CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "null_server/tls.h"

#define CONNECTION_CHUNK ((size_t)256 * 1024)

/** Owned by main(), used again for each connection. The bytes in `in` from `start` to `end` are
 *  received and not used yet. */
struct connection {
    int fd;
    SSL *ssl;                /* NULL: in clear */
    size_t record_len;       /* with TLS: what is sent at once */
    bool over;               /* the peer is gone: every call does nothing from here on */
    uint64_t received_bytes; /* not those of TLS itself, nor sent ones */
    uint64_t sent_bytes;
    size_t start;
    size_t end;
    uint8_t in[2 * CONNECTION_CHUNK];
};

/** Take over a socket. Ownership: connection_close() closes it. */
void connection_open(struct connection *connection, int fd);
void connection_close(struct connection *connection);

/** Be the server of a TLS handshake: all that is sent and received from here on is in it. */
void connection_secure(struct connection *connection, const struct null_tls *tls);

void connection_send(struct connection *connection, const void *bytes, size_t len);

/**
 * Receive what there is, behind `end`. At most a chunk's bytes may be unused; they are moved to
 * the front. `flags` as of recv().
 *
 * Returns: whether something came.
 */
bool connection_receive(struct connection *connection, int flags);

/**
 * Take the next line without its line end. It is valid until the next call.
 *
 * `flags` is 0 to wait for it, or MSG_DONTWAIT.
 *
 * Returns: the line, NUL-terminated; NULL if there is none yet, or the connection is over.
 */
char *connection_line(struct connection *connection, int flags);

/** Take the next `len` bytes, at most a chunk. Waits. Returns: them, or NULL. */
const uint8_t *connection_bytes(struct connection *connection, size_t len);

/** Answer a PING. Returns: whether the line is one. */
bool connection_answer(struct connection *connection, const char *line);

#endif
