/* SPDX-License-Identifier: MIT */
#include "support/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT_FIRST = 12000, PORT_COUNT = 20000, PORT_TRIES = 1000 };

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

int net_listen(uint16_t *port)
{
    for (int i = 0; i < PORT_TRIES; i++) {
        uint32_t random = 0;
        if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random)) {
            return -1;
        }
        uint16_t candidate = (uint16_t)(PORT_FIRST + random % PORT_COUNT);
        struct sockaddr_in address = loopback(candidate);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        /* Linux hands a port in TIME_WAIT to a server only with this option. */
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
        if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 128) == 0) {
            *port = candidate;
            return fd;
        }
        (void)close(fd);
    }
    return -1;
}

uint16_t net_free_port(void)
{
    uint16_t port = 0;
    int fd = net_listen(&port);
    if (fd >= 0) {
        (void)close(fd);
    }
    return port;
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
