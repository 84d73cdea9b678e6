/* SPDX-License-Identifier: MIT */
/*
 * demo_run SERVERS: what tools/demo shows, against servers that are already there. Uses the
 * public header only.
 *
 * Part 1: four threads publish on 300 topics; two subscribers, a thread each, have subscribed to
 * all of them. Part 2: one wildcard subscription collects from all clusters.
 */
#include <inttypes.h>
#include <pthread.h>
#include <roulette.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TOPICS = 300,
    PUBLISHERS = 4,
    SUBSCRIBERS = 2,
    MESSAGES = 2400000, /* of all publishers; each publisher has the same share of each topic */
    PAYLOAD_LEN = 128,
    RING_SLOTS = 65536,
    /* Published and not received by a subscriber, at most: fewer than a ring holds, so that the
     * demonstration is about routing and not about a slow consumer. */
    WINDOW = 32768,
    CREDITS = 256, /* taken at once by a publisher */
    BATCH = 256,
    DEADLINE_MS = 30000,
};

/* How far publishers may be ahead of the slower subscriber. */
struct window {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t published; /* credits taken */
    uint64_t received[SUBSCRIBERS];
};

struct demo {
    roulette_client *client;
    roulette_topic *topics[TOPICS];
    struct window window;
};

struct publisher {
    struct demo *demo;
    pthread_t thread;
};

struct subscriber {
    struct demo *demo;
    size_t index;
    roulette_subscriber *handle;
    pthread_t thread;
};

/* The demonstration cannot go on: say why, and end. tools/demo stops the servers. */
static _Noreturn void give_up(const char *what)
{
    (void)fflush(stdout);
    (void)fprintf(stderr, "demo: %s\n", what);
    exit(1);
}

static void demand(int result)
{
    if (result < 0) {
        give_up(roulette_last_error());
    }
}

static double now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t topic_name(char *text, size_t size, size_t index)
{
    return (size_t)snprintf(text, size, "demo.room.%zu", index);
}

/* ---- The window --------------------------------------------------------------------------- */

static uint64_t slowest(const struct window *window)
{
    uint64_t least = window->received[0];
    for (size_t i = 1; i < SUBSCRIBERS; i++) {
        least = window->received[i] < least ? window->received[i] : least;
    }
    return least;
}

static void take_credits(struct window *window)
{
    (void)pthread_mutex_lock(&window->lock);
    while (window->published + CREDITS - slowest(window) > WINDOW) {
        (void)pthread_cond_wait(&window->changed, &window->lock);
    }
    window->published += CREDITS;
    (void)pthread_mutex_unlock(&window->lock);
}

static void note_received(struct window *window, size_t index, uint64_t count)
{
    (void)pthread_mutex_lock(&window->lock);
    window->received[index] += count;
    (void)pthread_cond_broadcast(&window->changed);
    (void)pthread_mutex_unlock(&window->lock);
}

/* ---- Threads ------------------------------------------------------------------------------ */

static void *publish(void *argument)
{
    struct demo *demo = ((struct publisher *)argument)->demo;
    char payload[PAYLOAD_LEN];
    memset(payload, 'x', sizeof(payload));
    for (size_t i = 0; i < MESSAGES / PUBLISHERS; i++) {
        if (i % CREDITS == 0) {
            take_credits(&demo->window);
        }
        demand(roulette_topic_publish_wait(demo->topics[i % TOPICS], payload, sizeof(payload),
                                           DEADLINE_MS));
    }
    return NULL;
}

static void *receive(void *argument)
{
    struct subscriber *subscriber = argument;
    struct roulette_message batch[BATCH];
    uint64_t total = 0;
    while (total < MESSAGES) {
        int count = roulette_receive(subscriber->handle, batch, BATCH, DEADLINE_MS);
        demand(count);
        if (count == 0) {
            give_up("nothing arrives any more");
        }
        for (int i = 0; i < count; i++) {
            if (batch[i].kind != ROULETTE_KIND_MESSAGE) {
                give_up("a message was dropped, or a connection lost");
            }
        }
        roulette_release(subscriber->handle, batch, (size_t)count);
        note_received(&subscriber->demo->window, subscriber->index, (uint64_t)count);
        total += (uint64_t)count;
    }
    return NULL;
}

static void subscribe(struct subscriber *subscriber)
{
    struct roulette_subscriber_options options;
    roulette_subscriber_options_init(&options);
    options.ring_slots = RING_SLOTS;
    demand(roulette_subscriber_open(subscriber->demo->client, &options, &subscriber->handle));
    for (size_t i = 0; i < TOPICS; i++) {
        char topic[32];
        size_t len = topic_name(topic, sizeof(topic), i);
        demand(roulette_subscribe(subscriber->handle, topic, len, NULL, NULL));
    }
}

static void start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    if (pthread_create(thread, NULL, run, argument) != 0) {
        give_up("a thread could not be started: raise the limit (ulimit -u)");
    }
}

/* ---- Part 1 ------------------------------------------------------------------------------- */

/* Publish and receive everything. Returns how long it took. */
static double exchange(struct demo *demo)
{
    struct subscriber subscribers[SUBSCRIBERS];
    struct publisher publishers[PUBLISHERS];
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        subscribers[i] = (struct subscriber){.demo = demo, .index = i};
        subscribe(&subscribers[i]);
    }
    demand(roulette_flush(demo->client, DEADLINE_MS, NULL, 0));
    double start_s = now_s();
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        start(&subscribers[i].thread, receive, &subscribers[i]);
    }
    for (size_t i = 0; i < PUBLISHERS; i++) {
        publishers[i].demo = demo;
        start(&publishers[i].thread, publish, &publishers[i]);
    }
    for (size_t i = 0; i < PUBLISHERS; i++) {
        (void)pthread_join(publishers[i].thread, NULL);
    }
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        (void)pthread_join(subscribers[i].thread, NULL);
    }
    double seconds = now_s() - start_s;
    demand(roulette_flush(demo->client, DEADLINE_MS, NULL, 0));
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        roulette_subscriber_close(subscribers[i].handle);
    }
    return seconds;
}

static uint64_t count_topics(const struct demo *demo, int cluster)
{
    uint64_t count = 0;
    for (size_t i = 0; i < TOPICS; i++) {
        count += roulette_topic_cluster(demo->topics[i]) == cluster ? 1 : 0;
    }
    return count;
}

/* One line of the table. */
struct row {
    uint64_t topics;
    uint64_t published;
    uint64_t confirmed;
    uint64_t received; /* from the wire */
    uint64_t delivered;
    uint64_t dropped;
};

static void print_row(const char *name, const struct row *row)
{
    (void)printf("  %-21s %6" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %10" PRIu64
                 " %8" PRIu64 "\n",
                 name, row->topics, row->published, row->confirmed, row->received, row->delivered,
                 row->dropped);
}

static struct row read_row(const struct demo *demo, int cluster)
{
    struct roulette_stats stats;
    demand(roulette_stats_get(demo->client, (size_t)cluster, &stats));
    return (struct row){
        .topics = count_topics(demo, cluster),
        .published = stats.ledger.accepted,
        .confirmed = stats.ledger.confirmed,
        .received = stats.received_messages,
        .delivered = stats.delivered_messages,
        .dropped = stats.dropped_ring_full + stats.dropped_pinned + stats.dropped_oversized,
    };
}

/* Print the table. Returns whether the figures are what they must be. */
static bool print_table(const struct demo *demo, double seconds)
{
    struct row total = {0};
    (void)printf("\n  %-21s %6s %10s %10s %10s %10s %8s\n", "cluster", "topics", "published",
                 "confirmed", "received", "delivered", "dropped");
    for (int i = 0; i < roulette_cluster_count(demo->client); i++) {
        struct row row = read_row(demo, i);
        print_row(roulette_cluster_address(demo->client, (size_t)i), &row);
        total.topics += row.topics;
        total.published += row.published;
        total.confirmed += row.confirmed;
        total.received += row.received;
        total.delivered += row.delivered;
        total.dropped += row.dropped;
    }
    print_row("all", &total);
    (void)printf("\n"
                 "  received / published = %.2f: %d subscribers in this process have each topic,\n"
                 "  and each got its delivery, but a message crosses the wire once.\n"
                 "  %.0f messages per second published, %.0f delivered (%.2f s).\n\n",
                 (double)total.received / (double)total.published, SUBSCRIBERS,
                 (double)total.published / seconds, (double)total.delivered / seconds, seconds);
    return total.topics == TOPICS && total.published == MESSAGES && total.confirmed == MESSAGES &&
           total.received == MESSAGES && total.delivered == (uint64_t)MESSAGES * SUBSCRIBERS &&
           total.dropped == 0;
}

/* ---- Part 2 ------------------------------------------------------------------------------- */

/* Receive one message of each topic; `counts` says how many came from which cluster. */
static void collect(roulette_subscriber *subscriber, uint64_t *counts)
{
    for (size_t got = 0; got < TOPICS;) {
        struct roulette_message batch[BATCH];
        int count = roulette_receive(subscriber, batch, BATCH, DEADLINE_MS);
        demand(count);
        if (count == 0) {
            give_up("the wildcard subscription misses messages");
        }
        for (int i = 0; i < count; i++) {
            counts[batch[i].cluster] += batch[i].kind == ROULETTE_KIND_MESSAGE ? 1 : 0;
        }
        roulette_release(subscriber, batch, (size_t)count);
        got += (size_t)count;
    }
}

/* Returns whether one wildcard subscription got each topic's message, from all clusters. */
static bool show_wildcard(struct demo *demo)
{
    int clusters = roulette_cluster_count(demo->client);
    uint64_t *counts = calloc((size_t)clusters, sizeof(*counts));
    roulette_subscriber *subscriber;
    if (counts == NULL) {
        give_up("there is no memory");
    }
    demand(roulette_subscriber_open(demo->client, NULL, &subscriber));
    demand(roulette_subscribe(subscriber, "demo.*.*", ROULETTE_STRLEN, NULL, NULL));
    demand(roulette_flush(demo->client, DEADLINE_MS, NULL, 0));
    for (size_t i = 0; i < TOPICS; i++) {
        demand(roulette_topic_publish(demo->topics[i], "w", 1));
    }
    collect(subscriber, counts);
    bool right = true;
    (void)printf("  One subscription to demo.*.*, one message to each topic: received");
    for (int i = 0; i < clusters; i++) {
        (void)printf("%s %" PRIu64, i == 0 ? "" : " +", counts[i]);
        right = right && counts[i] == count_topics(demo, i);
    }
    (void)printf(" = %d\n  from the %d clusters.\n\n", TOPICS, clusters);
    roulette_subscriber_close(subscriber);
    free(counts);
    return right;
}

/* ---- The program -------------------------------------------------------------------------- */

static void open_demo(struct demo *demo, const char *servers)
{
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = servers;
    options.name = "roulette demo";
    demand(roulette_open(&options, &demo->client));
    demand(roulette_flush(demo->client, DEADLINE_MS, NULL, 0));
    for (size_t i = 0; i < TOPICS; i++) {
        char topic[32];
        size_t len = topic_name(topic, sizeof(topic), i);
        demand(roulette_topic_create(demo->client, topic, len, &demo->topics[i]));
    }
    (void)pthread_mutex_init(&demo->window.lock, NULL);
    (void)pthread_cond_init(&demo->window.changed, NULL);
}

static void close_demo(struct demo *demo)
{
    for (size_t i = 0; i < TOPICS; i++) {
        roulette_topic_free(demo->topics[i]);
    }
    demand(roulette_close(demo->client, DEADLINE_MS, NULL, 0));
    roulette_free(demo->client);
    (void)pthread_cond_destroy(&demo->window.changed);
    (void)pthread_mutex_destroy(&demo->window.lock);
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: demo_run SERVERS\n");
        return 2;
    }
    struct demo demo = {0};
    open_demo(&demo, argv[1]);
    (void)printf("  %d threads publish %d messages of %d bytes on %d topics; %d subscribers in\n"
                 "  the same process have subscribed to all topics.\n",
                 PUBLISHERS, MESSAGES, PAYLOAD_LEN, TOPICS, SUBSCRIBERS);
    double seconds = exchange(&demo);
    bool right = print_table(&demo, seconds);
    right = show_wildcard(&demo) && right;
    close_demo(&demo);
    (void)printf("%s\n", right ? "OK" : "FAILED: the figures above do not add up");
    return right ? 0 : 1;
}
