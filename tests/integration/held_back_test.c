/* SPDX-License-Identifier: MIT */
/**
 * Silent connections of servers that live, and of servers that do not. nats-server up to 2.9 does
 * not read from a publisher while a subscriber of what it publishes is slow; newer ones cut the
 * subscriber instead, so there the test of that shows nothing, and passes.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/log_record.h"
#include "support/net.h"
#include "support/numbered.h"
#include "support/scratch.h"
#include "support/test.h"

#define INFO "INFO {\"server_id\":\"x\",\"headers\":true,\"max_payload\":1048576}\r\n"

enum {
    BESIDE_MS = 13000,
    READER_EVERY_MS = 4000,
    READERS_MAX = 8,
    PAYLOAD = 512,
    PER_MS = 10,
    PING_MS = 300,
    PINGS = 2,
    BUSY_MS = SCALED(200, 2000), /* what a busy machine may add */
    /* The promise: the pings, the jitter of a fifth of each interval, and one second. */
    FOUND_MS = PING_MS * PINGS + PING_MS * PINGS / 5 + 1000,
};

/* ---- A server that answers logins --------------------------------------------------------- */

enum { DEAF_MAX = 64 };

/* Each connection gets INFO, and a PONG for its first PING; then nothing. */
struct deaf_server {
    uint16_t port;
    int listener;
    atomic_bool stop;
    pthread_t thread;
    int fds[DEAF_MAX];
    int count;
};

/* Read until PING, for a while. */
static bool deaf_greet(int fd)
{
    char text[4096] = "";
    size_t len = 0;
    uint64_t deadline_ms = net_now_ms() + 1000;
    (void)send(fd, INFO, sizeof(INFO) - 1, MSG_NOSIGNAL);
    while (strstr(text, "PING\r\n") == NULL) {
        ssize_t got =
            net_wait(fd, POLLIN, deadline_ms) ? recv(fd, text + len, sizeof(text) - 1 - len, 0) : 0;
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
        text[len] = '\0';
    }
    return send(fd, "PONG\r\n", 6, MSG_NOSIGNAL) == 6;
}

static void *deaf_run(void *argument)
{
    struct deaf_server *server = argument;
    while (!atomic_load(&server->stop)) {
        if (net_wait(server->listener, POLLIN, net_now_ms() + 10)) {
            int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);
            REQUIRE(fd >= 0 && server->count < DEAF_MAX);
            (void)deaf_greet(fd);
            server->fds[server->count++] = fd;
        }
    }
    return NULL;
}

static void deaf_server_start(struct deaf_server *server)
{
    memset(server, 0, sizeof(*server));
    server->listener = net_listen(&server->port);
    cr_assert_geq(server->listener, 0);
    cr_assert_eq(pthread_create(&server->thread, NULL, deaf_run, server), 0);
}

static void deaf_server_stop(struct deaf_server *server)
{
    atomic_store(&server->stop, true);
    (void)pthread_join(server->thread, NULL);
    for (int i = 0; i < server->count; i++) {
        (void)close(server->fds[i]);
    }
    (void)close(server->listener);
}

/* ---- Beside a slow reader ----------------------------------------------------------------- */

/* A subscriber that never reads. Its receive buffer is small, so that it is slow at once. */
static int stopped_reader(uint16_t port)
{
    static const char hello[] = "CONNECT {\"verbose\":false}\r\nSUB t 1\r\n";
    int fd = net_connect(port);
    cr_assert_geq(fd, 0);
    cr_assert_eq(send(fd, hello, sizeof(hello) - 1, MSG_NOSIGNAL), (ssize_t)sizeof(hello) - 1);
    return fd;
}

/* Publish for BESIDE_MS, a steady stream, with a new stopped reader every few seconds. */
static void publish_beside_readers(roulette_client *client, uint16_t port)
{
    static const char payload[PAYLOAD];
    int readers[READERS_MAX];
    int count = 0;
    uint64_t start_ms = net_now_ms();
    for (uint64_t now_ms = start_ms; now_ms < start_ms + BESIDE_MS; now_ms = net_now_ms()) {
        if (now_ms >= start_ms + (uint64_t)count * READER_EVERY_MS && count < READERS_MAX) {
            readers[count++] = stopped_reader(port);
        }
        for (int i = 0; i < PER_MS; i++) {
            int result = roulette_publish(client, "t", 1, payload, sizeof(payload));
            cr_assert(result == 0 || result == ROULETTE_EAGAIN, "%s", roulette_error_name(result));
        }
        rest(1000000);
    }
    int result = roulette_flush(client, 60000, NULL, 0);
    cr_assert_eq(result, 0, "%s", roulette_error_name(result));
    for (int i = 0; i < count; i++) {
        (void)close(readers[i]);
    }
}

static void publish_on(roulette_client *client, uint16_t port)
{
    publish_beside_readers(client, port);
    struct roulette_stats stats = fleet_stats(client, 0);
    printf(
        "held_back: %llu messages: %llu confirmed, %llu in doubt; %llu disconnects, %llu probes, "
        "%llu times held back\n",
        (unsigned long long)stats.ledger.accepted, (unsigned long long)stats.ledger.confirmed,
        (unsigned long long)stats.ledger.in_doubt, (unsigned long long)stats.disconnects,
        (unsigned long long)stats.probes, (unsigned long long)stats.held_back);
    cr_assert_eq(stats.ledger.in_doubt, 0);
    cr_assert_eq(stats.disconnects, 0);
    cr_assert_eq(stats.connects, 1);
    cr_assert_eq(stats.ledger.confirmed, stats.ledger.accepted);
    cr_assert_eq(stats.connected, 1);
}

/* Nothing is in doubt, and the connection stays, however long the server does not read. Returns:
 * the statistics. */
static struct roulette_stats publish_beside(uint32_t ping_interval_ms, const char *config,
                                            const char *login, int idle)
{
    struct scratch scratch;
    int others[READERS_MAX];
    scratch_create(&scratch);
    struct nats_server *server = scratch_server(&scratch, config);
    struct roulette_options options;
    char servers[64];
    roulette_client *client;
    (void)snprintf(servers, sizeof(servers), "%s127.0.0.1:%u", login, nats_server_port(server));
    roulette_options_init(&options);
    options.servers = servers;
    options.ping_interval_ms = ping_interval_ms;
    cr_assert_eq(roulette_open(&options, &client), 0, "%s", roulette_last_error());
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    for (int i = 0; i < idle; i++) {
        others[i] = net_connect(nats_server_port(server));
        cr_assert_geq(others[i], 0);
    }
    publish_on(client, nats_server_port(server));
    struct roulette_stats stats = fleet_stats(client, 0);
    for (int i = 0; i < idle; i++) {
        (void)close(others[i]);
    }
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    nats_server_stop(server);
    scratch_destroy(&scratch);
    return stats;
}

Test(held_back, slow_readers_of_others_end_no_publishers_connection)
{
    (void)publish_beside(5000, "max_pending: 8MB\n", "", 0);
}

/* A client that looks for dead servers every second outlives ten seconds too. The probe logs in as
 * the connection did: the server would close one that did not. */
Test(held_back, short_ping_intervals_are_no_shorter_patience)
{
    struct roulette_stats stats = publish_beside(
        1000,
        "max_pending: 8MB\nno_auth_user: n\n"
        "authorization { users: [{user: u, password: p}, {user: n, password: n}] }\n",
        "nats://u:p@", 0);
    cr_assert_eq(stats.server_errors, 0);
}

/* All of the server's connections are taken: it refuses the probe, and so answers it. */
Test(held_back, server_that_is_full_is_alive)
{
    /* The client, four readers, and two that do nothing. */
    (void)publish_beside(1000, "max_pending: 8MB\nmax_connections: 7\n", "", 2);
}

/* ---- Dead servers ------------------------------------------------------------------------- */

/* The kernel accepts the probe's connection, and nothing answers on it. */
Test(held_back, stopped_server_is_left_within_the_promise)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.ping_interval_ms = PING_MS;
    options.max_ping_failure = PINGS;
    roulette_client *client = fleet_open(&options);
    uint64_t start_ms = net_now_ms();
    cr_assert(nats_server_kill(fleet.servers[0], SIGSTOP));
    EVENTUALLY(fleet_stats(client, 0).disconnects == 1);
    uint64_t took_ms = net_now_ms() - start_ms;
    struct roulette_stats stats = fleet_stats(client, 0);
    printf("held_back: a stopped server is left after %d ms, at most %d; %d probes\n", (int)took_ms,
           FOUND_MS, (int)stats.probes);
    cr_assert_leq(took_ms, FOUND_MS + BUSY_MS);
    cr_assert_eq(stats.lost_by_ping, 1);
    cr_assert_geq(stats.probes, 1);
    cr_assert_eq(stats.held_back, 0);
    cr_assert(nats_server_kill(fleet.servers[0], SIGCONT));
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* A server that answers each login, and on each connection nothing after that: the bound. */
Test(held_back, connection_is_kept_so_long_and_no_longer)
{
    enum { KEPT_MS = 3000 };
    struct deaf_server server;
    struct log_record *record = log_record_create();
    deaf_server_start(&server);
    struct roulette_options options;
    char servers[32];
    roulette_client *client;
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", server.port);
    roulette_options_init(&options);
    options.servers = servers;
    options.ping_interval_ms = PING_MS;
    options.max_ping_failure = PINGS;
    options.held_back_max_ms = KEPT_MS;
    log_record_attach(record, &options);
    cr_assert_eq(roulette_open(&options, &client), 0);
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    uint64_t start_ms = net_now_ms();
    EVENTUALLY(fleet_stats(client, 0).held_back == 1);
    EVENTUALLY(log_record_count(record, "is held back and kept") == 1);
    cr_assert_eq(fleet_stats(client, 0).disconnects, 0);
    EVENTUALLY(fleet_stats(client, 0).disconnects == 1);
    uint64_t took_ms = net_now_ms() - start_ms;
    printf("held_back: kept for %d ms, at most %d\n", (int)took_ms, FOUND_MS + KEPT_MS);
    cr_assert_geq(took_ms, KEPT_MS + 1000);
    cr_assert_leq(took_ms, FOUND_MS + KEPT_MS + BUSY_MS);
    cr_assert_eq(fleet_stats(client, 0).lost_by_ping, 1);
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    deaf_server_stop(&server);
    log_record_destroy(record);
}
