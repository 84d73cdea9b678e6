/* SPDX-License-Identifier: MIT */
/**
 * How a client finds its server: names that are looked up while name servers hang, addresses that
 * do not answer, addresses of the other family, and a connection to itself.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/socket.h"
#include "roulette.h"
#include "support/condition.h"
#include "support/fake_dns.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/log_record.h"
#include "support/net.h"
#include "support/test.h"

enum {
    DELAY_MS = 250, /* before the next address is tried beside one that does not answer */
    BUSY_MS = SCALED(150, 3000),
};

/* What every connection of a server plays here. */
#define INFO "INFO {\"max_payload\":1048576}\r\n"
static const struct fake_step greeting_steps[] = {
    {.kind = FAKE_STEP_SEND, .bytes = INFO, .len = sizeof(INFO) - 1},
    {.kind = FAKE_STEP_EXPECT, .bytes = "PING\r\n", .len = 6},
    {.kind = FAKE_STEP_SEND, .bytes = "PONG\r\n", .len = 6},
};
static const struct fake_script greeting[] = {{greeting_steps, 3}};

/* ---- Addresses ---------------------------------------------------------------------------- */

/* A listening socket at a port of an address of the loopback; -1 if it cannot be. */
static int listen_at(const char *address, uint16_t port, int backlog)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    bool is_v6 = inet_pton(AF_INET6, address, &v6.sin6_addr) == 1;
    cr_assert(is_v6 || inet_pton(AF_INET, address, &v4.sin_addr) == 1);
    int fd = socket(is_v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    const struct sockaddr *any = is_v6 ? (const void *)&v6 : (const void *)&v4;
    if (bind(fd, any, is_v6 ? sizeof(v6) : sizeof(v4)) != 0 || listen(fd, backlog) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* An address that swallows SYNs: a listener whose queue is full. */
struct black_hole {
    int listener;
    int fill[4];
};

static bool open_black_hole(struct black_hole *hole, const char *address, uint16_t port)
{
    struct sockaddr_storage own;
    socklen_t len = sizeof(own);
    hole->listener = listen_at(address, port, 0);
    if (hole->listener < 0) {
        return false;
    }
    cr_assert_eq(getsockname(hole->listener, (struct sockaddr *)&own, &len), 0);
    for (size_t i = 0; i < 4; i++) {
        hole->fill[i] = socket(own.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(hole->fill[i], (struct sockaddr *)&own, len);
    }
    /* One place in the queue, taken by the first: the second is not connected. */
    cr_assert(net_wait(hole->fill[0], POLLOUT, net_now_ms() + EVENTUALLY_MS));
    return true;
}

static void close_black_hole(struct black_hole *hole)
{
    for (size_t i = 0; i < 4; i++) {
        (void)close(hole->fill[i]);
    }
    (void)close(hole->listener);
}

static struct roulette_options options_for(char *servers, size_t size, const char *host,
                                           uint16_t port)
{
    struct roulette_options options;
    (void)snprintf(servers, size, "%s:%u", host, port);
    roulette_options_init(&options);
    options.servers = servers;
    options.reconnect_interval_ms = 1;
    options.max_backoff_ms = 20;
    return options;
}

/* Open a client, and wait until it is connected. Returns: after how many milliseconds it was. */
static uint64_t connect_client(const struct roulette_options *options, roulette_client **client)
{
    uint64_t start_ms = net_now_ms();
    cr_assert_eq(roulette_open(options, client), 0);
    EVENTUALLY(fleet_stats(*client, 0).connected == 1);
    return net_now_ms() - start_ms;
}

static void end_client(roulette_client *client)
{
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
}

static unsigned count_entries(const char *folder)
{
    unsigned count = 0;
    DIR *directory = opendir(folder);
    REQUIRE(directory != NULL);
    while (readdir(directory) != NULL) {
        count++;
    }
    (void)closedir(directory);
    return count;
}

static unsigned count_descriptors(void)
{
    return count_entries("/proc/self/fd");
}

static unsigned count_threads(void)
{
    return count_entries("/proc/self/task") - 2;
}

/* ---- Addresses that do not answer --------------------------------------------------------- */

Test(connect, address_beside_one_that_swallows_syns_is_found_after_the_delay)
{
    struct black_hole hole;
    char servers[64];
    struct fake_server *server = fake_server_start(greeting, 1);
    cr_assert_not_null(server);
    if (!open_black_hole(&hole, "::1", fake_server_port(server))) {
        cr_skip_test("this machine has no ::1");
    }
    fake_dns_set("two.example", "::1", "127.0.0.1", NULL);
    struct roulette_options options =
        options_for(servers, sizeof(servers), "two.example", fake_server_port(server));
    uint64_t least_ms = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        roulette_client *client;
        unsigned before = count_descriptors();
        uint64_t ms = connect_client(&options, &client);
        fprintf(stderr, "connect: connected after %llu ms\n", (unsigned long long)ms);
        least_ms = ms < least_ms ? ms : least_ms;
        cr_assert_leq(ms, DELAY_MS + BUSY_MS);
        cr_assert_eq(fleet_stats(client, 0).connects, 1);
        cr_assert_eq(fleet_stats(client, 0).connect_failures, 0);
        end_client(client);
        EVENTUALLY(count_descriptors() == before); /* the server has closed its end too */
    }
    cr_assert_geq(least_ms, DELAY_MS); /* it was tried first */
    close_black_hole(&hole);
    cr_assert(fake_server_stop(server));
}

/* More of them than are tried at a time. */
Test(connect, good_address_is_found_among_many_that_swallow_syns)
{
    enum { HOLES = 8, RACERS = 4 };
    static const char *const addresses[HOLES] = {"127.0.0.2", "127.0.0.3", "127.0.0.4",
                                                 "127.0.0.5", "127.0.0.6", "127.0.0.7",
                                                 "127.0.0.8", "127.0.0.9"};
    struct black_hole holes[HOLES];
    char servers[64];
    struct fake_server *server = fake_server_start(greeting, 1);
    cr_assert_not_null(server);
    for (size_t i = 0; i < HOLES; i++) {
        cr_assert(open_black_hole(&holes[i], addresses[i], fake_server_port(server)));
    }
    fake_dns_set("many.example", addresses[0], addresses[1], addresses[2], addresses[3],
                 addresses[4], addresses[5], addresses[6], addresses[7], "127.0.0.1", NULL);
    struct roulette_options options =
        options_for(servers, sizeof(servers), "many.example", fake_server_port(server));
    uint64_t most_ms = 0;
    for (int i = 0; i < 8; i++) {
        roulette_client *client;
        unsigned before = count_descriptors();
        uint64_t ms = connect_client(&options, &client);
        most_ms = ms > most_ms ? ms : most_ms;
        cr_assert_leq(ms, HOLES * DELAY_MS + BUSY_MS);
        cr_assert_eq(fleet_stats(client, 0).connect_failures, 0);
        end_client(client);
        EVENTUALLY(count_descriptors() == before); /* the server has closed its end too */
    }
    fprintf(stderr, "connect: among %d that swallow SYNs: %llu ms at most\n", HOLES,
            (unsigned long long)most_ms);
    for (size_t i = 0; i < HOLES; i++) {
        close_black_hole(&holes[i]);
    }
    cr_assert(fake_server_stop(server));
}

Test(connect, address_behind_one_that_refuses_is_tried_at_once)
{
    char servers[64];
    struct fake_server *server = fake_server_start(greeting, 1);
    cr_assert_not_null(server);
    fake_dns_set("two.example", "::1", "127.0.0.1", NULL);
    struct roulette_options options =
        options_for(servers, sizeof(servers), "two.example", fake_server_port(server));
    uint64_t least_ms = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        roulette_client *client;
        uint64_t ms = connect_client(&options, &client);
        least_ms = ms < least_ms ? ms : least_ms;
        cr_assert_eq(fleet_stats(client, 0).connect_failures, 0);
        end_client(client);
    }
    cr_assert_lt(least_ms, DELAY_MS);
    cr_assert(fake_server_stop(server));
}

/* A timeout that is shorter than the delay still leaves the second address its turn. */
Test(connect, short_timeout_has_time_for_both_addresses)
{
    struct black_hole hole;
    char servers[64];
    roulette_client *client;
    struct fake_server *server = fake_server_start(greeting, 1);
    cr_assert_not_null(server);
    if (!open_black_hole(&hole, "::1", fake_server_port(server))) {
        cr_skip_test("this machine has no ::1");
    }
    fake_dns_set("two.example", "::1", "127.0.0.1", NULL);
    struct roulette_options options =
        options_for(servers, sizeof(servers), "two.example", fake_server_port(server));
    options.connection_timeout_ms = 200;
    (void)connect_client(&options, &client);
    end_client(client);
    close_black_hole(&hole);
    cr_assert(fake_server_stop(server));
}

/* Nothing is left behind, neither by attempts that time out nor by a close in the middle of one. */
Test(connect, attempts_that_are_given_up_leave_nothing)
{
    struct black_hole holes[2];
    char servers[64];
    uint16_t port = net_hold_port();
    cr_assert(open_black_hole(&holes[0], "127.0.0.2", port));
    cr_assert(open_black_hole(&holes[1], "127.0.0.3", port));
    fake_dns_set("dead.example", "127.0.0.2", "127.0.0.3", NULL);
    struct roulette_options options = options_for(servers, sizeof(servers), "dead.example", port);
    options.connection_timeout_ms = 40;
    for (int i = 0; i < 10; i++) {
        roulette_client *client;
        unsigned before = count_descriptors();
        cr_assert_eq(roulette_open(&options, &client), 0);
        EVENTUALLY(fleet_stats(client, 0).connect_failures >= (uint64_t)i);
        uint64_t start_ms = net_now_ms();
        end_client(client);
        cr_assert_lt(net_now_ms() - start_ms, BUSY_MS);
        EVENTUALLY(count_descriptors() == before); /* the server has closed its end too */
    }
    close_black_hole(&holes[0]);
    close_black_hole(&holes[1]);
}

/* ---- The loopback ------------------------------------------------------------------------- */

/* A network of our own, with a loopback and one IPv4 address, of a family that is then all that
 * AI_ADDRCONFIG sees. Returns: whether that is permitted here. */
static bool enter_network(void)
{
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        return false;
    }
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING | IFF_LOOPBACK};
    struct ifreq alias = {.ifr_name = "lo:1"};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(0x0a090909)}};
    memcpy(&alias.ifr_addr, &address, sizeof(address));
    bool done = ioctl(fd, SIOCSIFFLAGS, &up) == 0 && ioctl(fd, SIOCSIFADDR, &alias) == 0;
    (void)close(fd);
    return done;
}

/* Whether a server that listens on one address of the loopback is found by a name of it. */
static void check_loopback(const char *name, const char *address)
{
    char servers[64];
    roulette_client *client;
    uint16_t port = net_hold_port();
    int listener = listen_at(address, port, 16);
    cr_assert_geq(listener, 0, "%s", address);
    struct fake_server *server = fake_server_start_on(listener, port, greeting, 1);
    cr_assert_not_null(server);
    struct roulette_options options = options_for(servers, sizeof(servers), name, port);
    (void)connect_client(&options, &client);
    end_client(client);
    cr_assert(fake_server_stop(server));
}

Test(connect, localhost_is_found_on_both_families_where_one_is_configured)
{
    if (!enter_network()) {
        cr_skip_test("a network namespace is not permitted");
    }
    check_loopback("localhost", "127.0.0.1");
    check_loopback("localhost", "::1");
    check_loopback("nats.localhost", "127.0.0.1");
    check_loopback("nats.localhost", "::1");
}

/* ---- A connection to itself --------------------------------------------------------------- */

/* What the kernel may pick as the port of an outgoing connection; 0: whatever it likes. */
static _Atomic(uint16_t) own_port;

int __real_rlt_socket_create(int family, const struct rlt_socket_options *options);
int __wrap_rlt_socket_create(int family, const struct rlt_socket_options *options);

int __wrap_rlt_socket_create(int family, const struct rlt_socket_options *options)
{
    int fd = __real_rlt_socket_create(family, options);
    uint16_t port = atomic_load(&own_port);
    if (port != 0) {
        struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        v6.sin6_addr = in6addr_loopback;
        const struct sockaddr *any = family == AF_INET ? (const void *)&v4 : (const void *)&v6;
        REQUIRE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)) == 0);
        REQUIRE(bind(fd, any, family == AF_INET ? sizeof(v4) : sizeof(v6)) == 0);
    }
    return fd;
}

static void check_own_peer(const char *host, const char *address)
{
    char servers[64];
    roulette_client *client;
    struct log_record *record = log_record_create();
    uint16_t port = net_hold_port();
    struct roulette_options options = options_for(servers, sizeof(servers), host, port);
    options.connection_timeout_ms = 60000;
    log_record_attach(record, &options);
    atomic_store(&own_port, port);
    cr_assert_eq(roulette_open(&options, &client), 0);
    EVENTUALLY(fleet_stats(client, 0).connect_failures >= 3);
    cr_assert_eq(fleet_stats(client, 0).last_error, ROULETTE_ESELF);
    cr_assert_geq(log_record_count(record, roulette_error_text(ROULETTE_ESELF)), 3);
    cr_assert_eq(fleet_stats(client, 0).connects, 0);
    /* The port is there for the server, and the client finds it. */
    atomic_store(&own_port, 0);
    int listener = -1;
    EVENTUALLY((listener = listen_at(address, port, 16)) >= 0);
    struct fake_server *server = fake_server_start_on(listener, port, greeting, 1);
    cr_assert_not_null(server);
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    end_client(client);
    cr_assert(fake_server_stop(server));
    log_record_destroy(record);
}

Test(connect, connection_to_itself_is_a_failed_attempt_with_a_name)
{
    check_own_peer("127.0.0.1", "127.0.0.1");
}

Test(connect, connection_to_itself_is_known_with_ipv6)
{
    int probe = listen_at("::1", net_hold_port(), 1);
    if (probe < 0) {
        cr_skip_test("this machine has no ::1");
    }
    (void)close(probe);
    check_own_peer("[::1]", "::1");
}

/* ---- Name servers that hang --------------------------------------------------------------- */

Test(connect, hanging_name_servers_cost_one_thread_for_each_name)
{
    static const char *const names[] = {"a.example", "b.example", "c.example"};
    enum { NAMES = 3, POOL = 4, ATTEMPTS = 200 };
    roulette_client *clients[2];
    char servers[128];
    struct fake_server *server = fake_server_start(greeting, 1);
    cr_assert_not_null(server);
    (void)snprintf(servers, sizeof(servers), "%s:%u,%s:1,%s:1", names[0], fake_server_port(server),
                   names[1], names[2]);
    for (int i = 0; i < NAMES; i++) {
        fake_dns_set(names[i], i == 0 ? "127.0.0.1" : NULL, NULL);
        fake_dns_hang(names[i]);
    }
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = servers;
    options.pool_size = POOL;
    options.connection_timeout_ms = 20;
    options.base_backoff_ms = 1;
    options.max_backoff_ms = 5;
    options.event_threads = 1;
    unsigned before = count_threads();
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(roulette_open(&options, &clients[i]), 0);
    }
    EVENTUALLY(fake_dns_running(NULL) >= NAMES);
    unsigned most = 0;
    while (fleet_stats(clients[0], 0).connect_failures < ATTEMPTS ||
           fleet_stats(clients[1], 2).connect_failures < ATTEMPTS) {
        unsigned now = count_threads() - before;
        most = now > most ? now : most;
        (void)poll(NULL, 0, 1);
    }
    fprintf(stderr, "connect: %u threads for 2 clients of %d names that hang, pool %d\n", most,
            NAMES, POOL);
    cr_assert_leq(most, 2 + NAMES);
    for (int i = 0; i < NAMES; i++) {
        cr_assert_eq(fake_dns_begun(names[i]), 1);
    }
    /* A client may go meanwhile, and the others are connected by the lookup that was under way. */
    end_client(clients[1]);
    fake_dns_release();
    EVENTUALLY(fleet_stats(clients[0], 0).connected == 1);
    cr_assert_eq(fleet_stats(clients[0], 1).last_error == ROULETTE_ERESOLVE ||
                     fleet_stats(clients[0], 1).last_error == ROULETTE_ETIMEDOUT,
                 true);
    end_client(clients[0]);
    EVENTUALLY(count_threads() == before);
    (void)fake_server_stop(server);
}

/* What a child finds that was forked while its parent's names are looked up. */
Test(connect, child_connects_by_name_while_lookups_of_its_parent_hang)
{
#ifdef TEST_OWN_RUNNER
    cr_skip_test("ThreadSanitizer permits a child process no threads");
#endif
    char servers[64];
    char child_servers[64];
    roulette_client *client;
    struct fake_server *server = fake_server_start(greeting, 1);
    cr_assert_not_null(server);
    fake_dns_set("slow.example", "127.0.0.1", NULL);
    fake_dns_set("good.example", "127.0.0.1", NULL);
    fake_dns_hang("slow.example");
    struct roulette_options options =
        options_for(servers, sizeof(servers), "slow.example", fake_server_port(server));
    cr_assert_eq(roulette_open(&options, &client), 0);
    EVENTUALLY(fake_dns_running("slow.example") == 1);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        roulette_client *own;
        roulette_free(client);
        struct roulette_options own_options = options_for(child_servers, sizeof(child_servers),
                                                          "good.example", fake_server_port(server));
        REQUIRE(roulette_open(&own_options, &own) == 0);
        EVENTUALLY(fleet_stats(own, 0).connected == 1);
        end_client(own);
        _exit(0);
    }
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
    fake_dns_release();
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    end_client(client);
    (void)fake_server_stop(server);
}
