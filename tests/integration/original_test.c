/* SPDX-License-Identifier: MIT */
/**
 * What the Elixir library Roulette 1.0.5 does, done here: its own three tests, and its calls,
 * topics and payloads. Where it was seen to do wrong, the test demands the opposite.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/test.h"

enum { SERVERS = 2 };

/* Two independent servers, placement as in Elixir. */
struct stage {
    struct fleet fleet;
    roulette_client *client;
    roulette_subscriber *subscriber;
};

static void set_up(struct stage *stage)
{
    fleet_start(&stage->fleet, SERVERS);
    struct roulette_options options = fleet_options(&stage->fleet);
    options.ring = ROULETTE_RING_ROULETTE;
    stage->client = fleet_open(&options);
    stage->subscriber = fleet_subscriber(stage->client, 0);
}

static void tear_down(struct stage *stage)
{
    roulette_subscriber_close(stage->subscriber);
    fleet_close(stage->client);
    fleet_stop(&stage->fleet);
}

static void subscribe(roulette_subscriber *subscriber, const char *topic)
{
    int result = roulette_subscribe(subscriber, topic, ROULETTE_STRLEN, NULL, NULL);
    REQUIRE(result == 0, "%s: %s", topic, roulette_last_error());
}

static void publish(roulette_client *client, const char *topic, const char *payload)
{
    int result = roulette_publish_wait(client, topic, ROULETTE_STRLEN, payload, strlen(payload),
                                       EVENTUALLY_MS);
    REQUIRE(result == 0, "%s: %s", topic, roulette_last_error());
}

static void flush(roulette_client *client)
{
    int result = roulette_flush(client, EVENTUALLY_MS, NULL, 0);
    REQUIRE(result == 0, "%s", roulette_last_error());
}

/* The next entry is this message. */
static void expect(roulette_subscriber *subscriber, const char *topic, const char *payload)
{
    struct roulette_message message;
    int count = roulette_receive(subscriber, &message, 1, EVENTUALLY_MS);
    REQUIRE(count == 1, "%s: %s", topic, roulette_error_name(count));
    REQUIRE(message.kind == ROULETTE_KIND_MESSAGE, "notice %d", message.kind);
    REQUIRE(message.topic_len == strlen(topic) &&
                memcmp(message.topic, topic, message.topic_len) == 0,
            "%.*s instead of %s", (int)message.topic_len, message.topic, topic);
    REQUIRE(message.payload_len == strlen(payload) &&
            memcmp(message.payload, payload, message.payload_len) == 0);
    roulette_release(subscriber, &message, 1);
}

static void expect_nothing(roulette_subscriber *subscriber)
{
    struct roulette_message message;
    cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 0);
}

/* ---- Its own three tests ------------------------------------------------------------------ */

/* Open a client of `count` clusters that nobody listens for: placement is arithmetic. */
static roulette_client *open_ring(size_t count)
{
    char list[512];
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s127.0.0.1:%zu",
                                i != 0 ? "," : "", i + 1);
    }
    struct roulette_options options;
    roulette_client *client;
    roulette_options_init(&options);
    options.servers = list;
    options.ring = ROULETTE_RING_ROULETTE;
    int result = roulette_open(&options, &client);
    REQUIRE(result == 0, "%s", roulette_last_error());
    return client;
}

/* test/cluster_chooser_test.exs */
Test(original, topics_are_placed_as_its_cluster_chooser_places_them)
{
    static const int placed[] = {0, 2, 2, 1, 1, 1, 0};
    char topic[16];
    roulette_client *client = open_ring(3);
    for (int i = 0; i < 7; i++) {
        int len = snprintf(topic, sizeof(topic), "topic%d", i + 1);
        cr_assert_eq(roulette_cluster_of(client, topic, (size_t)len), placed[i], "%s", topic);
    }
    roulette_free(client);
}

/* One line of a vector file, "topic_base64,index". Returns: the length of the topic. */
static size_t parse_vector(char *line, char *topic, size_t size, int *index)
{
    char *comma = strchr(line, ',');
    REQUIRE(comma != NULL && (size_t)(comma - line) < size);
    *index = atoi(comma + 1);
    int len = EVP_DecodeBlock((unsigned char *)topic, (unsigned char *)line, (int)(comma - line));
    REQUIRE(len >= 0);
    for (const char *end = comma; end > line && end[-1] == '='; end--) {
        len--;
    }
    return (size_t)len;
}

static void check_vectors(size_t clusters, int *checked, int *refused)
{
    char path[256];
    static char line[8192];
    static char topic[8192];
    (void)snprintf(path, sizeof(path), "%s/ring/ring_n%zu.csv", RLT_TEST_DATA, clusters);
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL, "%s", path);
    REQUIRE(fgets(line, sizeof(line), file) != NULL);
    roulette_client *client = open_ring(clusters);
    while (fgets(line, sizeof(line), file) != NULL) {
        int index;
        size_t len = parse_vector(line, topic, sizeof(topic), &index);
        int cluster = roulette_cluster_of(client, topic, len);
        if (cluster == ROULETTE_ETOPIC || cluster == ROULETTE_EWILDCARD) {
            (*refused)++;
            continue;
        }
        cr_assert_eq(cluster, index, "%.*s on %zu clusters", (int)len, topic, clusters);
        (*checked)++;
    }
    roulette_free(client);
    (void)fclose(file);
}

Test(original, placement_equals_all_vectors_of_the_elixir_ring)
{
    static const size_t sizes[] = {1, 2, 3, 5, 8, 16};
    int checked = 0;
    int refused = 0;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        check_vectors(sizes[i], &checked, &refused);
    }
    printf("original: %d vectors placed as in Elixir, %d are no valid topics\n", checked, refused);
    cr_assert_gt(checked, 6000);
    cr_assert_eq(checked + refused, 12000);
}

/* test/roulette_test.exs: publish and subscribe, over several servers. */
Test(original, what_is_published_is_received_over_two_servers)
{
    struct stage stage;
    bool used[SERVERS] = {false};
    char topic[32];
    char payload[32];
    set_up(&stage);
    for (int i = 0; i < 20; i++) {
        (void)snprintf(topic, sizeof(topic), "topic%d", i);
        subscribe(stage.subscriber, topic);
    }
    for (int i = 0; i < 20; i++) {
        (void)snprintf(topic, sizeof(topic), "topic%d", i);
        (void)snprintf(payload, sizeof(payload), "data%d", i);
        publish(stage.client, topic, payload);
        expect(stage.subscriber, topic, payload);
        used[roulette_cluster_of(stage.client, topic, ROULETTE_STRLEN)] = true;
    }
    cr_assert(used[0] && used[1]);
    tear_down(&stage);
}

/* test/subscription_test.exs: already subscribed, not found, and both again. */
Test(original, subscribe_and_unsubscribe_tell_what_they_found)
{
    struct stage stage;
    roulette_subscription *first = NULL;
    roulette_subscription *second = NULL;
    set_up(&stage);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(roulette_subscribe(stage.subscriber, "topic1", 6, NULL, &first), 0);
        cr_assert_eq(roulette_subscribe(stage.subscriber, "topic1", 6, NULL, &second),
                     ROULETTE_EEXIST);
        cr_assert_eq(first, second);
        publish(stage.client, "topic1", "before");
        expect(stage.subscriber, "topic1", "before");
        cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, "topic1", 6), 0);
        /* The original says :ok to both of these, against its own README. */
        cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, "topic1", 6), ROULETTE_ENOENT);
        cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, "topic2", 6), ROULETTE_ENOENT);
        cr_assert_eq(roulette_unsubscribe(stage.subscriber, first), ROULETTE_ENOENT);
        publish(stage.client, "topic1", "after");
        flush(stage.client);
        expect_nothing(stage.subscriber);
    }
    roulette_subscriber *other = fleet_subscriber(stage.client, 0);
    subscribe(stage.subscriber, "topic1");
    subscribe(other, "topic1");
    publish(stage.client, "topic1", "both");
    expect(stage.subscriber, "topic1", "both");
    expect(other, "topic1", "both");
    roulette_subscriber_close(other);
    tear_down(&stage);
}

/* ---- Options ------------------------------------------------------------------------------ */

/* The original raises in one case, and goes through the whole ladder of retries in the other. */
Test(original, roles_refuse_at_once_what_they_are_not_for)
{
    struct fleet fleet;
    fleet_start(&fleet, SERVERS);
    struct roulette_options options = fleet_options(&fleet);
    options.ring = ROULETTE_RING_ROULETTE;
    options.role = ROULETTE_ROLE_PUBLISHER;
    roulette_client *publisher = fleet_open(&options);
    options.role = ROULETTE_ROLE_SUBSCRIBER;
    roulette_client *listener = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(listener, 0);
    roulette_subscriber *none = fleet_subscriber(publisher, 0);
    cr_assert_eq(roulette_subscribe(none, "topic1", 6, NULL, NULL), ROULETTE_EROLE);
    cr_assert_eq(roulette_publish(listener, "topic1", 6, "x", 1), ROULETTE_EROLE);
    cr_assert_eq(roulette_publish_wait(listener, "topic1", 6, "x", 1, 1000), ROULETTE_EROLE);
    subscribe(subscriber, "topic1");
    flush(listener);
    publish(publisher, "topic1", "x");
    expect(subscriber, "topic1", "x");
    roulette_subscriber_close(none);
    roulette_subscriber_close(subscriber);
    fleet_close(publisher);
    fleet_close(listener);
    fleet_stop(&fleet);
}

/* How many sockets of this process are connected to `port`, and what they are set to. */
static int count_sockets(uint16_t port, bool nodelay)
{
    int count = 0;
    for (int fd = 0; fd < 256; fd++) {
        struct sockaddr_in peer;
        socklen_t len = sizeof(peer);
        if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0 || ntohs(peer.sin_port) != port) {
            continue;
        }
        int value = 0;
        unsigned timeout = 0;
        len = sizeof(value);
        cr_assert_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
        cr_assert_eq(value != 0, nodelay);
        len = sizeof(timeout);
        cr_assert_eq(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, &len), 0);
        cr_assert_gt(timeout, 0, "a dead path is found while nothing is received");
        count++;
    }
    return count;
}

Test(original, pool_and_socket_options_are_those_asked_for)
{
    struct fleet fleet;
    fleet_start(&fleet, SERVERS);
    for (int nodelay = 0; nodelay < 2; nodelay++) {
        struct roulette_options options = fleet_options(&fleet);
        options.pool_size = 5;
        options.tcp_nodelay = (uint8_t)nodelay;
        roulette_client *client = fleet_open(&options);
        for (size_t i = 0; i < SERVERS; i++) {
            cr_assert_eq(count_sockets(nats_server_port(fleet.servers[i]), nodelay != 0), 5);
        }
        fleet_close(client);
    }
    fleet_stop(&fleet);
}

/* ---- Subscribing -------------------------------------------------------------------------- */

/* The original answered before SUB was sent: 201 and 217 of 500 were lost. */
Test(original, message_published_right_after_subscribing_is_not_lost)
{
    enum { ROUNDS = 500 };
    struct stage stage;
    char topic[32];
    set_up(&stage);
    for (int i = 0; i < ROUNDS; i++) {
        (void)snprintf(topic, sizeof(topic), "now.%d", i);
        subscribe(stage.subscriber, topic);
        publish(stage.client, topic, "x");
    }
    struct roulette_message message;
    int received = 0;
    while (received < ROUNDS &&
           roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS) == 1) {
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        received++;
        roulette_release(stage.subscriber, &message, 1);
    }
    printf("original: subscribe and publish: %d of %d received\n", received, ROUNDS);
    cr_assert_eq(received, ROUNDS);
    tear_down(&stage);
}

/* The original subscribed a wildcard on one cluster: about half of these were missed. */
Test(original, wildcards_miss_nothing_over_two_clusters)
{
    enum { PATTERNS = 4, MESSAGES = 200 };
    static const char *const patterns[PATTERNS] = {"foo.*", "foo.>", ">", "*.*"};
    struct stage stage;
    roulette_subscriber *subscribers[PATTERNS];
    char topic[32];
    set_up(&stage);
    for (int i = 0; i < PATTERNS; i++) {
        subscribers[i] = fleet_subscriber(stage.client, 0);
        subscribe(subscribers[i], patterns[i]);
    }
    subscribe(stage.subscriber, "*");
    for (int i = 0; i < MESSAGES; i++) {
        (void)snprintf(topic, sizeof(topic), "foo.%d", i);
        publish(stage.client, topic, "x");
        publish(stage.client, topic + 4, "x");
    }
    for (int pattern = 0; pattern <= PATTERNS; pattern++) {
        bool seen[MESSAGES] = {false};
        bool all = pattern == 2;
        bool bare = pattern == PATTERNS;
        for (int i = 0; i < (all ? 2 : 1) * MESSAGES; i++) {
            struct roulette_message message;
            roulette_subscriber *subscriber = bare ? stage.subscriber : subscribers[pattern];
            cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1,
                         "%d of pattern %d", i, pattern);
            (void)snprintf(topic, sizeof(topic), "%.*s", (int)message.topic_len, message.topic);
            bool dotted = strncmp(topic, "foo.", 4) == 0;
            cr_assert(all || dotted != bare, "the topic is the one published to: %s", topic);
            int n = atoi(dotted ? topic + 4 : topic);
            cr_assert(all || !seen[n]);
            seen[n] = true;
            roulette_release(subscriber, &message, 1);
        }
    }
    flush(stage.client);
    for (int i = 0; i < PATTERNS; i++) {
        expect_nothing(subscribers[i]);
        roulette_subscriber_close(subscribers[i]);
    }
    expect_nothing(stage.subscriber);
    tear_down(&stage);
}

/* ---- Topics and payloads ------------------------------------------------------------------ */

struct bad_topic {
    const char *bytes;
    size_t len;
    int publish;
    int subscribe;
};
#define BAD_AS(text, publish_, subscribe_) {text, sizeof(text) - 1, publish_, subscribe_}
#define BAD(text)                          BAD_AS(text, ROULETTE_ETOPIC, ROULETTE_ETOPIC)
#define WILDCARD(text)                     BAD_AS(text, ROULETTE_EWILDCARD, 0)

/* All that the original was seen to pass on, and the server to take amiss or, worse, to obey. */
static const struct bad_topic bad_topics[] = {
    BAD("inj 1\r\nA\r\nPUB evil 4\r\nEVIL\r\nPUB inj"),
    BAD("inj\r\nPUB evil 0\r\n"),
    BAD("inj\r"),
    BAD("inj\n"),
    BAD("foo bar"),
    BAD("foo\tbar"),
    BAD(" lead"),
    BAD("trail "),
    BAD("a b c"),
    BAD(""),
    BAD("nl\nx"),
    BAD("foo..bar"),
    BAD(".foo"),
    BAD("foo."),
    BAD("foo\0bar"),
    BAD("foo q1"), /* was a queue group */
    BAD("a.>.b"),
    WILDCARD("foo.*"),
    WILDCARD("foo.>"),
};
#define BAD_TOPICS (sizeof(bad_topics) / sizeof(bad_topics[0]))

static void check_refused(int result, int expected, const struct bad_topic *topic)
{
    /* "a.>.b" breaks two rules for a publisher. */
    bool either = expected == ROULETTE_ETOPIC && result == ROULETTE_EWILDCARD;
    cr_assert(result == expected || either, "%.*s: %s", (int)topic->len, topic->bytes,
              roulette_error_name(result));
    cr_assert_gt(strlen(roulette_last_error()), 10, "the reason is told");
}

static void offer_bad_topics(roulette_client *client, roulette_subscriber *subscriber)
{
    for (size_t i = 0; i < BAD_TOPICS; i++) {
        const struct bad_topic *topic = &bad_topics[i];
        int result = roulette_publish(client, topic->bytes, topic->len, "x", 1);
        check_refused(result, topic->publish, topic);
        result = roulette_publish_reply(client, "fine", 4, topic->bytes, topic->len, "x", 1, 0);
        check_refused(result, topic->publish, topic);
        if (topic->subscribe != 0) {
            result = roulette_subscribe(subscriber, topic->bytes, topic->len, NULL, NULL);
            check_refused(result, topic->subscribe, topic);
        }
    }
}

#define INFO \
    "INFO "  \
    "{\"server_id\":\"x\",\"version\":\"2.9.0\",\"headers\":true,\"max_payload\":1048576}\r\n"

/* The server's own record: between two good messages there is not one byte. */
Test(original, injected_protocol_does_not_reach_the_server)
{
    const struct fake_script script =
        FAKE_SCRIPT(FAKE_SEND(INFO), FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n"),
                    FAKE_EXPECT("\r\nlast\r\n"), FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n"));
    struct fake_server *server = fake_server_start(&script, 1);
    cr_assert_not_null(server);
    char address[32];
    struct roulette_options options;
    roulette_client *client;
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", fake_server_port(server));
    roulette_options_init(&options);
    options.servers = address;
    options.ring = ROULETTE_RING_ROULETTE;
    options.ping_interval_ms = 60000;
    cr_assert_eq(roulette_open(&options, &client), 0);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    publish(client, "good", "first");
    offer_bad_topics(client, subscriber);
    publish(client, "good", "last");
    flush(client);
    size_t len;
    char *received = fake_server_received(server, 0, &len);
    cr_assert_not_null(received);
    char *after_connect = strstr(received, "PING\r\n");
    cr_assert_not_null(after_connect);
    /* A ping of the client's own may stand between the two, nothing else. */
    cr_assert_not_null(strstr(after_connect, "PUB good 5\r\nfirst\r\nPUB good 4\r\nlast\r\n"), "%s",
                       received);
    cr_assert_null(strstr(received, "evil"));
    cr_assert_null(strstr(received, "SUB "));
    free(received);
    roulette_subscriber_close(subscriber);
    cr_assert_eq(roulette_close(client, 5000, NULL, 0), 0);
    roulette_free(client);
    cr_assert(fake_server_stop(server));
}

static void offer_bad_payloads(roulette_client *client)
{
    size_t limit = 1048576;
    char *payload = calloc(1, 5 << 20);
    cr_assert_not_null(payload);
    cr_assert_eq(roulette_publish_wait(client, "big", 3, payload, limit, EVENTUALLY_MS), 0);
    cr_assert_eq(roulette_publish(client, "big", 3, payload, limit + 1), ROULETTE_EPAYLOAD);
    cr_assert_eq(roulette_publish(client, "big", 3, payload, (size_t)5 << 20), ROULETTE_EPAYLOAD);
    cr_assert_eq(roulette_publish(client, "big", 3, NULL, 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_publish(client, NULL, 3, "x", 1), ROULETTE_EINVAL);
    memset(payload, 'x', 5000);
    cr_assert_eq(roulette_publish(client, payload, 5000, "x", 1), ROULETTE_ETOPIC);
    free(payload);
}

/* They closed connections: 100 subscriptions of others became 83, or an endless loop. */
Test(original, poison_is_refused_by_name_and_harms_nobody)
{
    enum { OTHERS = 100 };
    struct stage stage;
    char topic[32];
    set_up(&stage);
    for (int i = 0; i < OTHERS; i++) {
        (void)snprintf(topic, sizeof(topic), "other.%d", i);
        subscribe(stage.subscriber, topic);
    }
    flush(stage.client);
    roulette_subscriber *all = fleet_subscriber(stage.client, 0);
    for (int round = 0; round < 20; round++) {
        offer_bad_topics(stage.client, all);
    }
    offer_bad_payloads(stage.client);
    for (int i = 0; i < OTHERS; i++) {
        (void)snprintf(topic, sizeof(topic), "other.%d", i);
        publish(stage.client, topic, "alive");
    }
    int alive = 0;
    struct roulette_message message;
    while (alive < OTHERS && roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS) == 1) {
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        alive++;
        roulette_release(stage.subscriber, &message, 1);
    }
    cr_assert_eq(alive, OTHERS);
    for (size_t i = 0; i < SERVERS; i++) {
        struct roulette_stats stats = fleet_stats(stage.client, i);
        cr_assert_eq(stats.connects, 1);
        cr_assert_eq(stats.disconnects, 0);
        cr_assert_eq(stats.server_errors, 0);
    }
    roulette_subscriber_close(all);
    tear_down(&stage);
}

/* Receiving one killed the connection and every subscription on it. */
Test(original, topics_are_bytes_and_need_not_be_ascii)
{
    enum { OTHERS = 100 };
    static const char *const topics[] = {
        "\xc3\xbcn\xc3\xaf",                            /* two letters of two bytes each */
        "\xe6\x97\xa5\xe6\x9c\xac.\xe8\xaa\x9e",        /* three of three, two tokens */
        "\xf0\x9f\x8e\xb2.e\xcc\x81",                   /* one of four, a combining accent */
        "\xff\xfe.\x80",                                /* not UTF-8 */
        "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9", /* one grapheme of three code points */
    };
    enum { TOPICS = sizeof(topics) / sizeof(topics[0]) };
    struct stage stage;
    char topic[32];
    set_up(&stage);
    roulette_subscriber *others = fleet_subscriber(stage.client, 0);
    for (int i = 0; i < OTHERS; i++) {
        (void)snprintf(topic, sizeof(topic), "other.%d", i);
        subscribe(others, topic);
    }
    for (size_t i = 0; i < TOPICS; i++) {
        subscribe(stage.subscriber, topics[i]);
        publish(stage.client, topics[i], topics[TOPICS - 1 - i]);
        expect(stage.subscriber, topics[i], topics[TOPICS - 1 - i]);
    }
    for (int i = 0; i < OTHERS; i++) {
        (void)snprintf(topic, sizeof(topic), "other.%d", i);
        publish(stage.client, topic, "alive");
        expect(others, topic, "alive");
    }
    for (size_t i = 0; i < SERVERS; i++) {
        cr_assert_eq(fleet_stats(stage.client, i).connects, 1);
    }
    roulette_subscriber_close(others);
    tear_down(&stage);
}
