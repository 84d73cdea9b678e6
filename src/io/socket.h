/* SPDX-License-Identifier: MIT */
/**
 * TCP sockets with the client's options.
 */
#ifndef RLT_IO_SOCKET_H
#define RLT_IO_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/seam/transport.h"

struct rlt_socket_options {
    bool tcp_nodelay;
    /* How long sent bytes may stay unacknowledged before the kernel gives the connection up
     * (TCP_USER_TIMEOUT, RFC 5482): finds a dead peer even while nothing is received. 0: the
     * kernel's default. */
    uint32_t user_timeout_ms;
    /* How long one address of a host is tried alone before the next one is tried beside it
     * (RFC 8305, Connection Attempt Delay). */
    uint32_t attempt_delay_ms;
};

/**
 * Make a TCP socket, blocking (io_uring waits for it itself) and close-on-exec.
 *
 * Returns: the descriptor, or ROULETTE_ESYSTEM.
 */
int rlt_socket_create(int family, const struct rlt_socket_options *options);

/**
 * Send as much as the kernel takes at once. No cancellation point: a thread that ended here would
 * keep its loan (core/cluster/direct_send.h).
 *
 * Returns: the bytes taken, 0 if none or on an error.
 */
size_t rlt_socket_send_now(int fd, const struct rlt_span *spans, uint32_t count);

/**
 * Receive all that is there, up to the spans' room. No cancellation point, as
 * rlt_socket_send_now().
 *
 * Returns: the bytes received; 0 if there are none; < 0 if the stream is over.
 */
int64_t rlt_socket_receive_now(int fd, const struct rlt_span *spans, uint32_t count);

/**
 * Whether a connected socket is its own peer. TCP allows that: a connect to a port of this machine
 * where nobody listens, from that very port, which the kernel may pick if it lies in the range of
 * ephemeral ports. Both ends are ours then, and the server finds its port taken when it comes back.
 */
bool rlt_socket_is_own_peer(int fd);

/** Close `*fd` and give its port back at once, without TIME_WAIT. */
void rlt_socket_abort(int *fd);

/**
 * Whether the peer's machine acknowledges sent bytes, and window probes while it takes none: false
 * if two retransmissions in a row had no answer (TCP_INFO). True if the kernel does not tell.
 */
bool rlt_socket_is_acknowledged(int fd);

#endif
