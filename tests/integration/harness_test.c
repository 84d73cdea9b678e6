/* SPDX-License-Identifier: MIT */
/**
 * Proves the servers that the other integration tests rely on.
 */
#include "support/fake_server.h"
#include "support/nats_server.h"
#include "support/net.h"
#include "support/test.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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
