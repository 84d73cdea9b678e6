/* SPDX-License-Identifier: MIT */
#include "footprint/bulk.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#include "footprint/child.h"
#include "harness/sample.h"
#include "harness/stop.h"
#include "support/nats_server.h"

#define CLIENTS_MAX 4

/* What a client's process took until the server knew all subscriptions. */
struct bulk_cost {
    double seconds;
    double cpu_seconds;
};

/* The first time, and again after a restart. */
enum { BULK_FIRST, BULK_AGAIN, BULK_TIMES };

struct bulk {
    const struct footprint_client *client;
    uint16_t port;
    uint32_t subscriptions;
};

struct bulk_series {
    struct series seconds[BULK_TIMES];
    struct series cpu_seconds[BULK_TIMES];
    bool failed;
};

static double now_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double seconds_of(const struct timeval *time)
{
    return (double)time->tv_sec + (double)time->tv_usec / 1e6;
}

static double cpu_seconds(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime);
}

/* ---- The client's process ----------------------------------------------------------------- */

static void report(int line, double start_seconds, double start_cpu_seconds)
{
    struct bulk_cost cost = {now_seconds() - start_seconds, cpu_seconds() - start_cpu_seconds};
    if (!child_tell(line, &cost, sizeof(cost))) {
        stop("nobody listens to the client");
    }
}

/* When the server greets again. */
static double hear_restart(int line)
{
    double restart_seconds = 0;
    if (!child_hear(line, &restart_seconds, sizeof(restart_seconds))) {
        stop("no word of the server's restart");
    }
    return restart_seconds;
}

static void measure(int line, const void *context)
{
    const struct bulk *bulk = context;
    const struct footprint_client *client = bulk->client;
    char topic[FOOTPRINT_TOPIC_LEN + 1];
    void *handle = client->open(&bulk->port, 1, bulk->subscriptions);
    double start = now_seconds();
    double cpu = cpu_seconds();
    for (uint32_t i = 0; i < bulk->subscriptions; i++) {
        footprint_topic(i, topic);
        client->subscribe(handle, i, topic);
    }
    client->confirm(handle);
    report(line, start, cpu);

    cpu = cpu_seconds();
    start = hear_restart(line);
    client->confirm_again(handle);
    report(line, start, cpu);
    (void)hear_restart(line); /* the server has been looked at */
    client->close(handle);
}

/* ---- The server's side -------------------------------------------------------------------- */

static bool knows_all(struct nats_server *server, const struct bulk *bulk)
{
    json_t *varz = nats_server_json(server, "/varz");
    json_int_t known = json_integer_value(json_object_get(varz, "subscriptions"));
    json_decref(varz);
    if (known < (json_int_t)bulk->subscriptions) {
        fprintf(stderr, "bench: the server knows %lld of %u subscriptions\n", (long long)known,
                bulk->subscriptions);
        return false;
    }
    return true;
}

static bool take_cost(struct child child, struct nats_server *server, const struct bulk *bulk,
                      struct bulk_cost *cost)
{
    return child_hear(child.line, cost, sizeof(*cost)) && knows_all(server, bulk);
}

static bool tell_now(struct child child)
{
    double now = now_seconds();
    return child_tell(child.line, &now, sizeof(now));
}

static bool run_client(struct nats_server *server, const struct bulk *bulk,
                       struct bulk_cost costs[BULK_TIMES])
{
    struct child child = child_start(measure, bulk);
    bool good = take_cost(child, server, bulk, &costs[BULK_FIRST]) &&
                nats_server_kill(server, SIGKILL) && nats_server_restart(server) &&
                tell_now(child) && take_cost(child, server, bulk, &costs[BULK_AGAIN]) &&
                tell_now(child);
    if (!good) {
        (void)kill(child.pid, SIGKILL);
    }
    return child_finish(child) && good;
}

static char *server_version(struct nats_server *server, char *version, size_t size)
{
    json_t *varz = nats_server_json(server, "/varz");
    const char *text = json_string_value(json_object_get(varz, "version"));
    (void)snprintf(version, size, "%s", text != NULL ? text : "?");
    json_decref(varz);
    return version;
}

/* ---- Rounds ------------------------------------------------------------------------------- */

static void run_round(struct bulk *bulk, struct bulk_series *series, char *version, size_t size)
{
    struct bulk_cost costs[BULK_TIMES];
    struct nats_server *server = nats_server_start(NULL);
    if (server == NULL) {
        stop("no nats-server");
    }
    bulk->port = nats_server_port(server);
    server_version(server, version, size);
    if (!run_client(server, bulk, costs)) {
        series->failed = true;
    }
    for (int i = 0; i < BULK_TIMES && !series->failed; i++) {
        series_add(&series->seconds[i], costs[i].seconds);
        series_add(&series->cpu_seconds[i], costs[i].cpu_seconds);
    }
    nats_server_stop(server);
}

static void report_client(const struct bulk *bulk, const struct bulk_series *series,
                          const char *version, struct lines *lines)
{
    if (series->failed) {
        printf("  %-12s failed\n", bulk->client->name);
        return;
    }
    const struct series *seconds = series->seconds;
    const struct series *cpu = series->cpu_seconds;
    printf("  %-12s %9.2f s %9.2f s %9.2f s %9.2f s\n", bulk->client->name,
           series_median(&seconds[BULK_FIRST]), series_median(&cpu[BULK_FIRST]),
           series_median(&seconds[BULK_AGAIN]), series_median(&cpu[BULK_AGAIN]));
    lines_write(lines, json_pack("{s:s, s:s, s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "type",
                                 "footprint", "what", "bulk", "peer", bulk->client->name, "server",
                                 version, "subscriptions", (json_int_t)bulk->subscriptions,
                                 "seconds", lines_series(&seconds[BULK_FIRST]), "cpu_seconds",
                                 lines_series(&cpu[BULK_FIRST]), "again_seconds",
                                 lines_series(&seconds[BULK_AGAIN]), "again_cpu_seconds",
                                 lines_series(&cpu[BULK_AGAIN])));
}

int bulk_run(const struct footprint_client *const *clients, size_t count, uint32_t subscriptions,
             uint32_t rounds, struct lines *lines)
{
    struct bulk_series series[CLIENTS_MAX] = {0};
    struct bulk bulk = {.subscriptions = subscriptions};
    char version[32] = "";
    int failures = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count && i < CLIENTS_MAX; i++) {
            bulk.client = clients[i];
            run_round(&bulk, &series[i], version, sizeof(version));
        }
    }
    printf(
        "\n%u subscriptions, nats-server %s: until it knows all, and again when it was restarted;"
        "\nmedians of %u rounds\n",
        subscriptions, version, rounds);
    printf("  %-12s %11s %11s %11s %11s\n", "", "confirmed", "client CPU", "again", "client CPU");
    for (size_t i = 0; i < count && i < CLIENTS_MAX; i++) {
        bulk.client = clients[i];
        report_client(&bulk, &series[i], version, lines);
        failures += series[i].failed ? 1 : 0;
    }
    (void)fflush(stdout);
    return failures;
}
