/* SPDX-License-Identifier: MIT */
/**
 * One event thread that serves several clusters: direct sends and receives on each of them, a
 * flood on one, one that is away, many, and a thread that cannot be started.
 */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/numbered.h"
#include "support/test.h"

enum {
    CLUSTERS = 3,
    MANY = 64,
    COUNT = SCALED(600, 150), /* messages, over all clusters */
    TRIPS = SCALED(2000, 200),
    NOW_AND_THEN_NS = SCALED(500000, 2000000),
};

/* ---- A client whose clusters share a thread ----------------------------------------------- */

struct stage {
    struct fleet fleet;
    struct roulette_options options;
    roulette_client *client;
    char topics[CLUSTERS][32]; /* one of each cluster */
};

static void open_stage(struct stage *stage)
{
    fleet_start(&stage->fleet, CLUSTERS);
    stage->options = fleet_options(&stage->fleet);
    stage->options.event_threads = 1;
    stage->client = fleet_open(&stage->options);
    for (size_t i = 0; i < CLUSTERS; i++) {
        (void)fleet_topic(stage->client, i, "each", 0, stage->topics[i], sizeof(stage->topics[i]));
    }
}

static void close_stage(struct stage *stage)
{
    fleet_close(stage->client);
    fleet_stop(&stage->fleet);
}

static bool is_event_thread(const char *task)
{
    char path[300];
    char name[32] = "";
    (void)snprintf(path, sizeof(path), "/proc/self/task/%s/comm", task);
    FILE *file = fopen(path, "re");
    if (file != NULL) {
        (void)!fgets(name, sizeof(name), file);
        (void)fclose(file);
    }
    return strncmp(name, "roulette-", 9) == 0;
}

static size_t count_event_threads(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/task");
    REQUIRE(folder != NULL);
    const struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        count += entry->d_name[0] != '.' && is_event_thread(entry->d_name) ? 1 : 0;
    }
    (void)closedir(folder);
    return count;
}

Test(event_threads, one_is_enough_for_all_clusters)
{
    struct stage stage;
    open_stage(&stage);
    cr_assert_eq(count_event_threads(), 1);
    close_stage(&stage);
    cr_assert_eq(count_event_threads(), 0);
}

/* ---- Now and then ------------------------------------------------------------------------- */

Test(event_threads, publisher_sends_by_itself_to_each_cluster_of_a_thread)
{
    struct stage stage;
    struct roulette_stats before[CLUSTERS];
    open_stage(&stage);
    for (size_t i = 0; i < CLUSTERS; i++) {
        before[i] = fleet_stats(stage.client, i);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        rest(NOW_AND_THEN_NS);
        numbered_publish(stage.client, stage.topics[i % CLUSTERS], i);
    }
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, NULL, 0), 0);
    for (size_t i = 0; i < CLUSTERS; i++) {
        struct roulette_stats after = fleet_stats(stage.client, i);
        uint64_t direct = after.direct_sends - before[i].direct_sends;
        uint64_t wakeups = after.wakeups - before[i].wakeups;
        printf("event threads: cluster %zu: %llu direct sends, %llu wake-ups\n", i,
               (unsigned long long)direct, (unsigned long long)wakeups);
        cr_assert_gt(direct, COUNT / CLUSTERS * 8 / 10);
        cr_assert_lt(wakeups, COUNT / CLUSTERS * 2 / 10);
        cr_assert_eq(after.ledger.confirmed, COUNT / CLUSTERS);
    }
    close_stage(&stage);
}

/* Publishes to each cluster in turn, by a client of its own. */
static void *publish_in_turn(void *argument)
{
    struct stage *stage = argument;
    roulette_client *client = fleet_open(&stage->options);
    for (uint64_t i = 0; i < COUNT; i++) {
        rest(NOW_AND_THEN_NS);
        numbered_publish(client, stage->topics[i % CLUSTERS], i);
    }
    fleet_close(client);
    return NULL;
}

Test(event_threads, subscriber_receives_by_itself_from_each_cluster_of_a_thread)
{
    struct stage stage;
    pthread_t thread;
    open_stage(&stage);
    roulette_subscriber *subscriber = fleet_subscriber(stage.client, 0);
    for (size_t i = 0; i < CLUSTERS; i++) {
        fleet_subscribe(subscriber, stage.topics[i]);
    }
    cr_assert_eq(pthread_create(&thread, NULL, publish_in_turn, &stage), 0);
    uint64_t next[CLUSTERS] = {0, 1, 2};
    for (int i = 0; i < COUNT; i++) {
        struct roulette_message message;
        REQUIRE(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS) == 1);
        REQUIRE(numbered_of(&message) == next[message.cluster]);
        next[message.cluster] += CLUSTERS;
        roulette_release(subscriber, &message, 1);
    }
    (void)pthread_join(thread, NULL);
    for (size_t i = 0; i < CLUSTERS; i++) {
        struct roulette_stats stats = fleet_stats(stage.client, i);
        printf("event threads: cluster %zu: %llu direct receives of %llu\n", i,
               (unsigned long long)stats.direct_receives, (unsigned long long)stats.receives);
        cr_assert_gt(stats.direct_receives, COUNT / CLUSTERS / 2);
    }
    roulette_subscriber_close(subscriber);
    close_stage(&stage);
}

/* ---- A flood on one cluster --------------------------------------------------------------- */

struct flood {
    roulette_client *client;
    const char *topic;
    atomic_bool stop;
    uint64_t count;
};

/* As fast as the cluster takes it. */
static void *publish_flood(void *argument)
{
    static const char payload[256];
    struct flood *flood = argument;
    while (!atomic_load(&flood->stop)) {
        int result = roulette_publish_wait(flood->client, flood->topic, ROULETTE_STRLEN, payload,
                                           sizeof(payload), EVENTUALLY_MS);
        REQUIRE(result == 0, "%s", roulette_last_error());
        flood->count++;
    }
    return NULL;
}

static void *receive_flood(void *argument)
{
    struct flood *flood = argument;
    roulette_subscriber *subscriber = fleet_subscriber(flood->client, 0);
    fleet_subscribe(subscriber, flood->topic);
    while (!atomic_load(&flood->stop)) {
        struct roulette_message messages[64];
        int count = roulette_receive(subscriber, messages, 64, 10);
        REQUIRE(count >= 0, "%s", roulette_last_error());
        roulette_release(subscriber, messages, (size_t)count);
        flood->count += (uint64_t)count;
    }
    roulette_subscriber_close(subscriber);
    return NULL;
}

/* The time from a publish to its receive, the longest of some. */
static uint64_t longest_trip_ms(roulette_client *client, const char *topic)
{
    uint64_t longest_ms = 0;
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, topic);
    for (uint64_t i = 0; i < TRIPS; i++) {
        uint64_t start_ms = net_now_ms();
        numbered_publish(client, topic, i);
        REQUIRE(numbered_receive(subscriber) == i);
        uint64_t trip_ms = net_now_ms() - start_ms;
        longest_ms = trip_ms > longest_ms ? trip_ms : longest_ms;
    }
    roulette_subscriber_close(subscriber);
    return longest_ms;
}

Test(event_threads, flood_on_one_cluster_does_not_hold_up_the_others)
{
    struct stage stage;
    pthread_t threads[2];
    open_stage(&stage);
    fleet_close(stage.client);
    stage.options.ping_interval_ms = 100;
    stage.options.max_ping_failure = SCALED(5, 15);
    stage.client = fleet_open(&stage.options);
    struct flood up = {.client = stage.client, .topic = stage.topics[0]};
    struct flood down = up;
    cr_assert_eq(pthread_create(&threads[0], NULL, receive_flood, &down), 0);
    cr_assert_eq(pthread_create(&threads[1], NULL, publish_flood, &up), 0);
    uint64_t longest_ms = longest_trip_ms(stage.client, stage.topics[1]);
    atomic_store(&up.stop, true);
    atomic_store(&down.stop, true);
    (void)pthread_join(threads[0], NULL);
    (void)pthread_join(threads[1], NULL);
    printf("event threads: %llu messages up, %llu down; the longest trip beside: %llu ms\n",
           (unsigned long long)up.count, (unsigned long long)down.count,
           (unsigned long long)longest_ms);
    cr_assert_gt(up.count, 1000);
    cr_assert_lt(longest_ms, SCALED(500, 5000));
    for (size_t i = 1; i < CLUSTERS; i++) {
        cr_assert_eq(fleet_stats(stage.client, i).disconnects, 0, "cluster %zu", i);
    }
    close_stage(&stage);
}

/* ---- A cluster that is away --------------------------------------------------------------- */

Test(event_threads, cluster_that_is_away_leaves_the_others)
{
    struct stage stage;
    struct roulette_ledger ledgers[CLUSTERS];
    open_stage(&stage);
    cr_assert(nats_server_kill(stage.fleet.servers[1], SIGKILL));
    EVENTUALLY(fleet_stats(stage.client, 1).connected == 0);
    for (uint64_t i = 0; i < COUNT; i++) {
        numbered_publish(stage.client, stage.topics[i % CLUSTERS], i);
    }
    uint64_t start_ms = net_now_ms();
    cr_assert_eq(roulette_close(stage.client, 300, ledgers, CLUSTERS), ROULETTE_ETIMEDOUT);
    cr_assert_lt(net_now_ms() - start_ms, SCALED(3000, 20000));
    for (size_t i = 0; i < CLUSTERS; i++) {
        cr_assert_eq(ledgers[i].accepted, COUNT / CLUSTERS);
        cr_assert_eq(fleet_difference(&ledgers[i]), 0);
        cr_assert_eq(ledgers[i].confirmed, i == 1 ? 0 : COUNT / CLUSTERS, "cluster %zu", i);
    }
    roulette_free(stage.client);
    fleet_stop(&stage.fleet);
}

/* ---- Many clusters ------------------------------------------------------------------------ */

static void start_fakes(struct fake_server **servers, const struct fake_script *script, char *list,
                        size_t size, const char *host)
{
    size_t len = 0;
    for (size_t i = 0; i < MANY; i++) {
        servers[i] = fake_server_start(script, 1);
        cr_assert_not_null(servers[i]);
        len += (size_t)snprintf(list + len, size - len, "%s%s:%u", i != 0 ? "," : "", host,
                                fake_server_port(servers[i]));
        cr_assert_lt(len, size);
    }
}

static void serve_many(const char *host)
{
    /* The PINGs of the handshake and of two flushes. */
    const struct fake_script script =
        FAKE_SCRIPT(FAKE_SEND("INFO {\"max_payload\":1048576}\r\n"), FAKE_EXPECT("PING\r\n"),
                    FAKE_SEND("PONG\r\n"), FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n"),
                    FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n"));
    static struct fake_server *servers[MANY];
    static char list[MANY * 32];
    static struct roulette_ledger ledgers[MANY];
    struct roulette_options options;
    char topic[32];
    start_fakes(servers, &script, list, sizeof(list), host);
    roulette_options_init(&options);
    options.servers = list;
    options.event_threads = 1;
    options.queue_bytes = (size_t)1 << 20;
    roulette_client *client = fleet_open(&options);
    for (size_t i = 0; i < MANY; i++) {
        (void)fleet_topic(client, i, "many", 0, topic, sizeof(topic));
        numbered_publish(client, topic, i);
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, ledgers, MANY), 0);
    cr_assert_eq(roulette_close(client, EVENTUALLY_MS, NULL, 0), 0);
    roulette_free(client);
    for (size_t i = 0; i < MANY; i++) {
        cr_assert_eq(ledgers[i].confirmed, 1, "cluster %zu", i);
        cr_assert(fake_server_stop(servers[i]));
    }
}

Test(event_threads, one_serves_sixty_four_clusters)
{
    serve_many("127.0.0.1");
}

Test(event_threads, one_waits_for_the_names_of_sixty_four_clusters)
{
    serve_many("localhost");
}

/* ---- A thread that cannot be started ------------------------------------------------------ */

static size_t count_descriptors(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    REQUIRE(folder != NULL);
    while (readdir(folder) != NULL) {
        count++;
    }
    (void)closedir(folder);
    return count;
}

/* The number that the next descriptor will have. */
static rlim_t next_descriptor(void)
{
    int descriptor = dup(0);
    REQUIRE(descriptor >= 0);
    (void)close(descriptor);
    return (rlim_t)descriptor;
}

/* Each thread needs descriptors before it serves: with fewer and fewer of them, another one is the
 * first that fails. */
Test(event_threads, thread_that_cannot_start_ends_those_before_it)
{
    struct rlimit limit;
    struct roulette_options options;
    unsigned failures = 0;
    roulette_options_init(&options);
    options.servers = "127.0.0.1:1,127.0.0.1:2,127.0.0.1:3,127.0.0.1:4";
    options.event_threads = CLUSTERS;
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    size_t before = count_descriptors();
    rlim_t next = next_descriptor();
    for (rlim_t room = 0; room < 4 * CLUSTERS; room++) {
        struct rlimit low = {.rlim_cur = next + room, .rlim_max = limit.rlim_max};
        roulette_client *client = NULL;
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
        int result = roulette_open(&options, &client);
        cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        cr_assert(result == 0 || result == ROULETTE_ESYSTEM, "%s", roulette_last_error());
        failures += result == 0 ? 0 : 1;
        roulette_free(client);
        cr_assert_eq(count_event_threads(), 0);
        cr_assert_eq(count_descriptors(), before);
    }
    printf("event threads: %u opens failed\n", failures);
    cr_assert_gt(failures, CLUSTERS);
    cr_assert_lt(failures, 4 * CLUSTERS, "none succeeded");
}
