/* SPDX-License-Identifier: MIT */
/**
 * What an application can do wrong: each mistake gives a named error and changes nothing.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

/* ---- Topics ------------------------------------------------------------------------------- */

struct bad_topic {
    const char *bytes;
    size_t len;
    int publish;   /* what publishing to it returns */
    int subscribe; /* what subscribing to it returns */
};

#define TOPIC(text, publish_, subscribe_) {text, sizeof(text) - 1, publish_, subscribe_}
#define BAD(text)                         TOPIC(text, ROULETTE_ETOPIC, ROULETTE_ETOPIC)
#define WILDCARD(text)                    TOPIC(text, ROULETTE_EWILDCARD, 0)

static const struct bad_topic bad_topics[] = {
    BAD(""),
    BAD(" "),
    BAD("a b"),
    BAD(" a"),
    BAD("a "),
    BAD("a\tb"),
    BAD("a\rb"),
    BAD("a\nb"),
    BAD("a\r\nPUB x 0\r\n\r\n"),
    BAD("a 6\r\nHello!\r\nPUB injected 4\r\nEVIL"),
    BAD("a\0b"),
    BAD("\0"),
    BAD("a\x7f"),
    BAD("a\x01"),
    BAD("a\x1f"),
    BAD("."),
    BAD(".a"),
    BAD("a."),
    BAD("a..b"),
    BAD("a.>.b"),
    WILDCARD("*"),
    WILDCARD(">"),
    WILDCARD("a.*"),
    WILDCARD("a.>"),
    WILDCARD("*.b.*"),
};
#define BAD_TOPICS (sizeof(bad_topics) / sizeof(bad_topics[0]))

static void check_refused(int result, int expected, const struct bad_topic *topic, const char *call)
{
    /* Where several rules are broken, either may be told. */
    bool either = expected == ROULETTE_ETOPIC && result == ROULETTE_EWILDCARD &&
                  memchr(topic->bytes, '>', topic->len) != NULL;
    cr_assert(result == expected || either, "%s(\"%.*s\") is %s", call, (int)topic->len,
              topic->bytes, roulette_error_name(result));
    cr_assert_gt(strlen(roulette_last_error()), 10);
    cr_assert_null(strpbrk(roulette_last_error(), "\r\n"), "no injection into logs");
}

static void check_publish_calls(roulette_client *client, const struct bad_topic *topic)
{
    roulette_topic *handle = NULL;
    int result = roulette_publish(client, topic->bytes, topic->len, "x", 1);
    check_refused(result, topic->publish, topic, "publish");
    result = roulette_publish_wait(client, topic->bytes, topic->len, "x", 1, 100);
    check_refused(result, topic->publish, topic, "publish_wait");
    result = roulette_publish_reply(client, topic->bytes, topic->len, "r", 1, "x", 1, 0);
    check_refused(result, topic->publish, topic, "publish_reply, as topic");
    result = roulette_publish_reply(client, "t", 1, topic->bytes, topic->len, "x", 1, 0);
    check_refused(result, topic->publish, topic, "publish_reply, as reply");
    result = roulette_topic_create(client, topic->bytes, topic->len, &handle);
    check_refused(result, topic->publish, topic, "topic_create");
    cr_assert_null(handle);
    result = roulette_cluster_of(client, topic->bytes, topic->len);
    check_refused(result, topic->publish, topic, "cluster_of");
}

static void check_subscribe_calls(roulette_subscriber *subscriber, const struct bad_topic *topic)
{
    roulette_subscription *subscription = NULL;
    int result = roulette_subscribe(subscriber, topic->bytes, topic->len, NULL, &subscription);
    if (topic->subscribe != 0) {
        check_refused(result, topic->subscribe, topic, "subscribe");
        cr_assert_null(subscription);
        cr_assert_eq(roulette_unsubscribe_topic(subscriber, topic->bytes, topic->len),
                     ROULETTE_ENOENT);
    } else {
        cr_assert_eq(result, 0);
        cr_assert_eq(roulette_unsubscribe_topic(subscriber, topic->bytes, topic->len), 0);
    }
}

Test(bad_input, topics_are_refused_by_every_call)
{
    struct fleet fleet;
    char *long_topic = malloc(ROULETTE_TOPIC_LEN_MAX + 1);
    cr_assert_not_null(long_topic);
    memset(long_topic, 'x', ROULETTE_TOPIC_LEN_MAX + 1);
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    for (size_t i = 0; i < BAD_TOPICS; i++) {
        check_publish_calls(client, &bad_topics[i]);
        check_subscribe_calls(subscriber, &bad_topics[i]);
    }
    struct bad_topic too_long = {long_topic, ROULETTE_TOPIC_LEN_MAX + 1, ROULETTE_ETOPIC,
                                 ROULETTE_ETOPIC};
    check_publish_calls(client, &too_long);
    check_subscribe_calls(subscriber, &too_long);
    too_long.len = ROULETTE_TOPIC_LEN_MAX;
    cr_assert_eq(roulette_publish(client, long_topic, too_long.len, "x", 1), 0);
    struct roulette_ledger ledger;
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, &ledger, 1), 0);
    cr_assert_eq(ledger.accepted, 1, "nothing else was accepted");
    cr_assert_eq(fleet_stats(client, 0).server_errors, 0);
    cr_assert_eq(fleet_stats(client, 0).disconnects, 0);
    free(long_topic);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- Payloads ----------------------------------------------------------------------------- */

/* A server that takes 1000 bytes at most. */
struct small_server {
    char path[64];
    struct nats_server *server;
    char address[32];
};

static void start_small_server(struct small_server *small)
{
    (void)strcpy(small->path, "/tmp/roulette-test.XXXXXX");
    int fd = mkstemp(small->path);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    cr_assert_not_null(file);
    cr_assert_geq(fputs("max_payload: 1000\n", file), 0);
    cr_assert_eq(fclose(file), 0);
    const char *const arguments[] = {"-c", small->path, NULL};
    small->server = nats_server_start(arguments);
    cr_assert_not_null(small->server);
    (void)snprintf(small->address, sizeof(small->address), "127.0.0.1:%u",
                   nats_server_port(small->server));
}

static void stop_small_server(struct small_server *small)
{
    nats_server_stop(small->server);
    (void)remove(small->path);
}

Test(bad_input, payload_over_the_limit_of_the_server_is_refused)
{
    static const char payload[2000];
    struct small_server small;
    struct roulette_options options;
    roulette_topic *topic;
    start_small_server(&small);
    roulette_options_init(&options);
    options.servers = small.address;
    roulette_client *client = fleet_open(&options);
    cr_assert_eq(roulette_topic_create(client, "t", 1, &topic), 0);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(roulette_publish(client, "t", 1, payload, 1000), 0);
        cr_assert_eq(roulette_publish(client, "t", 1, payload, 1001), ROULETTE_EPAYLOAD);
        cr_assert_not_null(strstr(roulette_last_error(), "1000"));
        cr_assert_eq(roulette_publish_wait(client, "t", 1, payload, 1001, -1), ROULETTE_EPAYLOAD);
        cr_assert_eq(roulette_topic_publish(topic, payload, 1001), ROULETTE_EPAYLOAD);
        cr_assert_eq(roulette_topic_publish(topic, payload, 1000), 0);
        cr_assert_eq(roulette_publish_reply(client, "t", 1, "r", 1, payload, 1001, 0),
                     ROULETTE_EPAYLOAD);
    }
    cr_assert_eq(roulette_publish(client, "t", 1, payload, SIZE_MAX), ROULETTE_EPAYLOAD);
    cr_assert_eq(roulette_publish(client, "t", 1, payload, (size_t)1 << 32), ROULETTE_EPAYLOAD);
    cr_assert_eq(roulette_publish(client, "t", 1, payload, ((size_t)1 << 32) + 5),
                 ROULETTE_EPAYLOAD);
    cr_assert_eq(roulette_topic_publish(topic, payload, SIZE_MAX), ROULETTE_EPAYLOAD);
    cr_assert_eq(roulette_publish(client, "t", 1, NULL, 5), ROULETTE_EINVAL);
    struct roulette_ledger ledger;
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, &ledger, 1), 0);
    cr_assert_eq(ledger.accepted, 20);
    cr_assert_eq(ledger.confirmed, 20);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(stats.connects, 1, "the connection stays up");
    cr_assert_eq(stats.disconnects + stats.server_errors, 0);
    roulette_topic_free(topic);
    fleet_close(client);
    stop_small_server(&small);
}

/* Accepted before the server could tell its limit: given up one by one, and the rest is sent. */
Test(bad_input, payload_accepted_too_early_is_counted_as_failed)
{
    enum { MESSAGES = 500 };
    static const char payload[2000];
    struct small_server small;
    struct roulette_options options;
    roulette_client *client;
    start_small_server(&small);
    cr_assert(nats_server_kill(small.server, SIGKILL));
    roulette_options_init(&options);
    options.servers = small.address;
    options.max_retry = 1000;
    options.reconnect_interval_ms = 10;
    options.max_backoff_ms = 100;
    cr_assert_eq(roulette_open(&options, &client), 0);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, NULL), 0);
    uint64_t too_large = 0;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        uint8_t numbered[2000] = {0};
        memcpy(numbered, &i, sizeof(i));
        size_t len = i % 7 == 0 || i == MESSAGES - 1 ? 1001 : 1000 - i;
        too_large += len > 1000 ? 1 : 0;
        cr_assert_eq(roulette_publish(client, "t", 1, numbered, len), 0);
    }
    cr_assert(nats_server_restart(small.server));
    struct roulette_ledger ledger;
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, &ledger, 1), 0);
    cr_assert_eq(ledger.accepted, MESSAGES);
    cr_assert_eq(ledger.failed, too_large);
    cr_assert_eq(ledger.confirmed, MESSAGES - too_large);
    cr_assert_eq(fleet_stats(client, 0).disconnects, 0);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        struct roulette_message message;
        if (i % 7 == 0 || i == MESSAGES - 1) {
            continue;
        }
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_eq(message.payload_len, 1000 - i);
        cr_assert_arr_eq(message.payload, &i, sizeof(i));
        roulette_release(subscriber, &message, 1);
    }
    cr_assert_eq(roulette_publish(client, "t", 1, payload, 1001), ROULETTE_EPAYLOAD);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    stop_small_server(&small);
}

/* ---- Server lists ------------------------------------------------------------------------- */

struct bad_list {
    const char *servers;
    const char *told; /* what the error text must contain */
};

static const struct bad_list bad_lists[] = {
    {NULL, "servers"},
    {"", "servers"},
    {" ", "servers"},
    {",", "empty"},
    {"a,", "empty"},
    {"a,,b", "empty"},
    {"a,a", "a"},
    {"a,a:4222", "a"},
    {"a:1,b:1,a:1", "a"},
    {"a,nats://a", "a"},
    {"nats://u:p@a,a", "a"},
    {"a:", "port"},
    {"a:x", "port"},
    {"a:0", "port"},
    {"a:65536", "port"},
    {"a:4294971518", "port"},
    {"a:-1", "port"},
    {"a:99999999999999999999999", "port"},
    {"a:42 22", ""},
    {"a:4222x", "port"},
    {"[::1", "]"},
    {"[::1]x", ""},
    {"[]", ""},
    {":4222", "host"},
    {"http://a", "nats://"},
    {"nats://", ""},
    {"nats://@a", ""},
    {"a b", ""},
    {"a\nb", ""},
    {"a\x01", ""},
};

Test(bad_input, server_lists_are_refused_with_a_reason)
{
    for (size_t i = 0; i < sizeof(bad_lists) / sizeof(bad_lists[0]); i++) {
        const struct bad_list *list = &bad_lists[i];
        const char *text = list->servers != NULL ? list->servers : "(NULL)";
        struct roulette_options options;
        roulette_client *client = NULL;
        roulette_options_init(&options);
        options.servers = list->servers;
        int result = roulette_open(&options, &client);
        cr_assert_eq(result, ROULETTE_ESERVERS, "\"%s\" gives %s", text,
                     roulette_error_name(result));
        cr_assert_null(client);
        cr_assert_not_null(strstr(roulette_last_error(), list->told), "\"%s\": %s", text,
                           roulette_last_error());
        cr_assert_null(strpbrk(roulette_last_error(), "\r\n\x01"));
    }
}

Test(bad_input, credentials_are_not_repeated_in_errors)
{
    static const char *const lists[] = {
        "nats://user:secret@host:x",    "nats://secret@host:x",
        "nats://user:secret@a,,b",      "nats://user:secret@a,nats://user:secret@a",
        "http://user:secret@host",      "nats://user:secret@",
        "user:secret@host:99999",       "nats://us er:secret@host",
        "nats://user:secret@[::1:4222", "nats://secret@host,nats://secret@host",
    };
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        struct roulette_options options;
        roulette_client *client;
        roulette_options_init(&options);
        options.servers = lists[i];
        cr_assert_lt(roulette_open(&options, &client), 0, "%s", lists[i]);
        cr_assert_null(strstr(roulette_last_error(), "secret"), "%s gives %s", lists[i],
                       roulette_last_error());
    }
}

/* ---- Options ------------------------------------------------------------------------------ */

static void check_option(const struct roulette_options *options, const char *name)
{
    char option[64];
    roulette_client *client = NULL;
    (void)snprintf(option, sizeof(option), "options.%s", name);
    cr_assert_eq(roulette_open(options, &client), ROULETTE_EINVAL, "%s", name);
    cr_assert_null(client);
    cr_assert_not_null(strstr(roulette_last_error(), option), "%s", roulette_last_error());
}

#define CHECK_OPTION(field, value_)       \
    do {                                  \
        struct roulette_options options_; \
        roulette_options_init(&options_); \
        options_.servers = "127.0.0.1:1"; \
        options_.field = (value_);        \
        check_option(&options_, #field);  \
    } while (0)

Test(bad_input, options_out_of_range_are_named)
{
    CHECK_OPTION(ring, (enum roulette_ring)2);
    CHECK_OPTION(ring, (enum roulette_ring) - 1);
    CHECK_OPTION(pool_size, 0);
    CHECK_OPTION(pool_size, 17);
    CHECK_OPTION(pool_size, UINT32_MAX);
    CHECK_OPTION(connection_timeout_ms, 0);
    CHECK_OPTION(connection_timeout_ms, UINT32_MAX);
    CHECK_OPTION(ping_interval_ms, 0);
    CHECK_OPTION(ping_interval_ms, UINT32_MAX);
    CHECK_OPTION(max_ping_failure, 0);
    CHECK_OPTION(max_ping_failure, UINT32_MAX);
    CHECK_OPTION(reconnect_interval_ms, UINT32_MAX);
    CHECK_OPTION(base_backoff_ms, 0);
    CHECK_OPTION(base_backoff_ms, UINT32_MAX);
    CHECK_OPTION(max_backoff_ms, 0);
    CHECK_OPTION(max_backoff_ms, UINT32_MAX);
    CHECK_OPTION(max_retry, 0);
    CHECK_OPTION(subscription_restart, (enum roulette_restart)2);
    CHECK_OPTION(queue_bytes, 0);
    CHECK_OPTION(queue_bytes, 1);
    CHECK_OPTION(queue_bytes, ((size_t)64 << 20) + 1);
    CHECK_OPTION(queue_bytes, (size_t)48 << 20);
    CHECK_OPTION(queue_bytes, SIZE_MAX);
    CHECK_OPTION(queue_bytes, (SIZE_MAX >> 1) + 1);
    CHECK_OPTION(slab_bytes, 0);
    CHECK_OPTION(slab_bytes, 65536);
    CHECK_OPTION(slab_bytes, 131073);
    CHECK_OPTION(slab_bytes, (size_t)32 << 20);
    CHECK_OPTION(slab_bytes, SIZE_MAX);
    CHECK_OPTION(slab_count, 0);
    CHECK_OPTION(slab_count, 3);
    CHECK_OPTION(slab_count, 4097);
    CHECK_OPTION(slab_count, UINT32_MAX);
    CHECK_OPTION(log_level, (enum roulette_log_level)4);
    CHECK_OPTION(spin_us, 1000001);
    CHECK_OPTION(reconnect_hold_ms, 86400001);
    CHECK_OPTION(size, 0);
    CHECK_OPTION(size, 15);
}

Test(bad_input, subscriber_options_out_of_range_are_named)
{
    struct roulette_options options;
    struct roulette_subscriber_options subscriber_options;
    roulette_client *client;
    roulette_subscriber *subscriber = NULL;
    static const uint32_t slots[] = {0, 1, 8, 15, 17, 1000, UINT32_MAX, (UINT32_C(1) << 31)};
    roulette_options_init(&options);
    options.servers = "127.0.0.1:1";
    cr_assert_eq(roulette_open(&options, &client), 0);
    for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        roulette_subscriber_options_init(&subscriber_options);
        subscriber_options.ring_slots = slots[i];
        cr_assert_eq(roulette_subscriber_open(client, &subscriber_options, &subscriber),
                     ROULETTE_EINVAL, "%u", slots[i]);
        cr_assert_not_null(strstr(roulette_last_error(), "ring_slots"));
    }
    for (size_t i = 0; i < 2; i++) {
        roulette_subscriber_options_init(&subscriber_options);
        subscriber_options.pinned_bytes = i == 0 ? 1 : SIZE_MAX;
        cr_assert_eq(roulette_subscriber_open(client, &subscriber_options, &subscriber),
                     ROULETTE_EINVAL);
        cr_assert_not_null(strstr(roulette_last_error(), "pinned_bytes"));
    }
    cr_assert_null(subscriber);
    roulette_free(client);
}

/* ---- NULL and closed ---------------------------------------------------------------------- */

Test(bad_input, null_is_refused_everywhere)
{
    struct roulette_options options;
    struct roulette_message message = {.kind = ROULETTE_KIND_MESSAGE};
    struct roulette_stats stats;
    roulette_client *client;
    roulette_subscriber *subscriber;
    roulette_subscription *subscription;
    roulette_topic *topic;
    roulette_options_init(&options);
    options.servers = "127.0.0.1:1";
    roulette_options_init(NULL);
    roulette_subscriber_options_init(NULL);
    cr_assert_eq(roulette_open(NULL, &client), ROULETTE_EINVAL);
    cr_assert_eq(roulette_open(&options, NULL), ROULETTE_EINVAL);
    cr_assert_eq(roulette_open(&options, &client), 0);
    cr_assert_eq(roulette_close(NULL, 0, NULL, 0), ROULETTE_EINVAL);
    roulette_free(NULL);
    cr_assert_eq(roulette_cluster_count(NULL), ROULETTE_EINVAL);
    cr_assert_eq(roulette_cluster_of(NULL, "t", 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_cluster_of(client, NULL, 1), ROULETTE_EINVAL);
    cr_assert_null(roulette_cluster_address(NULL, 0));
    cr_assert_null(roulette_cluster_address(client, 1));
    cr_assert_eq(roulette_flush(NULL, 0, NULL, 0), ROULETTE_EINVAL);
    cr_assert_eq(roulette_publish(NULL, "t", 1, "x", 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_publish(client, NULL, 1, "x", 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_publish(client, NULL, ROULETTE_STRLEN, "x", 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_publish_wait(NULL, "t", 1, "x", 1, 0), ROULETTE_EINVAL);
    cr_assert_eq(roulette_publish_wait(client, "t", 1, NULL, 1, 0), ROULETTE_EINVAL);
    cr_assert_eq(roulette_publish_reply(NULL, "t", 1, "r", 1, "x", 1, 0), ROULETTE_EINVAL);
    cr_assert_eq(roulette_publish_reply(client, "t", 1, NULL, 1, "x", 1, 0), ROULETTE_EINVAL);
    cr_assert_eq(roulette_publish_reply(client, "t", 1, "r", 1, NULL, 1, 0), ROULETTE_EINVAL);
    cr_assert_eq(roulette_topic_create(NULL, "t", 1, &topic), ROULETTE_EINVAL);
    cr_assert_eq(roulette_topic_create(client, NULL, 1, &topic), ROULETTE_EINVAL);
    cr_assert_eq(roulette_topic_create(client, "t", 1, NULL), ROULETTE_EINVAL);
    roulette_topic_free(NULL);
    cr_assert_eq(roulette_topic_cluster(NULL), ROULETTE_EINVAL);
    cr_assert_eq(roulette_topic_publish(NULL, "x", 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_topic_publish_wait(NULL, "x", 1, 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_subscriber_open(NULL, NULL, &subscriber), ROULETTE_EINVAL);
    cr_assert_eq(roulette_subscriber_open(client, NULL, NULL), ROULETTE_EINVAL);
    cr_assert_eq(roulette_subscriber_open(client, NULL, &subscriber), 0);
    roulette_subscriber_close(NULL);
    cr_assert_eq(roulette_subscriber_fd(NULL), ROULETTE_EINVAL);
    cr_assert_eq(roulette_subscribe(NULL, "t", 1, NULL, &subscription), ROULETTE_EINVAL);
    cr_assert_eq(roulette_subscribe(subscriber, NULL, 1, NULL, &subscription), ROULETTE_EINVAL);
    cr_assert_eq(roulette_unsubscribe(NULL, NULL), ROULETTE_EINVAL);
    cr_assert_eq(roulette_unsubscribe(subscriber, NULL), ROULETTE_EINVAL);
    cr_assert_eq(roulette_unsubscribe_topic(NULL, "t", 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_unsubscribe_topic(subscriber, NULL, 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_receive(NULL, &message, 1, 0), ROULETTE_EINVAL);
    cr_assert_eq(roulette_receive(subscriber, NULL, 1, 0), ROULETTE_EINVAL);
    cr_assert_eq(roulette_receive(subscriber, &message, 0, 0), ROULETTE_EINVAL);
    cr_assert_eq(roulette_receive(subscriber, &message, SIZE_MAX, 0), ROULETTE_EINVAL);
    roulette_release(subscriber, NULL, 0);
    roulette_release(NULL, NULL, 0);
    cr_assert_eq(roulette_message_copy(NULL, &message), ROULETTE_EINVAL);
    cr_assert_eq(roulette_message_copy(&message, NULL), ROULETTE_EINVAL);
    cr_assert_eq(roulette_stats_get(NULL, 0, &stats), ROULETTE_EINVAL);
    cr_assert_eq(roulette_stats_get(client, 1, &stats), ROULETTE_EINVAL);
    cr_assert_eq(roulette_stats_get(client, 0, NULL), ROULETTE_EINVAL);
    stats.size = 0;
    cr_assert_eq(roulette_stats_fill(client, 0, &stats), ROULETTE_EINVAL);
    stats.size = sizeof(stats) - 4; /* it would cut a field */
    cr_assert_eq(roulette_stats_fill(client, 0, &stats), ROULETTE_EINVAL);
    stats.size = SIZE_MAX;
    cr_assert_eq(roulette_stats_fill(client, 0, &stats), ROULETTE_EINVAL);
    cr_assert_gt(strlen(roulette_last_error()), 10);
    cr_assert_str_eq(roulette_error_name(12345), roulette_error_name(54321));
    cr_assert_not_null(roulette_error_text(INT32_MIN));
    roulette_subscriber_close(subscriber);
    roulette_free(client);
}

Test(bad_input, closed_client_refuses_everything)
{
    struct fleet fleet;
    struct roulette_message message;
    roulette_topic *topic;
    roulette_topic *other;
    roulette_subscriber *another;
    roulette_subscription *subscription;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_topic_create(client, "t", 1, &topic), 0);
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, &subscription), 0);
    cr_assert_eq(roulette_close(client, 1000, NULL, 0), 0);
    cr_assert_eq(roulette_close(client, 1000, NULL, 0), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_publish(client, "t", 1, "x", 1), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_publish_wait(client, "t", 1, "x", 1, -1), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_publish_reply(client, "t", 1, "r", 1, "x", 1, -1), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_topic_publish(topic, "x", 1), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_topic_create(client, "t", 1, &other), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_subscriber_open(client, NULL, &another), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_flush(client, -1, NULL, 0), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_subscribe(subscriber, "u", 1, NULL, NULL), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_subscribe(subscriber, "u.*", 3, NULL, NULL), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_receive(subscriber, &message, 1, -1), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_ENDED);
    cr_assert_eq(message.error, ROULETTE_ECLOSED);
    cr_assert_eq(message.subscription, subscription);
    cr_assert_eq(roulette_receive(subscriber, &message, 1, -1), ROULETTE_ECLOSED);
    cr_assert_eq(roulette_unsubscribe(subscriber, subscription), ROULETTE_ENOENT);
    /* Questions are answered still. */
    cr_assert_eq(roulette_cluster_count(client), 1);
    cr_assert_eq(roulette_cluster_of(client, "t", 1), 0);
    cr_assert_eq(fleet_stats(client, 0).connected, 0);
    cr_assert_eq(fleet_stats(client, 0).subscriptions, 0);
    roulette_topic_free(topic);
    roulette_subscriber_close(subscriber);
    roulette_free(client);
    fleet_stop(&fleet);
}

/* ---- Releasing twice ---------------------------------------------------------------------- */

static void receive_and_release(struct roulette_message *message, roulette_subscriber **subscriber)
{
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(*subscriber, "t", 1, NULL, NULL), 0);
    cr_assert_eq(roulette_publish(client, "t", 1, "x", 1), 0);
    cr_assert_eq(roulette_receive(*subscriber, message, 1, EVENTUALLY_MS), 1);
}

Test(bad_input, message_released_twice_ends_the_process, .signal = SIGABRT)
{
    struct roulette_message message;
    roulette_subscriber *subscriber;
    receive_and_release(&message, &subscriber);
    roulette_release(subscriber, &message, 1);
    roulette_release(subscriber, &message, 1);
}

/* A copy of the struct hides that it was released: the count of the slab's references tells. */
Test(bad_input, struct_copy_released_too_ends_the_process, .signal = SIGABRT)
{
    struct roulette_message messages[2];
    roulette_subscriber *subscriber;
    receive_and_release(&messages[0], &subscriber);
    messages[1] = messages[0];
    roulette_release(subscriber, messages, 2);
    roulette_subscriber_close(subscriber);
}

Test(bad_input, copy_released_twice_ends_the_process, .signal = SIGABRT)
{
    struct roulette_message message;
    struct roulette_message copy;
    roulette_subscriber *subscriber;
    receive_and_release(&message, &subscriber);
    cr_assert_eq(roulette_message_copy(&message, &copy), 0);
    roulette_release(NULL, &copy, 1);
    roulette_release(NULL, &copy, 1);
}

Test(bad_input, message_released_without_its_subscriber_ends_the_process, .signal = SIGABRT)
{
    struct roulette_message message;
    roulette_subscriber *subscriber;
    receive_and_release(&message, &subscriber);
    roulette_release(NULL, &message, 1);
}
