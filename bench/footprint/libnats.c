/* SPDX-License-Identifier: MIT */
#include <nats/nats.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "footprint/footprint.h"
#include "harness/stop.h"

struct client {
    natsConnection *connections[FOOTPRINT_CLUSTERS_MAX]; /* one for each cluster */
    size_t connection_count;
    natsSubscription **subscriptions;
};

static void check(natsStatus status, const char *what)
{
    if (status != NATS_OK) {
        stop("libnats: %s: %s", what, natsStatus_GetText(status));
    }
}

static natsConnection *connect_to(uint16_t port)
{
    char url[64];
    natsOptions *options = NULL;
    natsConnection *connection = NULL;
    (void)snprintf(url, sizeof(url), "nats://127.0.0.1:%u", port);
    check(natsOptions_Create(&options), "options");
    check(natsOptions_SetURL(options, url), "url");
    /* Its default is 2 minutes: it would find a dead server so much later. */
    check(natsOptions_SetPingInterval(options, FOOTPRINT_PING_MS), "ping interval");
    check(natsOptions_SetReconnectWait(options, FOOTPRINT_RECONNECT_MS), "reconnect wait");
    check(natsOptions_SetReconnectJitter(options, 1, 1), "reconnect jitter");
    check(natsOptions_SetMaxReconnect(options, -1), "reconnects");
    check(natsConnection_Connect(&connection, options), "connect");
    natsOptions_Destroy(options);
    return connection;
}

static void *open_client(const uint16_t *ports, size_t clusters, uint32_t subscriptions)
{
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL ||
        (client->subscriptions = calloc(subscriptions + 1, sizeof(natsSubscription *))) == NULL) {
        stop("no memory");
    }
    client->connection_count = clusters;
    for (size_t i = 0; i < clusters; i++) {
        client->connections[i] = connect_to(ports[i]);
    }
    return client;
}

/* Synchronous: an asynchronous one would have a thread of its own, or share one. */
static void subscribe(void *data, uint32_t index, const char *topic)
{
    struct client *client = data;
    check(
        natsConnection_SubscribeSync(&client->subscriptions[index], client->connections[0], topic),
        "subscribe");
}

static void unsubscribe(void *data, uint32_t index)
{
    struct client *client = data;
    check(natsSubscription_Unsubscribe(client->subscriptions[index]), "unsubscribe");
    natsSubscription_Destroy(client->subscriptions[index]);
}

static void confirm(void *data)
{
    struct client *client = data;
    for (size_t i = 0; i < client->connection_count; i++) {
        check(natsConnection_FlushTimeout(client->connections[i], FOOTPRINT_TIMEOUT_MS), "flush");
    }
}

/* While it is not connected a flush fails at once. */
static void confirm_again(void *data)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    struct client *client = data;
    natsStatus status;
    for (int i = 0; i < FOOTPRINT_TIMEOUT_MS; i++) {
        status = natsConnection_FlushTimeout(client->connections[0], FOOTPRINT_TIMEOUT_MS);
        if (status == NATS_OK) {
            return;
        }
        (void)nanosleep(&pause, NULL);
    }
    check(status, "flush");
}

static void collect(void *data)
{
    (void)data; /* Nothing is left. */
}

static void close_client(void *data)
{
    struct client *client = data;
    for (size_t i = 0; i < client->connection_count; i++) {
        natsConnection_Destroy(client->connections[i]);
    }
    free(client->subscriptions);
    free(client);
}

const struct footprint_client footprint_libnats = {
    .name = "libnats",
    .open = open_client,
    .subscribe = subscribe,
    .unsubscribe = unsubscribe,
    .confirm = confirm,
    .confirm_again = confirm_again,
    .collect = collect,
    .close = close_client,
};
