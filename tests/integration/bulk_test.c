/* SPDX-License-Identifier: MIT */
/**
 * Many subscriptions at once, some of which the server refuses: exactly those end, each for its
 * reason, and the others miss no message meanwhile.
 */
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/scratch.h"
#include "support/test.h"

enum {
    MANY = SCALED(10000, 3000),
    LIMIT = SCALED(4321, 1234),
    EVERY = 100, /* of the topics one may not be subscribed to */
};

static struct scratch scratch;

static void set_up(void)
{
    scratch_create(&scratch);
}

static void tear_down(void)
{
    scratch_destroy(&scratch);
}

#define BulkTest(name) Test(bulk, name, .init = set_up, .fini = tear_down)

/* What became of a topic. */
struct fate {
    int error; /* of its end; 0: it goes on */
    uint32_t messages;
    bool was_lost;
};

struct stage {
    struct nats_server *server;
    roulette_client *client;
    roulette_client *publisher;
    roulette_subscriber *subscriber;
    struct fate fates[MANY];
};

static struct stage stage;

static roulette_client *open_client(uint32_t queue_bytes)
{
    static char servers[64];
    struct roulette_options options;
    roulette_client *client;
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", nats_server_port(stage.server));
    roulette_options_init(&options);
    options.servers = servers;
    options.user = "u";
    options.password = "p";
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    options.queue_bytes = queue_bytes;
    cr_assert_eq(roulette_open(&options, &client), 0, "%s", roulette_last_error());
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    return client;
}

static void set_stage(const char *config)
{
    memset(&stage, 0, sizeof(stage));
    stage.server = scratch_server(&scratch, config);
    stage.client = open_client(1 << 20);
    stage.publisher = open_client(1 << 20);
    stage.subscriber = fleet_subscriber(stage.client, 1 << 16);
}

static void strike(void)
{
    roulette_subscriber_close(stage.subscriber);
    (void)roulette_close(stage.client, 0, NULL, 0);
    (void)roulette_close(stage.publisher, 0, NULL, 0);
    roulette_free(stage.client);
    roulette_free(stage.publisher);
    nats_server_stop(stage.server);
}

/* ---- Topics ------------------------------------------------------------------------------- */

/* Which topics may not be subscribed to, and how the server says so. */
enum kind {
    KIND_PLAIN,
    KIND_NAMED,  /* it names the topic */
    KIND_QUOTED, /* it writes the topic in another way, so that it is none of ours */
};

static enum kind kind_of(int index)
{
    return index % EVERY == 7 ? KIND_NAMED : index % EVERY == 9 ? KIND_QUOTED : KIND_PLAIN;
}

static const char *topic_of(int index)
{
    static const char *const formats[] = {"t.%05d", "no.%05d", "no.\"%05d\""};
    static char topic[32];
    (void)snprintf(topic, sizeof(topic), formats[kind_of(index)], index);
    return topic;
}

static void publish(int index)
{
    cr_assert_eq(roulette_publish(stage.publisher, topic_of(index), ROULETTE_STRLEN, "x", 1), 0);
}

/* Ask for topics; meanwhile another client publishes to the first one. Returns: how often. */
static uint32_t subscribe_all(int from, int to)
{
    uint32_t published = 0;
    for (int i = from; i < to; i++) {
        int result = roulette_subscribe(stage.subscriber, topic_of(i), ROULETTE_STRLEN,
                                        &stage.fates[i], NULL);
        cr_assert_eq(result, 0, "%s", roulette_last_error());
        if (from != 0 && i % 10 == 0) {
            publish(0);
            published++;
        }
    }
    return published;
}

static void take(const struct roulette_message *message)
{
    struct fate *fate = message->user_data;
    cr_assert_eq(fate->error, 0);
    switch (message->kind) {
    case ROULETTE_KIND_MESSAGE:
        fate->messages++;
        break;
    case ROULETTE_KIND_ENDED:
        fate->error = message->error;
        break;
    case ROULETTE_KIND_LOST:
        fate->was_lost = true;
        break;
    default:
        cr_assert_eq(message->kind, ROULETTE_KIND_RESTORED);
    }
}

/* Receive all that has come when both clients have flushed. */
static void receive_all(void)
{
    struct roulette_message messages[64];
    int count;
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(roulette_flush(stage.publisher, EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, NULL, 0), 0);
    while ((count = roulette_receive(stage.subscriber, messages, 64, 0)) > 0) {
        for (int i = 0; i < count; i++) {
            take(&messages[i]);
        }
        roulette_release(stage.subscriber, messages, (size_t)count);
    }
    cr_assert_eq(count, 0);
}

/* Each topic that has not ended gets one message. */
static void require_live(int count, uint32_t to_first)
{
    long live = 0;
    for (int i = 0; i < count; i++) {
        publish(i);
        if (i % 1000 == 0) {
            receive_all();
        }
    }
    receive_all();
    for (int i = 0; i < count; i++) {
        const struct fate *fate = &stage.fates[i];
        uint32_t expected = fate->error != 0 ? 0 : i == 0 ? to_first + 1 : 1;
        cr_assert_eq(fate->messages, expected, "%s: %u, not %u", topic_of(i), fate->messages,
                     expected);
        cr_assert_not(fate->was_lost, "%s", topic_of(i));
        live += fate->error == 0 ? 1 : 0;
    }
    cr_assert_eq(fleet_stats(stage.client, 0).subscriptions, (uint64_t)live);
    cr_assert_eq(fleet_stats(stage.client, 0).disconnects, 0);
    cr_assert_eq(fleet_server_subscriptions(stage.server), live);
}

static void require_fate(int index, int error)
{
    cr_assert_eq(stage.fates[index].error, error, "%s: %s, not %s", topic_of(index),
                 roulette_error_name(stage.fates[index].error), roulette_error_name(error));
}

#define USER "authorization { users: [ { user: u, password: p } ] }\n"
#define NO                                                              \
    "authorization { users: [ { user: u, password: p, permissions: {\n" \
    "  subscribe: { deny: [\"no.>\"] } } } ] }\n"

/* ---- Tests -------------------------------------------------------------------------------- */

BulkTest(subscriptions_beyond_the_limit_end_and_the_others_miss_nothing)
{
    char config[128];
    (void)snprintf(config, sizeof(config), USER "max_subscriptions: %d\n", LIMIT);
    set_stage(config);
    (void)subscribe_all(0, 1);
    receive_all();
    uint32_t published = subscribe_all(1, MANY);
    receive_all();
    for (int i = 0; i < MANY; i++) {
        require_fate(i, i < LIMIT ? 0 : ROULETTE_ESERVER);
    }
    require_live(MANY, published);
    strike();
}

BulkTest(topics_that_are_not_permitted_end_wherever_they_are)
{
    set_stage(NO);
    (void)subscribe_all(0, 1);
    receive_all();
    uint32_t published = subscribe_all(1, MANY);
    receive_all();
    for (int i = 0; i < MANY; i++) {
        require_fate(i, kind_of(i) == KIND_PLAIN ? 0 : ROULETTE_EPERMISSION);
    }
    require_live(MANY, published);
    strike();
}

/* Those that are not permitted do not count for the limit. */
BulkTest(refusals_of_several_kinds_are_told_apart)
{
    char config[256];
    (void)snprintf(config, sizeof(config), NO "max_subscriptions: %d\n", LIMIT);
    set_stage(config);
    (void)subscribe_all(0, 1);
    receive_all();
    uint32_t published = subscribe_all(1, MANY);
    receive_all();
    int live = 0;
    for (int i = 0; i < MANY; i++) {
        bool plain = kind_of(i) == KIND_PLAIN;
        require_fate(i, !plain ? ROULETTE_EPERMISSION : live < LIMIT ? 0 : ROULETTE_ESERVER);
        live += plain ? 1 : 0;
    }
    require_live(MANY, published);
    strike();
}

/* In the middle of it a subscribe that waits tells what became of its own. */
BulkTest(subscribe_that_waits_tells_the_right_result)
{
    char config[128];
    (void)snprintf(config, sizeof(config), USER "max_subscriptions: %d\n", LIMIT);
    set_stage(config);
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.timeout_ms = EVENTUALLY_MS;
    int last = LIMIT - 5;
    (void)subscribe_all(0, last);
    for (int i = last; i < last + 10; i++) {
        options.user_data = &stage.fates[i];
        int result =
            roulette_subscribe_with(stage.subscriber, topic_of(i), ROULETTE_STRLEN, &options, NULL);
        cr_assert_eq(result, i < LIMIT ? 0 : ROULETTE_ESERVER, "%s: %s", topic_of(i),
                     roulette_error_name(result));
    }
    (void)subscribe_all(last + 10, last + 20);
    options.user_data = &stage.fates[last + 20];
    cr_assert_eq(roulette_subscribe_with(stage.subscriber, topic_of(last + 20), ROULETTE_STRLEN,
                                         &options, NULL),
                 ROULETTE_ESERVER);
    strike();
}

/* All come back, and those that the server has no room for any more end. */
BulkTest(permanent_subscriptions_come_back_up_to_a_lowered_limit)
{
    char config[128];
    set_stage(USER);
    (void)subscribe_all(0, MANY);
    receive_all();
    (void)snprintf(config, sizeof(config), USER "max_subscriptions: %d\n", LIMIT);
    scratch_restart(&scratch, stage.server, config);
    EVENTUALLY(fleet_stats(stage.client, 0).connects == 2);
    receive_all();
    int live = 0;
    for (int i = 0; i < MANY; i++) {
        cr_assert(stage.fates[i].was_lost);
        cr_assert(stage.fates[i].error == 0 || stage.fates[i].error == ROULETTE_ESERVER);
        live += stage.fates[i].error == 0 ? 1 : 0;
    }
    cr_assert_eq(live, LIMIT);
    cr_assert_eq(fleet_server_subscriptions(stage.server), LIMIT);
    strike();
}
