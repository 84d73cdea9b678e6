/* SPDX-License-Identifier: MIT */
/**
 * What the header promises of subscribing, receiving and releasing.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/random.h"
#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    SERVERS = 3,
    BATCH = 128,
};

/* Three servers, a client and a subscriber. */
struct stage {
    struct fleet fleet;
    struct roulette_options options;
    roulette_client *client;
    roulette_subscriber *subscriber;
};

static void set_up(struct stage *stage)
{
    fleet_start(&stage->fleet, SERVERS);
    stage->options = fleet_options(&stage->fleet);
    stage->client = fleet_open(&stage->options);
    stage->subscriber = fleet_subscriber(stage->client, 0);
}

static void tear_down(struct stage *stage)
{
    roulette_subscriber_close(stage->subscriber);
    fleet_close(stage->client);
    fleet_stop(&stage->fleet);
}

static roulette_subscription *subscribe(roulette_subscriber *subscriber, const char *topic,
                                        void *user_data)
{
    roulette_subscription *subscription = NULL;
    int result = roulette_subscribe(subscriber, topic, ROULETTE_STRLEN, user_data, &subscription);
    REQUIRE(result == 0, "%s", roulette_last_error());
    REQUIRE(subscription != NULL);
    return subscription;
}

static void publish(roulette_client *client, const char *topic, const void *payload, size_t len)
{
    int result = roulette_publish_wait(client, topic, ROULETTE_STRLEN, payload, len, EVENTUALLY_MS);
    REQUIRE(result == 0, "%s", roulette_last_error());
}

static void publish_text(roulette_client *client, const char *topic, const char *text)
{
    publish(client, topic, text, strlen(text));
}

static void flush(roulette_client *client)
{
    int result = roulette_flush(client, EVENTUALLY_MS, NULL, 0);
    REQUIRE(result == 0, "%s", roulette_last_error());
}

static struct roulette_message receive_one(roulette_subscriber *subscriber)
{
    struct roulette_message message;
    int count = roulette_receive(subscriber, &message, 1, EVENTUALLY_MS);
    REQUIRE(count == 1, "%s", roulette_error_name(count));
    return message;
}

static struct roulette_message expect(roulette_subscriber *subscriber, const char *topic,
                                      const char *payload)
{
    struct roulette_message message = receive_one(subscriber);
    REQUIRE(message.kind == ROULETTE_KIND_MESSAGE, "notice %d", message.kind);
    REQUIRE(message.topic_len == strlen(topic) && memcmp(message.topic, topic, strlen(topic)) == 0,
            "topic %.*s", (int)message.topic_len, message.topic);
    REQUIRE(message.payload_len == strlen(payload) &&
            memcmp(message.payload, payload, strlen(payload)) == 0);
    return message;
}

static void expect_and_release(roulette_subscriber *subscriber, const char *topic,
                               const char *payload)
{
    struct roulette_message message = expect(subscriber, topic, payload);
    roulette_release(subscriber, &message, 1);
}

static void expect_nothing(roulette_subscriber *subscriber)
{
    struct roulette_message message;
    cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 0);
}

static uint64_t slabs_in_use(const roulette_client *client)
{
    uint64_t count = 0;
    for (size_t i = 0; i < (size_t)roulette_cluster_count(client); i++) {
        count += fleet_stats(client, i).slabs_in_use;
    }
    return count;
}

/* ---- Handles ------------------------------------------------------------------------------ */

Test(subscribe, same_topic_twice_gives_the_existing_handle)
{
    struct stage stage;
    int first;
    int second;
    roulette_subscription *again = NULL;
    set_up(&stage);
    roulette_subscription *subscription = subscribe(stage.subscriber, "a.b", &first);
    cr_assert_eq(roulette_subscribe(stage.subscriber, "a.b", 3, &second, &again), ROULETTE_EEXIST);
    cr_assert_eq(again, subscription);
    cr_assert_eq(roulette_subscribe(stage.subscriber, "a.b", 3, &second, NULL), ROULETTE_EEXIST);
    (void)subscribe(stage.subscriber, "a.*", &second);
    cr_assert_eq(roulette_subscribe(stage.subscriber, "a.*", 3, NULL, &again), ROULETTE_EEXIST);
    cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, "a.*", 3), 0);
    publish_text(stage.client, "a.b", "once");
    struct roulette_message message = expect(stage.subscriber, "a.b", "once");
    cr_assert_eq(message.user_data, &first, "the first subscription stands");
    cr_assert_eq(message.subscription, subscription);
    roulette_release(stage.subscriber, &message, 1);
    flush(stage.client);
    expect_nothing(stage.subscriber);
    tear_down(&stage);
}

Test(subscribe, unknown_subscription_is_told)
{
    struct stage stage;
    set_up(&stage);
    cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, "a", 1), ROULETTE_ENOENT);
    roulette_subscription *by_handle = subscribe(stage.subscriber, "a", NULL);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, by_handle), 0);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, by_handle), ROULETTE_ENOENT);
    cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, "a", 1), ROULETTE_ENOENT);
    roulette_subscription *by_topic = subscribe(stage.subscriber, "a", NULL);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, by_handle), ROULETTE_ENOENT,
                 "an old handle is not a new one");
    cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, "a", 1), 0);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, by_topic), ROULETTE_ENOENT);
    flush(stage.client);
    expect_nothing(stage.subscriber);
    roulette_subscription *later = subscribe(stage.subscriber, "a", NULL);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, by_handle), ROULETTE_ENOENT);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, by_topic), ROULETTE_ENOENT);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, later), 0);
    tear_down(&stage);
}

Test(subscribe, handle_of_another_subscriber_is_told)
{
    struct stage stage;
    set_up(&stage);
    roulette_subscriber *other = fleet_subscriber(stage.client, 0);
    roulette_subscription *mine = subscribe(stage.subscriber, "a", NULL);
    roulette_subscription *theirs = subscribe(other, "b", NULL);
    cr_assert_neq(mine, theirs);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, theirs), ROULETTE_ENOENT);
    cr_assert_eq(roulette_unsubscribe(other, mine), ROULETTE_ENOENT);
    publish_text(stage.client, "a", "1");
    publish_text(stage.client, "b", "2");
    expect_and_release(stage.subscriber, "a", "1");
    expect_and_release(other, "b", "2");
    roulette_subscriber_close(other);
    tear_down(&stage);
}

/* ---- Unsubscribing ------------------------------------------------------------------------ */

/* Publishes to a topic on each cluster, as fast as it can. */
struct noise {
    roulette_client *client;
    atomic_bool stop;
    pthread_t thread;
};

static void *make_noise(void *argument)
{
    struct noise *noise = argument;
    char topic[32];
    for (uint32_t i = 0; !atomic_load(&noise->stop); i++) {
        (void)snprintf(topic, sizeof(topic), "noise.%u", i % 8);
        (void)roulette_publish_wait(noise->client, topic, ROULETTE_STRLEN, &i, sizeof(i), 10);
        if (i % 64 == 0) {
            (void)roulette_flush(noise->client, 1000, NULL, 0);
        }
    }
    return NULL;
}

static void start_noise(struct noise *noise, roulette_client *client)
{
    noise->client = client;
    atomic_store(&noise->stop, false);
    cr_assert_eq(pthread_create(&noise->thread, NULL, make_noise, noise), 0);
}

static void stop_noise(struct noise *noise)
{
    atomic_store(&noise->stop, true);
    (void)pthread_join(noise->thread, NULL);
}

Test(subscribe, nothing_is_received_after_unsubscribe_returned)
{
    enum { ROUNDS = SCALED(2000, 300) };
    struct stage stage;
    static struct noise noise;
    struct roulette_message messages[BATCH];
    int marks[8];
    set_up(&stage);
    start_noise(&noise, stage.client);
    uint64_t received = 0;
    for (int round = 0; round < ROUNDS; round++) {
        char topic[32];
        void *mark = &marks[round % 8];
        (void)snprintf(topic, sizeof(topic), "noise.%d", round % 8);
        const char *pattern = round % 3 == 0 ? "noise.*" : topic;
        roulette_subscription *subscription = subscribe(stage.subscriber, pattern, mark);
        for (int i = 0; i < 3; i++) {
            int count = roulette_receive(stage.subscriber, messages, BATCH, 5);
            cr_assert_geq(count, 0);
            for (int j = 0; j < count; j++) {
                cr_assert_eq(messages[j].kind, ROULETTE_KIND_MESSAGE);
                cr_assert_eq(messages[j].subscription, subscription, "round %d", round);
                cr_assert_eq(messages[j].user_data, mark);
            }
            received += (uint64_t)count;
            roulette_release(stage.subscriber, messages, (size_t)count);
        }
        int result = round % 2 == 0
                         ? roulette_unsubscribe(stage.subscriber, subscription)
                         : roulette_unsubscribe_topic(stage.subscriber, pattern, ROULETTE_STRLEN);
        cr_assert_eq(result, 0);
        expect_nothing(stage.subscriber);
    }
    stop_noise(&noise);
    printf("subscribe: %d rounds of subscribe and unsubscribe, %llu messages received\n", ROUNDS,
           (unsigned long long)received);
    cr_assert_gt(received, 100);
    flush(stage.client);
    for (size_t i = 0; i < SERVERS; i++) {
        cr_assert_eq(fleet_server_subscriptions(stage.fleet.servers[i]), 0);
        cr_assert_eq(fleet_stats(stage.client, i).subscriptions, 0);
    }
    tear_down(&stage);
}

/* No flush between the two: the subscription is on its way before the message is. */
static void subscribe_and_publish(struct stage *stage, int rounds, const char *pattern_format)
{
    char topic[32];
    char pattern[32];
    for (int round = 0; round < rounds; round++) {
        (void)snprintf(topic, sizeof(topic), "round.%d.x", round);
        (void)snprintf(pattern, sizeof(pattern), pattern_format, round);
        (void)subscribe(stage->subscriber, pattern, NULL);
        publish_text(stage->client, topic, "hello");
        struct roulette_message message;
        int count = roulette_receive(stage->subscriber, &message, 1, 2000);
        cr_assert_eq(count, 1, "round %d: the message is lost", round);
        roulette_release(stage->subscriber, &message, 1);
        cr_assert_eq(roulette_unsubscribe_topic(stage->subscriber, pattern, ROULETTE_STRLEN), 0);
    }
}

Test(subscribe, message_published_next_arrives)
{
    struct stage stage;
    set_up(&stage);
    subscribe_and_publish(&stage, 500, "round.%d.x");
    subscribe_and_publish(&stage, 500, "round.%d.*");
    tear_down(&stage);
}

/* The same while the event threads are awake and sending: that is when order could be lost. */
Test(subscribe, message_published_next_arrives_under_load)
{
    struct stage stage;
    static struct noise noise;
    set_up(&stage);
    start_noise(&noise, stage.client);
    subscribe_and_publish(&stage, SCALED(10000, 1000), "round.%d.x");
    subscribe_and_publish(&stage, SCALED(10000, 1000), "round.%d.*");
    stop_noise(&noise);
    tear_down(&stage);
}

/* The opposite: what was published before the unsubscribe of another subscriber still arrives. */
Test(subscribe, other_subscribers_keep_the_topic)
{
    enum { ROUNDS = SCALED(500, 100) };
    struct stage stage;
    set_up(&stage);
    roulette_subscriber *other = fleet_subscriber(stage.client, 0);
    (void)subscribe(stage.subscriber, "shared", NULL);
    for (int round = 0; round < ROUNDS; round++) {
        (void)subscribe(other, "shared", NULL);
        publish_text(stage.client, "shared", "1");
        if (round % 2 == 0) {
            expect_and_release(other, "shared", "1");
        }
        cr_assert_eq(roulette_unsubscribe_topic(other, "shared", ROULETTE_STRLEN), 0);
        expect_and_release(stage.subscriber, "shared", "1");
        expect_nothing(other);
    }
    roulette_subscriber_close(other);
    tear_down(&stage);
}

Test(subscribe, many_topics_come_and_go)
{
    enum { TOPICS = SCALED(20000, 3000) };
    struct stage stage;
    char topic[32];
    set_up(&stage);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < TOPICS; i++) {
            (void)snprintf(topic, sizeof(topic), "topic.%d", i);
            (void)subscribe(stage.subscriber, topic, NULL);
        }
        flush(stage.client);
        long total = 0;
        for (size_t i = 0; i < SERVERS; i++) {
            total += fleet_server_subscriptions(stage.fleet.servers[i]);
        }
        cr_assert_eq(total, TOPICS);
        for (int i = 0; i < TOPICS; i++) {
            (void)snprintf(topic, sizeof(topic), "topic.%d", (i * 7919) % TOPICS);
            cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, topic, ROULETTE_STRLEN), 0);
        }
        flush(stage.client);
        for (size_t i = 0; i < SERVERS; i++) {
            cr_assert_eq(fleet_server_subscriptions(stage.fleet.servers[i]), 0);
        }
    }
    expect_nothing(stage.subscriber);
    tear_down(&stage);
}

/* ---- Wildcards ---------------------------------------------------------------------------- */

enum { PATTERNS = 3, NAMES = 60 };
static const char *const patterns[PATTERNS] = {"foo.*", "foo.>", ">"};

/* The n-th topic; all are matched by ">", "foo.<n>" by all three. */
static void name_topic(int n, char *topic, size_t size)
{
    static const char *const formats[] = {"foo.%d", "foo.bar.%d", "food.%d", "%d"};
    (void)snprintf(topic, size, formats[n % 4], n);
}

static bool matches(int pattern, int n)
{
    return pattern == 2 || n % 4 == 0 || (pattern == 1 && n % 4 == 1);
}

static void check_wildcards(struct stage *stage, roulette_subscriber *const *subscribers)
{
    int seen[PATTERNS][NAMES] = {{0}};
    int missing = 0;
    bool clusters[SERVERS] = {false};
    char topic[64];
    for (int pattern = 0; pattern < PATTERNS; pattern++) {
        (void)subscribe(subscribers[pattern], patterns[pattern], seen[pattern]);
    }
    if (stage->options.pool_size > 1) {
        flush(stage->client);
    }
    for (int n = 0; n < NAMES; n++) {
        name_topic(n, topic, sizeof(topic));
        publish(stage->client, topic, &n, sizeof(n));
        for (int pattern = 0; pattern < PATTERNS; pattern++) {
            missing += matches(pattern, n) ? 1 : 0;
        }
    }
    for (int turn = 0; missing > 0; turn++) {
        struct roulette_message message;
        int count = roulette_receive(subscribers[turn % PATTERNS], &message, 1, 10);
        REQUIRE(turn < 10000, "%d messages are missing", missing);
        if (count == 0) {
            continue;
        }
        int n;
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        memcpy(&n, message.payload, sizeof(n));
        name_topic(n, topic, sizeof(topic));
        cr_assert_eq(message.topic_len, strlen(topic));
        cr_assert_arr_eq(message.topic, topic, strlen(topic));
        int *row = message.user_data;
        cr_assert_eq(row[n], 0, "%s came twice", topic);
        row[n]++;
        clusters[message.cluster] = true;
        roulette_release(subscribers[turn % PATTERNS], &message, 1);
        missing--;
    }
    flush(stage->client);
    for (int pattern = 0; pattern < PATTERNS; pattern++) {
        expect_nothing(subscribers[pattern]);
        for (int n = 0; n < NAMES; n++) {
            cr_assert_eq(seen[pattern][n], matches(pattern, n) ? 1 : 0);
        }
        cr_assert_eq(
            roulette_unsubscribe_topic(subscribers[pattern], patterns[pattern], ROULETTE_STRLEN),
            0);
    }
    cr_assert(clusters[0] && clusters[1] && clusters[2], "from each cluster");
}

Test(subscribe, wildcards_get_each_message_once_from_all_clusters)
{
    struct stage stage;
    set_up(&stage);
    roulette_subscriber *one[PATTERNS] = {stage.subscriber, stage.subscriber, stage.subscriber};
    check_wildcards(&stage, one);
    roulette_subscriber *three[PATTERNS];
    for (int i = 0; i < PATTERNS; i++) {
        three[i] = fleet_subscriber(stage.client, 0);
    }
    check_wildcards(&stage, three);
    for (int i = 0; i < PATTERNS; i++) {
        roulette_subscriber_close(three[i]);
    }
    tear_down(&stage);
}

Test(subscribe, wildcards_work_with_a_pool_and_the_ring_of_roulette)
{
    struct stage stage;
    fleet_start(&stage.fleet, SERVERS);
    stage.options = fleet_options(&stage.fleet);
    stage.options.pool_size = 4;
    stage.options.ring = ROULETTE_RING_ROULETTE;
    stage.client = fleet_open(&stage.options);
    stage.subscriber = fleet_subscriber(stage.client, 0);
    roulette_subscriber *one[PATTERNS] = {stage.subscriber, stage.subscriber, stage.subscriber};
    check_wildcards(&stage, one);
    tear_down(&stage);
}

/* ---- The message view --------------------------------------------------------------------- */

Test(subscribe, reply_is_passed)
{
    struct stage stage;
    set_up(&stage);
    (void)subscribe(stage.subscriber, "question", NULL);
    cr_assert_eq(roulette_publish_reply(stage.client, "question", 8, "_INBOX.x.1", ROULETTE_STRLEN,
                                        "why", 3, 1000),
                 0);
    struct roulette_message message = expect(stage.subscriber, "question", "why");
    cr_assert_eq(message.reply_len, 10);
    cr_assert_arr_eq(message.reply, "_INBOX.x.1", 10);
    cr_assert_null(message.headers);
    cr_assert_eq(message.headers_len, 0);
    roulette_release(stage.subscriber, &message, 1);
    publish_text(stage.client, "question", "plain");
    message = expect(stage.subscriber, "question", "plain");
    cr_assert_null(message.reply);
    cr_assert_eq(message.reply_len, 0);
    roulette_release(stage.subscriber, &message, 1);
    tear_down(&stage);
}

/* A peer that speaks NATS by hand. */
static int join(uint16_t port)
{
    char bytes[4096] = {0};
    static const char hello[] = "CONNECT {\"verbose\":false,\"headers\":true}\r\nPING\r\n";
    int fd = net_connect(port);
    cr_assert_geq(fd, 0);
    cr_assert(net_wait(fd, POLLIN, net_now_ms() + EVENTUALLY_MS));
    cr_assert_gt(recv(fd, bytes, sizeof(bytes), 0), 0);
    cr_assert_eq(send(fd, hello, strlen(hello), MSG_NOSIGNAL), (ssize_t)strlen(hello));
    cr_assert(net_wait(fd, POLLIN, net_now_ms() + EVENTUALLY_MS));
    cr_assert_gt(recv(fd, bytes, sizeof(bytes) - 1, 0), 0);
    cr_assert_not_null(strstr(bytes, "PONG"));
    return fd;
}

static void send_bytes(int fd, const void *bytes, size_t len)
{
    cr_assert_eq(send(fd, bytes, len, MSG_NOSIGNAL), (ssize_t)len);
}

Test(subscribe, headers_are_passed)
{
    struct stage stage;
    static const char with_all[] = "HPUB h.1 reply.to 18 22\r\nNATS/1.0\r\nA: b\r\n\r\nbody\r\n";
    static const char no_body[] = "HPUB h.1 18 18\r\nNATS/1.0\r\nA: b\r\n\r\n\r\n";
    static const char plain[] = "PUB h.1 3\r\nend\r\n";
    set_up(&stage);
    int cluster = roulette_cluster_of(stage.client, "h.1", 3);
    (void)subscribe(stage.subscriber, "h.1", NULL);
    flush(stage.client);
    int fd = join(nats_server_port(stage.fleet.servers[cluster]));
    for (int round = 0; round < 100; round++) {
        send_bytes(fd, with_all, sizeof(with_all) - 1);
        send_bytes(fd, no_body, sizeof(no_body) - 1);
        send_bytes(fd, plain, sizeof(plain) - 1);
    }
    for (int round = 0; round < 100; round++) {
        struct roulette_message message = expect(stage.subscriber, "h.1", "body");
        cr_assert_eq(message.reply_len, 8);
        cr_assert_arr_eq(message.reply, "reply.to", 8);
        cr_assert_eq(message.headers_len, 18);
        cr_assert_arr_eq(message.headers, "NATS/1.0\r\nA: b\r\n\r\n", 18);
        roulette_release(stage.subscriber, &message, 1);
        message = expect(stage.subscriber, "h.1", "");
        cr_assert_not_null(message.payload);
        cr_assert_null(message.reply);
        cr_assert_eq(message.headers_len, 18);
        roulette_release(stage.subscriber, &message, 1);
        message = expect(stage.subscriber, "h.1", "end");
        cr_assert_null(message.headers);
        roulette_release(stage.subscriber, &message, 1);
    }
    (void)close(fd);
    tear_down(&stage);
}

Test(subscribe, longest_topic_works)
{
    struct stage stage;
    char topic[ROULETTE_TOPIC_LEN_MAX + 1];
    char wildcard[ROULETTE_TOPIC_LEN_MAX + 1];
    set_up(&stage);
    memset(topic, 'x', sizeof(topic) - 1);
    topic[sizeof(topic) - 1] = '\0';
    topic[500] = '.';
    memcpy(wildcard, topic, sizeof(topic));
    (void)strcpy(wildcard + 500, ".*");
    (void)subscribe(stage.subscriber, topic, NULL);
    (void)subscribe(stage.subscriber, wildcard, NULL);
    cr_assert_eq(roulette_publish_reply(stage.client, topic, ROULETTE_STRLEN, topic,
                                        ROULETTE_STRLEN, "x", 1, 1000),
                 0);
    for (int i = 0; i < 2; i++) {
        struct roulette_message message = expect(stage.subscriber, topic, "x");
        cr_assert_eq(message.reply_len, ROULETTE_TOPIC_LEN_MAX);
        cr_assert_arr_eq(message.reply, topic, ROULETTE_TOPIC_LEN_MAX);
        roulette_release(stage.subscriber, &message, 1);
    }
    cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, topic, ROULETTE_STRLEN), 0);
    tear_down(&stage);
}

/* ---- Releasing and copying ---------------------------------------------------------------- */

Test(subscribe, copy_outlives_subscriber_and_client)
{
    struct stage stage;
    struct roulette_message copies[2];
    struct roulette_message notice = {.kind = ROULETTE_KIND_LOST};
    set_up(&stage);
    (void)subscribe(stage.subscriber, "keep", &stage);
    cr_assert_eq(roulette_publish_reply(stage.client, "keep", 4, "r", 1, "this", 4, 1000), 0);
    struct roulette_message message = expect(stage.subscriber, "keep", "this");
    cr_assert_eq(roulette_message_copy(&message, &copies[0]), 0);
    cr_assert_eq(roulette_message_copy(&copies[0], &copies[1]), 0);
    cr_assert_eq(roulette_message_copy(&notice, &copies[1]), ROULETTE_EINVAL);
    roulette_release(stage.subscriber, &message, 1);
    tear_down(&stage);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(copies[i].kind, ROULETTE_KIND_MESSAGE);
        cr_assert_eq(copies[i].topic_len, 4);
        cr_assert_arr_eq(copies[i].topic, "keep", 4);
        cr_assert_arr_eq(copies[i].payload, "this", 4);
        cr_assert_arr_eq(copies[i].reply, "r", 1);
        cr_assert_eq(copies[i].user_data, &stage);
    }
    roulette_release(NULL, copies, 2);
}

Test(subscribe, copy_of_an_empty_message_works)
{
    struct stage stage;
    struct roulette_message copy;
    set_up(&stage);
    (void)subscribe(stage.subscriber, "e", NULL);
    publish_text(stage.client, "e", "");
    struct roulette_message message = expect(stage.subscriber, "e", "");
    cr_assert_eq(roulette_message_copy(&message, &copy), 0);
    roulette_release(stage.subscriber, &message, 1);
    cr_assert_not_null(copy.payload);
    cr_assert_eq(copy.payload_len, 0);
    cr_assert_null(copy.reply);
    /* Copies and messages may be released together. */
    publish_text(stage.client, "e", "x");
    struct roulette_message both[2] = {copy, expect(stage.subscriber, "e", "x")};
    roulette_release(stage.subscriber, both, 2);
    tear_down(&stage);
}

enum { HELD = 5000 };

static void receive_all(roulette_subscriber *subscriber, struct roulette_message *messages,
                        size_t count)
{
    for (size_t got = 0; got < count;) {
        int more = roulette_receive(subscriber, messages + got, count - got, EVENTUALLY_MS);
        cr_assert_gt(more, 0, "%zu of %zu", got, count);
        got += (size_t)more;
    }
}

static void check_held(const struct roulette_message *messages, size_t count, uint32_t first)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t n;
        cr_assert_eq(messages[i].kind, ROULETTE_KIND_MESSAGE);
        memcpy(&n, messages[i].payload, sizeof(n));
        cr_assert_eq(n, first + i);
    }
}

Test(subscribe, messages_are_released_in_any_order)
{
    struct stage stage;
    static struct roulette_message messages[HELD];
    char payload[600] = {0};
    struct rlt_random random = {7};
    set_up(&stage);
    (void)subscribe(stage.subscriber, "hold", NULL);
    for (uint32_t round = 0; round < SCALED(10, 4); round++) {
        for (uint32_t i = 0; i < HELD; i++) {
            uint32_t n = round * HELD + i;
            memcpy(payload, &n, sizeof(n));
            publish(stage.client, "hold", payload,
                    sizeof(n) + rlt_random_below(&random, sizeof(payload) - sizeof(n)));
        }
        receive_all(stage.subscriber, messages, HELD);
        check_held(messages, HELD, round * HELD);
        for (size_t i = HELD - 1; i > 0; i--) {
            size_t j = rlt_random_below(&random, i + 1);
            struct roulette_message other = messages[i];
            messages[i] = messages[j];
            messages[j] = other;
        }
        for (size_t i = 0; i < HELD;) {
            size_t left = HELD - i;
            size_t count = 1 + rlt_random_below(&random, left < 40 ? left : 40);
            roulette_release(stage.subscriber, messages + i, count);
            i += count;
        }
    }
    publish_text(stage.client, "hold", "x");
    expect_and_release(stage.subscriber, "hold", "x");
    flush(stage.client);
    EVENTUALLY((flush(stage.client), slabs_in_use(stage.client) <= SERVERS));
    tear_down(&stage);
}

Test(subscribe, closing_a_subscriber_releases_what_it_holds)
{
    struct stage stage;
    static struct roulette_message messages[HELD];
    set_up(&stage);
    for (int round = 0; round < 20; round++) {
        roulette_subscriber *holder = fleet_subscriber(stage.client, 0);
        (void)subscribe(holder, "hold", NULL);
        (void)subscribe(stage.subscriber, "hold", NULL);
        for (uint32_t i = 0; i < HELD; i++) {
            publish(stage.client, "hold", &i, sizeof(i));
        }
        receive_all(holder, messages, HELD / 2); /* half received, half not even that */
        roulette_subscriber_close(holder);
        receive_all(stage.subscriber, messages, HELD);
        check_held(messages, HELD, 0);
        roulette_release(stage.subscriber, messages, HELD);
        cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, "hold", ROULETTE_STRLEN), 0);
    }
    EVENTUALLY((flush(stage.client), slabs_in_use(stage.client) <= SERVERS));
    tear_down(&stage);
}

/* ---- Bounds ------------------------------------------------------------------------------- */

Test(subscribe, full_ring_drops_the_newest_and_tells_how_many)
{
    enum { MESSAGES = 1000, SLOTS = 16 };
    struct stage stage;
    set_up(&stage);
    roulette_subscriber *slow = fleet_subscriber(stage.client, SLOTS);
    (void)subscribe(slow, "t", NULL);
    (void)subscribe(stage.subscriber, "t", NULL);
    size_t cluster = (size_t)roulette_cluster_of(stage.client, "t", 1);
    uint64_t received = 0;
    uint64_t dropped = 0;
    uint32_t next = 0;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        publish(stage.client, "t", &i, sizeof(i));
    }
    flush(stage.client);
    EVENTUALLY(fleet_stats(stage.client, cluster).received_messages == MESSAGES);
    while (received + dropped < MESSAGES) {
        struct roulette_message message = receive_one(slow);
        if (message.kind == ROULETTE_KIND_DROPPED) {
            cr_assert_null(message.subscription);
            cr_assert_gt(message.count, 0);
            cr_assert_eq(message.bounds, ROULETTE_BOUND_RING_SLOTS);
            cr_assert_eq(message.cluster, cluster);
            dropped += message.count;
            next += (uint32_t)message.count;
        } else {
            cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
            cr_assert_arr_eq(message.payload, &next, sizeof(next),
                             "the notice stands where the messages are missing");
            next++;
            received++;
        }
        roulette_release(slow, &message, 1);
    }
    cr_assert_eq(received + dropped, MESSAGES);
    cr_assert_geq(received, SLOTS / 2);
    cr_assert_eq(fleet_stats(stage.client, cluster).dropped_ring_full, dropped);
    expect_nothing(slow);
    /* The other subscriber of the topic has all. */
    static struct roulette_message messages[MESSAGES];
    receive_all(stage.subscriber, messages, MESSAGES);
    check_held(messages, MESSAGES, 0);
    roulette_release(stage.subscriber, messages, MESSAGES);
    publish_text(stage.client, "t", "after");
    expect_and_release(slow, "t", "after");
    roulette_subscriber_close(slow);
    tear_down(&stage);
}

enum { SLAB = 131072 };

static void set_up_small(struct stage *stage, uint32_t slabs)
{
    fleet_start(&stage->fleet, 1);
    stage->options = fleet_options(&stage->fleet);
    stage->options.slab_bytes = SLAB;
    stage->options.slab_count = slabs;
    stage->options.ping_interval_ms = 200;
    stage->client = fleet_open(&stage->options);
    stage->subscriber = fleet_subscriber(stage->client, 0);
}

/* Publish `count` numbered messages of 1000 bytes. */
static void publish_numbers(roulette_client *client, const char *topic, uint32_t count)
{
    char payload[1000] = {0};
    for (uint32_t i = 0; i < count; i++) {
        memcpy(payload, &i, sizeof(i));
        publish(client, topic, payload, sizeof(payload));
    }
}

Test(subscribe, holder_loses_its_own_messages_and_stalls_nobody)
{
    enum { MESSAGES = 5000 };
    struct stage stage;
    static struct roulette_message held[MESSAGES];
    set_up_small(&stage, 64);
    struct roulette_subscriber_options options;
    roulette_subscriber *holder;
    roulette_subscriber_options_init(&options);
    options.pinned_bytes = 4 * SLAB;
    cr_assert_eq(roulette_subscriber_open(stage.client, &options, &holder), 0);
    (void)subscribe(holder, "t", NULL);
    (void)subscribe(stage.subscriber, "t", NULL);
    flush(stage.client);
    uint64_t kept = 0;
    uint64_t dropped = 0;
    uint32_t next = 0;
    for (int round = 0; round < MESSAGES / 100; round++) {
        publish_numbers(stage.client, "t", 100);
        for (int i = 0; i < 100; i++) {
            struct roulette_message message = receive_one(stage.subscriber);
            cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
            uint32_t n = (uint32_t)i;
            cr_assert_arr_eq(message.payload, &n, sizeof(n));
            roulette_release(stage.subscriber, &message, 1);
            next++;
        }
        int count;
        while ((count = roulette_receive(holder, held + kept, 1, 0)) > 0) {
            if (held[kept].kind == ROULETTE_KIND_DROPPED) {
                cr_assert_eq(held[kept].bounds, ROULETTE_BOUND_PINNED_BYTES);
                dropped += held[kept].count;
            } else {
                cr_assert_eq(held[kept].kind, ROULETTE_KIND_MESSAGE);
                kept++;
            }
        }
    }
    cr_assert_eq(next, MESSAGES);
    struct roulette_stats stats = fleet_stats(stage.client, 0);
    cr_assert_eq(kept + dropped, MESSAGES);
    cr_assert_eq(stats.dropped_pinned, dropped);
    /* A slab is left once less than 16 KiB of its first three quarters are free, unless a frame is
     * cut there: core/receiving/receiver.c. Frames have 1018 bytes. */
    cr_assert_gt(kept, 4 * (SLAB * 5 / 8 - 2048) / 1018);
    cr_assert_lt(kept, 6 * SLAB / 1000);
    cr_assert_leq(stats.slabs_in_use, 8);
    cr_assert_eq(stats.disconnects, 0);
    roulette_release(holder, held, kept);
    publish_text(stage.client, "t", "again");
    expect_and_release(stage.subscriber, "t", "again");
    expect_and_release(holder, "t", "again");
    roulette_subscriber_close(holder);
    tear_down(&stage);
}

/* What was received before the unsubscribe is the subscription's until it is released. */
Test(subscribe, entries_of_a_batch_outlive_their_subscription)
{
    enum { MESSAGES = 100 };
    struct stage stage;
    static struct roulette_message batch[MESSAGES];
    int mark;
    set_up(&stage);
    roulette_subscription *subscription = subscribe(stage.subscriber, "t", &mark);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        publish(stage.client, "t", &i, sizeof(i));
    }
    receive_all(stage.subscriber, batch, MESSAGES);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, subscription), 0);
    /* Whose memory is given back now. */
    expect_nothing(stage.subscriber);
    (void)subscribe(stage.subscriber, "t", NULL);
    publish_text(stage.client, "t", "behind");
    expect_and_release(stage.subscriber, "t", "behind");
    check_held(batch, MESSAGES, 0);
    for (size_t i = 0; i < MESSAGES; i++) {
        cr_assert_eq(batch[i].user_data, &mark);
        cr_assert_eq(batch[i].subscription, subscription);
        cr_assert_arr_eq(batch[i].topic, "t", 1);
    }
    roulette_release(stage.subscriber, batch, MESSAGES);
    expect_nothing(stage.subscriber);
    tear_down(&stage);
}

/* All receive memory is held: the connection stays up, and what comes is counted. */
Test(subscribe, client_without_receive_memory_lives_on)
{
    enum { SLABS = 8, MESSAGES = SLABS * SLAB / 1000 + 1000 };
    struct stage stage;
    static struct roulette_message held[MESSAGES];
    set_up_small(&stage, SLABS);
    roulette_subscriber *holders[4];
    size_t kept[4] = {0};
    uint64_t dropped = 0;
    struct roulette_subscriber_options options;
    roulette_subscriber_options_init(&options);
    options.pinned_bytes = SLABS * SLAB;
    cr_assert_eq(roulette_subscriber_open(stage.client, &options, &holders[0]), 0);
    (void)subscribe(holders[0], "t", NULL);
    flush(stage.client);
    publish_numbers(stage.client, "t", MESSAGES);
    flush(stage.client);
    EVENTUALLY(fleet_stats(stage.client, 0).received_messages == MESSAGES);
    while (kept[0] + dropped < MESSAGES) {
        int count = roulette_receive(holders[0], held + kept[0], 1, EVENTUALLY_MS);
        cr_assert_eq(count, 1);
        dropped += held[kept[0]].kind == ROULETTE_KIND_DROPPED ? held[kept[0]].count : 0;
        kept[0] += held[kept[0]].kind == ROULETTE_KIND_MESSAGE ? 1 : 0;
    }
    cr_assert_gt(dropped, 0);
    cr_assert_eq(fleet_stats(stage.client, 0).dropped_pinned, dropped);
    /* Pings are answered, flushes pass, publishes are sent. */
    flush(stage.client);
    publish_numbers(stage.client, "t", 2000);
    flush(stage.client);
    EVENTUALLY(fleet_stats(stage.client, 0).received_messages == MESSAGES + 2000);
    cr_assert_eq(fleet_stats(stage.client, 0).disconnects, 0);
    for (size_t i = 0; i < kept[0]; i++) {
        uint32_t n = (uint32_t)i;
        cr_assert_arr_eq(held[i].payload, &n, sizeof(n), "held messages are not overwritten");
    }
    roulette_release(holders[0], held, kept[0]);
    EVENTUALLY(roulette_receive(holders[0], held, 1, 0) == 1 &&
               held[0].kind == ROULETTE_KIND_DROPPED && held[0].count == 2000);
    cr_assert_eq(held[0].bounds, ROULETTE_BOUND_SLAB_COUNT);
    publish_text(stage.client, "t", "free again");
    expect_and_release(holders[0], "t", "free again");
    roulette_subscriber_close(holders[0]);
    tear_down(&stage);
}

/* ---- Threads and descriptors -------------------------------------------------------------- */

Test(subscribe, one_thread_serves_many_subscribers_by_epoll)
{
    enum { SUBSCRIBERS = 20, MESSAGES = SCALED(20000, 3000) };
    struct stage stage;
    roulette_subscriber *subscribers[SUBSCRIBERS];
    uint32_t sent[SUBSCRIBERS] = {0};
    uint32_t received[SUBSCRIBERS] = {0};
    char topic[32];
    struct rlt_random random = {3};
    set_up(&stage);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    cr_assert_geq(epoll, 0);
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        subscribers[i] = fleet_subscriber(stage.client, 0);
        (void)snprintf(topic, sizeof(topic), "topic.%u", i);
        (void)subscribe(subscribers[i], topic, NULL);
        expect_nothing(subscribers[i]); /* arms the descriptor */
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        cr_assert_eq(
            epoll_ctl(epoll, EPOLL_CTL_ADD, roulette_subscriber_fd(subscribers[i]), &event), 0);
    }
    uint32_t total = 0;
    for (uint32_t i = 0; i < MESSAGES || total < MESSAGES; i++) {
        if (i < MESSAGES) {
            uint32_t to = (uint32_t)rlt_random_below(&random, SUBSCRIBERS);
            (void)snprintf(topic, sizeof(topic), "topic.%u", to);
            publish(stage.client, topic, &sent[to], sizeof(sent[to]));
            sent[to]++;
        }
        if (i % 7 != 0 && i < MESSAGES) {
            continue;
        }
        struct epoll_event events[8];
        int ready = epoll_wait(epoll, events, 8, i < MESSAGES ? 0 : EVENTUALLY_MS);
        cr_assert(i < MESSAGES || ready > 0, "%u of %u received", total, MESSAGES);
        for (int j = 0; j < ready; j++) {
            uint32_t from = events[j].data.u32;
            struct roulette_message messages[BATCH];
            int count;
            while ((count = roulette_receive(subscribers[from], messages, BATCH, 0)) > 0) {
                for (int k = 0; k < count; k++) {
                    cr_assert_arr_eq(messages[k].payload, &received[from], sizeof(uint32_t));
                    received[from]++;
                    total++;
                }
                roulette_release(subscribers[from], messages, (size_t)count);
            }
            cr_assert_eq(count, 0);
        }
    }
    for (uint32_t i = 0; i < SUBSCRIBERS; i++) {
        cr_assert_eq(received[i], sent[i]);
        roulette_subscriber_close(subscribers[i]);
    }
    (void)close(epoll);
    tear_down(&stage);
}

Test(subscribe, descriptor_is_readable_only_when_there_is_something)
{
    struct stage stage;
    set_up(&stage);
    (void)subscribe(stage.subscriber, "t", NULL);
    flush(stage.client);
    struct pollfd poller = {.fd = roulette_subscriber_fd(stage.subscriber), .events = POLLIN};
    for (int round = 0; round < 1000; round++) {
        expect_nothing(stage.subscriber);
        cr_assert_eq(poll(&poller, 1, 0), 0);
        publish_text(stage.client, "t", "x");
        cr_assert_eq(poll(&poller, 1, EVENTUALLY_MS), 1);
        expect_and_release(stage.subscriber, "t", "x");
    }
    tear_down(&stage);
}

Test(subscribe, receive_keeps_its_deadline)
{
    struct stage stage;
    struct roulette_message message;
    set_up(&stage);
    (void)subscribe(stage.subscriber, "t", NULL);
    for (int timeout_ms = 0; timeout_ms <= 100; timeout_ms += 50) {
        uint64_t soonest_ms = UINT64_MAX;
        /* A busy machine may be late with any of them, but not with all. */
        for (int i = 0; i < 5; i++) {
            uint64_t start_ms = net_now_ms();
            cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, timeout_ms), 0);
            uint64_t took_ms = net_now_ms() - start_ms;
            cr_assert_geq(took_ms + 1, (uint64_t)timeout_ms);
            soonest_ms = took_ms < soonest_ms ? took_ms : soonest_ms;
        }
        cr_assert_leq(soonest_ms, (uint64_t)(timeout_ms + SCALED(100, 1000)));
    }
    tear_down(&stage);
}

/* ---- Closing the client ------------------------------------------------------------------- */

struct listener {
    roulette_subscriber *subscriber;
    uint32_t received;
    uint32_t ended;
    pthread_t thread;
};

static void *listen_until_closed(void *argument)
{
    struct listener *listener = argument;
    struct roulette_message messages[BATCH];
    int count;
    while ((count = roulette_receive(listener->subscriber, messages, BATCH, -1)) > 0) {
        for (int i = 0; i < count; i++) {
            if (messages[i].kind == ROULETTE_KIND_MESSAGE) {
                REQUIRE(listener->ended == 0, "a message after the end");
                REQUIRE(memcmp(messages[i].payload, &listener->received, 4) == 0);
                listener->received++;
            } else {
                REQUIRE(messages[i].kind == ROULETTE_KIND_ENDED, "notice %d", messages[i].kind);
                REQUIRE(messages[i].error == ROULETTE_ECLOSED);
                listener->ended++;
            }
        }
        roulette_release(listener->subscriber, messages, (size_t)count);
    }
    REQUIRE(count == ROULETTE_ECLOSED, "%s", roulette_error_name(count));
    REQUIRE(roulette_receive(listener->subscriber, messages, 1, -1) == ROULETTE_ECLOSED);
    return NULL;
}

Test(subscribe, closed_client_ends_its_subscribers_when_all_was_received)
{
    enum { LISTENERS = 8, MESSAGES = 5000 };
    static struct listener listeners[LISTENERS];
    for (int round = 0; round < SCALED(10, 3); round++) {
        struct stage stage;
        set_up(&stage);
        for (size_t i = 0; i < LISTENERS; i++) {
            listeners[i] = (struct listener){.subscriber = fleet_subscriber(stage.client, 0)};
            (void)subscribe(listeners[i].subscriber, "t", NULL);
        }
        /* Half of them listen already, half begin when all is over. */
        for (size_t i = 0; i < LISTENERS / 2; i++) {
            cr_assert_eq(
                pthread_create(&listeners[i].thread, NULL, listen_until_closed, &listeners[i]), 0);
        }
        flush(stage.client);
        for (uint32_t i = 0; i < MESSAGES; i++) {
            publish(stage.client, "t", &i, sizeof(i));
        }
        flush(stage.client);
        uint64_t delivered = 0;
        cr_assert_eq(roulette_close(stage.client, 10000, NULL, 0), 0);
        for (size_t i = 0; i < SERVERS; i++) {
            delivered += fleet_stats(stage.client, i).delivered_messages;
        }
        for (size_t i = LISTENERS / 2; i < LISTENERS; i++) {
            cr_assert_eq(
                pthread_create(&listeners[i].thread, NULL, listen_until_closed, &listeners[i]), 0);
        }
        uint64_t received = 0;
        for (size_t i = 0; i < LISTENERS; i++) {
            (void)pthread_join(listeners[i].thread, NULL);
            received += listeners[i].received;
            cr_assert_eq(listeners[i].ended, 1);
        }
        cr_assert_eq(received, delivered);
        struct roulette_message message;
        cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, -1), ROULETTE_ECLOSED);
        cr_assert_eq(roulette_subscribe(stage.subscriber, "u", 1, NULL, NULL), ROULETTE_ECLOSED);
        /* In either order. */
        if (round % 2 == 0) {
            roulette_free(stage.client);
        }
        for (size_t i = 0; i < LISTENERS; i++) {
            roulette_subscriber_close(listeners[i].subscriber);
        }
        roulette_subscriber_close(stage.subscriber);
        if (round % 2 != 0) {
            roulette_free(stage.client);
        }
        fleet_stop(&stage.fleet);
    }
}

/* The end that one cluster tells must not swallow what another one has delivered. */
Test(subscribe, closed_client_leaves_all_that_was_delivered_of_a_wildcard)
{
    enum { MESSAGES = 600 };
    struct stage stage;
    struct roulette_message message;
    char topic[32];
    set_up(&stage);
    (void)subscribe(stage.subscriber, "t.*", NULL);
    flush(stage.client);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        (void)snprintf(topic, sizeof(topic), "t.%u", i % 16);
        publish(stage.client, topic, &i, sizeof(i));
    }
    EVENTUALLY(fleet_stats(stage.client, 0).delivered_messages +
                   fleet_stats(stage.client, 1).delivered_messages +
                   fleet_stats(stage.client, 2).delivered_messages ==
               MESSAGES);
    cr_assert_eq(roulette_close(stage.client, EVENTUALLY_MS, NULL, 0), 0);
    uint32_t received = 0;
    uint32_t ended = 0;
    while (roulette_receive(stage.subscriber, &message, 1, -1) == 1) {
        cr_assert_eq(ended, 0u, "something behind the end");
        received += message.kind == ROULETTE_KIND_MESSAGE ? 1 : 0;
        ended += message.kind == ROULETTE_KIND_ENDED ? 1 : 0;
        roulette_release(stage.subscriber, &message, 1);
    }
    cr_assert_eq(received, (uint32_t)MESSAGES, "%u of %d", received, MESSAGES);
    cr_assert_eq(ended, 1u);
    roulette_subscriber_close(stage.subscriber);
    roulette_free(stage.client);
    fleet_stop(&stage.fleet);
}

/* Subscribers come, go and change while another thread closes the client. */
static void *open_and_close(void *argument)
{
    roulette_client *client = argument;
    for (uint32_t i = 0;; i++) {
        roulette_subscriber *subscriber;
        struct roulette_message message;
        char topic[32];
        int result = roulette_subscriber_open(client, NULL, &subscriber);
        if (result == ROULETTE_ECLOSED) {
            return NULL;
        }
        REQUIRE(result == 0, "%s", roulette_error_name(result));
        for (uint32_t j = 0; j < 5; j++) {
            (void)snprintf(topic, sizeof(topic), "t.%u", (i + j) % 7);
            (void)roulette_subscribe(subscriber, j == 4 ? "t.*" : topic, ROULETTE_STRLEN, NULL,
                                     NULL);
        }
        (void)roulette_publish(client, "t.1", 3, "x", 1);
        if (roulette_receive(subscriber, &message, 1, 1) == 1 && i % 3 != 0) {
            roulette_release(subscriber, &message, 1);
        }
        (void)roulette_unsubscribe_topic(subscriber, "t.*", 3);
        (void)roulette_unsubscribe_topic(subscriber, "t.1", 3);
        roulette_subscriber_close(subscriber);
    }
}

Test(subscribe, subscribers_change_while_the_client_is_closed)
{
    enum { THREADS = 4 };
    struct fleet fleet;
    pthread_t threads[THREADS];
    fleet_start(&fleet, SERVERS);
    for (int round = 0; round < SCALED(50, 10); round++) {
        struct roulette_options options = fleet_options(&fleet);
        options.pool_size = 1 + (uint32_t)round % 3;
        roulette_client *client = fleet_open(&options);
        for (size_t i = 0; i < THREADS; i++) {
            cr_assert_eq(pthread_create(&threads[i], NULL, open_and_close, client), 0);
        }
        EVENTUALLY(fleet_stats(client, 0).delivered_messages +
                       fleet_stats(client, 1).delivered_messages +
                       fleet_stats(client, 2).delivered_messages >
                   20);
        int result = roulette_close(client, round % 2 == 0 ? 0 : 1000, NULL, 0);
        cr_assert(result == 0 || result == ROULETTE_ETIMEDOUT);
        for (size_t i = 0; i < THREADS; i++) {
            (void)pthread_join(threads[i], NULL);
        }
        roulette_free(client);
    }
    fleet_stop(&fleet);
}

/* ---- Two clients -------------------------------------------------------------------------- */

Test(subscribe, two_clients_in_one_process_are_independent)
{
    struct stage stage;
    set_up(&stage);
    struct roulette_options options;
    roulette_options_init(&options);
    char address[32];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u",
                   nats_server_port(stage.fleet.servers[0]));
    options.servers = address;
    options.name = "second";
    options.ring = ROULETTE_RING_ROULETTE;
    options.pool_size = 2;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    options.queue_bytes = (size_t)2 << 20;
    options.slab_count = 16;
    roulette_client *second = fleet_open(&options);
    cr_assert_eq(roulette_cluster_count(stage.client), 3);
    cr_assert_eq(roulette_cluster_count(second), 1);
    cr_assert_str_eq(roulette_cluster_address(second, 0), address);
    roulette_subscriber *subscriber = fleet_subscriber(second, 0);
    (void)subscribe(subscriber, "t.>", NULL);
    (void)subscribe(stage.subscriber, "t.>", NULL);
    flush(stage.client);
    flush(second);
    char topic[32];
    (void)fleet_topic(stage.client, 0, "t", 0, topic, sizeof(topic));
    publish_text(stage.client, topic, "from the first");
    expect_and_release(subscriber, topic, "from the first");
    expect_and_release(stage.subscriber, topic, "from the first");
    publish_text(second, "t.x", "from the second");
    expect_and_release(subscriber, "t.x", "from the second");
    expect_and_release(stage.subscriber, "t.x", "from the second");
    cr_assert(nats_server_kill(stage.fleet.servers[0], SIGKILL));
    struct roulette_message message = receive_one(stage.subscriber);
    cr_assert_eq(message.kind, ROULETTE_KIND_ENDED);
    /* A wildcard is on each connection of the pool or on one of them: either is told. */
    message = receive_one(subscriber);
    cr_assert_eq(message.kind, ROULETTE_KIND_LOST);
    cr_assert(nats_server_restart(stage.fleet.servers[0]));
    message = receive_one(subscriber);
    cr_assert_eq(message.kind, ROULETTE_KIND_RESTORED);
    publish_text(second, "t.x", "again");
    expect_and_release(subscriber, "t.x", "again");
    roulette_subscriber_close(subscriber);
    fleet_close(second);
    tear_down(&stage);
}
