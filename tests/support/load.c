/* SPDX-License-Identifier: MIT */
#include "support/load.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "support/condition.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/witness.h"

enum {
    PERIOD_NS = SCALED(2000, 10000) * 1000, /* each thread publishes once on each topic */
    BATCH = 64,
    RING_SLOTS = 65536, /* seconds of the load */
    PRIME_WAIT_MS = 200,
};

/* ---- Publishing --------------------------------------------------------------------------- */

void load_init(struct load *load, roulette_client *client)
{
    memset(load, 0, sizeof(*load));
    load->client = client;
    for (size_t i = 0; i < TALLY_TOPICS; i++) {
        bool work = (LOAD_WORK >> i & 1) != 0;
        (void)fleet_topic(client, i % TOPOLOGY_CLUSTERS, work ? "work" : "load",
                          i / TOPOLOGY_CLUSTERS % 2, load->topics[i], sizeof(load->topics[i]));
    }
}

/** Sleep until the next tick of a steady rate, never in bursts. */
static void await_tick(struct timespec *next)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    next->tv_nsec += PERIOD_NS;
    if (next->tv_nsec >= 1000000000) {
        next->tv_nsec -= 1000000000;
        next->tv_sec++;
    }
    if (now.tv_sec > next->tv_sec || (now.tv_sec == next->tv_sec && now.tv_nsec > next->tv_nsec)) {
        *next = now;
    }
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL);
}

static void publish_next(struct load *load, uint32_t thread, uint32_t topic)
{
    uint8_t payload[TALLY_PAYLOAD_MAX];
    uint32_t stream = thread * TALLY_TOPICS + topic;
    uint32_t sequence = load->accepted[stream];
    REQUIRE(sequence < TALLY_SEQUENCE_MAX);
    size_t len = tally_payload((struct tally_stamp){stream, sequence}, payload);
    int result = roulette_publish(load->client, load->topics[topic], ROULETTE_STRLEN, payload, len);
    REQUIRE(result == 0 || result == ROULETTE_EAGAIN, "%s", roulette_error_name(result));
    load->accepted[stream] += result == 0 ? 1 : 0;
    if (result != 0) {
        atomic_fetch_add(&load->refused, 1);
    }
}

static void *publish(void *argument)
{
    struct load_publisher *publisher = argument;
    struct load *load = publisher->load;
    struct timespec tick;
    (void)clock_gettime(CLOCK_MONOTONIC, &tick);
    while (!atomic_load(&load->stop)) {
        await_tick(&tick);
        for (uint32_t i = 0; i < TALLY_TOPICS; i++) {
            publish_next(load, publisher->index, i);
        }
    }
    return NULL;
}

void load_start(struct load *load)
{
    for (uint32_t i = 0; i < TALLY_THREADS; i++) {
        struct load_publisher *publisher = &load->publishers[i];
        publisher->load = load;
        publisher->index = i;
        REQUIRE(pthread_create(&publisher->thread, NULL, publish, publisher) == 0);
    }
}

uint64_t load_stop(struct load *load)
{
    uint64_t accepted = 0;
    atomic_store(&load->stop, true);
    for (size_t i = 0; i < TALLY_THREADS; i++) {
        (void)pthread_join(load->publishers[i].thread, NULL);
    }
    for (size_t i = 0; i < TALLY_STREAMS; i++) {
        accepted += load->accepted[i];
    }
    return accepted;
}

/* ---- Receiving ---------------------------------------------------------------------------- */

static void note_order(struct load_reader *reader, const struct roulette_message *message)
{
    struct tally_stamp stamp;
    REQUIRE(message->payload_len >= sizeof(stamp));
    memcpy(&stamp, message->payload, sizeof(stamp));
    if (stamp.sequence == TALLY_PRIME || stamp.stream >= TALLY_STREAMS) {
        return;
    }
    if (stamp.sequence < reader->next[stamp.stream]) {
        atomic_fetch_add(&reader->out_of_order, 1);
    } else {
        reader->next[stamp.stream] = stamp.sequence + 1;
    }
}

static void on_entry(struct load_reader *reader, const struct roulette_message *message)
{
    switch (message->kind) {
    case ROULETTE_KIND_MESSAGE:
        note_order(reader, message);
        tally_note(reader->tally, message->payload, message->payload_len);
        break;
    case ROULETTE_KIND_LOST:
        atomic_fetch_add(&reader->lost, 1);
        break;
    case ROULETTE_KIND_RESTORED:
        atomic_fetch_add(&reader->restored, 1);
        break;
    default:
        REQUIRE(message->kind == ROULETTE_KIND_ENDED && message->error == ROULETTE_ECLOSED,
                "notice %d, count %llu, %s", message->kind, (unsigned long long)message->count,
                roulette_error_name(message->error));
    }
}

static void *receive(void *argument)
{
    struct load_reader *reader = argument;
    struct roulette_message messages[BATCH];
    int count;
    while ((count = roulette_receive(reader->subscriber, messages, BATCH, -1)) >= 0) {
        for (int i = 0; i < count; i++) {
            on_entry(reader, &messages[i]);
        }
        roulette_release(reader->subscriber, messages, (size_t)count);
    }
    REQUIRE(count == ROULETTE_ECLOSED, "%s", roulette_error_name(count));
    return NULL;
}

static void subscribe(roulette_subscriber *subscriber, const char *topic, const char *group)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.queue_group = group;
    options.timeout_ms = EVENTUALLY_MS;
    int result = roulette_subscribe_with(subscriber, topic, ROULETTE_STRLEN, &options, NULL);
    REQUIRE(result == 0, "%s", roulette_last_error());
}

void load_reader_start(struct load_reader *reader, roulette_client *client, const struct load *load,
                       const char *pattern, const char *group, struct tally *tally)
{
    memset(reader, 0, sizeof(*reader));
    reader->tally = tally;
    reader->subscriber = fleet_subscriber(client, RING_SLOTS);
    if (pattern != NULL) {
        subscribe(reader->subscriber, pattern, group);
    }
    for (size_t i = 0; pattern == NULL && i < TALLY_TOPICS; i++) {
        if ((tally->topics >> i & 1) != 0) {
            subscribe(reader->subscriber, load->topics[i], group);
        }
    }
    REQUIRE(pthread_create(&reader->thread, NULL, receive, reader) == 0);
}

void load_reader_stop(struct load_reader *reader)
{
    (void)pthread_join(reader->thread, NULL);
    roulette_subscriber_close(reader->subscriber);
}

/* ---- Priming ------------------------------------------------------------------------------ */

static bool saw_more(struct tally *const *tallies, size_t count, size_t topic,
                     const uint64_t *before)
{
    for (size_t i = 0; i < count; i++) {
        bool sees = (tallies[i]->topics >> topic & 1) != 0;
        if (sees && atomic_load(&tallies[i]->primes[topic]) <= before[i]) {
            return false;
        }
    }
    return true;
}

static void prime_topic(const struct load *load, int fd, size_t topic, struct tally *const *tallies,
                        size_t count)
{
    uint64_t before[8];
    uint8_t payload[TALLY_PAYLOAD_MAX];
    size_t len = tally_payload((struct tally_stamp){(uint32_t)topic, TALLY_PRIME}, payload);
    REQUIRE(count <= sizeof(before) / sizeof(before[0]));
    for (size_t i = 0; i < count; i++) {
        before[i] = atomic_load(&tallies[i]->primes[topic]);
    }
    uint64_t deadline_ms = net_now_ms() + EVENTUALLY_MS;
    while (!saw_more(tallies, count, topic, before)) {
        REQUIRE(net_now_ms() < deadline_ms, "topic %s", load->topics[topic]);
        witness_publish(fd, load->topics[topic], payload, len);
        /* Not each millisecond: a prime may wait behind much else. */
        uint64_t again_ms = net_now_ms() + PRIME_WAIT_MS;
        while (!saw_more(tallies, count, topic, before) && net_now_ms() < again_ms) {
            (void)poll(NULL, 0, 1);
        }
    }
}

void load_prime(const struct load *load, struct topology *topology, size_t cluster, size_t server,
                struct tally *const *tallies, size_t count)
{
    int fd = witness_connect(nats_server_port(topology->clusters[cluster].servers[server]));
    for (size_t i = cluster; i < TALLY_TOPICS; i += TOPOLOGY_CLUSTERS) {
        prime_topic(load, fd, i, tallies, count);
    }
    (void)close(fd);
}
