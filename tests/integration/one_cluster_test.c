/* SPDX-License-Identifier: MIT */
/**
 * Two entries of the server list that lead to one NATS cluster: wildcard messages come twice, and
 * the log says so.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/log_record.h"
#include "support/nats_server.h"
#include "support/net.h"
#include "support/test.h"

#define TWICE "the same cluster twice"

/* Servers with a port for routes each. */
struct grid {
    size_t count;
    struct nats_server *servers[3];
    uint16_t ports[3];
};

/* Start a server with a route to the port of another one. `name` NULL: its cluster gets none. */
static void start(struct grid *grid, const char *name, uint16_t to)
{
    char own[48];
    char route[48];
    size_t i = grid->count;
    (void)snprintf(own, sizeof(own), "nats://127.0.0.1:%u", grid->ports[i]);
    (void)snprintf(route, sizeof(route), "nats://127.0.0.1:%u", to);
    const char *args[] = {
        "--cluster", own, "--routes", route, name != NULL ? "--cluster_name" : NULL, name, NULL};
    grid->servers[i] = nats_server_start(args);
    REQUIRE(grid->servers[i] != NULL);
    grid->count++;
}

static struct grid make_grid(void)
{
    struct grid grid = {.count = 0};
    for (size_t i = 0; i < 3; i++) {
        grid.ports[i] = net_hold_port();
        REQUIRE(grid.ports[i] != 0);
    }
    return grid;
}

static void stop(struct grid *grid)
{
    for (size_t i = 0; i < grid->count; i++) {
        nats_server_stop(grid->servers[i]);
    }
}

static long count_routes(struct nats_server *server)
{
    json_t *json = nats_server_json(server, "/varz");
    REQUIRE(json != NULL);
    long count = (long)json_integer_value(json_object_get(json, "routes"));
    json_decref(json);
    return count;
}

/* A client of two servers of this machine that are known by these hosts. */
static roulette_client *open_client(struct log_record *record, const char *first,
                                    struct nats_server *one, const char *second,
                                    struct nats_server *two)
{
    char list[96];
    struct roulette_options options;
    (void)snprintf(list, sizeof(list), "%s:%u,%s:%u", first, nats_server_port(one), second,
                   nats_server_port(two));
    roulette_options_init(&options);
    options.servers = list;
    log_record_attach(record, &options);
    options.log_level = ROULETTE_LOG_WARNING; /* the default */
    return fleet_open(&options);
}

/* How often a message to `topic` is received by a subscription of all topics. */
static int count_copies(roulette_client *client, const char *topic)
{
    struct roulette_message messages[8];
    int copies = 0;
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, ">");
    cr_assert_eq(roulette_publish(client, topic, ROULETTE_STRLEN, "x", 1), 0);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    int got;
    while ((got = roulette_receive(subscriber, messages, 8, copies < 2 ? 2000 : 200)) > 0) {
        copies += got;
        roulette_release(subscriber, messages, (size_t)got);
    }
    roulette_subscriber_close(subscriber);
    return copies;
}

static void close_client(roulette_client *client)
{
    (void)roulette_close(client, 1000, NULL, 0);
    roulette_free(client);
}

Test(one_cluster, two_members_of_a_cluster_are_told)
{
    struct log_record *record = log_record_create();
    struct grid grid = make_grid();
    start(&grid, "C", grid.ports[1]);
    start(&grid, "C", grid.ports[0]);
    EVENTUALLY(count_routes(grid.servers[1]) > 0);
    roulette_client *client =
        open_client(record, "127.0.0.1", grid.servers[0], "127.0.0.1", grid.servers[1]);
    EVENTUALLY(log_record_count(record, TWICE) == 1);
    cr_assert_eq(
        log_record_count(record, "entries 1 and 2 of servers are both of the cluster C") +
            log_record_count(record, "entries 2 and 1 of servers are both of the cluster C"),
        1);
    EVENTUALLY(count_copies(client, "t") == 2); /* what the line warns of */
    close_client(client);
    stop(&grid);
    log_record_destroy(record);
}

/* Servers without a name for their cluster choose one each, and agree when they find each other. */
Test(one_cluster, members_that_find_each_other_later_are_told)
{
    struct log_record *record = log_record_create();
    struct grid grid = make_grid();
    /* They will find each other by the third one. */
    start(&grid, NULL, grid.ports[2]);
    start(&grid, NULL, grid.ports[2]);
    roulette_client *client =
        open_client(record, "127.0.0.1", grid.servers[0], "127.0.0.1", grid.servers[1]);
    cr_assert_eq(count_copies(client, "t"), 1, "two clusters until now");
    cr_assert_eq(log_record_count(record, TWICE), 0);
    start(&grid, NULL, grid.ports[0]);
    EVENTUALLY(log_record_count(record, TWICE) != 0);
    EVENTUALLY(count_copies(client, "t") == 2);
    close_client(client);
    stop(&grid);
    log_record_destroy(record);
}

Test(one_cluster, one_server_by_two_names_is_told)
{
    struct fleet fleet;
    struct log_record *record = log_record_create();
    fleet_start(&fleet, 1);
    roulette_client *client =
        open_client(record, "127.0.0.1", fleet.servers[0], "localhost", fleet.servers[0]);
    EVENTUALLY(log_record_count(record, TWICE) == 1);
    cr_assert_eq(log_record_count(record, "are both of the server N"), 1);
    close_client(client);
    fleet_stop(&fleet);
    log_record_destroy(record);
}

Test(one_cluster, clusters_of_their_own_are_not_told)
{
    struct log_record *record = log_record_create();
    struct grid grid = make_grid();
    struct fleet fleet;
    start(&grid, NULL, grid.ports[2]);
    start(&grid, "C", grid.ports[2]);
    fleet_start(&fleet, 1);
    roulette_client *client =
        open_client(record, "127.0.0.1", grid.servers[0], "127.0.0.1", grid.servers[1]);
    roulette_client *other =
        open_client(record, "127.0.0.1", grid.servers[0], "127.0.0.1", fleet.servers[0]);
    cr_assert_eq(count_copies(client, "t"), 1);
    cr_assert_eq(count_copies(other, "t"), 1);
    cr_assert_eq(log_record_count(record, TWICE), 0);
    close_client(client);
    close_client(other);
    fleet_stop(&fleet);
    stop(&grid);
    log_record_destroy(record);
}
