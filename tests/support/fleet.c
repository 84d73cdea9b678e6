/* SPDX-License-Identifier: MIT */
#include "support/fleet.h"

#include <stdio.h>
#include <string.h>

#include "support/condition.h"
#include "support/env.h"

void fleet_start(struct fleet *fleet, size_t count)
{
    REQUIRE(count <= FLEET_MAX);
    *fleet = (struct fleet){.count = count};
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        fleet->servers[i] = nats_server_start(NULL);
        REQUIRE(fleet->servers[i] != NULL);
        len += (size_t)snprintf(fleet->list + len, sizeof(fleet->list) - len, "%s127.0.0.1:%u",
                                i != 0 ? "," : "", nats_server_port(fleet->servers[i]));
    }
}

void fleet_stop(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->count; i++) {
        nats_server_stop(fleet->servers[i]);
    }
}

struct roulette_options fleet_options(const struct fleet *fleet)
{
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = fleet->list;
    options.reconnect_interval_ms = 10;
    options.max_backoff_ms = 100;
    options.max_retry = 1000;
    options.event_threads = (uint32_t)env_number("RLT_EVENT_THREADS", 0);
    return options;
}

roulette_client *fleet_open(const struct roulette_options *options)
{
    roulette_client *client;
    int result = roulette_open(options, &client);
    REQUIRE(result == 0, "%s", roulette_last_error());
    result = roulette_flush(client, EVENTUALLY_MS, NULL, 0);
    REQUIRE(result == 0, "%s", roulette_last_error());
    return client;
}

roulette_subscriber *fleet_subscriber(roulette_client *client, uint32_t ring_slots)
{
    struct roulette_subscriber_options options;
    roulette_subscriber *subscriber;
    roulette_subscriber_options_init(&options);
    if (ring_slots != 0) {
        options.ring_slots = ring_slots;
    }
    int result = roulette_subscriber_open(client, &options, &subscriber);
    REQUIRE(result == 0, "%s", roulette_last_error());
    return subscriber;
}

void fleet_subscribe(roulette_subscriber *subscriber, const char *topic)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.timeout_ms = EVENTUALLY_MS;
    REQUIRE(roulette_subscribe_with(subscriber, topic, ROULETTE_STRLEN, &options, NULL) == 0, "%s",
            roulette_last_error());
}

void fleet_close(roulette_client *client)
{
    int result = roulette_close(client, 10000, NULL, 0);
    REQUIRE(result == 0, "%s", roulette_last_error());
    for (int i = 0; i < roulette_cluster_count(client); i++) {
        struct roulette_stats stats = fleet_stats(client, (size_t)i);
        REQUIRE(fleet_difference(&stats.ledger) == 0, "cluster %d", i);
    }
    roulette_free(client);
}

int64_t fleet_difference(const struct roulette_ledger *ledger)
{
    return (int64_t)(ledger->accepted - ledger->confirmed - ledger->in_doubt - ledger->failed -
                     ledger->discarded - ledger->denied);
}

struct roulette_stats fleet_stats(const roulette_client *client, size_t cluster)
{
    struct roulette_stats stats;
    REQUIRE(roulette_stats_get(client, cluster, &stats) == 0, "%s", roulette_last_error());
    return stats;
}

size_t fleet_topic(const roulette_client *client, size_t cluster, const char *prefix, size_t index,
                   char *topic, size_t size)
{
    for (size_t n = 0;; n++) {
        int len = snprintf(topic, size, "%s.%zu", prefix, n);
        REQUIRE(len > 0 && (size_t)len < size);
        int placed = roulette_cluster_of(client, topic, (size_t)len);
        REQUIRE(placed >= 0, "%s", roulette_last_error());
        if ((size_t)placed == cluster && index-- == 0) {
            return (size_t)len;
        }
    }
}

long fleet_server_subscriptions(struct nats_server *server)
{
    long total = 0;
    json_t *json = nats_server_json(server, "/connz");
    REQUIRE(json != NULL);
    size_t index;
    json_t *connection;
    json_array_foreach(json_object_get(json, "connections"), index, connection)
    {
        total += (long)json_integer_value(json_object_get(connection, "subscriptions"));
    }
    json_decref(json);
    return total;
}
