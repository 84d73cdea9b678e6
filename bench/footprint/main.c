/* SPDX-License-Identifier: MIT */
/*
 * footprint: the memory of a million subscriptions, how long it takes to make them, and what a
 * client takes that has nothing to do; this library beside the official C client. bench/run builds
 * and starts it.
 *
 * Each client is a process of its own, connected to null servers; for the time to a nats-server.
 * Memory is told twice: the resident set, and what malloc() has given out, which counts memory that
 * was never touched.
 */
#include <getopt.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "footprint/bulk.h"
#include "footprint/child.h"
#include "footprint/footprint.h"
#include "harness/lines.h"
#include "harness/process.h"
#include "harness/server.h"
#include "harness/stop.h"

static const char usage[] =
    "usage: footprint [options]\n"
    "\n"
    "  --quick             200000 subscriptions, and idle for 3 s instead of 10 s\n"
    "  --subscriptions N   1 to 9999999; 1000000\n"
    "  --rounds N          of subscribing in bulk, 1 to 64; 5, quick 1\n"
    "  --only WHAT         memory, bulk or idle\n"
    "  --output FILE       where JSON lines are added; footprint.jsonl\n"
    "  --help              this text\n";

/* Before an idle client is looked at: what opening it has begun is over. */
#define SETTLE_MS 500

struct options {
    double idle_seconds;
    uint32_t subscriptions;
    uint32_t rounds;
    const char *only; /* NULL: all */
    const char *output;
};

static const struct footprint_client *const clients[] = {&footprint_roulette, &footprint_libnats};
#define CLIENT_COUNT (sizeof(clients) / sizeof(clients[0]))

static bool is_wanted(const struct options *options, const char *what)
{
    return options->only == NULL || strcmp(options->only, what) == 0;
}

/* A number from 1 to `max`. False if it is none. */
static bool take_number(const char *text, unsigned long max, uint32_t *number)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *number = (uint32_t)value;
    return *end == '\0' && value >= 1 && value <= max;
}

/* One option. False if it is not good. */
static bool take_option(struct options *options, int option, const char *value)
{
    switch (option) {
    case 'q':
        options->idle_seconds = 3;
        options->subscriptions = 200000;
        options->rounds = 1;
        return true;
    case 's':
        return take_number(value, FOOTPRINT_SUBSCRIPTIONS_MAX, &options->subscriptions);
    case 'r':
        return take_number(value, SAMPLE_ROUNDS_MAX, &options->rounds);
    case 'w':
        options->only = value;
        return strcmp(value, "memory") == 0 || strcmp(value, "bulk") == 0 ||
               strcmp(value, "idle") == 0;
    case 'o':
        options->output = value;
        return true;
    default:
        return false;
    }
}

static void read_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"help", no_argument, NULL, 'h'},
        {"quick", no_argument, NULL, 'q'},
        {"subscriptions", required_argument, NULL, 's'},
        {"rounds", required_argument, NULL, 'r'},
        {"only", required_argument, NULL, 'w'},
        {"output", required_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){10, 1000000, 5, NULL, "footprint.jsonl"};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (!take_option(options, option, optarg)) {
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
}

/* ---- Processes ---------------------------------------------------------------------------- */

/* A client's process: it measures, tells what it found, and ends. */
typedef void measure_fn(const struct footprint_client *client, const uint16_t *ports,
                        const struct options *options, void *result, size_t size);

struct task {
    measure_fn *measure;
    const struct footprint_client *client;
    const uint16_t *ports;
    const struct options *options;
    size_t size;
};

static void run_task(int line, const void *context)
{
    const struct task *task = context;
    char result[256] = {0};
    if (task->size > sizeof(result)) {
        stop("a result that is too large");
    }
    task->measure(task->client, task->ports, task->options, result, task->size);
    if (!child_tell(line, result, task->size)) {
        stop("nobody listens to the client");
    }
}

static struct child start(measure_fn *measure, const struct footprint_client *client,
                          const uint16_t *ports, const struct options *options, size_t size)
{
    struct task task = {measure, client, ports, options, size};
    return child_start(run_task, &task);
}

/* Wait for the end of it. False if it failed; why was printed. */
static bool finish(struct child child, void *result, size_t size)
{
    bool good = child_hear(child.line, result, size);
    return child_finish(child) && good;
}

static struct bench_server *start_server(void)
{
    static const struct workload discard = {
        .kind = WORKLOAD_PUBLISH, .server = SERVER_NULL, .clusters = 1};
    return server_start(&discard, 0);
}

static double now_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- Subscriptions ------------------------------------------------------------------------ */

struct subscriptions_cost {
    struct process_memory each; /* bytes for each subscription, with its topic */
    double left;                /* bytes of heap for each, when all had ended */
    double subscribe_seconds;   /* for all the calls */
    double confirm_seconds;     /* from the first call until the server had processed the last */
    double unsubscribe_seconds; /* likewise */
};

static void subscribe_all(const struct footprint_client *client, void *handle, uint32_t from,
                          uint32_t count)
{
    char topic[FOOTPRINT_TOPIC_LEN + 1];
    for (uint32_t i = from; i < count; i++) {
        footprint_topic(i, topic);
        client->subscribe(handle, i, topic);
    }
}

static void measure_subscriptions(const struct footprint_client *client, const uint16_t *ports,
                                  const struct options *options, void *result, size_t size)
{
    struct subscriptions_cost cost;
    uint32_t count = options->subscriptions + 1;
    void *handle = client->open(ports, 1, count);
    /* The first one brings what there is only once. */
    subscribe_all(client, handle, 0, 1);
    client->confirm(handle);
    struct process_memory before = process_memory();
    double start = now_seconds();
    subscribe_all(client, handle, 1, count);
    cost.subscribe_seconds = now_seconds() - start;
    client->confirm(handle);
    cost.confirm_seconds = now_seconds() - start;
    struct process_memory after = process_memory();
    cost.each.rss = (after.rss - before.rss) / options->subscriptions;
    cost.each.heap = (after.heap - before.heap) / options->subscriptions;
    start = now_seconds();
    for (uint32_t i = 1; i < count; i++) {
        client->unsubscribe(handle, i);
    }
    client->confirm(handle);
    cost.unsubscribe_seconds = now_seconds() - start;
    client->collect(handle);
    cost.left = (process_memory().heap - before.heap) / options->subscriptions;
    client->close(handle);
    memcpy(result, &cost, size);
}

static void report_subscriptions(const struct footprint_client *client,
                                 const struct options *options,
                                 const struct subscriptions_cost *cost, struct lines *lines)
{
    printf("  %-12s %8.0f B %8.0f B %10.0f B %9.2f s %9.2f s %9.2f s %8.1f B\n", client->name,
           cost->each.rss, cost->each.heap, cost->each.heap - FOOTPRINT_TOPIC_LEN,
           cost->subscribe_seconds, cost->confirm_seconds, cost->unsubscribe_seconds, cost->left);
    lines_write(lines,
                json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f}", "type",
                          "footprint", "what", "subscriptions", "peer", client->name,
                          "subscriptions", (json_int_t)options->subscriptions, "topic_bytes",
                          (json_int_t)FOOTPRINT_TOPIC_LEN, "rss_bytes_each", cost->each.rss,
                          "heap_bytes_each", cost->each.heap, "heap_bytes_left_each", cost->left,
                          "subscribe_seconds", cost->subscribe_seconds, "confirm_seconds",
                          cost->confirm_seconds, "unsubscribe_seconds", cost->unsubscribe_seconds));
}

/* Whether the server received a SUB and an UNSUB for each. Their sids have a digit at least. */
static bool is_complete(struct bench_server *server, const struct options *options)
{
    struct server_account account;
    uint64_t line_bytes = sizeof("SUB  1\r\nUNSUB 1\r\n") - 1 + FOOTPRINT_TOPIC_LEN;
    if (server_account(server, &account) &&
        account.received_bytes >= options->subscriptions * line_bytes) {
        return true;
    }
    fprintf(stderr, "bench: the server did not receive all subscriptions\n");
    return false;
}

/* Returns the number of clients that failed. */
static int run_subscriptions(const struct options *options, struct lines *lines)
{
    int failures = 0;
    printf("%u subscriptions to topics of %d B, one server; memory for each, time for all\n",
           options->subscriptions, FOOTPRINT_TOPIC_LEN);
    printf("  %-12s %10s %10s %12s %11s %11s %11s %10s\n", "", "RSS", "heap", "beside topic",
           "subscribe", "confirmed", "unsubscribe", "heap left");
    for (size_t i = 0; i < CLIENT_COUNT; i++) {
        struct subscriptions_cost cost;
        struct bench_server *server = start_server();
        struct child child =
            start(measure_subscriptions, clients[i], server_ports(server), options, sizeof(cost));
        if (finish(child, &cost, sizeof(cost)) && is_complete(server, options)) {
            report_subscriptions(clients[i], options, &cost, lines);
        } else {
            printf("  %-12s failed\n", clients[i]->name);
            failures++;
        }
        (void)fflush(stdout);
        server_stop(server);
    }
    return failures;
}

/* ---- Idle clients ------------------------------------------------------------------------- */

struct idle_cost {
    struct process_memory memory; /* of the open client */
    struct process_activity activity;
    double seconds;
};

static void sleep_seconds(double seconds)
{
    struct timespec time = {.tv_sec = (time_t)seconds};
    time.tv_nsec = (long)((seconds - (double)time.tv_sec) * 1e9);
    (void)nanosleep(&time, NULL);
}

static void measure_idle(const struct footprint_client *client, const uint16_t *ports,
                         const struct options *options, void *result, size_t size)
{
    struct idle_cost cost;
    struct process_memory before = process_memory();
    void *handle = client->open(ports, FOOTPRINT_CLUSTERS_MAX, 0);
    sleep_seconds(SETTLE_MS / 1e3);
    struct process_memory after = process_memory();
    struct process_activity start = process_activity();
    double start_seconds = now_seconds();
    sleep_seconds(options->idle_seconds);
    cost.seconds = now_seconds() - start_seconds;
    cost.activity = process_activity();
    cost.activity.wakeups -= start.wakeups;
    /* Two clocks, read one after the other: nothing may come out as slightly less. */
    cost.activity.cpu_seconds = fmax(cost.activity.cpu_seconds - start.cpu_seconds, 0);
    cost.memory.rss = after.rss - before.rss;
    cost.memory.heap = after.heap - before.heap;
    client->close(handle);
    memcpy(result, &cost, size);
}

static void report_idle(const struct footprint_client *client, const struct idle_cost *cost,
                        struct lines *lines)
{
    double wakeups = (double)cost->activity.wakeups / cost->seconds;
    double cpu_us = cost->activity.cpu_seconds * 1e6 / cost->seconds;
    printf("  %-12s %8u %12.2f %9.1f us %8.2f MB %8.2f MB\n", client->name, cost->activity.threads,
           wakeups, cpu_us, cost->memory.rss / 1e6, cost->memory.heap / 1e6);
    lines_write(lines, json_pack("{s:s, s:s, s:s, s:I, s:f, s:I, s:f, s:f, s:f, s:f}", "type",
                                 "footprint", "what", "idle", "peer", client->name, "clusters",
                                 (json_int_t)FOOTPRINT_CLUSTERS_MAX, "seconds", cost->seconds,
                                 "threads", (json_int_t)cost->activity.threads,
                                 "wakeups_per_second", wakeups, "cpu_us_per_second", cpu_us,
                                 "rss_bytes", cost->memory.rss, "heap_bytes", cost->memory.heap));
}

/* All clients at once: they do nothing. Returns the number of clients that failed. */
static int run_idle(const struct options *options, struct lines *lines)
{
    int failures = 0;
    struct bench_server *servers[CLIENT_COUNT][FOOTPRINT_CLUSTERS_MAX];
    struct child children[CLIENT_COUNT];
    for (size_t i = 0; i < CLIENT_COUNT; i++) {
        uint16_t ports[FOOTPRINT_CLUSTERS_MAX];
        for (size_t j = 0; j < FOOTPRINT_CLUSTERS_MAX; j++) {
            servers[i][j] = start_server();
            ports[j] = server_ports(servers[i][j])[0];
        }
        children[i] = start(measure_idle, clients[i], ports, options, sizeof(struct idle_cost));
    }
    printf("\nidle for %.0f s, connected to %d servers, a PING every %d s\n", options->idle_seconds,
           FOOTPRINT_CLUSTERS_MAX, FOOTPRINT_PING_MS / 1000);
    printf("  %-12s %8s %12s %12s %11s %11s\n", "", "threads", "wake-ups/s", "CPU/s", "RSS",
           "heap");
    for (size_t i = 0; i < CLIENT_COUNT; i++) {
        struct idle_cost cost;
        if (finish(children[i], &cost, sizeof(cost))) {
            report_idle(clients[i], &cost, lines);
        } else {
            printf("  %-12s failed\n", clients[i]->name);
            failures++;
        }
        for (size_t j = 0; j < FOOTPRINT_CLUSTERS_MAX; j++) {
            server_stop(servers[i][j]);
        }
    }
    return failures;
}

int main(int argc, char **argv)
{
    struct options options;
    struct machine machine;
    read_options(argc, argv, &options);
    machine_describe(&machine);
    struct lines *lines = lines_open(options.output, LINES_APPEND, &machine);
    int failures = 0;
    if (is_wanted(&options, "memory")) {
        failures += run_subscriptions(&options, lines);
    }
    if (is_wanted(&options, "bulk")) {
        failures += bulk_run(clients, CLIENT_COUNT, options.subscriptions, options.rounds, lines);
    }
    if (is_wanted(&options, "idle")) {
        failures += run_idle(&options, lines);
    }
    lines_close(lines);
    return failures == 0 ? 0 : 1;
}
