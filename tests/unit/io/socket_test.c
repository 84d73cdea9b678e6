/* SPDX-License-Identifier: MIT */
#include "io/socket.h"

#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/net.h"
#include "support/test.h"

/* A connection within a network namespace of our own, whose only interface can go down. */
struct pair {
    int listener;
    int client;
    int server;
};

static void set_loopback(bool up)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = (short)(up ? IFF_UP : 0)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    (void)close(fd);
}

static void open_pair(struct pair *pair)
{
    uint16_t port;
    pair->listener = net_listen(&port);
    cr_assert_geq(pair->listener, 0);
    pair->client = net_connect(port);
    cr_assert_geq(pair->client, 0);
    pair->server = accept(pair->listener, NULL, NULL);
    cr_assert_geq(pair->server, 0);
}

static void close_pair(struct pair *pair)
{
    (void)close(pair->client);
    (void)close(pair->server);
    (void)close(pair->listener);
}

Test(socket, peer_that_does_not_read_acknowledges)
{
    struct pair pair;
    open_pair(&pair);
    static const char bytes[65536];
    while (send(pair.client, bytes, sizeof(bytes), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    /* While its kernel asks whether there is room again, and is answered. */
    for (uint64_t end_ms = net_now_ms() + 1500; net_now_ms() < end_ms;) {
        cr_assert(rlt_socket_is_acknowledged(pair.client));
        (void)poll(NULL, 0, 10);
    }
    close_pair(&pair);
}

Test(socket, peer_that_is_out_of_reach_does_not)
{
    struct pair pair;
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        cr_skip_test("no network namespace may be made");
    }
    set_loopback(true);
    open_pair(&pair);
    cr_assert_eq(send(pair.client, "x", 1, MSG_NOSIGNAL), 1);
    cr_assert(net_wait(pair.server, POLLIN, net_now_ms() + 5000));
    cr_assert(rlt_socket_is_acknowledged(pair.client));
    set_loopback(false);
    cr_assert_eq(send(pair.client, "x", 1, MSG_NOSIGNAL), 1);
    uint64_t start_ms = net_now_ms();
    while (rlt_socket_is_acknowledged(pair.client)) {
        cr_assert_lt(net_now_ms(), start_ms + 10000);
        (void)poll(NULL, 0, 10);
    }
    close_pair(&pair);
}
