/* SPDX-License-Identifier: MIT */
#include <roulette.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "footprint/footprint.h"
#include "harness/stop.h"

/* Long enough for the last notices of subscriptions that ended to arrive. */
#define COLLECT_MS 200

struct client {
    roulette_client *client;
    roulette_subscriber *subscriber; /* NULL: there will be no subscriptions */
    roulette_subscription **subscriptions;
};

static void check(int result, const char *what)
{
    if (result < 0) {
        stop("roulette: %s: %s", what, roulette_last_error());
    }
}

static void confirm(void *data)
{
    struct client *client = data;
    check(roulette_flush(client->client, FOOTPRINT_TIMEOUT_MS, NULL, 0), "flush");
}

/* A flush that the loss of the connection overtakes fails. */
static void confirm_again(void *data)
{
    struct client *client = data;
    int result;
    do {
        result = roulette_flush(client->client, FOOTPRINT_TIMEOUT_MS, NULL, 0);
    } while (result == ROULETTE_EDISCONNECTED);
    check(result, "flush");
}

static void *open_client(const uint16_t *ports, size_t clusters, uint32_t subscriptions)
{
    char servers[FOOTPRINT_CLUSTERS_MAX * 32];
    size_t len = 0;
    for (size_t i = 0; i < clusters; i++) {
        len += (size_t)snprintf(servers + len, sizeof(servers) - len, "%s127.0.0.1:%u",
                                i == 0 ? "" : ",", ports[i]);
    }
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = servers;
    options.ping_interval_ms = FOOTPRINT_PING_MS;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    options.reconnect_interval_ms = FOOTPRINT_RECONNECT_MS;
    options.max_backoff_ms = FOOTPRINT_RECONNECT_MS;
    options.max_retry = UINT32_MAX;
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        stop("no memory");
    }
    check(roulette_open(&options, &client->client), "open");
    confirm(client);
    if (subscriptions != 0) {
        client->subscriptions = calloc(subscriptions, sizeof(*client->subscriptions));
        if (client->subscriptions == NULL) {
            stop("no memory");
        }
        check(roulette_subscriber_open(client->client, NULL, &client->subscriber), "subscriber");
    }
    return client;
}

static void subscribe(void *data, uint32_t index, const char *topic)
{
    struct client *client = data;
    check(roulette_subscribe(client->subscriber, topic, FOOTPRINT_TOPIC_LEN, NULL,
                             &client->subscriptions[index]),
          "subscribe");
}

static void unsubscribe(void *data, uint32_t index)
{
    struct client *client = data;
    check(roulette_unsubscribe(client->subscriber, client->subscriptions[index]), "unsubscribe");
}

/* The last trace of a subscription goes when its subscriber receives. */
static void collect(void *data)
{
    struct client *client = data;
    struct roulette_message message;
    int count = roulette_receive(client->subscriber, &message, 1, COLLECT_MS);
    if (count != 0) {
        stop("roulette: received %d instead of nothing", count);
    }
}

static void close_client(void *data)
{
    struct client *client = data;
    roulette_subscriber_close(client->subscriber);
    (void)roulette_close(client->client, FOOTPRINT_TIMEOUT_MS, NULL, 0);
    roulette_free(client->client);
    free(client->subscriptions);
    free(client);
}

const struct footprint_client footprint_roulette = {
    .name = "roulette",
    .open = open_client,
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .confirm = confirm,
    .confirm_again = confirm_again,
    .collect = collect,
    .close = close_client,
};
