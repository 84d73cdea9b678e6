/* SPDX-License-Identifier: MIT */
/**
 * A peer can cause lines in the application's log as often as it likes: the application is called
 * a bounded number of times, and told how many lines were left out.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/test.h"

#define INFO      "INFO {\"server_id\":\"x\",\"headers\":true,\"max_payload\":1048576}\r\n"
#define HANDSHAKE FAKE_SEND(INFO), FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n")
#define COMPLAINT "-ERR 'Permissions Violation for Publish to \"x\"'\r\n"

enum {
    FLOOD = 200000,
    /* Of one kind and cluster in 10 s, as roulette_log_fn says: and one that tells the rest. */
    BURST = 10,
};

/* What was logged, in numbers: a flood does not fit into memory as text. */
static struct {
    pthread_mutex_t lock;
    uint64_t lines;
    uint64_t complaints;
    uint64_t farewells;
    uint64_t left_out; /* complaints, as the log says */
} seen = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void note(void *context, enum roulette_log_level level, const char *text)
{
    uint64_t left_out;
    const char *says = strstr(text, "the server says: ");
    (void)context;
    (void)level;
    (void)pthread_mutex_lock(&seen.lock);
    seen.lines++;
    seen.complaints += strstr(text, "Publish to \"x\"") != NULL ? 1 : 0;
    seen.farewells += strstr(text, "Authorization Violation") != NULL ? 1 : 0;
    if (says != NULL && sscanf(says, "the server says: %" SCNu64 " more lines", &left_out) == 1) {
        seen.left_out += left_out;
    }
    (void)pthread_mutex_unlock(&seen.lock);
}

static uint64_t read_count(const uint64_t *count)
{
    (void)pthread_mutex_lock(&seen.lock);
    uint64_t value = *count;
    (void)pthread_mutex_unlock(&seen.lock);
    return value;
}

static roulette_client *open_client(struct fake_server *server)
{
    char servers[32];
    struct roulette_options options;
    roulette_client *client;
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", fake_server_port(server));
    roulette_options_init(&options);
    options.servers = servers;
    options.reconnect_interval_ms = 1;
    options.max_backoff_ms = 20;
    options.log = note;
    options.log_level = ROULETTE_LOG_DEBUG;
    cr_assert_eq(roulette_open(&options, &client), 0, "%s", roulette_last_error());
    return client;
}

Test(log, flood_of_errors_makes_a_bounded_number_of_lines)
{
    struct fake_script script = FAKE_SCRIPT(HANDSHAKE, FAKE_SEND_TIMES(COMPLAINT, FLOOD),
                                            FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n"));
    struct fake_server *server = fake_server_start(&script, 1);
    roulette_client *client = open_client(server);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(fleet_stats(client, 0).server_errors, FLOOD);
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    printf("%d lines of -ERR: %" PRIu64 " calls of the log function\n", FLOOD, seen.lines);
    /* A busy machine may need more than one window of 10 s for the flood: not more than two. */
    cr_assert_leq(seen.complaints, 2 * BURST, "%" PRIu64, seen.complaints);
    cr_assert_leq(seen.lines, 2 * (BURST + 1) + 1, "%" PRIu64, seen.lines);
    cr_assert_eq(seen.complaints + seen.left_out, FLOOD, "%" PRIu64 " and %" PRIu64 " left out",
                 seen.complaints, seen.left_out);
    cr_assert(fake_server_stop(server));
}

Test(log, flood_of_one_kind_does_not_hide_another)
{
    struct fake_script script =
        FAKE_SCRIPT(HANDSHAKE, FAKE_SEND_TIMES(COMPLAINT, 1000),
                    FAKE_SEND("-ERR 'Authorization Violation'\r\n"), FAKE_CLOSE());
    struct fake_server *server = fake_server_start(&script, 1);
    roulette_client *client = open_client(server);
    EVENTUALLY(read_count(&seen.farewells) != 0);
    cr_assert_leq(read_count(&seen.complaints), BURST);
    cr_assert(fake_server_wait_ended(server, 1, EVENTUALLY_MS));
    cr_assert(fake_server_plays(server));
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    /* The client connects anew, and may have closed in the middle of the next script. */
    (void)fake_server_stop(server);
}

/* A server that accepts and drops, again and again. */
Test(log, storm_of_connections_makes_a_bounded_number_of_lines)
{
    enum { CONNECTIONS = 60 };
    struct fake_script script = FAKE_SCRIPT(HANDSHAKE, FAKE_CLOSE());
    struct fake_server *server = fake_server_start(&script, 1);
    roulette_client *client = open_client(server);
    cr_assert(fake_server_wait_ended(server, CONNECTIONS, EVENTUALLY_MS));
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_geq(stats.disconnects, CONNECTIONS - 2);
    /* "connected to server" and "connection lost". */
    cr_assert_leq(read_count(&seen.lines), 2 * 2 * (BURST + 1), "%" PRIu64 " lines", seen.lines);
    cr_assert(fake_server_plays(server));
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    (void)fake_server_stop(server); /* as above */
}
