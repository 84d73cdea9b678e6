/* SPDX-License-Identifier: MIT */
/**
 * Loopback sockets for test servers, and deadlines. Every wait here has a deadline.
 */
#ifndef RLT_TESTS_SUPPORT_NET_H
#define RLT_TESTS_SUPPORT_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Milliseconds of CLOCK_MONOTONIC. */
uint64_t net_now_ms(void);

/** What is left until `deadline_ms`, at least 0, as poll() takes it. */
int net_left_ms(uint64_t deadline_ms);

/**
 * A listening socket on a free port of 127.0.0.1, from 12000 to 31999: below the range from which
 * the kernel picks ports of outgoing connections (ip_local_port_range, 32768 and up). A client
 * that reconnects to a dead server's port in that range can connect to itself, or be given the
 * port before the server comes back.
 *
 * Returns: the socket, close-on-exec, with `*port` set; -1 if there is none.
 */
int net_listen(uint16_t *port);

/** A port that was free a moment ago, as net_listen() picks it; 0 if there is none. */
uint16_t net_free_port(void);

/** Connect to a port of 127.0.0.1. Returns: a close-on-exec socket, or -1. Does not wait long. */
int net_connect(uint16_t port);

/** Wait until `fd` has `events`. Returns: whether it did before the deadline. */
bool net_wait(int fd, short events, uint64_t deadline_ms);

#endif
