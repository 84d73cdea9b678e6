/* SPDX-License-Identifier: MIT */
/**
 * Everything that is accepted arrives, unchanged and in order: many threads, topics and
 * subscribers over three servers. RLT_MESSAGES sets how many messages.
 */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/random.h"
#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    SERVERS = 3,
    PUBLISHERS = 8,
    SUBSCRIBERS = 4,
    TOPICS = 1000,
    PAYLOAD_MIN = 16,
    PAYLOAD_MAX = 1024,
    RING_SLOTS = 32768,
    /* Accepted and not received at most: fewer than a ring holds even if one subscriber gets all
     * of them. They are 9 MB; a server cuts a slow consumer at 64 MiB. Where one subscriber sleeps
     * and the others go on, each of its messages pins a slab with those of all four, so 50 MB. */
    WINDOW = 16384,
    SLAB_COUNT = 512, /* half of them, 64 MiB, is what a subscriber may pin */
    CREDITS = 256,    /* taken at once by a publisher */
    BATCH = 256,
    QUEUE_BYTES_MIN = 16 * 65536,
    SLAB_BYTES_MIN = 131072,
    STALL_MS = SCALED(30000, 90000),
};

/* The first bytes of each payload. */
struct header {
    uint16_t publisher;
    uint16_t length;
    uint32_t sequence; /* of this publisher and topic */
    uint64_t checksum; /* of the payload with this field 0 */
};
static_assert(sizeof(struct header) == PAYLOAD_MIN, "the shortest payload is a header");

/* How many messages may be on their way. */
struct window {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t in_flight;
    uint64_t received;
};

struct topic {
    char text[32];
    size_t len;
    roulette_topic *handle;
};

struct exam {
    roulette_client *client;
    struct window window;
    uint64_t messages;
    struct topic topics[TOPICS];
    uint32_t sent[PUBLISHERS][TOPICS];     /* each row by its publisher */
    uint32_t expected[PUBLISHERS][TOPICS]; /* each column by its topic's subscriber */
};

struct publisher {
    struct exam *exam;
    uint16_t index;
    uint64_t count;
    pthread_t thread;
};

struct subscriber {
    struct exam *exam;
    uint32_t index;
    roulette_subscriber *handle;
    pthread_t thread;
};

/* ---- The window --------------------------------------------------------------------------- */

static void deadline_from_now(struct timespec *deadline, unsigned ms)
{
    (void)clock_gettime(CLOCK_REALTIME, deadline);
    deadline->tv_sec += ms / 1000;
}

static void take_credits(struct window *window, uint64_t count)
{
    struct timespec deadline;
    deadline_from_now(&deadline, STALL_MS);
    (void)pthread_mutex_lock(&window->lock);
    while (window->in_flight + count > WINDOW) {
        int result = pthread_cond_timedwait(&window->changed, &window->lock, &deadline);
        REQUIRE(result == 0, "nothing arrives any more: %llu in flight, %llu received",
                (unsigned long long)window->in_flight, (unsigned long long)window->received);
    }
    window->in_flight += count;
    (void)pthread_mutex_unlock(&window->lock);
}

static void give_credits(struct window *window, uint64_t count)
{
    (void)pthread_mutex_lock(&window->lock);
    REQUIRE(count <= window->in_flight, "more was received than was published");
    window->in_flight -= count;
    window->received += count;
    (void)pthread_cond_broadcast(&window->changed);
    (void)pthread_mutex_unlock(&window->lock);
}

static uint64_t received(struct window *window)
{
    (void)pthread_mutex_lock(&window->lock);
    uint64_t count = window->received;
    (void)pthread_mutex_unlock(&window->lock);
    return count;
}

/* ---- Publishing --------------------------------------------------------------------------- */

static uint64_t checksum(const void *payload, size_t len)
{
    uint8_t bytes[PAYLOAD_MAX];
    memcpy(bytes, payload, len);
    memset(bytes + offsetof(struct header, checksum), 0, sizeof(uint64_t));
    return XXH3_64bits(bytes, len);
}

static void make_payload(struct rlt_random *random, struct header header, uint8_t *payload)
{
    header.checksum = 0;
    memcpy(payload, &header, sizeof(header));
    for (size_t i = sizeof(header); i < header.length; i += 8) {
        uint64_t word = rlt_random_next(random);
        size_t left = header.length - i;
        memcpy(payload + i, &word, left < 8 ? left : 8);
    }
    header.checksum = XXH3_64bits(payload, header.length);
    memcpy(payload, &header, sizeof(header));
}

static void publish_one(struct publisher *publisher, struct rlt_random *random)
{
    struct exam *exam = publisher->exam;
    uint8_t payload[PAYLOAD_MAX + 8];
    uint32_t index = (uint32_t)rlt_random_below(random, TOPICS);
    struct topic *topic = &exam->topics[index];
    struct header header = {
        .publisher = publisher->index,
        .length = (uint16_t)(PAYLOAD_MIN + rlt_random_below(random, PAYLOAD_MAX - PAYLOAD_MIN + 1)),
        .sequence = exam->sent[publisher->index][index]++,
    };
    make_payload(random, header, payload);
    /* Half of the publishers use topics as text, half as handles. */
    int result = publisher->index % 2 == 0
                     ? roulette_publish_wait(exam->client, topic->text, topic->len, payload,
                                             header.length, STALL_MS)
                     : roulette_topic_publish_wait(topic->handle, payload, header.length, STALL_MS);
    REQUIRE(result == 0, "%s", roulette_error_name(result));
}

static void *publish(void *argument)
{
    struct publisher *publisher = argument;
    struct rlt_random random = {publisher->index + 1};
    for (uint64_t done = 0; done < publisher->count;) {
        uint64_t left = publisher->count - done;
        uint64_t credits = left < CREDITS ? left : CREDITS;
        take_credits(&publisher->exam->window, credits);
        for (uint64_t i = 0; i < credits; i++) {
            publish_one(publisher, &random);
        }
        done += credits;
    }
    return NULL;
}

/* ---- Receiving ---------------------------------------------------------------------------- */

static void examine(struct exam *exam, const struct roulette_message *message)
{
    REQUIRE(message->kind == ROULETTE_KIND_MESSAGE, "notice %d, count %llu, error %s",
            message->kind, (unsigned long long)message->count, roulette_error_name(message->error));
    const struct topic *topic = message->user_data;
    size_t index = (size_t)(topic - exam->topics);
    REQUIRE(message->topic_len == topic->len &&
            memcmp(message->topic, topic->text, topic->len) == 0);
    REQUIRE(message->cluster ==
            (uint32_t)roulette_cluster_of(exam->client, topic->text, topic->len));
    REQUIRE(message->reply == NULL && message->headers == NULL);
    struct header header;
    REQUIRE(message->payload_len >= sizeof(header));
    memcpy(&header, message->payload, sizeof(header));
    REQUIRE(header.length == message->payload_len);
    REQUIRE(header.publisher < PUBLISHERS);
    REQUIRE(header.checksum == checksum(message->payload, message->payload_len));
    uint32_t expected = exam->expected[header.publisher][index]++;
    REQUIRE(header.sequence == expected, "publisher %u, %s: got %u, expected %u", header.publisher,
            topic->text, header.sequence, expected);
}

static void *receive(void *argument)
{
    struct subscriber *subscriber = argument;
    struct exam *exam = subscriber->exam;
    struct roulette_message messages[BATCH];
    while (received(&exam->window) < exam->messages) {
        int count = roulette_receive(subscriber->handle, messages, BATCH, 20);
        REQUIRE(count >= 0, "%s", roulette_error_name(count));
        for (int i = 0; i < count; i++) {
            examine(exam, &messages[i]);
        }
        roulette_release(subscriber->handle, messages, (size_t)count);
        if (count != 0) {
            give_credits(&exam->window, (uint64_t)count);
        }
    }
    return NULL;
}

static void subscribe(struct exam *exam, struct subscriber *subscriber)
{
    subscriber->handle = fleet_subscriber(exam->client, RING_SLOTS);
    for (uint32_t i = subscriber->index; i < TOPICS; i += SUBSCRIBERS) {
        struct topic *topic = &exam->topics[i];
        int result = roulette_subscribe(subscriber->handle, topic->text, topic->len, topic, NULL);
        REQUIRE(result == 0, "%s", roulette_last_error());
    }
}

/* ---- The test ----------------------------------------------------------------------------- */

static struct exam *create_exam(roulette_client *client, uint64_t messages)
{
    struct exam *exam = calloc(1, sizeof(*exam));
    REQUIRE(exam != NULL);
    exam->client = client;
    exam->messages = messages;
    (void)pthread_mutex_init(&exam->window.lock, NULL);
    (void)pthread_cond_init(&exam->window.changed, NULL);
    for (size_t i = 0; i < TOPICS; i++) {
        struct topic *topic = &exam->topics[i];
        topic->len = (size_t)snprintf(topic->text, sizeof(topic->text), "room.%zu.events", i);
        REQUIRE(roulette_topic_create(client, topic->text, topic->len, &topic->handle) == 0);
    }
    return exam;
}

static void free_exam(struct exam *exam)
{
    for (size_t i = 0; i < TOPICS; i++) {
        roulette_topic_free(exam->topics[i].handle);
    }
    (void)pthread_cond_destroy(&exam->window.changed);
    (void)pthread_mutex_destroy(&exam->window.lock);
    free(exam);
}

static void run_threads(struct exam *exam)
{
    static struct publisher publishers[PUBLISHERS];
    static struct subscriber subscribers[SUBSCRIBERS];
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        subscribers[i] = (struct subscriber){.exam = exam, .index = i};
        subscribe(exam, &subscribers[i]);
    }
    REQUIRE(roulette_flush(exam->client, 10000, NULL, 0) == 0, "%s", roulette_last_error());
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        REQUIRE(pthread_create(&subscribers[i].thread, NULL, receive, &subscribers[i]) == 0);
    }
    for (uint16_t i = 0; i < PUBLISHERS; i++) {
        uint64_t share = exam->messages / PUBLISHERS;
        uint64_t rest = i == 0 ? exam->messages % PUBLISHERS : 0;
        publishers[i] = (struct publisher){.exam = exam, .index = i, .count = share + rest};
        REQUIRE(pthread_create(&publishers[i].thread, NULL, publish, &publishers[i]) == 0);
    }
    for (uint32_t i = 0; i < PUBLISHERS; i++) {
        (void)pthread_join(publishers[i].thread, NULL);
    }
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        (void)pthread_join(subscribers[i].thread, NULL);
    }
    cr_assert_eq(roulette_flush(exam->client, 10000, NULL, 0), 0);
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        struct roulette_message message;
        cr_assert_eq(roulette_receive(subscribers[i].handle, &message, 1, 0), 0);
        roulette_subscriber_close(subscribers[i].handle);
    }
}

static void check_statistics(const struct exam *exam, double seconds)
{
    struct roulette_stats all = {0};
    for (size_t i = 0; i < SERVERS; i++) {
        struct roulette_stats stats = fleet_stats(exam->client, i);
        cr_assert_eq(stats.ledger.accepted, stats.ledger.confirmed);
        cr_assert_eq(stats.ledger.accepted, stats.received_messages);
        cr_assert_eq(stats.ledger.accepted, stats.delivered_messages);
        cr_assert_eq(stats.dropped_ring_full + stats.dropped_pinned + stats.dropped_oversized, 0);
        cr_assert_eq(stats.unknown_sid + stats.disconnects + stats.server_errors, 0);
        cr_assert_eq(stats.queued_bytes, 0);
        all.ledger.accepted += stats.ledger.accepted;
        all.joins += stats.joins;
        all.joined_bytes += stats.joined_bytes;
        printf("delivery: cluster %zu: %llu messages, %llu joins, %llu sends, %llu receives\n", i,
               (unsigned long long)stats.ledger.accepted, (unsigned long long)stats.joins,
               (unsigned long long)stats.sends, (unsigned long long)stats.receives);
    }
    cr_assert_eq(all.ledger.accepted, exam->messages);
    cr_assert_lt(all.joins * 1000, exam->messages, "%llu joins", (unsigned long long)all.joins);
    printf("delivery: %llu messages in %.1f s: %.0f msg/s; joins %.3f per 1000 messages, "
           "%.4f bytes copied again per message\n",
           (unsigned long long)exam->messages, seconds, (double)exam->messages / seconds,
           (double)all.joins * 1000 / (double)exam->messages,
           (double)all.joined_bytes / (double)exam->messages);
}

static void run_exam(const struct roulette_options *options, uint64_t messages)
{
    roulette_client *client = fleet_open(options);
    struct exam *exam = create_exam(client, messages);
    uint64_t start_ms = net_now_ms();
    run_threads(exam);
    check_statistics(exam, (double)(net_now_ms() - start_ms) / 1000);
    for (size_t publisher = 0; publisher < PUBLISHERS; publisher++) {
        cr_assert_arr_eq(exam->sent[publisher], exam->expected[publisher],
                         sizeof(exam->sent[publisher]));
    }
    free_exam(exam);
    fleet_close(client);
}

Test(delivery, all_that_is_accepted_arrives_in_order_and_unchanged)
{
    struct fleet fleet;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    options.slab_count = SLAB_COUNT;
    const char *messages = getenv("RLT_MESSAGES");
    run_exam(&options, messages != NULL ? strtoull(messages, NULL, 10) : SCALED(10000000, 300000));
    fleet_stop(&fleet);
}

/* Queues that are full all the time, small slabs, topics on several connections. */
Test(delivery, so_it_does_with_little_memory_and_a_pool)
{
    struct fleet fleet;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    options.ring = ROULETTE_RING_ROULETTE;
    options.pool_size = 3;
    options.queue_bytes = QUEUE_BYTES_MIN;
    options.slab_bytes = SLAB_BYTES_MIN;
    options.slab_count = 1024;
    run_exam(&options, SCALED(500000, 100000));
    fleet_stop(&fleet);
}
