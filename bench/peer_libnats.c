/* SPDX-License-Identifier: MIT */
#include <nats/nats.h>

#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "peer.h"
#include "stop.h"

/* Of 32 KiB (its default), 256 KiB, 1 MiB and 4 MiB: the least CPU for each message in most
 * workloads, and as fast as any in all. */
#define IO_BYTES (1 << 20)

struct client {
    struct peer_options options;
    natsConnection *connection;
    natsSubscription *subscription;
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

static natsOptions *fastest_options(uint16_t port)
{
    char url[64];
    natsOptions *options = NULL;
    (void)snprintf(url, sizeof(url), "nats://127.0.0.1:%u", port);
    check(natsOptions_Create(&options), "options");
    check(natsOptions_SetURL(options, url), "url");
    /* A system call for every buffer, not for every message. */
    check(natsOptions_SetSendAsap(options, false), "send asap");
    check(natsOptions_SetIOBufSize(options, IO_BYTES), "io buffer");
    /* A delivery thread for the subscription alone. */
    check(natsOptions_UseGlobalMessageDelivery(options, false), "delivery");
    check(natsOptions_SetAllowReconnect(options, false), "reconnect");
    return options;
}

static void *open_client(const struct peer_options *options)
{
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        stop("no memory");
    }
    client->options = *options;
    (void)sem_init(&client->reached, 0, 0);
    (void)sem_init(&client->over, 0, 0);
    natsOptions *settings = fastest_options(options->port);
    check(natsConnection_Connect(&client->connection, settings), "connect");
    natsOptions_Destroy(settings);
    return client;
}

static void publish(void *data, uint64_t count)
{
    struct client *client = data;
    const struct peer_options options = client->options;
    natsConnection *connection = client->connection;
    for (uint64_t i = 0; i < count; i++) {
        natsStatus status = natsConnection_Publish(connection, PEER_TOPIC, options.payload,
                                                   (int)options.payload_len);
        if (status != NATS_OK) {
            check(status, "publish");
        }
    }
}

static void flush(void *data)
{
    struct client *client = data;
    check(natsConnection_FlushTimeout(client->connection, PEER_TIMEOUT_MS), "flush");
}

/* On the delivery thread. */
static void on_message(natsConnection *connection, natsSubscription *subscription, natsMsg *message,
                       void *data)
{
    (void)connection;
    (void)subscription;
    struct client *client = data;
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

static void subscribe(void *data, struct peer_tally *tally)
{
    struct client *client = data;
    client->tally = tally;
    check(natsConnection_Subscribe(&client->subscription, client->connection, PEER_TOPIC,
                                   on_message, client),
          "subscribe");
    check(natsSubscription_SetOnCompleteCB(client->subscription, on_complete, &client->over),
          "completion");
    /* No limits: it drops nothing, and all that it read counts. */
    check(natsSubscription_SetPendingLimits(client->subscription, -1, -1), "limits");
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

static void close_client(void *data)
{
    struct client *client = data;
    if (client->subscription != NULL) {
        natsSubscription_Destroy(client->subscription);
        (void)sem_wait(&client->over);
    }
    natsConnection_Destroy(client->connection);
    free(client);
}

const struct peer peer_libnats = {
    .name = "libnats",
    .threads_max = UINT32_MAX,
    .receives = true,
    .open = open_client,
    .publish = publish,
    .flush = flush,
    .subscribe = subscribe,
    .await = await,
    .close = close_client,
};
