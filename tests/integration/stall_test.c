/* SPDX-License-Identifier: MIT */
/**
 * Peers that fall silent: no error arrives, only an answer is missing. A server that stands still
 * (SIGSTOP), and a load balancer that does, so that not even a new connection is answered.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/test.h"
#include "support/topology.h"

enum {
    PING_MS = 300,
    PINGS = 2,
    /* The promise: the pings, the jitter of a fifth of each interval, and one second. */
    FOUND_MS = PING_MS * PINGS + PING_MS * PINGS / 5 + 1000,
    BUSY_MS = SCALED(200, 2000), /* what a busy machine may add */
    CONNECT_MS = 300,
    SAMPLES = 1 << 18,
    PERIOD_US = 400,
    P99_NS = 100 * 1000,
    /* A burst of other work on the machine does not count. */
    WINDOWS = 5,
    DEAD_SAMPLES = SCALED(10000, 1000),
};

/* A thread that publishes on one topic and takes the time of each call. */
struct publisher {
    roulette_client *client;
    char topic[32];
    atomic_bool *stop;
    pthread_t thread;
    atomic_size_t count; /* of ns */
    uint64_t accepted;
    /* Calls that the scheduler interrupted, mostly for the haproxy or server that the call has
     * woken: how long is the machine's choice, so they are no samples. */
    size_t preempted;
    uint64_t preempted_ns;
    long waits; /* calls in which the thread gave its processor up */
    uint64_t ns[SAMPLES];
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static struct rusage switches(void)
{
    struct rusage usage;
    REQUIRE(getrusage(RUSAGE_THREAD, &usage) == 0);
    return usage;
}

static void publish_one(struct publisher *publisher)
{
    static const char payload[128];
    size_t count = atomic_load(&publisher->count);
    struct rusage before = switches();
    uint64_t start_ns = now_ns();
    int result = roulette_publish(publisher->client, publisher->topic, ROULETTE_STRLEN, payload,
                                  sizeof(payload));
    uint64_t ns = now_ns() - start_ns;
    struct rusage after = switches();
    REQUIRE(result == 0 || result == ROULETTE_EAGAIN, "%s", roulette_error_name(result));
    publisher->accepted += result == 0 ? 1 : 0;
    publisher->waits += after.ru_nvcsw - before.ru_nvcsw;
    if (after.ru_nivcsw != before.ru_nivcsw) {
        publisher->preempted++;
        publisher->preempted_ns += ns;
        return;
    }
    REQUIRE(count < SAMPLES);
    publisher->ns[count] = ns;
    atomic_store(&publisher->count, count + 1);
}

static void *publish(void *argument)
{
    struct publisher *publisher = argument;
    const struct timespec period = {.tv_nsec = PERIOD_US * 1000};
    /* The first call makes the thread's lane. */
    REQUIRE(roulette_publish(publisher->client, publisher->topic, ROULETTE_STRLEN, "", 0) == 0);
    publisher->accepted = 1;
    while (!atomic_load(publisher->stop)) {
        publish_one(publisher);
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &period, NULL);
    }
    return NULL;
}

static void start_publisher(struct publisher *publisher, roulette_client *client, size_t cluster,
                            atomic_bool *stop)
{
    publisher->client = client;
    publisher->stop = stop;
    (void)fleet_topic(client, cluster, "stall", 0, publisher->topic, sizeof(publisher->topic));
    REQUIRE(pthread_create(&publisher->thread, NULL, publish, publisher) == 0);
}

static int by_size(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return a < b ? -1 : a > b;
}

/* Sort `count` samples. Returns: what 99 of 100 stay below. */
static uint64_t sort_times(uint64_t *ns, size_t count)
{
    qsort(ns, count, sizeof(*ns), by_size);
    return ns[count / 100 * 99];
}

/* Of the samples from `first` on, demand what was promised: in the median of the windows. */
static void check_times(struct publisher *publisher, size_t first, const char *text, long waits_max)
{
    (void)waits_max;
    uint64_t p99_ns[WINDOWS];
    uint64_t *ns = publisher->ns + first;
    size_t count = atomic_load(&publisher->count) - first;
    for (size_t i = 0; i < WINDOWS; i++) {
        p99_ns[i] = sort_times(ns + count / WINDOWS * i, count / WINDOWS);
    }
    (void)sort_times(p99_ns, WINDOWS);
    uint64_t all_ns = sort_times(ns, count);
    printf("stall: publish() to %s cluster: %zu calls, p50 %llu ns, p99 %llu ns (of all %llu ns), "
           "longest %llu us; %zu more were preempted, %llu us on average; waits %ld\n",
           text, count, (unsigned long long)ns[count / 2], (unsigned long long)p99_ns[WINDOWS / 2],
           (unsigned long long)all_ns, (unsigned long long)ns[count - 1] / 1000,
           publisher->preempted,
           (unsigned long long)(publisher->preempted_ns / 1000 / (publisher->preempted + 1)),
           publisher->waits);
#ifndef TEST_SANITIZED
    cr_assert_leq(publisher->waits, waits_max);
    cr_assert_lt(p99_ns[WINDOWS / 2], P99_NS);
#endif
}

static struct roulette_options stall_options(const struct topology *topology, const char *name)
{
    struct roulette_options options = topology_options(topology, name);
    options.ping_interval_ms = PING_MS;
    options.max_ping_failure = PINGS;
    options.connection_timeout_ms = CONNECT_MS;
    return options;
}

/* Wait until the loss of a silent connection is found. Returns: after how many milliseconds. */
static uint64_t await_found(roulette_client *client, uint64_t start_ms)
{
    EVENTUALLY(fleet_stats(client, 0).disconnects == 1);
    struct roulette_stats stats = fleet_stats(client, 0);
    uint64_t found_ms = net_now_ms() - start_ms;
    cr_assert_eq(stats.lost_by_ping, 1, "%s", roulette_error_name(stats.last_error));
    cr_assert_leq(found_ms, FOUND_MS + BUSY_MS);
    return found_ms;
}

/* Wait until messages to a cluster are confirmed. */
static void await_flow(roulette_client *client, size_t cluster)
{
    uint64_t confirmed = fleet_stats(client, cluster).ledger.confirmed;
    EVENTUALLY(fleet_stats(client, cluster).ledger.confirmed > confirmed);
}

static void check_close(roulette_client *client, struct publisher publishers[TOPOLOGY_CLUSTERS])
{
    struct roulette_ledger ledgers[TOPOLOGY_CLUSTERS];
    cr_assert_eq(roulette_close(client, 10000, ledgers, TOPOLOGY_CLUSTERS), 0, "%s",
                 roulette_last_error());
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        cr_assert_eq(fleet_difference(&ledgers[i]), 0);
        cr_assert_eq(ledgers[i].accepted, publishers[i].accepted);
        cr_assert_eq(ledgers[i].failed + ledgers[i].discarded, 0);
    }
    cr_assert_eq(ledgers[1].confirmed, ledgers[1].accepted);
    cr_assert_eq(fleet_stats(client, 1).disconnects, 0);
    roulette_free(client);
}

Test(stall, a_server_that_stands_still_is_left)
{
    static struct publisher publishers[TOPOLOGY_CLUSTERS];
    static atomic_bool stop;
    struct topology topology;
    topology_start(&topology);
    struct roulette_options options = stall_options(&topology, "stall");
    roulette_client *client = fleet_open(&options);
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        start_publisher(&publishers[i], client, i, &stop);
        await_flow(client, i);
    }
    int server = topology_server_of(&topology, 0, "stall");
    cr_assert_geq(server, 0);
    uint64_t start_ms = net_now_ms();
    cr_assert(nats_server_kill(topology.clusters[0].servers[server], SIGSTOP));
    uint64_t found_ms = await_found(client, start_ms);
    /* The haproxy's checks find nothing wrong: the kernel accepts connections for the server. An
     * attempt may land on it again, and the next one does not. */
    await_flow(client, 0);
    uint64_t back_ms = net_now_ms() - start_ms;
    printf("stall: a stopped server was found after %llu ms, at most %d; back after %llu ms\n",
           (unsigned long long)found_ms, FOUND_MS, (unsigned long long)back_ms);
    cr_assert(nats_server_kill(topology.clusters[0].servers[server], SIGCONT));
    atomic_store(&stop, true);
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        (void)pthread_join(publishers[i].thread, NULL);
    }
    check_close(client, publishers);
    topology_stop(&topology);
}

Test(stall, publish_never_waits_for_a_dead_cluster)
{
    static struct publisher publishers[TOPOLOGY_CLUSTERS];
    static atomic_bool stop;
    struct topology topology;
    topology_start(&topology);
    struct roulette_options options = stall_options(&topology, "stall");
    /* So small that it is full in no time: a full queue does not block either. */
    options.queue_bytes = 1 << 20;
    roulette_client *client = fleet_open(&options);
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        start_publisher(&publishers[i], client, i, &stop);
        await_flow(client, i);
    }
    /* All of cluster 0 is half open: its address accepts connections, and nothing answers. */
    uint64_t start_ms = net_now_ms();
    process_signal(&topology.clusters[0].haproxy, SIGSTOP);
    size_t first[TOPOLOGY_CLUSTERS] = {atomic_load(&publishers[0].count),
                                       atomic_load(&publishers[1].count)};
    uint64_t found_ms = await_found(client, start_ms);
    EVENTUALLY(fleet_stats(client, 0).connect_failures >= 2);
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        EVENTUALLY(atomic_load(&publishers[i].count) >= first[i] + DEAD_SAMPLES);
    }
    cr_assert_eq(fleet_stats(client, 1).disconnects, 0);
    printf("stall: a half-open connection was found after %llu ms, at most %d\n",
           (unsigned long long)found_ms, FOUND_MS);
    atomic_store(&stop, true);
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        (void)pthread_join(publishers[i].thread, NULL);
    }
    process_signal(&topology.clusters[0].haproxy, SIGCONT);
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    check_close(client, publishers);
    check_times(&publishers[0], first[0], "the dead", 0);
    /* A publisher that sends by itself waits for the lock of its socket if the event thread
     * receives a PONG on it just then (findings/send-waits-for-receive.sh): perf shows
     * tcp_sendmsg() in lock_sock_nested(), and no other wait. */
    check_times(&publishers[1], first[1], "the other", DEAD_SAMPLES / 1000);
    topology_stop(&topology);
}
