/* SPDX-License-Identifier: MIT */
#include "support/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT_FIRST = 12000, PORT_COUNT = 20000, PORT_TRIES = 1000, LISTEN_TRIES = 10 };

uint64_t net_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int net_left_ms(uint64_t deadline_ms)
{
    uint64_t now_ms = net_now_ms();
    return deadline_ms > now_ms ? (int)(deadline_ms - now_ms) : 0;
}

static struct sockaddr_in loopback(uint16_t port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static atomic_uint port_first = PORT_FIRST;
static atomic_uint port_count = PORT_COUNT;

void net_set_ports(uint16_t first, uint16_t count)
{
    atomic_store(&port_first, first);
    atomic_store(&port_count, count);
}

/* Bind to a port of all addresses of both families, or of IPv4 where the machine has no other. */
static bool bind_all(uint16_t port, int *fd)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    int zero = 0;
    *fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd >= 0 && setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) == 0) {
        if (bind(*fd, (const struct sockaddr *)&v6, sizeof(v6)) == 0) {
            return true;
        }
        if (errno == EADDRINUSE) {
            return false;
        }
    }
    if (*fd >= 0) {
        (void)close(*fd);
    }
    *fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return *fd >= 0 && bind(*fd, (const struct sockaddr *)&v4, sizeof(v4)) == 0;
}

/* Bound without SO_REUSEADDR, the socket shares its port with no other socket at that moment. With
 * the option from then on, a server that sets it too may listen; sockets without it are refused. */
static bool hold(uint16_t port)
{
    int fd = -1;
    int one = 1;
    if (bind_all(port, &fd) && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0) {
        return true;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return false;
}

uint16_t net_hold_port(void)
{
    for (int i = 0; i < PORT_TRIES; i++) {
        uint32_t random = 0;
        if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
            return 0;
        }
        uint16_t port = (uint16_t)(atomic_load(&port_first) + random % atomic_load(&port_count));
        if (hold(port)) {
            return port;
        }
    }
    return 0;
}

/* Returns: a listening socket, or -1. */
static int listen_at(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 128) == 0) {
        return fd;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return -1;
}

int net_listen(uint16_t *port)
{
    for (int i = 0; i < LISTEN_TRIES; i++) {
        uint16_t held = net_hold_port();
        int fd = held != 0 ? listen_at(held) : -1;
        if (fd >= 0) {
            *port = held;
            return fd;
        }
    }
    return -1;
}

int net_connect(uint16_t port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

bool net_wait(int fd, short events, uint64_t deadline_ms)
{
    struct pollfd wait = {.fd = fd, .events = events};
    int result;
    do {
        result = poll(&wait, 1, net_left_ms(deadline_ms));
    } while (result < 0 && errno == EINTR);
    return result == 1;
}
