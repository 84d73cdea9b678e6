/* SPDX-License-Identifier: MIT */
#include "io/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "roulette.h"

int rlt_socket_create(int family, const struct rlt_socket_options *options)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return ROULETTE_ESYSTEM;
    }
    /* Both only tune: a kernel that refuses one still has a working socket. */
    int on = options->tcp_nodelay ? 1 : 0;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (options->user_timeout_ms != 0) {
        unsigned int timeout = options->user_timeout_ms;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
    }
    return fd;
}

size_t rlt_socket_send_now(int fd, const struct rlt_span *spans, uint32_t count)
{
    /* A span is laid out as an iovec: io/uring.c asserts it. */
    struct msghdr header = {.msg_iov = (struct iovec *)(uintptr_t)spans, .msg_iovlen = count};
    long taken = syscall(SYS_sendmsg, fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    return taken > 0 ? (size_t)taken : 0;
}
