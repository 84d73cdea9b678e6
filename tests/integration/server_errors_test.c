/* SPDX-License-Identifier: MIT */
/**
 * What a server says with -ERR: what ends the connection, what ends one subscription, and what is
 * only reported. Nothing makes the client give up for good.
 */
#include <assert.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/log_record.h"
#include "support/scratch.h"
#include "support/test.h"

#define INFO      "INFO {\"server_id\":\"x\",\"headers\":true,\"max_payload\":1048576}\r\n"
#define GREETING  FAKE_SEND(INFO), FAKE_EXPECT("PING\r\n")
#define HANDSHAKE GREETING, FAKE_SEND("PONG\r\n")
#define ANSWER    FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n")

enum { STEPS_MAX = 10 };

static struct scratch scratch;
static struct log_record *record;

static void set_up(void)
{
    scratch_create(&scratch);
    record = log_record_create();
}

static void tear_down(void)
{
    log_record_destroy(record);
    scratch_destroy(&scratch);
}

#define ErrorTest(...) Test(__VA_ARGS__, .init = set_up, .fini = tear_down)

/* ---- Clients ------------------------------------------------------------------------------ */

static struct roulette_options error_options(uint16_t port)
{
    static char servers[64];
    struct roulette_options options;
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", port);
    roulette_options_init(&options);
    options.servers = servers;
    options.reconnect_interval_ms = 1;
    options.max_backoff_ms = 20;
    options.max_retry = 1000;
    options.queue_bytes = (size_t)1 << 20;
    log_record_clear(record);
    log_record_attach(record, &options);
    return options;
}

static roulette_client *open_client(const struct roulette_options *options)
{
    roulette_client *client;
    cr_assert_eq(roulette_open(options, &client), 0, "%s", roulette_last_error());
    return client;
}

static void close_client(roulette_client *client, roulette_subscriber *subscriber)
{
    roulette_subscriber_close(subscriber);
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
}

static void require_flush(roulette_client *client)
{
    int result = roulette_flush(client, EVENTUALLY_MS, NULL, 0);
    cr_assert_eq(result, 0, "%s", roulette_error_name(result));
}

/* The next entry is of this kind and has this error. */
static void require_next(roulette_subscriber *subscriber, enum roulette_kind kind, int error)
{
    struct roulette_message message;
    cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, kind, "kind %d, %s", (int)message.kind,
                 roulette_error_name(message.error));
    if (kind != ROULETTE_KIND_MESSAGE) {
        cr_assert_eq(message.error, error, "%s", roulette_error_name(message.error));
    }
    roulette_release(subscriber, &message, 1);
}

/* ---- The table ---------------------------------------------------------------------------- */

enum reaction {
    REPORTED,  /* nothing ends */
    SUB_ENDS,  /* the subscription to "t" ends, the connection stays */
    CONN_ENDS, /* the connection ends, and the client makes another one */
};

struct row {
    const char *text;
    enum reaction reaction;
    int error;
};

/* nats-server 2.9 and 2.10: all calls of sendErr(), as clients get them. */
static const struct row rows[] = {
    {"Permissions Violation for Publish to \"x\"", REPORTED, ROULETTE_EPERMISSION},
    {"Permissions Violation for Publish with Reply of \"r\"", REPORTED, ROULETTE_EPERMISSION},
    {"Permissions Violation for Subscription to \"t\"", SUB_ENDS, ROULETTE_EPERMISSION},
    {"Permissions Violation for Subscription to \"t\" (sid \"1\")", SUB_ENDS, ROULETTE_EPERMISSION},
    {"Permissions Violation for Subscription to \"t\", too many tokens", SUB_ENDS,
     ROULETTE_EPERMISSION},
    {"permissions violation for subscription to \"t\"", SUB_ENDS, ROULETTE_EPERMISSION},
    /* Of others, or of no one that can be told. */
    {"Permissions Violation for Subscription to \"other\"", REPORTED, ROULETTE_EPERMISSION},
    {"Permissions Violation for Subscription to \"t\" using queue \"q\"", REPORTED,
     ROULETTE_EPERMISSION},
    {"Permissions Violation for Subscription to \"u\\\"v\" (sid \"2\")", REPORTED,
     ROULETTE_EPERMISSION},
    /* They name none that we know: so it is that of the SUB which they answer. */
    {"Permissions Violation for Subscription to \"u\\\"v\"", SUB_ENDS, ROULETTE_EPERMISSION},
    {"Permissions Violation for Subscription to \"u\\\"v\" (sid \"1\")", SUB_ENDS,
     ROULETTE_EPERMISSION},
    {"Invalid Subject", SUB_ENDS, ROULETTE_ETOPIC},
    {"Invalid Publish Subject", REPORTED, ROULETTE_ETOPIC},
    {"maximum subscriptions exceeded", SUB_ENDS, ROULETTE_ESERVER},
    {"Stale Connection", CONN_ENDS, ROULETTE_ESTALE},
    {"Authorization Violation", CONN_ENDS, ROULETTE_EAUTH},
    {"User Authentication Expired", CONN_ENDS, ROULETTE_EAUTH},
    {"User Authentication Revoked", CONN_ENDS, ROULETTE_EAUTH},
    {"Account Authentication Expired", CONN_ENDS, ROULETTE_EAUTH},
    {"Authentication Timeout", CONN_ENDS, ROULETTE_ESERVER},
    {"maximum connections exceeded", CONN_ENDS, ROULETTE_ESERVER},
    {"maximum account active connections exceeded", CONN_ENDS, ROULETTE_ESERVER},
    {"Connection throttling is active. Please try again later.", CONN_ENDS, ROULETTE_ESERVER},
    {"Maximum Payload Violation", CONN_ENDS, ROULETTE_EPAYLOAD},
    {"maximum control line exceeded", CONN_ENDS, ROULETTE_ESERVER},
    {"Unknown Protocol Operation", CONN_ENDS, ROULETTE_ESERVER},
    {"Secure Connection - TLS Required", CONN_ENDS, ROULETTE_ENOTSUP},
    {"invalid client protocol", CONN_ENDS, ROULETTE_ESERVER},
    {"no responders requires headers support", CONN_ENDS, ROULETTE_ESERVER},
    {"Failed Account Registration", CONN_ENDS, ROULETTE_ESERVER},
    {"attempted to connect to route port", CONN_ENDS, ROULETTE_ESERVER},
    {"attempted to connect to leaf node port", CONN_ENDS, ROULETTE_ESERVER},
    {"attempted to connect to gateway port", CONN_ENDS, ROULETTE_ESERVER},
    {"something that no version says yet", REPORTED, ROULETTE_ESERVER},
    {"", REPORTED, ROULETTE_ESERVER},
};

#define ROW_COUNT (sizeof(rows) / sizeof(rows[0]))

/* The line of a row. Static memory. */
static struct fake_step send_row(const struct row *row)
{
    static char line[256];
    int len = snprintf(line, sizeof(line), "-ERR '%s'\r\n", row->text);
    return FAKE_SEND_BYTES(line, (size_t)len);
}

/* What the first connection plays, and what each later one does. */
struct plan {
    struct fake_step steps[STEPS_MAX];
    size_t count;
    struct fake_step good[5];
    struct fake_script scripts[2];
};

static void add_steps(struct plan *plan, const struct fake_step *steps, size_t count)
{
    REQUIRE(plan->count + count <= STEPS_MAX);
    memcpy(plan->steps + plan->count, steps, count * sizeof(*steps));
    plan->count += count;
}

#define ADD(plan, ...)                                         \
    add_steps((plan), (const struct fake_step[]){__VA_ARGS__}, \
              sizeof((const struct fake_step[]){__VA_ARGS__}) / sizeof(struct fake_step))

static struct fake_server *start_server(struct plan *plan)
{
    const struct fake_step good[] = {HANDSHAKE, ANSWER};
    static_assert(sizeof(good) == sizeof(plan->good), "all of them");
    memcpy(plan->good, good, sizeof(good));
    plan->scripts[0] = (struct fake_script){.steps = plan->steps, .count = plan->count};
    plan->scripts[1] = (struct fake_script){.steps = plan->good, .count = 5};
    struct fake_server *server = fake_server_start(plan->scripts, 2);
    cr_assert_not_null(server);
    return server;
}

static void require_logged(const struct row *row)
{
    char text[256];
    /* A line of its own: that of the connection's end has it too. */
    (void)snprintf(text, sizeof(text), "): the server says: %s", row->text);
    EVENTUALLY(log_record_count(record, row->text[0] != '\0' ? text : "): the server says") == 1);
}

/* It tells why a connection ended, and nothing else. */
static void require_last_error(const struct roulette_stats *stats, const struct row *row)
{
    cr_assert_eq(stats->last_error, row->reaction == CONN_ENDS ? row->error : 0, "'%s' gives %s",
                 row->text, roulette_error_name(stats->last_error));
}

/* The server says it to a client that is connected and subscribed. */
static void play_connected(const struct row *row, bool closes)
{
    struct plan plan = {.count = 0};
    ADD(&plan, HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"), send_row(row));
    if (closes) {
        ADD(&plan, FAKE_CLOSE());
    } else if (row->reaction != CONN_ENDS) {
        ADD(&plan, FAKE_SEND("MSG t 1 2\r\nok\r\n"), ANSWER);
    }
    struct fake_server *server = start_server(&plan);
    struct roulette_options options = error_options(fake_server_port(server));
    roulette_client *client = open_client(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 64);
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, NULL), 0);
    if (row->reaction == REPORTED) {
        require_next(subscriber, ROULETTE_KIND_MESSAGE, 0);
    } else {
        require_next(subscriber, ROULETTE_KIND_ENDED, row->error);
    }
    require_logged(row);
    require_flush(client);

    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(stats.server_errors, 1);
    cr_assert_eq(stats.connects, row->reaction == CONN_ENDS ? 2 : 1);
    cr_assert_eq(stats.disconnects, row->reaction == CONN_ENDS ? 1 : 0);
    cr_assert_eq(stats.subscriptions, row->reaction == REPORTED ? 1 : 0);
    cr_assert_eq(stats.connected, 1);
    cr_assert_eq(stats.protocol_errors, 0);
    require_last_error(&stats, row);
    close_client(client, subscriber);
    cr_assert(fake_server_stop(server));
}

/* The server says it where the first PONG should be. */
static void play_in_handshake(const struct row *row, bool closes)
{
    struct plan plan = {.count = 0};
    ADD(&plan, GREETING, send_row(row));
    if (closes) {
        ADD(&plan, FAKE_CLOSE());
    } else if (row->reaction != CONN_ENDS) {
        ADD(&plan, FAKE_SEND("PONG\r\n"), ANSWER);
    }
    struct fake_server *server = start_server(&plan);
    struct roulette_options options = error_options(fake_server_port(server));
    roulette_client *client = open_client(&options);
    require_logged(row);
    require_flush(client);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(stats.server_errors, 1);
    cr_assert_eq(stats.connects, 1);
    cr_assert_eq(stats.connect_failures, row->reaction == CONN_ENDS ? 1 : 0);
    require_last_error(&stats, row);
    close_client(client, NULL);
    cr_assert(fake_server_stop(server));
}

/* The server says it instead of INFO, and closes. */
static void play_instead_of_info(const struct row *row)
{
    struct plan plan = {.count = 0};
    ADD(&plan, send_row(row), FAKE_CLOSE());
    struct fake_server *server = start_server(&plan);
    struct roulette_options options = error_options(fake_server_port(server));
    roulette_client *client = open_client(&options);
    require_logged(row);
    require_flush(client);
    struct roulette_stats stats = fleet_stats(client, 0);
    cr_assert_eq(stats.connects, 1);
    cr_assert_eq(stats.connect_failures, 1);
    if (row->reaction == CONN_ENDS) {
        cr_assert_eq(stats.last_error, row->error);
    }
    close_client(client, NULL);
    cr_assert(fake_server_stop(server));
}

ErrorTest(server_error, ends_what_the_table_says)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        play_connected(&rows[i], false);
    }
}

ErrorTest(server_error, ends_the_same_when_the_server_closes)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        if (rows[i].reaction == CONN_ENDS) {
            play_connected(&rows[i], true);
        }
    }
}

ErrorTest(server_error, in_the_handshake_costs_one_attempt_at_most)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        play_in_handshake(&rows[i], false);
        if (rows[i].reaction == CONN_ENDS) {
            play_in_handshake(&rows[i], true);
        }
    }
}

ErrorTest(server_error, instead_of_info_costs_one_attempt)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        play_instead_of_info(&rows[i]);
    }
}

/* The PONG of a flush came behind it: the line is about no SUB of ours. */
ErrorTest(server_error, confirmed_subscription_is_not_ended_by_a_line_that_names_none)
{
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"), ANSWER,
                    FAKE_SEND("-ERR 'Invalid Subject'\r\n"
                              "-ERR 'maximum subscriptions exceeded'\r\n"
                              "-ERR 'Permissions Violation for Subscription to \"\\\"\"'\r\n"
                              "MSG t 1 2\r\nok\r\n")),
    };
    struct fake_server *server = fake_server_start(scripts, 1);
    cr_assert_not_null(server);
    struct roulette_options options = error_options(fake_server_port(server));
    roulette_client *client = open_client(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 64);
    cr_assert_eq(roulette_subscribe(subscriber, "t", 1, NULL, NULL), 0);
    require_flush(client);
    require_next(subscriber, ROULETTE_KIND_MESSAGE, 0);
    cr_assert_eq(fleet_stats(client, 0).server_errors, 3);
    cr_assert_eq(fleet_stats(client, 0).subscriptions, 1);
    close_client(client, subscriber);
    cr_assert(fake_server_stop(server));
}

/* Three SUBs at once, and one is refused: asked about each, the server tells. */
ErrorTest(server_error, refused_one_of_several_is_known)
{
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nPING\r\n"),
                    FAKE_SEND("-ERR 'Invalid Subject'\r\nPONG\r\n"),
                    FAKE_EXPECT("SUB a 1\r\nPING\r\nSUB b 2\r\nPING\r\nSUB c 3\r\nPING\r\n"),
                    FAKE_SEND("PONG\r\n-ERR 'Invalid Subject'\r\nPONG\r\nPONG\r\n"),
                    FAKE_EXPECT("UNSUB 2\r\n")),
    };
    static const char *const topics[] = {"a", "b", "c"};
    struct roulette_subscription *subscriptions[3];
    struct fake_server *server = fake_server_start(scripts, 1);
    cr_assert_not_null(server);
    struct roulette_options options = error_options(fake_server_port(server));
    roulette_client *client = open_client(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 64);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(roulette_subscribe(subscriber, topics[i], 1, NULL, &subscriptions[i]), 0);
    }
    require_flush(client);
    struct roulette_message message;
    cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_ENDED);
    cr_assert_eq(message.error, ROULETTE_ETOPIC);
    cr_assert_eq(message.subscription, subscriptions[1]);
    cr_assert_eq(roulette_receive(subscriber, &message, 1, 0), 0);
    cr_assert_eq(fleet_stats(client, 0).subscriptions, 2);
    cr_assert(fake_server_wait_received(server, 0, "UNSUB 2\r\n", EVENTUALLY_MS));
    close_client(client, subscriber);
    cr_assert(fake_server_stop(server));
}

/* Other clients give up after the second one. */
ErrorTest(server_error, many_times_the_same_is_survived)
{
    const struct fake_script both[] = {
        FAKE_SCRIPT(GREETING, FAKE_SEND("-ERR 'Authorization Violation'\r\n"), FAKE_CLOSE()),
        FAKE_SCRIPT(HANDSHAKE, ANSWER),
    };
    struct fake_script scripts[21];
    for (size_t i = 0; i < 21; i++) {
        scripts[i] = both[i / 20];
    }
    struct fake_server *server = fake_server_start(scripts, 21);
    cr_assert_not_null(server);
    struct roulette_options options = error_options(fake_server_port(server));
    options.max_retry = 3;
    roulette_client *client = open_client(&options);
    EVENTUALLY(fleet_stats(client, 0).connects == 1);
    require_flush(client);
    cr_assert_eq(fleet_stats(client, 0).connect_failures, 20);
    close_client(client, NULL);
    cr_assert(fake_server_stop(server));
}

/* ---- Permissions -------------------------------------------------------------------------- */

static const char permissions[] =
    "authorization { users: [ { user: u, password: p, permissions: {\n"
    "  publish: { allow: [\"ok.>\"] },\n"
    "  subscribe: { allow: [\"ok.>\", \"jobs workers\"] } } } ] }\n";

struct stage {
    struct nats_server *server;
    roulette_client *client;
    roulette_subscriber *subscriber;
};

static void set_stage(struct stage *stage, const char *config)
{
    stage->server = scratch_server(&scratch, config);
    struct roulette_options options = error_options(nats_server_port(stage->server));
    options.user = "u";
    options.password = "p";
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    stage->client = open_client(&options);
    stage->subscriber = fleet_subscriber(stage->client, 1024);
    require_flush(stage->client);
}

static void strike(struct stage *stage)
{
    close_client(stage->client, stage->subscriber);
    nats_server_stop(stage->server);
}

static int publish(struct stage *stage, const char *topic)
{
    return roulette_publish(stage->client, topic, ROULETTE_STRLEN, "x", 1);
}

/* Subscribe and wait; `group` may be NULL. */
static int subscribe(struct stage *stage, const char *topic, const char *group)
{
    struct roulette_subscription_options options;
    roulette_subscription_options_init(&options);
    options.queue_group = group;
    options.timeout_ms = EVENTUALLY_MS;
    return roulette_subscribe_with(stage->subscriber, topic, ROULETTE_STRLEN, &options, NULL);
}

ErrorTest(server_error, topic_that_may_not_be_published_to_is_told_and_costs_nothing)
{
    struct stage stage;
    set_stage(&stage, permissions);
    cr_assert_eq(subscribe(&stage, "ok.1", NULL), 0);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(publish(&stage, "no.1"), 0);
        cr_assert_eq(publish(&stage, "ok.1"), 0);
    }
    struct roulette_ledger ledger;
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, &ledger, 1), ROULETTE_EPERMISSION);
    cr_assert_not_null(strstr(roulette_last_error(), "cluster 0 (127.0.0.1:"), "%s",
                       roulette_last_error());
    cr_assert_not_null(strstr(roulette_last_error(), "refused 10 messages"), "%s",
                       roulette_last_error());
    cr_assert_not_null(strstr(roulette_last_error(), "Publish to \"no.1\""), "%s",
                       roulette_last_error());
    cr_assert_eq(ledger.accepted, 20);
    cr_assert_eq(ledger.confirmed, 10);
    cr_assert_eq(ledger.denied, 10);
    require_flush(stage.client); /* it is told once */
    for (int i = 0; i < 10; i++) {
        require_next(stage.subscriber, ROULETTE_KIND_MESSAGE, 0);
    }
    struct roulette_stats stats = fleet_stats(stage.client, 0);
    cr_assert_eq(log_record_count(record, "Permissions Violation for Publish to \"no.1\""), 10);
    cr_assert_eq(stats.server_errors, 10);
    cr_assert_eq(stats.disconnects, 0);
    cr_assert_eq(stats.denied_publishes, 10);
    cr_assert_eq(fleet_difference(&stats.ledger), 0);
    strike(&stage);
}

/* One -ERR for each message, whatever the topic, on all servers: so the books are exact. */
ErrorTest(server_error, messages_that_are_refused_are_counted_exactly)
{
    enum { ROUNDS = 4000 };
    struct stage stage;
    char longest[ROULETTE_TOPIC_LEN_MAX];
    memset(longest, 'n', sizeof(longest));
    set_stage(&stage, permissions);
    for (int i = 0; i < ROUNDS; i++) {
        char topic[16];
        (void)snprintf(topic, sizeof(topic), i % 4 == 0 ? "ok.%d" : "no.%d", i);
        cr_assert_eq(
            roulette_publish_wait(stage.client, topic, ROULETTE_STRLEN, "x", 1, EVENTUALLY_MS), 0);
    }
    cr_assert_eq(publish(&stage, "no.\"\x01\xff"), ROULETTE_ETOPIC);
    cr_assert_eq(publish(&stage, "no.\"\xff\\"), 0);
    cr_assert_eq(roulette_publish(stage.client, longest, sizeof(longest), "x", 1), 0);
    cr_assert_eq(roulette_publish_reply(stage.client, "ok.1", 4, "$JS.ACK.1", 9, "x", 1, 0), 0);
    /* Without a flush too. */
    struct roulette_ledger ledger;
    EVENTUALLY((ledger = fleet_stats(stage.client, 0).ledger, fleet_difference(&ledger) == 0));
    cr_assert_eq(ledger.confirmed, ROUNDS / 4);
    cr_assert_eq(ledger.denied, ROUNDS * 3 / 4 + 3);
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, NULL, 0), ROULETTE_EPERMISSION);
    cr_assert_not_null(strstr(roulette_last_error(), "Publish with Reply of \"$JS.ACK.1\""), "%s",
                       roulette_last_error());
    strike(&stage);
}

ErrorTest(server_error, close_tells_of_messages_that_are_refused)
{
    struct roulette_ledger ledger;
    struct stage stage;
    set_stage(&stage, permissions);
    cr_assert_eq(publish(&stage, "no.1"), 0);
    roulette_subscriber_close(stage.subscriber);
    cr_assert_eq(roulette_close(stage.client, EVENTUALLY_MS, &ledger, 1), ROULETTE_EPERMISSION);
    cr_assert_not_null(strstr(roulette_last_error(), "refused 1 message: "), "%s",
                       roulette_last_error());
    cr_assert_eq(ledger.denied, 1);
    cr_assert_eq(ledger.confirmed, 0);
    roulette_free(stage.client);
    nats_server_stop(stage.server);
}

ErrorTest(server_error, topic_that_may_not_be_subscribed_to_is_told)
{
    struct stage stage;
    set_stage(&stage, permissions);
    cr_assert_eq(subscribe(&stage, "no.1", NULL), ROULETTE_EPERMISSION);
    cr_assert_eq(subscribe(&stage, "*", NULL), ROULETTE_EPERMISSION);
    cr_assert_eq(subscribe(&stage, "ok.1", NULL), 0);
    /* It did not stay: the same again is refused by the server, not as subscribed already. */
    cr_assert_eq(subscribe(&stage, "no.1", NULL), ROULETTE_EPERMISSION);

    cr_assert_eq(roulette_subscribe(stage.subscriber, "no.1", ROULETTE_STRLEN, NULL, NULL), 0);
    require_next(stage.subscriber, ROULETTE_KIND_ENDED, ROULETTE_EPERMISSION);
    cr_assert_eq(roulette_subscribe(stage.subscriber, "no.1", ROULETTE_STRLEN, NULL, NULL), 0);
    require_next(stage.subscriber, ROULETTE_KIND_ENDED, ROULETTE_EPERMISSION);

    cr_assert_eq(publish(&stage, "ok.1"), 0);
    require_next(stage.subscriber, ROULETTE_KIND_MESSAGE, 0);
    cr_assert_eq(fleet_stats(stage.client, 0).disconnects, 0);
    cr_assert_eq(fleet_stats(stage.client, 0).subscriptions, 1);
    cr_assert_eq(fleet_server_subscriptions(stage.server), 1);
    strike(&stage);
}

ErrorTest(server_error, queue_group_that_is_not_permitted_is_told)
{
    struct stage stage;
    set_stage(&stage, permissions);
    cr_assert_eq(subscribe(&stage, "jobs", "workers"), 0);
    cr_assert_eq(subscribe(&stage, "jobs", "idlers"), ROULETTE_EPERMISSION);
    cr_assert_eq(subscribe(&stage, "jobs", NULL), ROULETTE_EPERMISSION);
    cr_assert_eq(subscribe(&stage, "no.1", "workers"), ROULETTE_EPERMISSION);
    cr_assert_eq(fleet_server_subscriptions(stage.server), 1);
    cr_assert_eq(fleet_stats(stage.client, 0).disconnects, 0);
    strike(&stage);
}

/* The permission goes while the client is away. */
ErrorTest(server_error, subscription_that_may_not_be_restored_ends)
{
    struct stage stage;
    set_stage(&stage, "authorization { users: [ { user: u, password: p } ] }\n");
    cr_assert_eq(subscribe(&stage, "no.1", NULL), 0);
    cr_assert_eq(subscribe(&stage, "ok.1", NULL), 0);
    scratch_restart(&scratch, stage.server, permissions);
    struct roulette_message message;
    int ended = 0;
    int restored = 0;
    while (ended == 0 || restored < 1) {
        cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
        if (message.kind == ROULETTE_KIND_ENDED) {
            cr_assert_eq(message.error, ROULETTE_EPERMISSION);
            ended++;
        }
        restored += message.kind == ROULETTE_KIND_RESTORED ? 1 : 0;
    }
    require_flush(stage.client);
    cr_assert_eq(publish(&stage, "ok.1"), 0);
    do {
        cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_neq(message.kind, ROULETTE_KIND_ENDED);
    } while (message.kind != ROULETTE_KIND_MESSAGE);
    roulette_release(stage.subscriber, &message, 1);
    cr_assert_eq(fleet_stats(stage.client, 0).disconnects, 1);
    strike(&stage);
}

/* ---- Limits ------------------------------------------------------------------------------- */

static void publish_sized(struct stage *stage, size_t len)
{
    static const char payload[8192];
    cr_assert_eq(roulette_publish(stage->client, "t", 1, payload, len), 0);
}

/* Receive `count` messages of 100 bytes, whatever notices are among them. */
static void require_small(struct stage *stage, int count)
{
    struct roulette_message message;
    while (count > 0) {
        cr_assert_eq(roulette_receive(stage->subscriber, &message, 1, EVENTUALLY_MS), 1);
        if (message.kind == ROULETTE_KIND_MESSAGE) {
            cr_assert_eq(message.payload_len, 100);
            count--;
            roulette_release(stage->subscriber, &message, 1);
        }
    }
}

static void lower_max_payload(enum roulette_guarantee guarantee)
{
    struct stage stage = {.server = scratch_server(&scratch, "max_payload: 8192\n")};
    struct roulette_options options = error_options(nats_server_port(stage.server));
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    options.guarantee = guarantee;
    stage.client = open_client(&options);
    stage.subscriber = fleet_subscriber(stage.client, 1024);
    cr_assert_eq(subscribe(&stage, "t", NULL), 0);
    cr_assert(nats_server_kill(stage.server, SIGKILL));
    EVENTUALLY(fleet_stats(stage.client, 0).connected == 0);
    for (int i = 0; i < 20; i++) {
        publish_sized(&stage, 100);
        publish_sized(&stage, i % 2 == 0 ? 5000 : 1025);
    }
    scratch_write(&scratch, "server.conf", "max_payload: 1024\n");
    cr_assert(nats_server_restart(stage.server));
    require_flush(stage.client);
    require_small(&stage, 20);
    struct roulette_ledger ledger = fleet_stats(stage.client, 0).ledger;
    cr_assert_eq(ledger.confirmed, 20);
    cr_assert_eq(ledger.failed, 20);
    cr_assert_eq(fleet_difference(&ledger), 0);
    cr_assert_eq(fleet_stats(stage.client, 0).server_errors, 0);
    cr_assert_eq(fleet_stats(stage.client, 0).disconnects, 1);
    cr_assert_eq(roulette_publish(stage.client, "t", 1, options.servers, 1025), ROULETTE_EPAYLOAD);

    scratch_restart(&scratch, stage.server, "max_payload: 8192\n");
    EVENTUALLY(fleet_stats(stage.client, 0).connects == 3);
    publish_sized(&stage, 5000);
    require_flush(stage.client);
    cr_assert_eq(fleet_stats(stage.client, 0).ledger.confirmed, 21);
    strike(&stage);
}

ErrorTest(server_error, lowered_max_payload_fails_what_is_too_large_now)
{
    lower_max_payload(ROULETTE_AT_MOST_ONCE);
}

ErrorTest(server_error, lowered_max_payload_is_no_poison_to_at_least_once)
{
    lower_max_payload(ROULETTE_AT_LEAST_ONCE);
}

/* A server that announces more than it takes: what it refuses must not be sent for ever. */
ErrorTest(server_error, refused_payload_is_not_sent_again_at_most_once)
{
    static const char payload[5000];
    const struct fake_script scripts[] = {
        FAKE_SCRIPT(HANDSHAKE, FAKE_EXPECT("PUB t 5000\r\n"),
                    FAKE_SEND("-ERR 'Maximum Payload Violation'\r\n"), FAKE_CLOSE()),
        FAKE_SCRIPT(HANDSHAKE, ANSWER),
    };
    struct fake_server *server = fake_server_start(scripts, 2);
    cr_assert_not_null(server);
    struct roulette_options options = error_options(fake_server_port(server));
    roulette_client *client = open_client(&options);
    cr_assert_eq(roulette_publish(client, "t", 1, payload, sizeof(payload)), 0);
    EVENTUALLY(fleet_stats(client, 0).connects == 2);
    require_flush(client);
    cr_assert_eq(fleet_stats(client, 0).ledger.in_doubt, 1);
    cr_assert_eq(fleet_stats(client, 0).disconnects, 1);
    close_client(client, NULL);
    cr_assert(fake_server_stop(server));
}

/* ---- Too many subscriptions --------------------------------------------------------------- */

enum {
    LIMIT = 40,
    WANTED = 100, /* at once */
};

static const char limited[] = "max_subscriptions: 40\n";

static const char *numbered(int number)
{
    static char topic[16];
    (void)snprintf(topic, sizeof(topic), "t.%03d", number);
    return topic;
}

/* Ask for t.000 and so on, without waiting. */
static void subscribe_all(struct stage *stage, int count, void *user_data)
{
    for (int i = 0; i < count; i++) {
        cr_assert_eq(
            roulette_subscribe(stage->subscriber, numbered(i), ROULETTE_STRLEN, user_data, NULL),
            0);
    }
}

/* Take notices until `count` subscriptions have ended; others must be RESTORED or LOST. */
static void require_refused(struct stage *stage, int count)
{
    struct roulette_message message;
    while (count > 0) {
        cr_assert_eq(roulette_receive(stage->subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_neq(message.kind, ROULETTE_KIND_MESSAGE);
        if (message.kind == ROULETTE_KIND_ENDED) {
            cr_assert_eq(message.error, ROULETTE_ESERVER);
            count--;
        }
    }
}

/* Of t.000 and so on the first LIMIT are live, at the client and at the server. */
static void require_first(struct stage *stage, int count)
{
    struct roulette_message message;
    require_flush(stage->client);
    for (int i = 0; i < count; i++) {
        cr_assert_eq(publish(stage, numbered(i)), 0);
    }
    require_flush(stage->client);
    for (int i = 0; i < LIMIT; i++) {
        do {
            cr_assert_eq(roulette_receive(stage->subscriber, &message, 1, EVENTUALLY_MS), 1);
            cr_assert_neq(message.kind, ROULETTE_KIND_ENDED);
        } while (message.kind != ROULETTE_KIND_MESSAGE);
        cr_assert_eq(memcmp(message.topic, numbered(i), message.topic_len), 0, "%s", numbered(i));
        roulette_release(stage->subscriber, &message, 1);
    }
    cr_assert_eq(roulette_receive(stage->subscriber, &message, 1, 0), 0);
    cr_assert_eq(fleet_stats(stage->client, 0).subscriptions, LIMIT);
    cr_assert_eq(fleet_server_subscriptions(stage->server), LIMIT);
}

ErrorTest(server_error, subscriptions_beyond_the_limit_end_and_no_other_does)
{
    struct stage stage;
    set_stage(&stage, limited);
    subscribe_all(&stage, WANTED, NULL);
    require_refused(&stage, WANTED - LIMIT);
    require_first(&stage, WANTED);
    cr_assert_eq(subscribe(&stage, "one.more", NULL), ROULETTE_ESERVER);
    cr_assert_eq(subscribe(&stage, "one.more", "group"), ROULETTE_ESERVER);
    cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, numbered(7), ROULETTE_STRLEN), 0);
    cr_assert_eq(subscribe(&stage, "one.more", NULL), 0);
    cr_assert_eq(fleet_server_subscriptions(stage.server), LIMIT);
    cr_assert_eq(fleet_stats(stage.client, 0).disconnects, 0);
    strike(&stage);
}

ErrorTest(server_error, subscriptions_beyond_a_lowered_limit_are_not_restored)
{
    struct stage stage;
    set_stage(&stage, "");
    subscribe_all(&stage, WANTED, NULL);
    require_flush(stage.client);
    scratch_restart(&scratch, stage.server, limited);
    require_refused(&stage, WANTED - LIMIT);
    require_first(&stage, WANTED);
    cr_assert_eq(fleet_stats(stage.client, 0).disconnects, 1);
    strike(&stage);
}

/* A text that names the group would end all of them. */
ErrorTest(server_error, member_of_a_queue_group_ends_alone)
{
    struct stage stage;
    roulette_subscriber *members[3];
    struct roulette_subscription_options options;
    set_stage(&stage, "max_subscriptions: 2\n");
    roulette_subscription_options_init(&options);
    options.queue_group = "g";
    for (int i = 0; i < 3; i++) {
        members[i] = fleet_subscriber(stage.client, 64);
        cr_assert_eq(roulette_subscribe_with(members[i], "t", 1, &options, NULL), 0);
    }
    require_flush(stage.client);
    require_next(members[2], ROULETTE_KIND_ENDED, ROULETTE_ESERVER);
    cr_assert_eq(publish(&stage, "t"), 0);
    require_flush(stage.client);
    int received = 0;
    for (int i = 0; i < 3; i++) {
        struct roulette_message message;
        int count = roulette_receive(members[i], &message, 1, 0);
        cr_assert(count == 0 || message.kind == ROULETTE_KIND_MESSAGE);
        received += count;
        roulette_subscriber_close(members[i]);
    }
    cr_assert_eq(received, 1);
    strike(&stage);
}

/* It is on all clusters; one of them has no room for it. */
ErrorTest(server_error, wildcard_that_one_cluster_refuses_is_left_on_all)
{
    struct nats_server *servers[2] = {scratch_server(&scratch, "max_subscriptions: 1\n")};
    servers[1] = nats_server_start(NULL);
    REQUIRE(servers[1] != NULL);
    struct roulette_options options = error_options(0);
    char both[64];
    (void)snprintf(both, sizeof(both), "127.0.0.1:%u,127.0.0.1:%u", nats_server_port(servers[0]),
                   nats_server_port(servers[1]));
    options.servers = both;
    struct stage stage = {.server = servers[0], .client = open_client(&options)};
    stage.subscriber = fleet_subscriber(stage.client, 64);
    cr_assert_eq(subscribe(&stage, "a.*", NULL), 0);
    cr_assert_eq(subscribe(&stage, "b.*", NULL), ROULETTE_ESERVER);
    require_flush(stage.client);
    cr_assert_eq(fleet_server_subscriptions(servers[0]), 1);
    cr_assert_eq(fleet_server_subscriptions(servers[1]), 1);
    nats_server_stop(servers[1]);
    strike(&stage);
}
