/* SPDX-License-Identifier: MIT */
/**
 * Proves the servers that the other integration tests rely on.
 */
#include "base/random.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/nats_server.h"
#include "support/net.h"
#include "support/test.h"
#include "support/topology.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/** Read until `text` came. Returns: whether it did within 10 s. */
static bool read_until(int fd, const char *text)
{
    char bytes[16384];
    size_t len = 0;
    uint64_t deadline_ms = net_now_ms() + 10000;
    while (len < sizeof(bytes) - 1 && net_wait(fd, POLLIN, deadline_ms)) {
        ssize_t got = recv(fd, bytes + len, sizeof(bytes) - 1 - len, 0);
        if (got <= 0) {
            return false;
        }
        len += (size_t)got;
        bytes[len] = '\0';
        if (strstr(bytes, text) != NULL) {
            return true;
        }
    }
    return false;
}

static void send_text(int fd, const char *text)
{
    cr_assert_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/** Connect to a nats-server and finish the handshake. */
static int join(uint16_t port)
{
    int fd = net_connect(port);
    cr_assert_geq(fd, 0);
    cr_assert(read_until(fd, "INFO "));
    send_text(fd, "CONNECT {\"verbose\":false}\r\nPING\r\n");
    cr_assert(read_until(fd, "PONG\r\n"));
    return fd;
}

/** Whether the peer closes or resets within 10 s; what came before is left unread by the test. */
static bool read_end(int fd, ssize_t *last)
{
    char bytes[16384];
    uint64_t deadline_ms = net_now_ms() + 10000;
    while (net_wait(fd, POLLIN, deadline_ms)) {
        *last = recv(fd, bytes, sizeof(bytes), 0);
        if (*last <= 0) {
            return true;
        }
    }
    return false;
}

/* ---- Ports -------------------------------------------------------------------------------- */

/* Returns: a socket bound to the port, with SO_REUSEADDR or without; -1 if it is refused. */
static int bind_to(uint16_t port, int reuse)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0);
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof(reuse)) == 0);
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

Test(ports, held_one_is_a_servers_that_shares_it_and_nobody_elses)
{
    uint16_t port = net_hold_port();
    cr_assert_neq(port, 0);
    cr_assert_lt(net_connect(port), 0, "nobody listens there");
    cr_assert_lt(bind_to(port, 0), 0);
    for (int i = 0; i < 2; i++) {
        int listener = bind_to(port, 1);
        cr_assert_geq(listener, 0);
        cr_assert_eq(listen(listener, 1), 0);
        int fd = net_connect(port);
        cr_assert_geq(fd, 0);
        (void)close(listener);
        (void)close(fd);
        cr_assert_lt(net_connect(port), 0);
        cr_assert_lt(bind_to(port, 0), 0, "held when the server has gone, too");
    }
}

enum { RANGE_FIRST = 11000, RANGE = 240, HOLDERS = 8, HOLDS = 10 };

/* Each process says which ports it was given, and keeps them until all have theirs. */
static void hold_many(int out, int end)
{
    char byte;
    for (int i = 0; i < HOLDS; i++) {
        uint16_t port = net_hold_port();
        REQUIRE(write(out, &port, sizeof(port)) == (ssize_t)sizeof(port));
    }
    (void)read(end, &byte, 1);
    _exit(0);
}

Test(ports, processes_that_ask_at_once_are_given_different_ones)
{
    int out[2];
    int end[2];
    bool given[RANGE] = {false};
    cr_assert_eq(pipe2(out, O_CLOEXEC), 0);
    cr_assert_eq(pipe2(end, O_CLOEXEC), 0);
    net_set_ports(RANGE_FIRST, RANGE);
    for (int i = 0; i < HOLDERS; i++) {
        pid_t pid = fork();
        REQUIRE(pid >= 0);
        if (pid == 0) {
            (void)close(end[1]);
            hold_many(out[1], end[0]);
        }
    }
    for (int i = 0; i < HOLDERS * HOLDS; i++) {
        uint16_t port = 0;
        cr_assert(net_wait(out[0], POLLIN, net_now_ms() + EVENTUALLY_MS));
        cr_assert_eq(read(out[0], &port, sizeof(port)), (ssize_t)sizeof(port));
        cr_assert(port >= RANGE_FIRST && port < RANGE_FIRST + RANGE, "%u", port);
        cr_assert_not(given[port - RANGE_FIRST], "%u twice", port);
        given[port - RANGE_FIRST] = true;
    }
    (void)close(end[1]);
    for (int i = 0; i < HOLDERS; i++) {
        cr_assert_gt(wait(NULL), 0);
    }
}

/* ---- Others that take ports meanwhile ----------------------------------------------------- */

enum { OTHERS = 80, OTHERS_MS = 5 };

static atomic_bool others_end;

/* Listen at a third of the range at a time: one of the sockets would share its port. */
static void *take_ports(void *unused)
{
    int fds[OTHERS];
    struct rlt_random random = {.state = 7};
    while (!atomic_load(&others_end)) {
        for (int i = 0; i < OTHERS; i++) {
            uint16_t port = (uint16_t)(RANGE_FIRST + rlt_random_below(&random, RANGE));
            fds[i] = bind_to(port, i == 0);
            if (fds[i] >= 0) {
                (void)listen(fds[i], 1);
            }
        }
        (void)poll(NULL, 0, OTHERS_MS);
        for (int i = 0; i < OTHERS; i++) {
            if (fds[i] >= 0) {
                (void)close(fds[i]);
            }
        }
    }
    return unused;
}

Test(topology, starts_while_others_take_ports_of_its_range, .timeout = 300)
{
    pthread_t others;
    net_set_ports(RANGE_FIRST, RANGE);
    cr_assert_eq(pthread_create(&others, NULL, take_ports, NULL), 0);
    for (int i = 0; i < 3; i++) {
        struct topology topology;
        topology_start(&topology);
        for (size_t k = 0; k < TOPOLOGY_CLUSTERS; k++) {
            int fd = join(topology.clusters[k].port);
            (void)close(fd);
        }
        topology_stop(&topology);
    }
    atomic_store(&others_end, true);
    cr_assert_eq(pthread_join(others, NULL), 0);
}

/* ---- nats-server -------------------------------------------------------------------------- */

/* Nor is the one in PATH, in its place: a test would believe in a version that it does not see. */
Test(nats_server, program_that_the_environment_names_is_not_there_then_none_starts)
{
    cr_assert_eq(setenv("ROULETTE_NATS_SERVER", "/nowhere/nats-server", 1), 0);
    cr_assert_null(nats_server_start(NULL));
    cr_assert_eq(unsetenv("ROULETTE_NATS_SERVER"), 0);
}

Test(nats_server, three_run_at_once_on_ports_of_their_own)
{
    struct nats_server *servers[3];
    for (size_t i = 0; i < 3; i++) {
        servers[i] = nats_server_start(NULL);
        cr_assert_not_null(servers[i]);
        cr_assert_neq(nats_server_port(servers[i]), 4222);
        cr_assert_neq(nats_server_port(servers[i]), nats_server_monitor_port(servers[i]));
    }
    for (size_t i = 0; i < 3; i++) {
        int fd = join(nats_server_port(servers[i]));
        (void)close(fd);
        nats_server_stop(servers[i]);
    }
}

Test(nats_server, monitor_tells_the_subscription)
{
    struct nats_server *server = nats_server_start(NULL);
    cr_assert_not_null(server);
    int fd = join(nats_server_port(server));
    send_text(fd, "SUB room.1 1\r\nPING\r\n");
    cr_assert(read_until(fd, "PONG\r\n"));
    char *text = nats_server_get(server, "/connz?subs=1");
    cr_assert_not_null(text);
    cr_assert_not_null(strstr(text, "\"room.1\""));
    free(text);
    json_t *json = nats_server_json(server, "/connz");
    cr_assert_not_null(json);
    cr_assert_eq(json_integer_value(json_object_get(json, "num_connections")), 1);
    json_decref(json);
    cr_assert_null(nats_server_get(server, "/no-such-page"));
    (void)close(fd);
    nats_server_stop(server);
}

Test(nats_server, extra_arguments_reach_it)
{
    const char *const arguments[] = {"--auth", "secret", NULL};
    struct nats_server *server = nats_server_start(arguments);
    cr_assert_not_null(server);
    int fd = net_connect(nats_server_port(server));
    cr_assert(read_until(fd, "\"auth_required\":true"));
    (void)close(fd);
    nats_server_stop(server);
}

Test(nats_server, bad_argument_gives_null_and_the_log)
{
    const char *const arguments[] = {"--no-such-option", NULL};
    cr_assert_null(nats_server_start(arguments));
}

Test(nats_server, killed_one_restarts_on_its_port)
{
    struct nats_server *server = nats_server_start(NULL);
    cr_assert_not_null(server);
    uint16_t port = nats_server_port(server);
    int fd = join(port);
    ssize_t last = 1;
    cr_assert(nats_server_kill(server, SIGKILL));
    cr_assert(read_end(fd, &last));
    cr_assert_lt(net_connect(port), 0, "nobody may listen there now");
    cr_assert(nats_server_restart(server));
    cr_assert_eq(nats_server_port(server), port);
    (void)close(fd);
    fd = join(port);
    (void)close(fd);
    nats_server_stop(server);
}

Test(nats_server, stopped_process_is_ended_too)
{
    struct nats_server *server = nats_server_start(NULL);
    cr_assert_not_null(server);
    uint16_t port = nats_server_port(server);
    cr_assert(nats_server_kill(server, SIGSTOP));
    nats_server_stop(server);
    cr_assert_lt(net_connect(port), 0);
}

Test(fake_server, script_is_played_and_bytes_are_recorded)
{
    struct fake_script scripts[] = {
        FAKE_SCRIPT(FAKE_SEND("INFO {}\r\n"), FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n"),
                    FAKE_CLOSE()),
    };
    struct fake_server *server = fake_server_start(scripts, 1);
    cr_assert_not_null(server);
    int fd = net_connect(fake_server_port(server));
    cr_assert(read_until(fd, "INFO {}\r\n"));
    send_text(fd, "CONNECT {}\r\nPI");
    send_text(fd, "NG\r\n");
    cr_assert(read_until(fd, "PONG\r\n"));
    ssize_t last = 1;
    cr_assert(read_end(fd, &last));
    cr_assert_eq(last, 0, "a FIN, not a reset");
    (void)close(fd);
    cr_assert(fake_server_wait_ended(server, 1, 10000));
    size_t len = 0;
    char *bytes = fake_server_received(server, 0, &len);
    cr_assert_not_null(bytes);
    cr_assert_str_eq(bytes, "CONNECT {}\r\nPING\r\n");
    cr_assert_eq(len, strlen(bytes));
    free(bytes);
    cr_assert_null(fake_server_received(server, 1, &len));
    cr_assert(fake_server_stop(server));
}

Test(fake_server, each_connection_has_its_script_and_later_ones_the_last)
{
    struct fake_script scripts[] = {
        FAKE_SCRIPT(FAKE_SEND("one"), FAKE_RESET()),
        FAKE_SCRIPT(FAKE_SEND("two"), FAKE_WAIT(1), FAKE_CLOSE()),
    };
    struct fake_server *server = fake_server_start(scripts, 2);
    cr_assert_not_null(server);
    for (size_t i = 0; i < 3; i++) {
        ssize_t last = 1;
        int fd = net_connect(fake_server_port(server));
        cr_assert_geq(fd, 0);
        cr_assert(i == 0 || read_until(fd, "two"));
        cr_assert(read_end(fd, &last));
        cr_assert_eq(last, i == 0 ? -1 : 0, "connection %zu", i);
        (void)close(fd);
        cr_assert(fake_server_wait_ended(server, i + 1, 10000));
    }
    cr_assert(fake_server_wait_accepted(server, 3, 0));
    cr_assert_not(fake_server_wait_accepted(server, 4, 0));
    cr_assert(fake_server_stop(server));
}

Test(fake_server, endless_line_ends_when_the_peer_closes)
{
    struct fake_script scripts[] = {
        FAKE_SCRIPT(FAKE_SEND_TIMES("xxxxxxxxxxxxxxxx", SIZE_MAX)),
    };
    struct fake_server *server = fake_server_start(scripts, 1);
    cr_assert_not_null(server);
    int fd = net_connect(fake_server_port(server));
    cr_assert(read_until(fd, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"));
    (void)close(fd);
    cr_assert(fake_server_wait_ended(server, 1, 10000));
    cr_assert(fake_server_stop(server));
}

Test(fake_server, missing_expectation_is_told_at_stop)
{
    struct fake_script scripts[] = {FAKE_SCRIPT(FAKE_EXPECT("PING\r\n"))};
    struct fake_server *server = fake_server_start(scripts, 1);
    cr_assert_not_null(server);
    int fd = net_connect(fake_server_port(server));
    send_text(fd, "PONG\r\n");
    cr_assert(fake_server_wait_received(server, 0, "PONG", 10000));
    cr_assert_not(fake_server_wait_received(server, 0, "PING", 0));
    (void)close(fd);
    cr_assert(fake_server_wait_ended(server, 1, 10000));
    cr_assert_not(fake_server_stop(server));
}

Test(fake_server, stalled_one_reads_nothing_and_can_be_stopped)
{
    struct fake_script scripts[] = {FAKE_SCRIPT(FAKE_STALL())};
    struct fake_server *server = fake_server_start(scripts, 1);
    cr_assert_not_null(server);
    int fd = net_connect(fake_server_port(server));
    send_text(fd, "PING\r\n");
    cr_assert(fake_server_wait_accepted(server, 1, 10000));
    cr_assert_not(fake_server_wait_received(server, 0, "P", 0));
    cr_assert(fake_server_stop(server));
    (void)close(fd);
}
