/* SPDX-License-Identifier: MIT */
/**
 * One line that the server does not take, beside a thousand that it takes: the server closes, and
 * what it did not take is found, ended by its name and never sent again.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/log_record.h"
#include "support/net.h"
#include "support/scratch.h"
#include "support/test.h"

enum {
    TOPICS = 1000,
    POISON_LEN = 400,
    RECONNECTS_MAX = 16,
};

static const char config[] = "max_control_line: 256\nping_interval: \"60s\"\n";

static struct scratch scratch;
static struct nats_server *server;
static struct log_record *record;
static char address[32];
static char poison[POISON_LEN + 1];

static void set_up(void)
{
    scratch_create(&scratch);
    server = scratch_server(&scratch, config);
    REQUIRE(server != NULL);
    record = log_record_create();
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", nats_server_port(server));
    memset(poison, 'p', POISON_LEN);
}

static void tear_down(void)
{
    nats_server_stop(server);
    log_record_destroy(record);
    scratch_destroy(&scratch);
}

#define PoisonTest(name) Test(poison, name, .init = set_up, .fini = tear_down)

static struct roulette_options options_with(enum roulette_guarantee guarantee)
{
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = address;
    options.guarantee = guarantee;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    options.base_backoff_ms = 1;
    options.reconnect_interval_ms = 1;
    log_record_attach(record, &options);
    return options;
}

static void good_topic(int index, char topic[32])
{
    (void)snprintf(topic, 32, "good.%d", index);
}

static void require_few_reconnects(const roulette_client *client, const char *what)
{
    struct roulette_stats stats = fleet_stats(client, 0);
    printf("poison: %s: %llu reconnects\n", what, (unsigned long long)stats.disconnects);
    cr_assert_geq(stats.disconnects, 1);
    cr_assert_leq(stats.disconnects, RECONNECTS_MAX);
}

/* A subscriber of its own client counts what arrives of each topic. */
struct listener {
    roulette_client *client;
    roulette_subscriber *subscriber;
    int copies[TOPICS];
};

static void listen_to_all(struct listener *listener)
{
    struct roulette_options options = options_with(ROULETTE_AT_MOST_ONCE);
    memset(listener->copies, 0, sizeof(listener->copies));
    listener->client = fleet_open(&options);
    listener->subscriber = fleet_subscriber(listener->client, 0);
    fleet_subscribe(listener->subscriber, "good.*");
}

static void stop_listening(struct listener *listener)
{
    roulette_subscriber_close(listener->subscriber);
    fleet_close(listener->client);
}

static void count_copies(struct listener *listener)
{
    struct roulette_message message;
    while (roulette_receive(listener->subscriber, &message, 1, 200) == 1) {
        REQUIRE(message.kind == ROULETTE_KIND_MESSAGE && message.payload_len == sizeof(int));
        int index;
        memcpy(&index, message.payload, sizeof(index));
        listener->copies[index]++;
        roulette_release(listener->subscriber, &message, 1);
    }
}

static int missing(const struct listener *listener)
{
    int count = 0;
    for (int i = 0; i < TOPICS; i++) {
        count += listener->copies[i] == 0 ? 1 : 0;
    }
    return count;
}

/* Failed if the server said why it closed; its words are lost with the connection now and then, and
 * then it is in doubt. */
static uint64_t given_up(const roulette_client *client)
{
    struct roulette_ledger ledger = fleet_stats(client, 0).ledger;
    return ledger.failed + ledger.in_doubt;
}

PoisonTest(message_is_found_and_no_other_is_lost)
{
    static struct listener listener;
    char topic[32];
    listen_to_all(&listener);
    struct roulette_options options = options_with(ROULETTE_AT_LEAST_ONCE);
    roulette_client *client = fleet_open(&options);
    /* So that all of them are sent together. */
    REQUIRE(nats_server_kill(server, SIGSTOP));
    for (int i = 0; i < TOPICS; i++) {
        good_topic(i, topic);
        REQUIRE(roulette_publish(client, topic, ROULETTE_STRLEN, &i, sizeof(i)) == 0);
        if (i == TOPICS / 3) {
            REQUIRE(roulette_publish(client, poison, POISON_LEN, "poison", 6) == 0);
        }
    }
    REQUIRE(nats_server_kill(server, SIGCONT));
    EVENTUALLY(fleet_stats(client, 0).ledger.confirmed == TOPICS);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(given_up(client), 1);
    cr_assert_neq(stats.last_error, 0);
    require_few_reconnects(client, "a message among 1000");
    cr_assert_eq(log_record_count(record, "gave up a message for which the server closes"), 1);
    cr_assert_eq(log_record_count(record, "(400 bytes), payload of 6 bytes"), 1);
    count_copies(&listener);
    cr_assert_eq(missing(&listener), 0, "%d", missing(&listener));
    fleet_close(client);
    stop_listening(&listener);
}

PoisonTest(message_alone_is_found)
{
    struct roulette_options options = options_with(ROULETTE_AT_LEAST_ONCE);
    roulette_client *client = fleet_open(&options);
    REQUIRE(roulette_publish(client, poison, POISON_LEN, "poison", 6) == 0);
    EVENTUALLY(given_up(client) == 1);
    require_few_reconnects(client, "a message alone");
    EVENTUALLY(roulette_flush(client, EVENTUALLY_MS, NULL, 0) == 0);
    fleet_close(client);
}

/* Several, in the lanes of several threads: each is found. */
PoisonTest(messages_are_found_one_after_another)
{
    enum { POISONS = 3 };
    char topic[32];
    struct roulette_options options = options_with(ROULETTE_AT_LEAST_ONCE);
    roulette_client *client = fleet_open(&options);
    REQUIRE(nats_server_kill(server, SIGSTOP));
    for (int i = 0; i < TOPICS; i++) {
        good_topic(i, topic);
        REQUIRE(roulette_publish(client, topic, ROULETTE_STRLEN, &i, sizeof(i)) == 0);
        if (i % (TOPICS / POISONS) == 7 && i < TOPICS - 7) {
            REQUIRE(roulette_publish(client, poison, POISON_LEN, "poison", 6) == 0);
        }
    }
    REQUIRE(nats_server_kill(server, SIGCONT));
    EVENTUALLY(fleet_stats(client, 0).ledger.confirmed == TOPICS);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(given_up(client), POISONS);
    cr_assert_leq(stats.disconnects, POISONS * RECONNECTS_MAX);
    fleet_close(client);
}

PoisonTest(subscription_is_found_and_all_others_live)
{
    char topic[32];
    struct roulette_message message;
    struct roulette_options options = options_with(ROULETTE_AT_MOST_ONCE);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    for (int i = 0; i < TOPICS; i++) {
        good_topic(i, topic);
        REQUIRE(roulette_subscribe(subscriber, topic, ROULETTE_STRLEN, NULL, NULL) == 0);
        if (i == TOPICS / 3) {
            REQUIRE(roulette_subscribe(subscriber, poison, POISON_LEN, poison, NULL) == 0);
        }
    }
    bool ended = false;
    while (!ended) {
        REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1);
        ended = message.kind == ROULETTE_KIND_ENDED;
    }
    cr_assert_eq(message.user_data, poison);
    cr_assert(message.error == ROULETTE_ETOPIC || message.error == ROULETTE_ESERVER, "%s",
              roulette_error_name(message.error));
    EVENTUALLY(fleet_server_subscriptions(server) == TOPICS);
    require_few_reconnects(client, "a subscription among 1000");
    cr_assert_eq(log_record_count(record, "ended a subscription for which the server closes"), 1);
    cr_assert_eq(log_record_count(record, "(400 bytes)"), 1);
    for (int i = 0; i < TOPICS; i++) {
        good_topic(i, topic);
        REQUIRE(roulette_publish(client, topic, ROULETTE_STRLEN, &i, sizeof(i)) == 0);
    }
    for (int received = 0; received < TOPICS;) {
        REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1);
        REQUIRE(message.kind != ROULETTE_KIND_ENDED);
        received += message.kind == ROULETTE_KIND_MESSAGE ? 1 : 0;
        roulette_release(subscriber, &message, 1);
    }
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(stats.ledger.in_doubt, 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
}

/* The last one, in a client that works already, and that publishes at least once. */
PoisonTest(late_subscription_is_found_beside_messages)
{
    char topic[32];
    struct roulette_message message;
    struct roulette_options options = options_with(ROULETTE_AT_LEAST_ONCE);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    for (int i = 0; i < TOPICS; i++) {
        good_topic(i, topic);
        REQUIRE(roulette_subscribe(subscriber, topic, ROULETTE_STRLEN, NULL, NULL) == 0);
    }
    REQUIRE(roulette_flush(client, EVENTUALLY_MS, NULL, 0) == 0);
    REQUIRE(roulette_subscribe(subscriber, poison, POISON_LEN, poison, NULL) == 0);
    for (int i = 0; i < TOPICS; i++) {
        REQUIRE(roulette_publish(client, "other", ROULETTE_STRLEN, &i, sizeof(i)) == 0);
    }
    EVENTUALLY(fleet_stats(client, 0).ledger.confirmed == TOPICS);
    bool ended = false;
    while (!ended) {
        REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1);
        ended = message.kind == ROULETTE_KIND_ENDED;
    }
    cr_assert_eq(message.user_data, poison);
    EVENTUALLY(fleet_server_subscriptions(server) == TOPICS);
    require_few_reconnects(client, "a late subscription");
    cr_assert_eq(fleet_stats(client, 0).ledger.failed, 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
}

/* A reload refuses another name than the one of the command line. */
static void configure(char *text, size_t size, int max_payload)
{
    (void)snprintf(text, size, "server_name: roulette-test-%d-%u\nmax_payload: %d\n", (int)getpid(),
                   nats_server_port(server), max_payload);
}

/* A limit that a reload lowers: the server closes and may not say why (RST), but the next one's
 * INFO has the limit. */
PoisonTest(message_above_a_lowered_limit_is_given_up)
{
    static char large[8192];
    char text[128];
    configure(text, sizeof(text), 16384);
    scratch_restart(&scratch, server, text);
    struct roulette_options options = options_with(ROULETTE_AT_LEAST_ONCE);
    roulette_client *client = fleet_open(&options);
    configure(text, sizeof(text), 1024);
    scratch_write(&scratch, "server.conf", text);
    REQUIRE(nats_server_kill(server, SIGHUP));
    uint64_t small = 0;
    while (fleet_stats(client, 0).disconnects == 0) {
        REQUIRE(small < 1000);
        REQUIRE(roulette_publish_wait(client, "t", 1, large, sizeof(large), EVENTUALLY_MS) == 0 ||
                fleet_stats(client, 0).disconnects != 0);
        REQUIRE(roulette_publish(client, "t", 1, "x", 1) == 0);
        small++;
        (void)roulette_flush(client, EVENTUALLY_MS, NULL, 0);
    }
    EVENTUALLY(roulette_flush(client, EVENTUALLY_MS, NULL, 0) == 0);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(fleet_difference(&stats.ledger), 0);
    cr_assert_leq(stats.disconnects, RECONNECTS_MAX);
    /* One large one was refused; a second one may have been queued before that was counted. */
    cr_assert_leq(stats.ledger.failed + stats.ledger.in_doubt, 2);
    cr_assert_geq(stats.ledger.confirmed, small);
    fleet_close(client);
}
