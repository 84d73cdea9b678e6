/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "harness/library.h"
#include "harness/stop.h"
#include "harness/topic.h"
#include "harness/workload.h"
#include "peers/peer.h"

#define BATCH 256
/* Messages that wait for each of many subscribers: more than harness/measure.c has on their way. */
#define SHARED_RING_SLOTS 8192
/* For how long the spinning peer's threads look for work: a round trip and a half of loopback. */
#define SPIN_US 50

struct client {
    const struct library *library;
    struct peer_options options;
    roulette_client *client;
    char (*topics)[TOPIC_SIZE];
    roulette_topic **handles;
    roulette_subscriber **subscribers;
    struct peer_tally *tally;
    struct roulette_message messages[BATCH];
};

static void check(const struct client *client, int result, const char *what)
{
    if (result < 0) {
        stop("roulette: %s: %s", what, client->library->last_error());
    }
}

uint32_t peer_roulette_event_threads;

static void open_roulette(struct client *client, uint32_t spin_us)
{
    const struct library *library = client->library;
    const struct peer_options *options = &client->options;
    char servers[WORKLOAD_CLUSTERS_MAX * sizeof("127.0.0.1:65535,")] = "";
    size_t len = 0;
    for (uint32_t i = 0; i < options->clusters && len < sizeof(servers); i++) {
        len += (size_t)snprintf(servers + len, sizeof(servers) - len, "%s127.0.0.1:%u",
                                i == 0 ? "" : ",", options->ports[i]);
    }
    struct roulette_options settings; /* the defaults, all others */
    settings.size = sizeof(settings);
    library->options_fill(&settings);
    settings.servers = servers;
    settings.spin_us = spin_us;
    settings.event_threads = peer_roulette_event_threads;
    settings.tls = options->tls ? 1 : 0;
    settings.tls_verify = options->tls ? 0 : 1;
    check(client, library->open(&settings, &client->client), "open");
    check(client, library->flush(client->client, PEER_TIMEOUT_MS, NULL, 0), "connect");
}

/*
 * Topics that the ring places on the clusters in turn: the first on cluster 0, the second on
 * cluster 1, and so on. So all clusters have the same work, as they have with the other peers.
 */
static void place_topics(struct client *client)
{
    const struct peer_options *options = &client->options;
    uint32_t next[WORKLOAD_CLUSTERS_MAX]; /* of each cluster */
    uint32_t left = options->topics;
    client->topics = calloc(options->topics, TOPIC_SIZE);
    if (client->topics == NULL) {
        stop("no memory");
    }
    for (uint32_t i = 0; i < options->clusters; i++) {
        next[i] = i;
    }
    for (uint32_t number = 0; left != 0; number++) {
        char topic[TOPIC_SIZE];
        if (number == TOPIC_MAX) {
            stop("too few topics fall on one of the clusters");
        }
        topic_write(topic, number);
        int cluster = client->library->cluster_of(client->client, topic, TOPIC_LEN);
        check(client, cluster, "placement");
        if (next[cluster] < options->topics) {
            memcpy(client->topics[next[cluster]], topic, TOPIC_SIZE);
            next[cluster] += options->clusters;
            left--;
        }
    }
}

static void *open_with(const struct peer_options *options, const struct library *library,
                       uint32_t spin_us)
{
    struct client *client = calloc(1, sizeof(*client));
    if (client == NULL ||
        (client->handles = calloc(options->topics, sizeof(client->handles[0]))) == NULL) {
        stop("no memory");
    }
    client->library = library;
    client->options = *options;
    open_roulette(client, spin_us);
    place_topics(client);
    for (uint32_t i = 0; i < options->topics; i++) {
        check(client,
              client->library->topic_create(client->client, client->topics[i], TOPIC_LEN,
                                            &client->handles[i]),
              "topic");
    }
    return client;
}

static void *open_client(const struct peer_options *options)
{
    return open_with(options, &library_own, 0);
}

static void *open_spinning(const struct peer_options *options)
{
    return open_with(options, &library_own, SPIN_US);
}

static void *open_before(const struct peer_options *options)
{
    return open_with(options, library_load_before(), 0);
}

static void publish_handle(void *data, uint32_t first, uint64_t count)
{
    struct client *client = data;
    const struct library library = *client->library;
    const struct peer_options options = client->options;
    roulette_topic *const *topics = client->handles;
    uint32_t next = first;
    for (uint64_t i = 0; i < count; i++) {
        int result =
            library.topic_publish_wait(topics[next], options.payload, options.payload_len, -1);
        if (result < 0) {
            check(client, result, "publish");
        }
        next = next + 1 == options.topics ? 0 : next + 1;
    }
}

static void publish_text(void *data, uint32_t first, uint64_t count)
{
    struct client *client = data;
    const struct library library = *client->library;
    const struct peer_options options = client->options;
    const char(*topics)[TOPIC_SIZE] = (const char(*)[TOPIC_SIZE])client->topics;
    uint32_t next = first;
    for (uint64_t i = 0; i < count; i++) {
        int result = library.publish_wait(client->client, topics[next], TOPIC_LEN, options.payload,
                                          options.payload_len, -1);
        if (result < 0) {
            check(client, result, "publish");
        }
        next = next + 1 == options.topics ? 0 : next + 1;
    }
}

static void flush(void *data)
{
    struct client *client = data;
    check(client, client->library->flush(client->client, PEER_TIMEOUT_MS, NULL, 0), "flush");
}

static void subscribe(void *data, struct peer_tally *tally)
{
    struct client *client = data;
    const struct library *library = client->library;
    const struct peer_options *options = &client->options;
    struct roulette_subscriber_options settings;
    settings.size = sizeof(settings);
    library->subscriber_options_fill(&settings);
    if (options->subscribers > 1) {
        settings.ring_slots = SHARED_RING_SLOTS;
    }
    client->tally = tally;
    client->subscribers = calloc(options->subscribers, sizeof(client->subscribers[0]));
    if (client->subscribers == NULL) {
        stop("no memory");
    }
    for (uint32_t i = 0; i < options->subscribers; i++) {
        check(client, library->subscriber_open(client->client, &settings, &client->subscribers[i]),
              "subscriber");
        for (uint32_t topic = 0; topic < options->topics; topic++) {
            check(client,
                  library->subscribe(client->subscribers[i], client->topics[topic], TOPIC_LEN, NULL,
                                     NULL),
                  "subscribe");
        }
    }
    for (uint32_t i = 0; i < options->held; i++) {
        char topic[TOPIC_SIZE];
        topic_write_held(topic, i);
        check(client,
              library->subscribe(client->subscribers[0], topic, ROULETTE_STRLEN, NULL, NULL),
              "subscribe");
    }
}

/* Count a batch: messages, and what a notice says was dropped. */
static void count_batch(struct client *client, int count)
{
    uint64_t received = 0;
    for (int i = 0; i < count; i++) {
        const struct roulette_message *message =
            library_message(client->library, client->messages, (size_t)i);
        if (message->kind == ROULETTE_KIND_MESSAGE) {
            received++;
            if (client->tally->on_payload != NULL) {
                client->tally->on_payload(client->tally->context, message->payload);
            }
        } else if (message->kind == ROULETTE_KIND_DROPPED) {
            peer_tally_add(&client->tally->dropped, message->count);
        } else {
            stop("roulette: the subscription was lost: %s",
                 client->library->error_text(message->error));
        }
    }
    peer_tally_add(&client->tally->received, received);
}

/* Receive what one subscriber has, and wait for something if there is nothing. */
static int receive(struct client *client, roulette_subscriber *subscriber, int timeout_ms)
{
    int count = client->library->receive(subscriber, client->messages, BATCH, timeout_ms);
    check(client, count, "receive");
    count_batch(client, count);
    client->library->release(subscriber, client->messages, (size_t)count);
    return count;
}

/*
 * One thread for all subscribers, in turn. Only the first waits, and only if nobody had anything:
 * with many, not for long, because what it waits for may have come to the others only.
 */
static void await(void *data, uint64_t total)
{
    struct client *client = data;
    uint32_t subscribers = client->options.subscribers;
    int wait_ms = subscribers == 1 ? PEER_TIMEOUT_MS : 1;
    int timeout_ms = wait_ms;
    int waited_ms = 0;
    while (peer_tally_total(client->tally) < total) {
        int count = receive(client, client->subscribers[0], timeout_ms);
        for (uint32_t i = 1; i < subscribers; i++) {
            count += receive(client, client->subscribers[i], 0);
        }
        waited_ms = count != 0 ? 0 : waited_ms + timeout_ms;
        timeout_ms = count != 0 && subscribers > 1 ? 0 : wait_ms;
        if (waited_ms >= PEER_TIMEOUT_MS) {
            stop("roulette: nothing came for %d ms, with %llu of %llu messages here",
                 PEER_TIMEOUT_MS, (unsigned long long)peer_tally_total(client->tally),
                 (unsigned long long)total);
        }
    }
}

/* As await(), by one subscriber that is told by its descriptor alone: a receive for each wake-up.
 */
static void await_polled(void *data, uint64_t total)
{
    struct client *client = data;
    roulette_subscriber *subscriber = client->subscribers[0];
    struct epoll_event event = {.events = EPOLLIN};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, client->library->subscriber_fd(subscriber), &event) != 0) {
        stop("no epoll");
    }
    while (peer_tally_total(client->tally) < total) {
        if (epoll_wait(epoll, &event, 1, PEER_TIMEOUT_MS) != 1) {
            stop("roulette: the descriptor did not tell for %d ms, with %llu of %llu messages here",
                 PEER_TIMEOUT_MS, (unsigned long long)peer_tally_total(client->tally),
                 (unsigned long long)total);
        }
        (void)receive(client, subscriber, 0);
    }
    (void)close(epoll);
}

/* The statistics of all clusters, in sum; of the fields that are used here. */
static struct roulette_stats read_statistics(const struct client *client)
{
    struct roulette_stats sum = {0};
    for (uint32_t i = 0; i < client->options.clusters; i++) {
        struct roulette_stats one = {.size = sizeof(one)};
        check(client, client->library->stats_fill(client->client, i, &one), "statistics");
        sum.received_messages += one.received_messages;
        sum.sends += one.sends;
    }
    return sum;
}

static uint64_t copies(void *data)
{
    return read_statistics(data).received_messages;
}

static uint64_t sends(void *data)
{
    return read_statistics(data).sends;
}

static void close_client(void *data)
{
    struct client *client = data;
    const struct library *library = client->library;
    for (uint32_t i = 0; client->subscribers != NULL && i < client->options.subscribers; i++) {
        library->subscriber_close(client->subscribers[i]);
    }
    for (uint32_t i = 0; i < client->options.topics; i++) {
        library->topic_free(client->handles[i]);
    }
    (void)library->close(client->client, PEER_TIMEOUT_MS, NULL, 0);
    library->free(client->client);
    free(client->subscribers);
    free(client->handles);
    free(client->topics);
    free(client);
}

const struct peer peer_roulette = {
    .name = "roulette",
    .takes = PEER_ALL,
    .shares = true,
    .open = open_client,
    .publish = publish_handle,
    .flush = flush,
    .subscribe = subscribe,
    .await = await,
    .copies = copies,
    .sends = sends,
    .close = close_client,
};

const struct peer peer_roulette_before = {
    .name = "roulette, before",
    .takes = PEER_ALL,
    .shares = true,
    .open = open_before,
    .publish = publish_handle,
    .flush = flush,
    .subscribe = subscribe,
    .await = await,
    .copies = copies,
    .sends = sends,
    .close = close_client,
};

const struct peer peer_roulette_text = {
    .name = "roulette, text",
    .takes = PEER_PUBLISH,
    .shares = true,
    .open = open_client,
    .publish = publish_text,
    .flush = flush,
    .subscribe = subscribe,
    .await = await,
    .copies = copies,
    .sends = sends,
    .close = close_client,
};

const struct peer peer_roulette_spin = {
    .name = "roulette, spin",
    .takes = PEER_LATENCY,
    .shares = true,
    .open = open_spinning,
    .publish = publish_handle,
    .flush = flush,
    .subscribe = subscribe,
    .await = await,
    .copies = copies,
    .sends = sends,
    .close = close_client,
};

const struct peer peer_roulette_poll = {
    .name = "roulette, poll",
    .takes = PEER_RECEIVE | PEER_LATENCY,
    .shares = true,
    .open = open_client,
    .publish = publish_handle,
    .flush = flush,
    .subscribe = subscribe,
    .await = await_polled,
    .copies = copies,
    .sends = sends,
    .close = close_client,
};
