/* SPDX-License-Identifier: MIT */
/**
 * max_messages of a member of a queue group, with real servers: what the member does not want the
 * others get.
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/scratch.h"
#include "support/test.h"

enum {
    MEMBERS = 3,
    TOPICS = 97,
    BATCH = 128,
    MESSAGES = SCALED(200000, 20000),
    LIMIT = MESSAGES / 10,
};

/* What was published, by number: how often it was received. */
struct race {
    char servers[MEMBERS][256];
    const char *topic;
    atomic_uchar *seen;
    atomic_long received[MEMBERS];
    atomic_long twice;
    atomic_int ready;
    atomic_int ended; /* members whose limit was reached */
    atomic_bool done;
    _Atomic(uint64_t) excess; /* counted as lost by the members' clients */
    _Atomic(uint64_t) other;  /* dropped for other reasons */
};

struct member {
    struct race *race;
    int index;
    pthread_t thread;
};

static roulette_client *open_client(const char *servers)
{
    struct roulette_options options;
    roulette_client *client;
    roulette_options_init(&options);
    options.servers = servers;
    options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    REQUIRE(roulette_open(&options, &client) == 0, "%s", roulette_last_error());
    return client;
}

static void note(struct race *race, int index, const struct roulette_message *message)
{
    if (message->kind == ROULETTE_KIND_ENDED) {
        REQUIRE(message->error == 0, "%s", roulette_error_name(message->error));
        race->ended++;
    }
    if (message->kind != ROULETTE_KIND_MESSAGE) {
        return;
    }
    uint32_t number;
    memcpy(&number, message->payload, sizeof(number));
    REQUIRE(number < MESSAGES);
    race->twice += atomic_fetch_add(&race->seen[number], 1) != 0 ? 1 : 0;
    race->received[index]++;
}

static void *take_part(void *context)
{
    struct member *member = context;
    struct race *race = member->race;
    roulette_client *client = open_client(race->servers[member->index]);
    roulette_subscriber *subscriber = fleet_subscriber(client, 1 << 19);
    struct roulette_subscription_options how;
    roulette_subscription_options_init(&how);
    how.queue_group = "workers";
    how.timeout_ms = EVENTUALLY_MS;
    how.max_messages = member->index == 0 ? LIMIT : 0;
    REQUIRE(roulette_subscribe_with(subscriber, race->topic, ROULETTE_STRLEN, &how, NULL) == 0,
            "%s", roulette_last_error());
    race->ready++;
    struct roulette_message messages[BATCH];
    for (;;) {
        bool last = race->done;
        int count = roulette_receive(subscriber, messages, BATCH, 20);
        REQUIRE(count >= 0, "%s", roulette_error_name(count));
        for (int i = 0; i < count; i++) {
            note(race, member->index, &messages[i]);
        }
        roulette_release(subscriber, messages, (size_t)count);
        if (last && count == 0) {
            break;
        }
    }
    /* What ended by itself is left behind this. */
    REQUIRE(roulette_flush(client, EVENTUALLY_MS, NULL, 0) == 0);
    for (int i = 0; i < roulette_cluster_count(client); i++) {
        struct roulette_stats stats = fleet_stats(client, (size_t)i);
        race->excess += stats.dropped_limit + stats.unknown_sid;
        race->other += stats.dropped_ring_full + stats.dropped_pinned;
    }
    roulette_subscriber_close(subscriber);
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
    return NULL;
}

static void publish_all(struct race *race, const char *servers)
{
    roulette_client *client = open_client(servers);
    bool wildcard = strchr(race->topic, '*') != NULL;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        char topic[32];
        (void)snprintf(topic, sizeof(topic), wildcard ? "jobs.%u" : "jobs", i % TOPICS);
        REQUIRE(roulette_publish_wait(client, topic, ROULETTE_STRLEN, &i, sizeof(i),
                                      EVENTUALLY_MS) == 0);
    }
    REQUIRE(roulette_flush(client, EVENTUALLY_MS, NULL, 0) == 0);
    (void)roulette_close(client, 0, NULL, 0);
    roulette_free(client);
}

static long count_missing(const struct race *race)
{
    long missing = 0;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        missing += race->seen[i] == 0 ? 1 : 0;
    }
    return missing;
}

static long received(const struct race *race)
{
    return race->received[0] + race->received[1] + race->received[2];
}

/* Returns: how many messages nobody got. */
static long run(struct race *race, const char *publisher)
{
    struct member members[MEMBERS];
    race->seen = calloc(MESSAGES, sizeof(*race->seen));
    for (int i = 0; i < MEMBERS; i++) {
        members[i] = (struct member){.race = race, .index = i};
        REQUIRE(pthread_create(&members[i].thread, NULL, take_part, &members[i]) == 0);
    }
    EVENTUALLY(race->ready == MEMBERS);
    publish_all(race, publisher);
    EVENTUALLY(race->ended == 1);
    /* Nothing comes for so long that nothing will: messages cross a cluster in milliseconds. */
    uint64_t quiet_ms = net_now_ms();
    for (long before = received(race); net_now_ms() - quiet_ms < SCALED(300, 2000);) {
        (void)poll(NULL, 0, 10);
        quiet_ms = received(race) != before ? net_now_ms() : quiet_ms;
        before = received(race);
    }
    race->done = true;
    for (int i = 0; i < MEMBERS; i++) {
        (void)pthread_join(members[i].thread, NULL);
    }
    long missing = count_missing(race);
    printf("queue limit: of %d the member took %ld of %d, others %ld and %ld; lost %ld, counted as "
           "in excess %llu\n",
           MESSAGES, (long)race->received[0], LIMIT, (long)race->received[1],
           (long)race->received[2], missing, (unsigned long long)race->excess);
    cr_assert_eq(race->received[0], LIMIT);
    cr_assert_eq(race->twice, 0);
    cr_assert_eq(race->other, 0);
    free(race->seen);
    return missing;
}

static void fill_servers(struct race *race, const char *servers)
{
    for (int i = 0; i < MEMBERS; i++) {
        (void)snprintf(race->servers[i], sizeof(race->servers[i]), "%s", servers);
    }
}

Test(queue_limit, nothing_is_lost_with_one_server)
{
    static const char *const topics[] = {"jobs", "jobs.*"};
    for (int i = 0; i < 2; i++) {
        struct fleet fleet;
        fleet_start(&fleet, 1);
        struct race race = {.topic = topics[i]};
        fill_servers(&race, fleet.list);
        cr_assert_eq(run(&race, fleet.list), 0);
        cr_assert_eq(race.excess, 0);
        fleet_stop(&fleet);
    }
}

Test(queue_limit, nothing_is_lost_with_a_literal_topic_and_two_clusters)
{
    struct fleet fleet;
    fleet_start(&fleet, 2);
    struct race race = {.topic = "jobs"};
    fill_servers(&race, fleet.list);
    cr_assert_eq(run(&race, fleet.list), 0);
    fleet_stop(&fleet);
}

/* Each cluster knows of its own messages only: what is lost is counted, to the last one. */
Test(queue_limit, excess_of_a_wildcard_over_two_clusters_is_counted)
{
    struct fleet fleet;
    fleet_start(&fleet, 2);
    struct race race = {.topic = "jobs.*"};
    fill_servers(&race, fleet.list);
    long lost = run(&race, fleet.list);
    cr_assert_eq(lost, (long)atomic_load(&race.excess));
    fleet_stop(&fleet);
}

/* The messages of one server, the member at another. */
Test(queue_limit, nothing_is_lost_with_a_cluster_of_two_servers)
{
    uint16_t routes = net_hold_port();
    char first[64];
    char second[64];
    char seed[64];
    (void)snprintf(first, sizeof(first), "nats://127.0.0.1:%u", routes);
    (void)snprintf(second, sizeof(second), "nats://127.0.0.1:%u", net_hold_port());
    (void)snprintf(seed, sizeof(seed), "nats://127.0.0.1:%u", routes);
    const char *const a[] = {"--cluster", first, "--cluster_name", "c", NULL};
    const char *const b[] = {"--cluster", second, "--cluster_name", "c", "--routes", seed, NULL};
    struct nats_server *servers[2] = {nats_server_start(a), nats_server_start(b)};
    cr_assert(servers[0] != NULL && servers[1] != NULL);
    for (;;) {
        json_t *routez = nats_server_json(servers[0], "/routez");
        bool joined = json_integer_value(json_object_get(routez, "num_routes")) >= 1;
        json_decref(routez);
        if (joined) {
            break;
        }
        (void)poll(NULL, 0, 10);
    }
    struct race race = {.topic = "jobs.*"};
    for (int i = 0; i < MEMBERS; i++) {
        (void)snprintf(race.servers[i], sizeof(race.servers[i]), "127.0.0.1:%u",
                       nats_server_port(servers[i % 2]));
    }
    char publisher[64];
    (void)snprintf(publisher, sizeof(publisher), "127.0.0.1:%u", nats_server_port(servers[1]));
    cr_assert_eq(run(&race, publisher), 0);
    nats_server_stop(servers[0]);
    nats_server_stop(servers[1]);
}

/* The limit is one of the subscription, whatever happens to its connections. */
Test(queue_limit, limit_outlives_a_server)
{
    enum { LEFT = 10, HALF = LEFT / 2 };
    struct fleet fleet;
    fleet_start(&fleet, 1);
    roulette_client *client = open_client(fleet.list);
    roulette_subscriber *limited = fleet_subscriber(client, 0);
    roulette_subscriber *rest = fleet_subscriber(client, 0);
    struct roulette_subscription_options how;
    roulette_subscription_options_init(&how);
    how.queue_group = "workers";
    how.timeout_ms = EVENTUALLY_MS;
    how.max_messages = LEFT;
    cr_assert_eq(roulette_subscribe_with(limited, "jobs", 4, &how, NULL), 0);
    struct roulette_message message;
    int counts[ROULETTE_KIND_REFUSED + 1] = {0};
    for (int i = 0; i < HALF; i++) {
        cr_assert_eq(roulette_publish(client, "jobs", 4, "x", 1), 0);
        cr_assert_eq(roulette_receive(limited, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        roulette_release(limited, &message, 1);
    }
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    cr_assert(nats_server_restart(fleet.servers[0]));
    do {
        cr_assert_eq(roulette_receive(limited, &message, 1, EVENTUALLY_MS), 1);
    } while (message.kind != ROULETTE_KIND_RESTORED);
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    /* The other one joins when the server knows of the limit: it gets what is beyond. */
    how.max_messages = 0;
    cr_assert_eq(roulette_subscribe_with(rest, "jobs", 4, &how, NULL), 0);
    int beyond = 0;
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(roulette_publish(client, "jobs", 4, "x", 1), 0);
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
    while (roulette_receive(rest, &message, 1, 0) == 1) {
        beyond += message.kind == ROULETTE_KIND_MESSAGE ? 1 : 0;
        roulette_release(rest, &message, 1);
    }
    while (roulette_receive(limited, &message, 1, 0) == 1) {
        counts[message.kind]++;
        roulette_release(limited, &message, 1);
    }
    cr_assert_eq(counts[ROULETTE_KIND_MESSAGE], HALF);
    cr_assert_eq(counts[ROULETTE_KIND_ENDED], 1);
    cr_assert_eq(beyond, 1000 - HALF);
    roulette_subscriber_close(limited);
    roulette_subscriber_close(rest);
    fleet_close(client);
    fleet_stop(&fleet);
}
