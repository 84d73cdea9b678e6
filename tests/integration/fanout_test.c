/* SPDX-License-Identifier: MIT */
/**
 * However many subscribers a topic has in one process, the server has one subscription and sends
 * one copy.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    SUBSCRIBERS = 1000,
    THREADS = 4,
    PER_THREAD = SUBSCRIBERS / THREADS,
    MESSAGES = SCALED(500, 100),
    RING_SLOTS = 1024,
    BATCH = 64,
};
static const char topic[] = "news.of.the.day";

/* A quarter of the subscribers, in one thread. */
struct audience {
    roulette_subscriber *subscribers[PER_THREAD];
    roulette_subscription *subscriptions[PER_THREAD];
    uint32_t received[PER_THREAD];
    pthread_t thread;
};

static struct audience audiences[THREADS];

/* Each subscriber has an eventfd. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < SUBSCRIBERS + 200) {
        limit.rlim_cur = SUBSCRIBERS + 200;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0, "raise the limit of descriptors");
    }
}

static void *listen_to_all(void *argument)
{
    struct audience *audience = argument;
    struct roulette_message messages[BATCH];
    for (size_t i = 0; i < PER_THREAD; i++) {
        while (audience->received[i] < MESSAGES) {
            int count = roulette_receive(audience->subscribers[i], messages, BATCH, EVENTUALLY_MS);
            REQUIRE(count > 0, "subscriber %zu got %u messages", i, audience->received[i]);
            for (int j = 0; j < count; j++) {
                REQUIRE(messages[j].kind == ROULETTE_KIND_MESSAGE);
                REQUIRE(messages[j].user_data == &audience->received[i]);
                REQUIRE(messages[j].payload_len == sizeof(uint32_t));
                REQUIRE(memcmp(messages[j].payload, &audience->received[i], 4) == 0);
                audience->received[i]++;
            }
            roulette_release(audience->subscribers[i], messages, (size_t)count);
        }
    }
    return NULL;
}

static void open_all(roulette_client *client)
{
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        struct audience *audience = &audiences[i / PER_THREAD];
        size_t index = i % PER_THREAD;
        audience->subscribers[index] = fleet_subscriber(client, RING_SLOTS);
        int result =
            roulette_subscribe(audience->subscribers[index], topic, ROULETTE_STRLEN,
                               &audience->received[index], &audience->subscriptions[index]);
        cr_assert_eq(result, 0, "%s", roulette_last_error());
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
}

static void publish_all(roulette_client *client)
{
    for (uint32_t i = 0; i < MESSAGES; i++) {
        cr_assert_eq(roulette_publish_wait(client, topic, ROULETTE_STRLEN, &i, sizeof(i), 10000),
                     0);
    }
}

static void receive_all(void)
{
    for (size_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&audiences[i].thread, NULL, listen_to_all, &audiences[i]), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        (void)pthread_join(audiences[i].thread, NULL);
    }
}

/* How many subscriptions to the topic a server has in all, as its /subsz says. */
static size_t count_subscriptions(struct nats_server *server)
{
    size_t count = 0;
    size_t index;
    json_t *entry;
    json_t *json = nats_server_json(server, "/subsz?subs=1");
    REQUIRE(json != NULL);
    json_t *list = json_object_get(json, "subscriptions_list");
    REQUIRE(json_array_size(list) != 0);
    json_array_foreach(list, index, entry)
    {
        const char *subject = json_string_value(json_object_get(entry, "subject"));
        count += subject != NULL && strcmp(subject, topic) == 0 ? 1 : 0;
    }
    json_decref(json);
    return count;
}

/* What /connz says of the one client connection of a server. */
struct connection {
    long subscriptions;
    size_t topics; /* of them listed as `topic` */
    long messages_in;
    long messages_out;
};

static struct connection ask_connection(struct nats_server *server)
{
    struct connection answer = {0};
    size_t index;
    json_t *entry;
    json_t *json = nats_server_json(server, "/connz?subs=1");
    REQUIRE(json != NULL);
    json_t *list = json_object_get(json, "connections");
    REQUIRE(json_array_size(list) == 1, "%zu connections", json_array_size(list));
    json_t *only = json_array_get(list, 0);
    json_array_foreach(json_object_get(only, "subscriptions_list"), index, entry)
    {
        answer.topics += strcmp(json_string_value(entry), topic) == 0 ? 1 : 0;
    }
    answer.subscriptions = (long)json_integer_value(json_object_get(only, "subscriptions"));
    answer.messages_in = (long)json_integer_value(json_object_get(only, "in_msgs"));
    answer.messages_out = (long)json_integer_value(json_object_get(only, "out_msgs"));
    json_decref(json);
    return answer;
}

static void check_server(struct nats_server *server)
{
    struct connection connection = ask_connection(server);
    cr_assert_eq(connection.subscriptions, 1);
    cr_assert_eq(connection.topics, 1);
    cr_assert_eq(connection.messages_in, MESSAGES);
    cr_assert_eq(connection.messages_out, MESSAGES, "one copy of each, not %ld",
                 connection.messages_out);
    cr_assert_eq(count_subscriptions(server), 1);
    printf("fanout: %d subscribers: %ld SUB, %ld published, %ld copies sent by the server\n",
           SUBSCRIBERS, connection.subscriptions, connection.messages_in, connection.messages_out);
}

/* The last subscriber keeps the topic alive; when it leaves, the server knows nothing of it. */
static void leave_all(roulette_client *client, struct nats_server *server)
{
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        struct audience *audience = &audiences[i / PER_THREAD];
        size_t index = i % PER_THREAD;
        if (i == SUBSCRIBERS - 1) {
            cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
            cr_assert_eq(ask_connection(server).subscriptions, 1);
        }
        cr_assert_eq(
            roulette_unsubscribe(audience->subscribers[index], audience->subscriptions[index]), 0);
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(ask_connection(server).subscriptions, 0);
    cr_assert_eq(count_subscriptions(server), 0);
}

static void close_all(void)
{
    for (size_t i = 0; i < SUBSCRIBERS; i++) {
        roulette_subscriber_close(audiences[i / PER_THREAD].subscribers[i % PER_THREAD]);
    }
}

Test(fanout, thousand_subscribers_cost_one_subscription_and_one_copy)
{
    struct fleet fleet;
    allow_descriptors();
    fleet_start(&fleet, 3);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    size_t cluster = (size_t)roulette_cluster_of(client, topic, ROULETTE_STRLEN);
    struct nats_server *server = fleet.servers[cluster];
    open_all(client);
    publish_all(client);
    receive_all();
    check_server(server);
    for (size_t i = 0; i < 3; i++) {
        struct roulette_stats stats = fleet_stats(client, i);
        cr_assert_eq(stats.subscriptions, i == cluster ? 1 : 0);
        cr_assert_eq(stats.received_messages, i == cluster ? MESSAGES : 0);
        cr_assert_eq(stats.delivered_messages, i == cluster ? (uint64_t)MESSAGES * SUBSCRIBERS : 0);
        cr_assert(i == cluster || fleet_server_subscriptions(fleet.servers[i]) == 0);
    }
    leave_all(client, server);
    close_all();
    fleet_close(client);
    fleet_stop(&fleet);
}

/* Closing without unsubscribing does the same. */
Test(fanout, closing_the_subscribers_ends_the_subscription)
{
    struct fleet fleet;
    allow_descriptors();
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    open_all(client);
    cr_assert_eq(fleet_server_subscriptions(fleet.servers[0]), 1);
    close_all();
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(fleet_server_subscriptions(fleet.servers[0]), 0);
    fleet_close(client);
    fleet_stop(&fleet);
}
