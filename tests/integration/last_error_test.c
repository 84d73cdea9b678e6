/* SPDX-License-Identifier: MIT */
/**
 * roulette_last_error() tells of the call that has just failed, whatever failed before.
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/test.h"

#define STALE "what another call has said before"

/* A call that fails with `code` says `part`. */
#define SAYS(call, code, part)                                                            \
    do {                                                                                  \
        (void)rlt_error_set(ROULETTE_EINVAL, "%s", STALE);                                \
        int said_code = (call);                                                           \
        REQUIRE(said_code == (code), "%s: %s: %s", #call, roulette_error_name(said_code), \
                roulette_last_error());                                                   \
        REQUIRE(strstr(roulette_last_error(), (part)) != NULL, "%s: %s", #call,           \
                roulette_last_error());                                                   \
    } while (0)

/* ... what the code itself says, at least. */
#define SAYS_CODE(call, code) SAYS(call, code, roulette_error_text(code))

/* All that is called here. */
struct stage {
    struct fleet fleet;
    struct roulette_options options;
    roulette_client *client;
    roulette_subscriber *subscriber;
    roulette_topic *topic;
};

static void set_up(struct stage *stage)
{
    fleet_start(&stage->fleet, 1);
    stage->options = fleet_options(&stage->fleet);
    stage->client = fleet_open(&stage->options);
    stage->subscriber = fleet_subscriber(stage->client, 0);
    cr_assert_eq(roulette_topic_create(stage->client, "t", 1, &stage->topic), 0);
}

static void tear_down(struct stage *stage)
{
    roulette_topic_free(stage->topic);
    roulette_subscriber_close(stage->subscriber);
    roulette_free(stage->client);
    fleet_stop(&stage->fleet);
}

/* ---- Arguments ---------------------------------------------------------------------------- */

static int try_address(const roulette_client *client, size_t cluster)
{
    return roulette_cluster_address(client, cluster) == NULL ? ROULETTE_EINVAL : 0;
}

Test(last_error, null_and_what_is_out_of_range)
{
    struct stage s;
    roulette_client *client;
    roulette_topic *topic;
    roulette_subscriber *subscriber;
    roulette_subscription *subscription;
    struct roulette_message message = {.kind = ROULETTE_KIND_LOST};
    struct roulette_stats stats;
    const int bad = ROULETTE_EINVAL;
    set_up(&s);
    SAYS(roulette_open(NULL, &client), bad, "NULL");
    SAYS(roulette_open(&s.options, NULL), bad, "NULL");
    SAYS(roulette_close(NULL, 0, NULL, 0), bad, "NULL");
    SAYS(roulette_cluster_count(NULL), bad, "NULL");
    SAYS(roulette_cluster_of(NULL, "t", 1), bad, "NULL");
    SAYS(roulette_cluster_of(s.client, NULL, 1), bad, "NULL");
    SAYS(try_address(NULL, 0), bad, "NULL");
    SAYS(try_address(s.client, 7), bad, "cluster 7");
    SAYS(roulette_flush(NULL, 0, NULL, 0), bad, "NULL");
    SAYS(roulette_publish(NULL, "t", 1, "x", 1), bad, "NULL");
    SAYS(roulette_publish(s.client, NULL, 1, "x", 1), bad, "NULL");
    SAYS(roulette_publish(s.client, "t", 1, NULL, 1), bad, "NULL");
    SAYS(roulette_publish_wait(NULL, "t", 1, "x", 1, 1), bad, "NULL");
    SAYS(roulette_publish_reply(NULL, "t", 1, "r", 1, "x", 1, 1), bad, "NULL");
    SAYS(roulette_publish_reply(s.client, "t", 1, NULL, 1, "x", 1, 1), bad, "reply");
    SAYS(roulette_topic_create(s.client, "t", 1, NULL), bad, "NULL");
    SAYS(roulette_topic_create(NULL, "t", 1, &topic), bad, "NULL");
    SAYS(roulette_topic_cluster(NULL), bad, "NULL");
    SAYS(roulette_topic_publish(NULL, "x", 1), bad, "NULL");
    SAYS(roulette_topic_publish_wait(s.topic, NULL, 1, 1), bad, "NULL");
    SAYS(roulette_subscriber_open(NULL, NULL, &subscriber), bad, "NULL");
    SAYS(roulette_subscriber_drain(NULL, 0), bad, "NULL");
    SAYS(roulette_subscriber_fd(NULL), bad, "NULL");
    SAYS(roulette_subscriber_wake(NULL), bad, "NULL");
    SAYS(roulette_subscribe(NULL, "t", 1, NULL, &subscription), bad, "NULL");
    SAYS(roulette_subscribe_with(s.subscriber, NULL, 1, NULL, &subscription), bad, "NULL");
    SAYS(roulette_unsubscribe(s.subscriber, NULL), bad, "NULL");
    SAYS(roulette_unsubscribe_topic(s.subscriber, NULL, 1), bad, "NULL");
    SAYS(roulette_receive(NULL, &message, 1, 0), bad, "NULL");
    SAYS(roulette_receive(s.subscriber, &message, 0, 0), bad, "count");
    SAYS(roulette_message_copy(&message, &message), bad, "notice");
    SAYS(roulette_stats_get(s.client, 7, &stats), bad, "cluster 7");
    SAYS(roulette_stats_get(NULL, 0, &stats), bad, "NULL");
    tear_down(&s);
}

Test(last_error, topics_payloads_and_subscriptions)
{
    struct stage s;
    roulette_topic *topic;
    roulette_subscription *subscription;
    static char large[2 << 20];
    const int bad = ROULETTE_ETOPIC;
    set_up(&s);
    SAYS(roulette_cluster_of(s.client, "a..b", 4), bad, "topic");
    SAYS(roulette_cluster_of(s.client, "a.*", 3), ROULETTE_EWILDCARD, "topic");
    SAYS(roulette_publish(s.client, "a..b", 4, "x", 1), bad, "topic");
    SAYS(roulette_publish(s.client, "a.*", 3, "x", 1), ROULETTE_EWILDCARD, "topic");
    SAYS(roulette_publish_wait(s.client, "", 0, "x", 1, 1), bad, "topic");
    SAYS(roulette_publish_reply(s.client, "t", 1, "a b", 3, "x", 1, 1), bad, "reply");
    SAYS(roulette_topic_create(s.client, "a.>", 3, &topic), ROULETTE_EWILDCARD, "topic");
    SAYS(roulette_subscribe(s.subscriber, "a b", 3, NULL, NULL), bad, "topic");
    SAYS(roulette_publish(s.client, "t", 1, large, sizeof(large)), ROULETTE_EPAYLOAD, "bytes");
    SAYS(roulette_topic_publish(s.topic, large, sizeof(large)), ROULETTE_EPAYLOAD, "bytes");
    SAYS(roulette_publish(s.client, "t", 1, large, SIZE_MAX / 2), ROULETTE_EPAYLOAD, "bytes");
    cr_assert_eq(roulette_subscribe(s.subscriber, "t", 1, NULL, &subscription), 0);
    SAYS_CODE(roulette_subscribe(s.subscriber, "t", 1, NULL, NULL), ROULETTE_EEXIST);
    cr_assert_eq(roulette_unsubscribe(s.subscriber, subscription), 0);
    SAYS_CODE(roulette_unsubscribe(s.subscriber, subscription), ROULETTE_ENOENT);
    SAYS(roulette_unsubscribe_topic(s.subscriber, "t", 1), ROULETTE_ENOENT, "subscri");
    tear_down(&s);
}

/* ---- States of the client ----------------------------------------------------------------- */

static void expect_gone(const struct stage *s, int code)
{
    roulette_topic *topic;
    roulette_subscriber *subscriber;
    struct roulette_message message;
    SAYS_CODE(roulette_close(s->client, 0, NULL, 0), code);
    SAYS_CODE(roulette_flush(s->client, 0, NULL, 0), code);
    SAYS_CODE(roulette_publish(s->client, "t", 1, "x", 1), code);
    SAYS_CODE(roulette_publish_wait(s->client, "t", 1, "x", 1, 1), code);
    SAYS_CODE(roulette_publish_reply(s->client, "t", 1, "r", 1, "x", 1, 1), code);
    SAYS_CODE(roulette_topic_publish(s->topic, "x", 1), code);
    SAYS_CODE(roulette_topic_publish_wait(s->topic, "x", 1, 1), code);
    SAYS_CODE(roulette_topic_create(s->client, "t", 1, &topic), code);
    SAYS_CODE(roulette_subscriber_open(s->client, NULL, &subscriber), code);
    SAYS_CODE(roulette_subscriber_drain(s->subscriber, 1), code);
    SAYS_CODE(roulette_subscribe(s->subscriber, "t", 1, NULL, NULL), code);
    SAYS_CODE(roulette_receive(s->subscriber, &message, 1, -1), code);
    if (code == ROULETTE_EFORKED) {
        SAYS_CODE(roulette_subscriber_fd(s->subscriber), code);
        SAYS_CODE(roulette_subscriber_wake(s->subscriber), code);
    }
}

Test(last_error, closed_and_forked_client)
{
    struct stage s;
    int status;
    set_up(&s);
    pid_t child = fork();
    if (child == 0) {
        expect_gone(&s, ROULETTE_EFORKED);
        _exit(0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    cr_assert_eq(roulette_close(s.client, EVENTUALLY_MS, NULL, 0), 0);
    expect_gone(&s, ROULETTE_ECLOSED);
    tear_down(&s);
}

Test(last_error, role)
{
    struct stage s;
    roulette_client *client;
    roulette_subscriber *subscriber;
    set_up(&s);
    s.options.role = ROULETTE_ROLE_SUBSCRIBER;
    cr_assert_eq(roulette_open(&s.options, &client), 0);
    SAYS(roulette_publish(client, "t", 1, "x", 1), ROULETTE_EROLE, "options.role");
    roulette_free(client);
    s.options.role = ROULETTE_ROLE_PUBLISHER;
    cr_assert_eq(roulette_open(&s.options, &client), 0);
    cr_assert_eq(roulette_subscriber_open(client, NULL, &subscriber), 0);
    SAYS(roulette_subscribe(subscriber, "t", 1, NULL, NULL), ROULETTE_EROLE, "options.role");
    roulette_subscriber_close(subscriber);
    roulette_free(client);
    tear_down(&s);
}

/* ---- A cluster that is away --------------------------------------------------------------- */

/* A client of a port where nobody listens. */
static roulette_client *open_absent(uint32_t max_retry)
{
    static char servers[32];
    roulette_client *client;
    struct roulette_options options;
    roulette_options_init(&options);
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", net_hold_port());
    options.servers = servers;
    options.queue_bytes = (size_t)2 << 20;
    options.max_retry = max_retry;
    options.base_backoff_ms = 1;
    options.max_backoff_ms = 1;
    REQUIRE(roulette_open(&options, &client) == 0, "%s", roulette_last_error());
    return client;
}

static void fill(roulette_client *client)
{
    static char block[8192];
    while (roulette_publish(client, "t", 1, block, sizeof(block)) == 0) {
    }
    while (roulette_publish(client, "t", 1, "x", 1) == 0) {
    }
}

Test(last_error, full_queue)
{
    roulette_topic *topic;
    roulette_client *client = open_absent(UINT32_MAX);
    fill(client);
    cr_assert_eq(roulette_topic_create(client, "t", 1, &topic), 0);
    SAYS(roulette_publish(client, "t", 1, "x", 1), ROULETTE_EAGAIN, "the queue is full");
    SAYS(roulette_publish_wait(client, "t", 1, "x", 1, 0), ROULETTE_EAGAIN, "the queue is full");
    SAYS(roulette_topic_publish(topic, "x", 1), ROULETTE_EAGAIN, "the queue is full");
    SAYS(roulette_publish_wait(client, "t", 1, "x", 1, 1), ROULETTE_ETIMEDOUT, "queue_bytes");
    SAYS(roulette_topic_publish_wait(topic, "x", 1, 1), ROULETTE_ETIMEDOUT, "queue_bytes");
    SAYS(roulette_publish_reply(client, "t", 1, "r", 1, "x", 1, 1), ROULETTE_ETIMEDOUT,
         "queue_bytes");
    SAYS(roulette_flush(client, 1, NULL, 0), ROULETTE_ETIMEDOUT, "is not connected");
    SAYS(roulette_close(client, 1, NULL, 0), ROULETTE_ETIMEDOUT, "not confirmed");
    roulette_topic_free(topic);
    roulette_free(client);
}

Test(last_error, cluster_that_is_out_of_reach)
{
    struct roulette_subscription_options wish;
    roulette_subscriber *subscriber;
    roulette_client *client = open_absent(1);
    EVENTUALLY(roulette_publish(client, "t", 1, "x", 1) == ROULETTE_EUNREACHABLE);
    SAYS(roulette_publish(client, "t", 1, "x", 1), ROULETTE_EUNREACHABLE, "127.0.0.1");
    SAYS(roulette_publish_wait(client, "t", 1, "x", 1, -1), ROULETTE_EUNREACHABLE, "127.0.0.1");
    roulette_subscription_options_init(&wish);
    wish.timeout_ms = 10;
    cr_assert_eq(roulette_subscriber_open(client, NULL, &subscriber), 0);
    SAYS(roulette_subscribe_with(subscriber, "t", 1, &wish, NULL), ROULETTE_ETIMEDOUT,
         "is not connected");
    roulette_subscriber_close(subscriber);
    roulette_free(client);
}

Test(last_error, server_that_does_not_answer)
{
    struct stage s;
    set_up(&s);
    cr_assert(nats_server_kill(s.fleet.servers[0], SIGSTOP));
    cr_assert_eq(roulette_publish(s.client, "t", 1, "x", 1), 0);
    SAYS(roulette_flush(s.client, 300, NULL, 0), ROULETTE_ETIMEDOUT, "deadline");
    SAYS(roulette_subscriber_drain(s.subscriber, 10), ROULETTE_ETIMEDOUT, "deadline");
    cr_assert(nats_server_kill(s.fleet.servers[0], SIGCONT));
    tear_down(&s);
}

/* ---- Memory ------------------------------------------------------------------------------- */

static int refuse(void *context, size_t size)
{
    (void)context;
    (void)size;
    return 0;
}

#define SAYS_NO_MEMORY(call)               \
    do {                                   \
        rlt_memory_set_gate(refuse, NULL); \
        SAYS_CODE(call, ROULETTE_ENOMEM);  \
        rlt_memory_set_gate(NULL, NULL);   \
    } while (0)

Test(last_error, memory)
{
    struct stage s;
    roulette_client *client;
    roulette_topic *topic;
    roulette_subscriber *subscriber;
    struct roulette_message message;
    struct roulette_message copy;
    set_up(&s);
    fleet_subscribe(s.subscriber, "t");
    SAYS_NO_MEMORY(roulette_publish(s.client, "t", 1, "x", 1));
    SAYS_NO_MEMORY(roulette_publish_wait(s.client, "t", 1, "x", 1, 1));
    SAYS_NO_MEMORY(roulette_topic_publish(s.topic, "x", 1));
    SAYS_NO_MEMORY(roulette_open(&s.options, &client));
    SAYS_NO_MEMORY(roulette_topic_create(s.client, "t", 1, &topic));
    SAYS_NO_MEMORY(roulette_subscriber_open(s.client, NULL, &subscriber));
    SAYS_NO_MEMORY(roulette_subscribe(s.subscriber, "u", 1, NULL, NULL));
    SAYS_NO_MEMORY(roulette_flush(s.client, 1, NULL, 0));
    fleet_subscribe(s.subscriber, "v");
    cr_assert_eq(roulette_publish(s.client, "v", 1, "x", 1), 0);
    do {
        cr_assert_eq(roulette_receive(s.subscriber, &message, 1, EVENTUALLY_MS), 1);
    } while (message.kind != ROULETTE_KIND_MESSAGE);
    SAYS_NO_MEMORY(roulette_message_copy(&message, &copy));
    roulette_release(s.subscriber, &message, 1);
    tear_down(&s);
}
