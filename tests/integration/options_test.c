/* SPDX-License-Identifier: MIT */
/**
 * What the options promise, at real servers: the pool, several clients in one process, queue
 * groups, max_messages, waiting subscriptions, drain and the guarantee at_least_once.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/test.h"

enum { BATCH = 64 };

/* ---- Help --------------------------------------------------------------------------------- */

static int publish_number(roulette_client *client, const char *topic, uint64_t number)
{
    return roulette_publish_wait(client, topic, ROULETTE_STRLEN, &number, sizeof(number),
                                 EVENTUALLY_MS);
}

static void require_published(roulette_client *client, const char *topic, uint64_t number)
{
    int result = publish_number(client, topic, number);
    REQUIRE(result == 0, "%s", roulette_error_name(result));
}

static uint64_t number_of(const struct roulette_message *message)
{
    uint64_t number;
    REQUIRE(message->kind == ROULETTE_KIND_MESSAGE, "kind %d", (int)message->kind);
    REQUIRE(message->payload_len == sizeof(number));
    memcpy(&number, message->payload, sizeof(number));
    return number;
}

static void require_flush(roulette_client *client)
{
    int result = roulette_flush(client, EVENTUALLY_MS, NULL, 0);
    REQUIRE(result == 0, "%s", roulette_error_name(result));
}

/* Subscribe and wait until the servers know. */
static void subscribe(roulette_subscriber *subscriber, const char *topic, const char *group,
                      uint64_t max_messages)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.queue_group = group;
    options.max_messages = max_messages;
    options.timeout_ms = EVENTUALLY_MS;
    int result = roulette_subscribe_with(subscriber, topic, ROULETTE_STRLEN, &options, NULL);
    REQUIRE(result == 0, "%s", roulette_last_error());
}

/* The next entry is a message with this number. */
static void require_number(roulette_subscriber *subscriber, uint64_t number)
{
    struct roulette_message message;
    REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1);
    REQUIRE(number_of(&message) == number, "%llu, not %llu",
            (unsigned long long)number_of(&message), (unsigned long long)number);
    roulette_release(subscriber, &message, 1);
}

/* The next entry is the end of a subscription. */
static void require_end(roulette_subscriber *subscriber, int error)
{
    struct roulette_message message;
    REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1);
    REQUIRE(message.kind == ROULETTE_KIND_ENDED && message.error == error, "kind %d, %s",
            (int)message.kind, roulette_error_name(message.error));
}

/* Nothing waits, and nothing is on its way: a fence has passed all servers. */
static void require_nothing(roulette_client *client, roulette_subscriber *subscriber)
{
    struct roulette_message message;
    require_flush(client);
    REQUIRE(roulette_receive(subscriber, &message, 1, 0) == 0, "kind %d", (int)message.kind);
}

/* ---- Roles -------------------------------------------------------------------------------- */

Test(options, role_publisher_only_publishes)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.role = ROULETTE_ROLE_PUBLISHER;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    struct roulette_subscription_options wish;
    roulette_subscription_options_init(&wish);
    wish.queue_group = "g";
    wish.timeout_ms = 1000;
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, NULL), ROULETTE_EROLE);
    cr_assert_eq(roulette_subscribe(subscriber, "*", 1, NULL, NULL), ROULETTE_EROLE);
    cr_assert_eq(roulette_subscribe_with(subscriber, "t", 1, &wish, NULL), ROULETTE_EROLE);
    cr_assert_not_null(strstr(roulette_last_error(), "options.role"));
    require_published(client, "t", 1);
    require_flush(client);
    cr_assert_eq(fleet_stats(client, 0).ledger.confirmed, 1);
    cr_assert_eq(fleet_server_subscriptions(fleet.servers[0]), 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(options, role_subscriber_only_subscribes)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *publisher = fleet_open(&options);
    options.role = ROULETTE_ROLE_SUBSCRIBER;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    subscribe(subscriber, "t", NULL, 0);
    cr_assert_eq(roulette_publish(client, "t", 1, "x", 1), ROULETTE_EROLE);
    cr_assert_eq(roulette_publish_wait(client, "t", 1, "x", 1, -1), ROULETTE_EROLE);
    cr_assert_eq(roulette_publish_reply(client, "t", 1, "r", 1, "x", 1, 0), ROULETTE_EROLE);
    roulette_topic *topic = NULL;
    if (roulette_topic_create(client, "t", 1, &topic) == 0) {
        cr_assert_eq(roulette_topic_publish(topic, "x", 1), ROULETTE_EROLE);
        cr_assert_eq(roulette_topic_publish_wait(topic, "x", 1, -1), ROULETTE_EROLE);
        cr_assert_not_null(strstr(roulette_last_error(), "options.role"));
        roulette_topic_free(topic);
    }
    require_published(publisher, "t", 7);
    require_number(subscriber, 7);
    cr_assert_eq(fleet_stats(client, 0).ledger.accepted, 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_close(publisher);
    fleet_stop(&fleet);
}

/* ---- The pool ----------------------------------------------------------------------------- */

enum { POOL = 4, POOL_TOPICS = 64, POOL_ROUNDS = SCALED(500, 60) };

/* Each of the pool's connections has some of the subscriptions. */
static void require_spread(struct nats_server *server)
{
    json_t *json = nats_server_json(server, "/connz");
    size_t index;
    json_t *connection;
    cr_assert_not_null(json);
    json_t *connections = json_object_get(json, "connections");
    cr_assert_eq(json_array_size(connections), POOL);
    json_array_foreach(connections, index, connection)
    {
        cr_assert_gt(json_integer_value(json_object_get(connection, "subscriptions")), 0);
        cr_assert_gt(json_integer_value(json_object_get(connection, "in_msgs")), 0);
    }
    json_decref(json);
}

Test(options, pool_keeps_the_order_of_each_topic)
{
    struct fleet fleet;
    struct roulette_message messages[BATCH];
    uint64_t next[POOL_TOPICS] = {0};
    char topic[32];
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.pool_size = POOL;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 65536);
    for (uint64_t i = 0; i < POOL_TOPICS; i++) {
        (void)snprintf(topic, sizeof(topic), "pool.%u", (unsigned)i);
        cr_assert_eq(roulette_subscribe(subscriber, topic, ROULETTE_STRLEN, &next[i], NULL), 0);
    }
    for (uint64_t round = 0; round < POOL_ROUNDS; round++) {
        for (unsigned i = 0; i < POOL_TOPICS; i++) {
            (void)snprintf(topic, sizeof(topic), "pool.%u", i);
            require_published(client, topic, round);
        }
    }
    size_t left = (size_t)POOL_TOPICS * POOL_ROUNDS;
    while (left != 0) {
        int count = roulette_receive(subscriber, messages, BATCH, EVENTUALLY_MS);
        cr_assert_gt(count, 0);
        for (int i = 0; i < count; i++) {
            uint64_t *expected = messages[i].user_data;
            cr_assert_eq(number_of(&messages[i]), *expected);
            (*expected)++;
        }
        roulette_release(subscriber, messages, (size_t)count);
        left -= (size_t)count;
    }
    require_spread(fleet.servers[0]);
    cr_assert_eq(fleet_stats(client, 0).connected, POOL);
    cr_assert_eq(fleet_stats(client, 0).subscriptions, POOL_TOPICS);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- Clients beside each other ------------------------------------------------------------ */

Test(options, clients_with_different_options_share_a_process)
{
    enum { CLIENTS = 5, EACH = 20 };
    struct fleet fleet;
    roulette_client *clients[CLIENTS];
    roulette_subscriber *subscribers[CLIENTS];
    char topic[32];
    fleet_start(&fleet, 2);
    for (unsigned i = 0; i < CLIENTS; i++) {
        struct roulette_options options = fleet_options(&fleet);
        char name[16];
        (void)snprintf(name, sizeof(name), "client%u", i);
        options.name = name;
        options.pool_size = 1 + i % 3;
        options.ring = i % 2 == 0 ? ROULETTE_RING_NATIVE : ROULETTE_RING_ROULETTE;
        options.guarantee = i % 2 == 0 ? ROULETTE_AT_LEAST_ONCE : ROULETTE_AT_MOST_ONCE;
        options.ping_interval_ms = 100 * (i + 1);
        options.queue_bytes = (size_t)1 << (20 + i);
        options.slab_bytes = (size_t)131072 << (i % 2);
        clients[i] = fleet_open(&options);
        subscribers[i] = fleet_subscriber(clients[i], 1024);
        (void)snprintf(topic, sizeof(topic), "own.%u.*", i);
        subscribe(subscribers[i], topic, NULL, 0);
    }
    /* Each publishes to the next one, which subscribes on all clusters. */
    for (unsigned i = 0; i < CLIENTS; i++) {
        for (unsigned n = 0; n < EACH; n++) {
            (void)snprintf(topic, sizeof(topic), "own.%u.%u", (i + 1) % CLIENTS, n);
            require_published(clients[i], topic, n);
        }
        require_flush(clients[i]);
    }
    char *text = nats_server_get(fleet.servers[0], "/connz");
    for (unsigned i = 0; i < CLIENTS; i++) {
        uint64_t sum = 0;
        struct roulette_message message;
        for (unsigned n = 0; n < EACH; n++) {
            cr_assert_eq(roulette_receive(subscribers[i], &message, 1, EVENTUALLY_MS), 1);
            sum += number_of(&message);
            roulette_release(subscribers[i], &message, 1);
        }
        cr_assert_eq(sum, EACH * (EACH - 1) / 2);
        require_nothing(clients[i], subscribers[i]);
        (void)snprintf(topic, sizeof(topic), "\"client%u\"", i);
        cr_assert_not_null(strstr(text, topic));
        roulette_subscriber_close(subscribers[i]);
        fleet_close(clients[i]);
    }
    free(text);
    fleet_stop(&fleet);
}

/* ---- Queue groups ------------------------------------------------------------------------- */

enum { GROUP_MESSAGES = SCALED(5000, 1000) };

/* Take what is there. Returns: how many messages, each marked in `seen`. */
static size_t take_numbers(roulette_subscriber *subscriber, uint8_t *seen, int timeout_ms)
{
    struct roulette_message messages[BATCH];
    int count = roulette_receive(subscriber, messages, BATCH, timeout_ms);
    REQUIRE(count >= 0, "%s", roulette_error_name(count));
    for (int i = 0; i < count; i++) {
        seen[number_of(&messages[i])]++;
    }
    roulette_release(subscriber, messages, (size_t)count);
    return (size_t)count;
}

Test(options, one_member_of_a_wildcard_queue_group_receives_each_message)
{
    enum { MEMBERS = 4 };
    static uint8_t seen[GROUP_MESSAGES];
    static uint8_t heard[GROUP_MESSAGES];
    struct fleet fleet;
    roulette_client *clients[2];
    roulette_subscriber *members[MEMBERS];
    size_t shares[MEMBERS] = {0};
    char topic[32];
    fleet_start(&fleet, 2);
    struct roulette_options options = fleet_options(&fleet);
    for (size_t i = 0; i < 2; i++) {
        clients[i] = fleet_open(&options);
        options.pool_size = 3;
    }
    for (size_t i = 0; i < MEMBERS; i++) { /* two in each client */
        members[i] = fleet_subscriber(clients[i / 2], 16384);
        subscribe(members[i], i % 2 == 0 ? "work.>" : "work.*", "group", 0);
    }
    roulette_subscriber *listener = fleet_subscriber(clients[0], 16384);
    subscribe(listener, "work.>", NULL, 0); /* outside of the group: it hears all */
    for (uint64_t i = 0; i < GROUP_MESSAGES; i++) {
        (void)snprintf(topic, sizeof(topic), "work.%llu", (unsigned long long)i % 97);
        require_published(clients[i % 2], topic, i);
    }
    require_flush(clients[0]);
    require_flush(clients[1]);
    require_flush(clients[0]); /* what the other one published has come, too */
    size_t total = 0;
    for (size_t i = 0; i < MEMBERS; i++) {
        size_t count;
        while ((count = take_numbers(members[i], seen, 0)) != 0) {
            shares[i] += count;
        }
        total += shares[i];
    }
    size_t left = GROUP_MESSAGES;
    while (left != 0) {
        left -= take_numbers(listener, heard, EVENTUALLY_MS);
    }
    /* The server knows a group by its name, whatever its members subscribe to. */
    cr_assert_eq(total, GROUP_MESSAGES);
    for (size_t i = 0; i < GROUP_MESSAGES; i++) {
        cr_assert_eq(seen[i], 1, "%zu", i);
        cr_assert_eq(heard[i], 1, "%zu", i);
    }
    for (size_t i = 0; i < MEMBERS; i++) {
        cr_assert_gt(shares[i], GROUP_MESSAGES / 10);
        roulette_subscriber_close(members[i]);
    }
    roulette_subscriber_close(listener);
    fleet_close(clients[0]);
    fleet_close(clients[1]);
    fleet_stop(&fleet);
}

/* ---- max_messages ------------------------------------------------------------------------- */

Test(options, max_messages_ends_a_subscription)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    subscribe(subscriber, "t", NULL, 3);
    for (uint64_t i = 0; i < 10; i++) {
        require_published(client, "t", i);
    }
    for (uint64_t i = 0; i < 3; i++) {
        require_number(subscriber, i);
    }
    require_end(subscriber, 0);
    require_nothing(client, subscriber);
    EVENTUALLY(fleet_server_subscriptions(fleet.servers[0]) == 0);
    subscribe(subscriber, "t", NULL, 1); /* again, afresh */
    require_published(client, "t", 77);
    require_number(subscriber, 77);
    require_end(subscriber, 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(options, max_messages_are_counted_over_clusters_and_reconnects)
{
    struct fleet fleet;
    struct roulette_message message;
    char topic[32];
    size_t received = 0;
    fleet_start(&fleet, 2);
    struct roulette_options options = fleet_options(&fleet);
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    subscribe(subscriber, "max.*", NULL, 50);
    for (unsigned i = 0; i < 20; i++) {
        (void)snprintf(topic, sizeof(topic), "max.%u", i);
        require_published(client, topic, i);
    }
    require_flush(client);
    for (size_t i = 0; i < 2; i++) {
        cr_assert(nats_server_kill(fleet.servers[i], SIGKILL));
        cr_assert(nats_server_restart(fleet.servers[i]));
        EVENTUALLY(fleet_stats(client, i).connects == 2);
    }
    require_flush(client);
    for (unsigned i = 0; i < 60; i++) {
        (void)snprintf(topic, sizeof(topic), "max.%u", i);
        require_published(client, topic, i);
    }
    do {
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
        received += message.kind == ROULETTE_KIND_MESSAGE ? 1 : 0;
        roulette_release(subscriber, &message, 1);
    } while (message.kind != ROULETTE_KIND_ENDED);
    cr_assert_eq(message.error, 0);
    cr_assert_eq(received, 50);
    require_nothing(client, subscriber);
    EVENTUALLY(fleet_server_subscriptions(fleet.servers[0]) == 0);
    EVENTUALLY(fleet_server_subscriptions(fleet.servers[1]) == 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- Subscriptions that wait -------------------------------------------------------------- */

Test(options, waiting_subscription_misses_nothing_that_others_publish_next)
{
    struct fleet fleet;
    char topic[32];
    fleet_start(&fleet, 2);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *publisher = fleet_open(&options);
    options.pool_size = 2;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    for (unsigned i = 0; i < SCALED(300, 50); i++) {
        (void)snprintf(topic, sizeof(topic), i % 2 == 0 ? "next.%u" : "next.%u.*", i);
        subscribe(subscriber, topic, i % 3 == 0 ? "group" : NULL, 0);
        (void)snprintf(topic, sizeof(topic), i % 2 == 0 ? "next.%u" : "next.%u.x", i);
        require_published(publisher, topic, i);
        require_number(subscriber, i);
    }
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_close(publisher);
    fleet_stop(&fleet);
}

Test(options, subscription_that_waits_in_vain_does_not_stay)
{
    struct fleet fleet;
    struct roulette_subscription_options wish;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    roulette_subscription_options_init(&wish);
    wish.timeout_ms = 50;
    cr_assert(nats_server_kill(fleet.servers[0], SIGSTOP));
    cr_assert_eq(roulette_subscribe_with(subscriber, "t", 1, &wish, NULL), ROULETTE_ETIMEDOUT);
    cr_assert_eq(roulette_unsubscribe_topic(subscriber, "t", 1), ROULETTE_ENOENT);
    cr_assert(nats_server_kill(fleet.servers[0], SIGCONT));
    require_flush(client);
    cr_assert_eq(fleet_server_subscriptions(fleet.servers[0]), 0);
    subscribe(subscriber, "t", NULL, 0);
    require_published(client, "t", 5);
    require_number(subscriber, 5);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(options, subscription_whose_connection_is_lost_meanwhile_does_not_stay)
{
    static const char info[] = "INFO {\"max_payload\":1048576}\r\n";
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(FAKE_SEND_BYTES(info, sizeof(info) - 1), FAKE_EXPECT("PING\r\n"),
                    FAKE_SEND("PONG\r\n"), FAKE_EXPECT("SUB t 1\r\n"), FAKE_CLOSE()),
        FAKE_SCRIPT(FAKE_SEND_BYTES(info, sizeof(info) - 1), FAKE_EXPECT("PING\r\n"),
                    FAKE_SEND("PONG\r\n"), FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n")),
    };
    struct fake_server *server = fake_server_start(scripts, 2);
    cr_assert_not_null(server);
    struct fleet fleet = {.count = 0};
    (void)snprintf(fleet.list, sizeof(fleet.list), "127.0.0.1:%u", fake_server_port(server));
    struct roulette_options options = fleet_options(&fleet);
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    roulette_client *client;
    struct roulette_subscription_options wish;
    cr_assert_eq(roulette_open(&options, &client), 0);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    roulette_subscription_options_init(&wish);
    wish.timeout_ms = EVENTUALLY_MS;
    cr_assert_eq(roulette_subscribe_with(subscriber, "t", 1, &wish, NULL), ROULETTE_EDISCONNECTED);
    require_flush(client);
    cr_assert_eq(fleet_stats(client, 0).subscriptions, 0);
    roulette_subscriber_close(subscriber);
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    char *received = fake_server_received(server, 1, &(size_t){0});
    cr_assert_null(strstr(received, "SUB t"));
    free(received);
    cr_assert(fake_server_stop(server));
}

/* ---- Drain -------------------------------------------------------------------------------- */

enum { DRAIN_ROUNDS = SCALED(20, 5), DRAIN_MAX = 2000000 };

struct flow {
    roulette_client *client;
    pthread_t thread;
    atomic_bool stop;
    atomic_uint_fast64_t count;
};

static void *run_flow(void *argument)
{
    struct flow *flow = argument;
    while (!atomic_load(&flow->stop)) {
        uint64_t number = atomic_load(&flow->count);
        REQUIRE(number < DRAIN_MAX);
        require_published(flow->client, number % 2 == 0 ? "drain.a" : "drain.b", number);
        atomic_store(&flow->count, number + 1);
        if (number % 50 == 49) {
            require_flush(flow->client); /* as fast as the server, no faster */
        }
    }
    require_flush(flow->client);
    return NULL;
}

/* A member of the group that takes all until it is told to stop and nothing is left. */
struct stayer {
    roulette_client *client;
    roulette_subscriber *subscriber;
    pthread_t thread;
    uint8_t *seen;
    atomic_uint_fast64_t count;
    atomic_bool stop;
};

static void *run_stayer(void *argument)
{
    struct stayer *stayer = argument;
    for (;;) {
        bool stopping = atomic_load(&stayer->stop);
        size_t count = take_numbers(stayer->subscriber, stayer->seen, stopping ? 0 : 10);
        atomic_fetch_add(&stayer->count, count);
        if (stopping && count == 0) {
            return NULL;
        }
    }
}

/* Join the group, receive a while, drain, take the rest. Returns: how many messages. */
static uint64_t join_and_leave(roulette_client *client, uint8_t *seen)
{
    struct roulette_message message;
    uint64_t count = 0;
    roulette_subscriber *subscriber = fleet_subscriber(client, 65536);
    subscribe(subscriber, "drain.*", "group", 0);
    while (count < 200) {
        count += take_numbers(subscriber, seen, EVENTUALLY_MS);
    }
    int result = roulette_subscriber_drain(subscriber, EVENTUALLY_MS);
    cr_assert_eq(result, 0, "%s", roulette_error_name(result));
    /* All that will ever come is there, and the end behind it. */
    for (;;) {
        cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 1);
        if (message.kind == ROULETTE_KIND_ENDED) {
            break;
        }
        seen[number_of(&message)]++;
        count++;
        roulette_release(subscriber, &message, 1);
    }
    cr_assert_eq(message.error, 0);
    cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 0);
    roulette_subscriber_close(subscriber);
    return count;
}

Test(options, drain_loses_nothing_that_the_server_has_sent)
{
    static uint8_t left_seen[DRAIN_MAX];
    static uint8_t stay_seen[DRAIN_MAX];
    struct fleet fleet;
    fleet_start(&fleet, 2);
    struct roulette_options options = fleet_options(&fleet);
    struct flow flow = {.client = fleet_open(&options)};
    struct stayer stayer = {.client = fleet_open(&options), .seen = stay_seen};
    roulette_client *client = fleet_open(&options);
    stayer.subscriber = fleet_subscriber(stayer.client, 65536);
    subscribe(stayer.subscriber, "drain.*", "group", 0);
    cr_assert_eq(pthread_create(&stayer.thread, NULL, run_stayer, &stayer), 0);
    cr_assert_eq(pthread_create(&flow.thread, NULL, run_flow, &flow), 0);
    uint64_t left = 0;
    for (int i = 0; i < DRAIN_ROUNDS; i++) {
        left += join_and_leave(client, left_seen);
    }
    atomic_store(&flow.stop, true);
    (void)pthread_join(flow.thread, NULL);
    require_flush(stayer.client); /* what was published has come */
    atomic_store(&stayer.stop, true);
    (void)pthread_join(stayer.thread, NULL);
    uint64_t count = atomic_load(&flow.count);
    for (uint64_t i = 0; i < count; i++) {
        cr_assert_eq(left_seen[i] + stay_seen[i], 1, "message %llu: %u and %u times",
                     (unsigned long long)i, left_seen[i], stay_seen[i]);
    }
    cr_assert_eq(left + atomic_load(&stayer.count), count);
    cr_assert_eq(fleet_stats(client, 0).dropped_ring_full, 0);
    roulette_subscriber_close(stayer.subscriber);
    fleet_close(client);
    fleet_close(stayer.client);
    fleet_close(flow.client);
    fleet_stop(&fleet);
}

/* One cluster has nothing more than the end to tell, the other one has messages before it. */
Test(options, drained_wildcard_can_be_unsubscribed_half_way)
{
    struct fleet fleet;
    struct roulette_message message;
    roulette_subscription *subscription;
    char topic[32];
    fleet_start(&fleet, 2);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    for (size_t cluster = 0; cluster < 2; cluster++) {
        roulette_subscriber *subscriber = fleet_subscriber(client, 0);
        cr_assert_eq(roulette_subscribe(subscriber, "half.*", 6, NULL, &subscription), 0);
        require_flush(client);
        size_t len = fleet_topic(client, cluster, "half", 0, topic, sizeof(topic));
        for (int i = 0; i < 3; i++) {
            cr_assert_eq(roulette_publish(client, topic, len, "x", 1), 0);
        }
        require_flush(client);
        cr_assert_eq(roulette_subscriber_drain(subscriber, EVENTUALLY_MS), 0);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 1);
            cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
            roulette_release(subscriber, &message, 1);
        }
        cr_assert_eq(roulette_unsubscribe(subscriber, subscription), 0);
        cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 0);
        subscribe(subscriber, "half.*", NULL, 0);
        cr_assert_eq(roulette_subscriber_drain(subscriber, EVENTUALLY_MS), 0);
        cr_assert_eq(roulette_subscriber_drain(subscriber, EVENTUALLY_MS), 0);
        require_end(subscriber, 0);
        cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 0);
        roulette_subscriber_close(subscriber);
    }
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(options, drain_of_a_stopped_server_keeps_its_deadline_and_ends_all)
{
    struct fleet fleet;
    struct roulette_message message;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    subscribe(subscriber, "a", NULL, 0);
    subscribe(subscriber, "b.*", "group", 0);
    cr_assert(nats_server_kill(fleet.servers[0], SIGSTOP));
    cr_assert_eq(roulette_subscriber_drain(subscriber, 50), ROULETTE_ETIMEDOUT);
    require_end(subscriber, 0);
    require_end(subscriber, 0);
    cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 0);
    cr_assert(nats_server_kill(fleet.servers[0], SIGCONT));
    require_flush(client);
    cr_assert_eq(fleet_server_subscriptions(fleet.servers[0]), 0);
    subscribe(subscriber, "a", NULL, 0); /* the subscriber goes on */
    require_published(client, "a", 3);
    require_number(subscriber, 3);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- The guarantee ------------------------------------------------------------------------ */

enum { KILLS = SCALED(6, 3), BETWEEN_KILLS = SCALED(20000, 3000) };

struct witness {
    roulette_subscriber *subscriber;
    pthread_t thread;
    uint8_t *seen;
    atomic_uint_fast64_t distinct;
    atomic_bool stop;
};

static void *run_witness(void *argument)
{
    struct witness *witness = argument;
    struct roulette_message messages[BATCH];
    while (!atomic_load(&witness->stop)) {
        int count = roulette_receive(witness->subscriber, messages, BATCH, 10);
        for (int i = 0; i < count; i++) {
            REQUIRE(messages[i].kind != ROULETTE_KIND_DROPPED);
            REQUIRE(messages[i].kind != ROULETTE_KIND_ENDED);
            if (messages[i].kind == ROULETTE_KIND_MESSAGE) {
                uint64_t number = number_of(&messages[i]);
                uint64_t distinct = atomic_load(&witness->distinct);
                REQUIRE(number <= distinct, "%llu came before %llu", (unsigned long long)number,
                        (unsigned long long)distinct);
                atomic_fetch_add(&witness->distinct, witness->seen[number] == 0 ? 1 : 0);
                witness->seen[number] = 1;
            }
        }
        roulette_release(witness->subscriber, messages, count > 0 ? (size_t)count : 0);
    }
    return NULL;
}

/*
 * The witness sits on the same connection as the publisher: the server puts a message into the
 * connection's stream before the PONG that confirms it, so what was confirmed has come, and what
 * was not is sent again behind the restored subscription. All must come, in order.
 */
Test(options, at_least_once_loses_nothing_when_the_server_is_killed)
{
    static uint8_t seen[(size_t)KILLS * BETWEEN_KILLS];
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.guarantee = ROULETTE_AT_LEAST_ONCE;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    roulette_client *client = fleet_open(&options);
    struct witness witness = {.subscriber = fleet_subscriber(client, 1 << 18), .seen = seen};
    subscribe(witness.subscriber, "sure", NULL, 0);
    cr_assert_eq(pthread_create(&witness.thread, NULL, run_witness, &witness), 0);
    uint64_t number = 0;
    for (int i = 0; i < KILLS; i++) {
        for (int n = 0; n < BETWEEN_KILLS; n++) {
            require_published(client, "sure", number++);
            if (n == BETWEEN_KILLS / 2) {
                EVENTUALLY(fleet_stats(client, 0).connected == 1);
                cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
            }
        }
        cr_assert(nats_server_restart(fleet.servers[0]));
    }
    EVENTUALLY(roulette_flush(client, EVENTUALLY_MS, NULL, 0) == 0);
    EVENTUALLY(atomic_load(&witness.distinct) == number);
    atomic_store(&witness.stop, true);
    (void)pthread_join(witness.thread, NULL);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(stats.ledger.accepted, number);
    cr_assert_eq(stats.ledger.confirmed, number);
    cr_assert_eq(stats.ledger.in_doubt + stats.ledger.failed + stats.ledger.discarded, 0);
    cr_assert_geq(stats.disconnects, KILLS);
    roulette_subscriber_close(witness.subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- Spinning ----------------------------------------------------------------------------- */

/* Send messages there and back, one at a time. Returns: how often the event thread was woken, or a
 * publisher sent in its place because it slept. */
static uint64_t count_wakeups(struct fleet *fleet, uint32_t spin_us, uint64_t messages)
{
    struct roulette_options options = fleet_options(fleet);
    options.spin_us = spin_us;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    subscribe(subscriber, "there.and.back", NULL, 0);
    struct roulette_stats before = fleet_stats(client, 0);
    for (uint64_t i = 0; i < messages; i++) {
        require_published(client, "there.and.back", i);
        require_number(subscriber, i);
    }
    struct roulette_stats after = fleet_stats(client, 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    return after.wakeups - before.wakeups + after.direct_sends - before.direct_sends;
}

Test(options, event_thread_that_spins_need_not_be_woken)
{
    enum { MESSAGES = 500 };
    struct fleet fleet;
    fleet_start(&fleet, 1);
    uint64_t asleep = count_wakeups(&fleet, 0, MESSAGES);
    uint64_t spinning = count_wakeups(&fleet, 1000000, MESSAGES);
    printf("options: found asleep %llu times by %d messages, when it spins %llu times\n",
           (unsigned long long)asleep, MESSAGES, (unsigned long long)spinning);
    cr_assert_gt(asleep, MESSAGES / 5);
    cr_assert_lt(spinning, MESSAGES / 20);
    fleet_stop(&fleet);
}

static double cpu_seconds(void)
{
    struct timespec now;
    REQUIRE(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Whether all threads of this process together sleep nearly all of the next 100 ms. */
static bool sleeps(void)
{
    const struct timespec pause = {.tv_nsec = 100000000};
    double before = cpu_seconds();
    (void)nanosleep(&pause, NULL);
    return cpu_seconds() - before < 0.01;
}

Test(options, spinning_ends_when_there_is_nothing_to_do)
{
    struct fleet fleet;
    struct roulette_message message;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.spin_us = 200000;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    subscribe(subscriber, "a", NULL, 0);
    EVENTUALLY(sleeps());
    /* The receiving thread spins too, and not beyond its timeout. */
    double before = cpu_seconds();
    cr_assert_eq(roulette_receive(subscriber, &message, 1, 50), 0);
    double spun = cpu_seconds() - before;
    cr_assert_lt(spun, 0.2);
#ifndef TEST_SANITIZED
    cr_assert_gt(spun, 0.001);
#endif
    cr_assert(sleeps());
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

static void *receive_until_closed(void *subscriber)
{
    struct roulette_message message;
    int result = roulette_receive((roulette_subscriber *)subscriber, &message, 1, -1);
    return result == ROULETTE_ECLOSED ? subscriber : NULL;
}

Test(options, closing_ends_a_receive_that_spins)
{
    const struct timespec pause = {.tv_nsec = 20000000};
    struct fleet fleet;
    pthread_t thread;
    void *result;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    options.spin_us = 1000000;
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    REQUIRE(pthread_create(&thread, NULL, receive_until_closed, subscriber) == 0);
    (void)nanosleep(&pause, NULL); /* it spins for a second now */
    cr_assert_eq(roulette_close(client, EVENTUALLY_MS, NULL, 0), 0);
    uint64_t start_ms = net_now_ms();
    (void)pthread_join(thread, &result);
    cr_assert_eq(result, subscriber);
    cr_assert_lt(net_now_ms() - start_ms, 500);
    roulette_subscriber_close(subscriber);
    roulette_free(client);
    fleet_stop(&fleet);
}
