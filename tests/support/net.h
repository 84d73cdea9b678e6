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
 * A port of 127.0.0.1 and of all other addresses of this machine that belongs to this process until
 * it ends: nobody who asks for a port is given it, neither here nor in other processes, and nobody
 * listens there, so that a connection to it is refused, until a program of this test does.
 *
 * What holds it is a socket that is bound and does not listen, which is never closed. A server may
 * listen beside it if it sets SO_REUSEADDR, as nats-server and haproxy do; a program that is none
 * of ours and sets it may do so too, so who starts a server still looks whether it is his that
 * answers.
 *
 * The ports are those from 12000 to 31999: below the range from which the kernel picks ports of
 * outgoing connections (ip_local_port_range, 32768 and up). A client that reconnects to a dead
 * server's port in that range can connect to itself.
 *
 * Threads: any. Returns: the port, 0 if there is none.
 */
uint16_t net_hold_port(void);

/** Let net_hold_port() take other ports: `count` from `first` on. For tests of it. */
void net_set_ports(uint16_t first, uint16_t count);

/**
 * A listening socket on a port of 127.0.0.1 that net_hold_port() gave; the port stays held when the
 * socket is closed.
 *
 * Returns: the socket, close-on-exec, with `*port` set; -1 if there is none.
 */
int net_listen(uint16_t *port);

/** Connect to a port of 127.0.0.1. Returns: a close-on-exec socket, or -1. Does not wait long. */
int net_connect(uint16_t port);

/** Wait until `fd` has `events`. Returns: whether it did before the deadline. */
bool net_wait(int fd, short events, uint64_t deadline_ms);

#endif
