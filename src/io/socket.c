/* SPDX-License-Identifier: MIT */
#include "io/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "io/asan.h"
#include "io/endpoints.h"
#include "io/iovecs.h"
#include "io/system/descriptor.h"
#include "roulette.h"

int rlt_socket_create(int family, const struct rlt_socket_options *options)
{
    int fd = rlt_descriptor_above(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
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

bool rlt_socket_is_own_peer(int fd)
{
    union rlt_endpoint own = {.any = {.sa_family = AF_UNSPEC}};
    union rlt_endpoint peer = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t own_len = sizeof(own);
    socklen_t peer_len = sizeof(peer);
    if (getsockname(fd, &own.any, &own_len) != 0 || getpeername(fd, &peer.any, &peer_len) != 0 ||
        own.any.sa_family != peer.any.sa_family) {
        return false;
    }
    if (own.any.sa_family == AF_INET) {
        return own.v4.sin_port == peer.v4.sin_port &&
               own.v4.sin_addr.s_addr == peer.v4.sin_addr.s_addr;
    }
    return own.any.sa_family == AF_INET6 && own.v6.sin6_port == peer.v6.sin6_port &&
           IN6_ARE_ADDR_EQUAL(&own.v6.sin6_addr, &peer.v6.sin6_addr);
}

void rlt_socket_abort(int *fd)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(*fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    rlt_descriptor_close(fd);
}

size_t rlt_socket_send_now(int fd, const struct rlt_span *spans, uint32_t count)
{
    struct msghdr header = rlt_iovecs_of(spans, count);
    long taken = syscall(SYS_sendmsg, fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    return taken > 0 ? (size_t)taken : 0;
}

int64_t rlt_socket_receive_now(int fd, const struct rlt_span *spans, uint32_t count)
{
    struct msghdr header = rlt_iovecs_of(spans, count);
    rlt_asan_check(header.msg_iov, header.msg_iovlen);
    long got = syscall(SYS_recvmsg, fd, &header, MSG_DONTWAIT);
    if (got > 0) {
        return got;
    }
    bool again = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
    return again ? 0 : -1;
}

bool rlt_socket_is_acknowledged(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0) {
        return true;
    }
    return info.tcpi_retransmits < 2 && info.tcpi_probes < 2;
}
