/* SPDX-License-Identifier: MIT */
#include <nats/nats.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "harness/stop.h"
#include "harness/topic.h"
#include "peers/peer.h"

/* Of 32 KiB (its default), 256 KiB, 1 MiB and 4 MiB: the least CPU for each message in most
 * workloads, and as fast as any in all. */
#define IO_BYTES (1 << 20)

/* A topic, and the connection that it is published to: one for each cluster, in turn. */
struct route {
    const char *topic;
    natsConnection *connection;
};

struct client {
    struct peer_options options;
    char (*topics)[TOPIC_SIZE];
    struct route *routes;
    natsConnection **connections;
    natsSubscription **subscriptions; /* of topics that carry messages, then held ones */
    size_t subscription_count;
    size_t listening; /* ... of these: with a callback */
    struct peer_tally *tally;
    /* The callback posts `reached` at this total. Relaxed: set long before it is reached, and
     * await() looks again every tick. */
    _Atomic(uint64_t) target;
    sem_t reached;
    sem_t over; /* no callback runs any more */
};

static void check(natsStatus status, const char *what)
{
    if (status != NATS_OK) {
        stop("libnats: %s: %s", what, natsStatus_GetText(status));
    }
}

static natsOptions *fastest_options(const struct peer_options *wanted, uint16_t port)
{
    char url[64];
    natsOptions *options = NULL;
    (void)snprintf(url, sizeof(url), "nats://127.0.0.1:%u", port);
    check(natsOptions_Create(&options), "options");
    check(natsOptions_SetURL(options, url), "url");
    /* A system call for every buffer, not for every message, unless time counts: then the
     * publishing thread makes it at once. */
    check(natsOptions_SetSendAsap(options, wanted->prompt), "send asap");
    check(natsOptions_SetIOBufSize(options, IO_BYTES), "io buffer");
    /* One subscription has a delivery thread for itself. Many share one: with a thread each, or
     * two for all, they took up to four times the CPU and were not faster (10 and 10,000 topics,
     * 10 and 100 subscribers). The tally also wants one thread. */
    check(natsOptions_UseGlobalMessageDelivery(options, wanted->topics * wanted->subscribers > 1),
          "delivery");
    check(natsOptions_SetAllowReconnect(options, false), "reconnect");
    if (wanted->tls) {
        check(natsOptions_SetSecure(options, true), "secure");
        check(natsOptions_SkipServerVerification(options, true), "verification");
    }
    return options;
}

static void *open_client(const struct peer_options *options)
{
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL ||
        (client->routes = calloc(options->topics, sizeof(client->routes[0]))) == NULL ||
        (client->connections = calloc(options->clusters, sizeof(client->connections[0]))) == NULL) {
        stop("no memory");
    }
    client->options = *options;
    client->topics = topic_list(options->topics);
    (void)sem_init(&client->reached, 0, 0);
    (void)sem_init(&client->over, 0, 0);
    check(nats_SetMessageDeliveryPoolSize(1), "delivery pool");
    for (uint32_t i = 0; i < options->clusters; i++) {
        natsOptions *settings = fastest_options(options, options->ports[i]);
        check(natsConnection_Connect(&client->connections[i], settings), "connect");
        natsOptions_Destroy(settings);
    }
    for (uint32_t i = 0; i < options->topics; i++) {
        client->routes[i] =
            (struct route){client->topics[i], client->connections[i % options->clusters]};
    }
    return client;
}

static void publish(void *data, uint32_t first, uint64_t count)
{
    struct client *client = data;
    const struct peer_options options = client->options;
    const struct route *route = &client->routes[first];
    const struct route *end = &client->routes[options.topics];
    for (uint64_t i = 0; i < count; i++) {
        natsStatus status = natsConnection_Publish(route->connection, route->topic, options.payload,
                                                   (int)options.payload_len);
        if (status != NATS_OK) {
            check(status, "publish");
        }
        route = route + 1 == end ? client->routes : route + 1;
    }
}

static void flush(void *data)
{
    struct client *client = data;
    for (uint32_t i = 0; i < client->options.clusters; i++) {
        check(natsConnection_FlushTimeout(client->connections[i], PEER_TIMEOUT_MS), "flush");
    }
}

/* ---- Receive ------------------------------------------------------------------------------ */

/* On the delivery thread. */
static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                       void *data)
{
    (void)connection;
    (void)subscription;
    struct client *client = data;
    if (client->tally->on_payload != NULL) {
        client->tally->on_payload(client->tally->context, natsMsg_GetData(message));
    }
    natsMsg_Destroy(message);
    peer_tally_add(&client->tally->received, 1);
    if (peer_tally_total(client->tally) ==
        atomic_load_explicit(&client->target, memory_order_relaxed)) {
        (void)sem_post(&client->reached);
    }
}

static void on_complete(void *data)
{
    (void)sem_post(data);
}

static void listen_to(struct client *client, const struct route *route)
{
    natsSubscription **subscription = &client->subscriptions[client->subscription_count++];
    check(
        natsConnection_Subscribe(subscription, route->connection, route->topic, on_message, client),
        "subscribe");
    check(natsSubscription_SetOnCompleteCB(*subscription, on_complete, &client->over),
          "completion");
    /* No limits: it drops nothing, and all that it read counts. */
    check(natsSubscription_SetPendingLimits(*subscription, -1, -1), "limits");
    client->listening++;
}

static void subscribe(void *data, struct peer_tally *tally)
{
    struct client *client = data;
    const struct peer_options *options = &client->options;
    size_t count = (size_t)options->topics * options->subscribers + options->held;
    client->tally = tally;
    client->subscriptions = calloc(count, sizeof(client->subscriptions[0]));
    if (client->subscriptions == NULL) {
        stop("no memory");
    }
    for (uint32_t i = 0; i < options->topics; i++) {
        for (uint32_t copy = 0; copy < options->subscribers; copy++) {
            listen_to(client, &client->routes[i]);
        }
    }
    for (uint32_t i = 0; i < options->held; i++) {
        char topic[TOPIC_SIZE];
        topic_write_held(topic, i);
        check(natsConnection_SubscribeSync(&client->subscriptions[client->subscription_count++],
                                           client->connections[0], topic),
              "subscribe");
    }
}

static void await(void *data, uint64_t total)
{
    struct client *client = data;
    atomic_store_explicit(&client->target, total, memory_order_relaxed);
    uint64_t before = 0;
    while (peer_tally_total(client->tally) < total) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += PEER_TIMEOUT_MS / 1000;
        if (sem_timedwait(&client->reached, &until) != 0) {
            uint64_t now = peer_tally_total(client->tally);
            if (now == before) {
                stop("libnats: nothing came for %d ms, with %llu of %llu messages here",
                     PEER_TIMEOUT_MS, (unsigned long long)now, (unsigned long long)total);
            }
            before = now;
        }
    }
}

static uint64_t copies(void *data)
{
    struct client *client = data;
    uint64_t received;
    natsStatistics *statistics = NULL;
    check(natsStatistics_Create(&statistics), "statistics");
    check(natsConnection_GetStats(client->connections[0], statistics), "statistics");
    check(natsStatistics_GetCounts(statistics, &received, NULL, NULL, NULL, NULL), "statistics");
    natsStatistics_Destroy(statistics);
    return received;
}

static void close_client(void *data)
{
    struct client *client = data;
    for (size_t i = 0; i < client->listening; i++) {
        natsSubscription_Destroy(client->subscriptions[i]);
        (void)sem_wait(&client->over);
    }
    /* The held ones end with the process: to end them one by one takes as long as making them. */
    for (uint32_t i = 0; i < client->options.clusters; i++) {
        natsConnection_Destroy(client->connections[i]);
    }
    free(client->subscriptions);
    free(client->connections);
    free(client->routes);
    free(client->topics);
    free(client);
}

const struct peer peer_libnats = {
    .name = "libnats",
    .takes = PEER_ALL,
    .shares = true,
    .open = open_client,
    .publish = publish,
    .flush = flush,
    .subscribe = subscribe,
    .await = await,
    .copies = copies,
    .close = close_client,
};
