/* SPDX-License-Identifier: MIT */
#include <roulette.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"
#include "stop.h"

#define BATCH 256

struct client {
    struct peer_options options;
    roulette_client *client;
    roulette_topic *topic;
    roulette_subscriber *subscriber;
    struct peer_tally *tally;
    struct roulette_message messages[BATCH];
};

static void check(int result, const char *what)
{
    if (result < 0) {
        stop("roulette: %s: %s", what, roulette_last_error());
    }
}

static void *open_client(const struct peer_options *options)
{
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL) {
        stop("no memory");
    }
    client->options = *options;
    char server[32];
    (void)snprintf(server, sizeof(server), "127.0.0.1:%u", options->port);
    struct roulette_options settings; /* the defaults, all of them */
    roulette_options_init(&settings);
    settings.servers = server;
    check(roulette_open(&settings, &client->client), "open");
    check(roulette_flush(client->client, PEER_TIMEOUT_MS, NULL, 0), "connect");
    check(roulette_topic_create(client->client, PEER_TOPIC, strlen(PEER_TOPIC), &client->topic),
          "topic");
    return client;
}

static void publish_handle(void *data, uint64_t count)
{
    struct client *client = data;
    const struct peer_options options = client->options;
    roulette_topic *topic = client->topic;
    for (uint64_t i = 0; i < count; i++) {
        int result = roulette_topic_publish_wait(topic, options.payload, options.payload_len, -1);
        if (result < 0) {
            check(result, "publish");
        }
    }
}

static void publish_text(void *data, uint64_t count)
{
    struct client *client = data;
    const struct peer_options options = client->options;
    for (uint64_t i = 0; i < count; i++) {
        int result = roulette_publish_wait(client->client, PEER_TOPIC, sizeof(PEER_TOPIC) - 1,
                                           options.payload, options.payload_len, -1);
        if (result < 0) {
            check(result, "publish");
        }
    }
}

static void flush(void *data)
{
    struct client *client = data;
    check(roulette_flush(client->client, PEER_TIMEOUT_MS, NULL, 0), "flush");
}

static void subscribe(void *data, struct peer_tally *tally)
{
    struct client *client = data;
    client->tally = tally;
    check(roulette_subscriber_open(client->client, NULL, &client->subscriber), "subscriber");
    check(roulette_subscribe(client->subscriber, PEER_TOPIC, strlen(PEER_TOPIC), NULL, NULL),
          "subscribe");
}

/* Count a batch: messages, and what a notice says was dropped. */
static void count_batch(struct client *client, int count)
{
    uint64_t received = 0;
    for (int i = 0; i < count; i++) {
        const struct roulette_message *message = &client->messages[i];
        if (message->kind == ROULETTE_KIND_MESSAGE) {
            received++;
        } else if (message->kind == ROULETTE_KIND_DROPPED) {
            peer_tally_add(&client->tally->dropped, message->count);
        } else {
            stop("roulette: the subscription was lost: %s", roulette_error_text(message->error));
        }
    }
    peer_tally_add(&client->tally->received, received);
}

static void await(void *data, uint64_t total)
{
    struct client *client = data;
    while (peer_tally_total(client->tally) < total) {
        int count = roulette_receive(client->subscriber, client->messages, BATCH, PEER_TIMEOUT_MS);
        check(count, "receive");
        if (count == 0) {
            stop("roulette: nothing came for %d ms, with %llu of %llu messages here",
                 PEER_TIMEOUT_MS, (unsigned long long)peer_tally_total(client->tally),
                 (unsigned long long)total);
        }
        count_batch(client, count);
        roulette_release(client->subscriber, client->messages, (size_t)count);
    }
}

static void close_client(void *data)
{
    struct client *client = data;
    roulette_subscriber_close(client->subscriber);
    roulette_topic_free(client->topic);
    (void)roulette_close(client->client, PEER_TIMEOUT_MS, NULL, 0);
    roulette_free(client->client);
    free(client);
}

const struct peer peer_roulette = {
    .name = "roulette",
    .threads_max = UINT32_MAX,
    .receives = true,
    .open = open_client,
    .publish = publish_handle,
    .flush = flush,
    .subscribe = subscribe,
    .await = await,
    .close = close_client,
};

const struct peer peer_roulette_text = {
    .name = "roulette, text",
    .threads_max = UINT32_MAX,
    .receives = false,
    .open = open_client,
    .publish = publish_text,
    .flush = flush,
    .subscribe = subscribe,
    .await = await,
    .close = close_client,
};
