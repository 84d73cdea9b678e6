/* SPDX-License-Identifier: MIT */
/**
 * A subscriber that receives by itself while the event thread sleeps, against real servers: that
 * it does, order, other subscribers, flushes, servers that end, threads that end.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/random.h"
#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/numbered.h"
#include "support/test.h"

enum {
    NOW_AND_THEN_NS = SCALED(500000, 2000000),
    MESSAGES = SCALED(4000, 800),
};

/* ---- A client with one subscriber --------------------------------------------------------- */

struct stage {
    struct fleet fleet;
    struct roulette_options options; /* may be changed before open_stage() */
    roulette_client *client;
    roulette_subscriber *subscriber;
};

static void set_up(struct stage *stage)
{
    fleet_start(&stage->fleet, 1);
    stage->options = fleet_options(&stage->fleet);
}

static void open_stage(struct stage *stage, const char *topic)
{
    stage->client = fleet_open(&stage->options);
    stage->subscriber = fleet_subscriber(stage->client, 0);
    fleet_subscribe(stage->subscriber, topic);
}

static void tear_down(struct stage *stage)
{
    roulette_subscriber_close(stage->subscriber);
    fleet_close(stage->client);
    fleet_stop(&stage->fleet);
}

/* ---- A publisher of its own client -------------------------------------------------------- */

struct publisher {
    struct roulette_options options;
    const char *topic;
    uint64_t count;
    uint64_t pause_ns; /* 0: in fits, with pauses of all lengths */
    pthread_t thread;
};

static void *publish(void *argument)
{
    struct publisher *self = argument;
    struct rlt_random random = {7};
    roulette_client *client = fleet_open(&self->options);
    for (uint64_t i = 0; i < self->count; i++) {
        if (self->pause_ns != 0) {
            rest(self->pause_ns);
        } else if (rlt_random_next(&random) % 4 == 0) {
            rest(rlt_random_next(&random) % 300000);
        }
        numbered_publish(client, self->topic, i);
    }
    fleet_close(client);
    return NULL;
}

static void start(struct publisher *publisher)
{
    REQUIRE(pthread_create(&publisher->thread, NULL, publish, publisher) == 0);
}

/* Receive a message now and then until the subscriber does that by itself. */
static void receive_until_direct(const struct stage *stage, const char *topic)
{
    uint64_t before = fleet_stats(stage->client, 0).direct_receives;
    struct publisher publisher = {stage->options, topic, 20, NOW_AND_THEN_NS, 0};
    start(&publisher);
    for (uint64_t i = 0; i < publisher.count; i++) {
        REQUIRE(numbered_receive(stage->subscriber) == i);
    }
    (void)pthread_join(publisher.thread, NULL);
    REQUIRE(fleet_stats(stage->client, 0).direct_receives > before);
}

/* ---- That it does ------------------------------------------------------------------------- */

Test(direct_receive, event_thread_sleeps_on_while_messages_come_now_and_then)
{
    enum { COUNT = SCALED(1000, 200) };
    struct stage stage;
    set_up(&stage);
    open_stage(&stage, "now.and.then");
    struct publisher publisher = {stage.options, "now.and.then", COUNT, NOW_AND_THEN_NS, 0};
    struct roulette_stats before = fleet_stats(stage.client, 0);
    start(&publisher);
    for (uint64_t i = 0; i < COUNT; i++) {
        REQUIRE(numbered_receive(stage.subscriber) == i);
    }
    (void)pthread_join(publisher.thread, NULL);
    struct roulette_stats after = fleet_stats(stage.client, 0);
    uint64_t direct = after.direct_receives - before.direct_receives;
    uint64_t all = after.receives - before.receives;
    printf("direct: %d messages, %llu receives, %llu of them direct\n", COUNT,
           (unsigned long long)all, (unsigned long long)direct);
    cr_assert_gt(direct, COUNT * 8 / 10);
    cr_assert_geq(all, direct);
    cr_assert_eq(after.received_messages, COUNT);
    cr_assert_eq(after.delivered_messages, COUNT);
    tear_down(&stage);
}

Test(direct_receive, subscriber_receives_from_several_clusters)
{
    enum { CLUSTERS = 3, COUNT = 100 };
    struct fleet fleet;
    fleet_start(&fleet, CLUSTERS);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    struct publisher publishers[CLUSTERS];
    char topics[CLUSTERS][32];
    uint64_t next[CLUSTERS] = {0};
    for (size_t i = 0; i < CLUSTERS; i++) {
        (void)fleet_topic(client, i, "each", 0, topics[i], sizeof(topics[i]));
        fleet_subscribe(subscriber, topics[i]);
        publishers[i] = (struct publisher){options, topics[i], COUNT, NOW_AND_THEN_NS, 0};
        start(&publishers[i]);
    }
    for (int i = 0; i < CLUSTERS * COUNT; i++) {
        struct roulette_message message;
        REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1);
        REQUIRE(numbered_of(&message) == next[message.cluster]++);
        roulette_release(subscriber, &message, 1);
    }
    for (size_t i = 0; i < CLUSTERS; i++) {
        (void)pthread_join(publishers[i].thread, NULL);
        cr_assert_eq(next[i], COUNT);
        cr_assert_gt(fleet_stats(client, i).direct_receives, 0);
    }
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

/* ---- Order -------------------------------------------------------------------------------- */

static void keep_order(uint32_t pool_size, enum roulette_guarantee guarantee)
{
    struct stage stage;
    set_up(&stage);
    stage.options.pool_size = pool_size;
    stage.options.guarantee = guarantee;
    struct rlt_random random = {3};
    open_stage(&stage, "fits");
    struct publisher publisher = {stage.options, "fits", MESSAGES, 0, 0};
    start(&publisher);
    for (uint64_t i = 0; i < MESSAGES; i++) {
        REQUIRE(numbered_receive(stage.subscriber) == i);
        if (rlt_random_next(&random) % 64 == 0) {
            rest(rlt_random_next(&random) % 1000000);
        }
        /* Now and then the event thread has something to do. */
        if (rlt_random_next(&random) % 128 == 0) {
            REQUIRE(roulette_flush(stage.client, EVENTUALLY_MS, NULL, 0) == 0);
        }
    }
    (void)pthread_join(publisher.thread, NULL);
    struct roulette_stats stats = fleet_stats(stage.client, 0);
    printf("direct: %d messages in order, %llu direct receives of %llu\n", MESSAGES,
           (unsigned long long)stats.direct_receives, (unsigned long long)stats.receives);
    cr_assert_gt(stats.direct_receives, 0);
    cr_assert_eq(stats.received_messages, MESSAGES);
    tear_down(&stage);
}

Test(direct_receive, messages_keep_their_order_whoever_receives_them)
{
    keep_order(1, ROULETTE_AT_MOST_ONCE);
}

Test(direct_receive, messages_keep_their_order_over_several_connections)
{
    keep_order(3, ROULETTE_AT_LEAST_ONCE);
}

/* ---- Others ------------------------------------------------------------------------------- */

struct reader {
    roulette_subscriber *subscriber;
    uint64_t count;
    pthread_t thread;
};

static void *read_all(void *argument)
{
    struct reader *self = argument;
    for (uint64_t i = 0; i < self->count; i++) {
        REQUIRE(numbered_receive(self->subscriber) == i);
    }
    return NULL;
}

Test(direct_receive, other_subscribers_come_and_go_and_miss_nothing)
{
    enum { GUESTS = SCALED(100, 20), EACH = 5 };
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    roulette_client *client = fleet_open(&options);
    struct reader host = {fleet_subscriber(client, 0), MESSAGES / 2, 0};
    fleet_subscribe(host.subscriber, "host");
    struct publisher publisher = {options, "host", host.count, NOW_AND_THEN_NS, 0};
    REQUIRE(pthread_create(&host.thread, NULL, read_all, &host) == 0);
    start(&publisher);
    for (int i = 0; i < GUESTS; i++) {
        roulette_subscriber *guest = fleet_subscriber(client, 0);
        fleet_subscribe(guest, "guest");
        for (uint64_t j = 0; j < EACH; j++) {
            numbered_publish(client, "guest", j);
            REQUIRE(numbered_receive(guest) == j);
        }
        roulette_subscriber_close(guest);
        rest(NOW_AND_THEN_NS * 8);
    }
    (void)pthread_join(publisher.thread, NULL);
    (void)pthread_join(host.thread, NULL);
    struct roulette_stats stats = fleet_stats(client, 0);
    printf("direct: %llu direct receives of %llu with %d guests\n",
           (unsigned long long)stats.direct_receives, (unsigned long long)stats.receives, GUESTS);
    cr_assert_gt(stats.direct_receives, 0);
    cr_assert_eq(stats.delivered_messages, host.count + (uint64_t)GUESTS * EACH);
    roulette_subscriber_close(host.subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

static void *wait_for_one(void *argument)
{
    struct roulette_message message;
    (void)roulette_receive(argument, &message, 1, -1);
    return NULL;
}

/* Whether a message that nobody waits for is received. */
static void require_heard(roulette_client *client, roulette_subscriber *subscriber, uint64_t number)
{
    uint64_t before = fleet_stats(client, 0).received_messages;
    numbered_publish(client, "heard", number);
    EVENTUALLY(fleet_stats(client, 0).received_messages > before);
    REQUIRE(numbered_receive(subscriber) == number);
}

Test(direct_receive, thread_that_is_cancelled_while_it_waits_leaves_nobody_deaf)
{
#ifdef TEST_ADDRESS_SANITIZED
    cr_skip_test("AddressSanitizer keeps the stack that a cancelled thread has left poisoned");
#endif
    struct stage stage;
    set_up(&stage);
    open_stage(&stage, "heard");
    for (uint64_t i = 0; i < 5; i++) {
        pthread_t thread;
        receive_until_direct(&stage, "heard");
        cr_assert_eq(pthread_create(&thread, NULL, wait_for_one, stage.subscriber), 0);
        rest(i * 5000000);
        cr_assert_eq(pthread_cancel(thread), 0);
        (void)pthread_join(thread, NULL);
        require_heard(stage.client, stage.subscriber, i);
    }
    tear_down(&stage);
}

Test(direct_receive, close_ends_the_wait)
{
    struct stage stage;
    set_up(&stage);
    open_stage(&stage, "heard");
    receive_until_direct(&stage, "heard");
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, wait_for_one, stage.subscriber), 0);
    rest(20000000);
    cr_assert_eq(roulette_close(stage.client, EVENTUALLY_MS, NULL, 0), 0);
    (void)pthread_join(thread, NULL);
    roulette_subscriber_close(stage.subscriber);
    roulette_free(stage.client);
    fleet_stop(&stage.fleet);
}

/* ---- Processes ---------------------------------------------------------------------------- */

static atomic_int forked = -1;

static void fork_here(int signal_number)
{
    (void)signal_number;
    forked = fork();
}

static void *wait_in_two_processes(void *argument)
{
    struct roulette_message message;
    int result = roulette_receive(argument, &message, 1, -1);
    if (forked == 0) {
        _exit(result == ROULETTE_EFORKED ? 0 : 1);
    }
    REQUIRE(result == 1);
    roulette_release(argument, &message, 1);
    return NULL;
}

Test(direct_receive, signal_handler_may_fork_where_a_subscriber_waits)
{
    struct stage stage;
    set_up(&stage);
    open_stage(&stage, "heard");
    receive_until_direct(&stage, "heard");
    struct sigaction action = {.sa_handler = fork_here};
    cr_assert_eq(sigaction(SIGUSR1, &action, NULL), 0);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, wait_in_two_processes, stage.subscriber), 0);
    rest(20000000);
    cr_assert_eq(pthread_kill(thread, SIGUSR1), 0);
    EVENTUALLY(forked > 0);
    int status = 0;
    cr_assert_eq(waitpid(forked, &status, 0), forked);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
    numbered_publish(stage.client, "heard", 0);
    (void)pthread_join(thread, NULL);
    tear_down(&stage);
}

/* ---- Servers ------------------------------------------------------------------------------ */

static void require_notice(roulette_subscriber *subscriber, enum roulette_kind kind)
{
    struct roulette_message message;
    REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1);
    REQUIRE(message.kind == kind, "kind %d", (int)message.kind);
}

Test(direct_receive, server_that_is_killed_meanwhile_is_told_and_comes_back)
{
    struct stage stage;
    set_up(&stage);
    stage.options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    stage.options.reconnect_interval_ms = 50;
    open_stage(&stage, "heard");
    for (int i = 0; i < 3; i++) {
        receive_until_direct(&stage, "heard");
        cr_assert(nats_server_kill(stage.fleet.servers[0], SIGKILL));
        require_notice(stage.subscriber, ROULETTE_KIND_LOST);
        cr_assert(nats_server_restart(stage.fleet.servers[0]));
        require_notice(stage.subscriber, ROULETTE_KIND_RESTORED);
    }
    tear_down(&stage);
}

#define MESSAGE FAKE_WAIT(5), FAKE_SEND("MSG t 1 8\r\n........\r\n")

/* What is no message is behind one, before one, and by itself. */
Test(direct_receive, operations_of_the_server_are_answered_while_a_subscriber_waits)
{
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(FAKE_SEND("INFO {\"max_payload\":1048576}\r\n"), FAKE_EXPECT("PING\r\n"),
                    FAKE_SEND("PONG\r\n"), FAKE_EXPECT("SUB t 1\r\n"), MESSAGE, MESSAGE, MESSAGE,
                    MESSAGE, MESSAGE, MESSAGE, MESSAGE, MESSAGE, FAKE_WAIT(5),
                    FAKE_SEND("PING\r\n"), FAKE_EXPECT("PONG\r\n"), MESSAGE, FAKE_WAIT(5),
                    FAKE_SEND("MSG t 1 8\r\n........\r\nPING\r\n"), FAKE_EXPECT("PONG\r\n"),
                    FAKE_WAIT(5), FAKE_SEND("PING\r\nMSG t 1 8\r\n........\r\n"),
                    FAKE_EXPECT("PONG\r\n"), MESSAGE, FAKE_SEND("MSG t 1 8\r\n...."), FAKE_WAIT(5),
                    FAKE_SEND("....\r\nMSG t 1 4\r\nlast\r\n")),
    };
    enum { COUNT = 8 + 1 + 1 + 1 + 1 + 1 };
    struct fake_server *server = fake_server_start(scripts, 1);
    cr_assert_not_null(server);
    char list[32];
    (void)snprintf(list, sizeof(list), "127.0.0.1:%u", fake_server_port(server));
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = list;
    roulette_client *client;
    cr_assert_eq(roulette_open(&options, &client), 0);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, NULL), 0);
    struct roulette_message message;
    for (int i = 0; i < COUNT + 1; i++) {
        REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1);
        REQUIRE(message.kind == ROULETTE_KIND_MESSAGE);
        REQUIRE(message.payload_len == (i < COUNT ? 8 : 4), "%d: %u", i, message.payload_len);
        roulette_release(subscriber, &message, 1);
    }
    cr_assert_gt(fleet_stats(client, 0).direct_receives, 0);
    roulette_subscriber_close(subscriber);
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    cr_assert(fake_server_stop(server));
}
