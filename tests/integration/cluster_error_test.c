/* SPDX-License-Identifier: MIT */
/**
 * How a program learns why a cluster is not connected: the log, roulette_cluster_error(), and the
 * calls that wait for it.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/test.h"

/* What the log gets at a level. */
struct lines {
    enum roulette_log_level level;
    atomic_int count;
    char first[1024];
};

static void count_lines(void *context, enum roulette_log_level level, const char *text)
{
    struct lines *lines = context;
    if (level == lines->level && strstr(text, "could not connect") != NULL) {
        /* Only the first: the test may be reading it when others come. */
        if (atomic_load_explicit(&lines->count, memory_order_relaxed) == 0) {
            (void)snprintf(lines->first, sizeof(lines->first), "%s", text);
        }
        (void)atomic_fetch_add_explicit(&lines->count, 1, memory_order_release);
    }
}

static struct roulette_options options_of(const char *servers)
{
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = servers;
    options.max_backoff_ms = 20;
    options.max_retry = 1000;
    return options;
}

static uint64_t failures(const roulette_client *client)
{
    return fleet_stats(client, 0).connect_failures;
}

Test(cluster_error, first_failure_of_an_episode_is_a_warning_with_errno_and_address)
{
    struct fleet fleet;
    struct lines lines = {.level = ROULETTE_LOG_WARNING};
    char expected[512];
    fleet_start(&fleet, 1);
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    struct roulette_options options = options_of(fleet.list);
    roulette_client *client;
    options.log = count_lines; /* at the default level */
    options.log_context = &lines;
    cr_assert_eq(roulette_open(&options, &client), 0);
    EVENTUALLY(failures(client) >= 5);
    cr_assert_eq(atomic_load_explicit(&lines.count, memory_order_acquire), 1);
    (void)snprintf(expected, sizeof(expected),
                   "cluster 0 (%s): could not connect: connect() to %s has failed: Connection "
                   "refused",
                   fleet.list, fleet.list);
    cr_assert_eq(strncmp(lines.first, expected, strlen(expected)), 0, "%s", lines.first);

    cr_assert(nats_server_restart(fleet.servers[0]));
    EVENTUALLY(fleet_stats(client, 0).connected == 1);
    uint64_t before = failures(client);
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    EVENTUALLY(failures(client) >= before + 5);
    cr_assert_eq(atomic_load_explicit(&lines.count, memory_order_acquire), 2, "a new episode");
    roulette_free(client);
    fleet_stop(&fleet);
}

Test(cluster_error, text_is_there_while_the_cluster_is_not)
{
    struct fleet fleet;
    char text[1024] = "untouched";
    char start[256];
    fleet_start(&fleet, 1);
    struct roulette_options options = options_of(fleet.list);
    roulette_client *client;
    cr_assert_eq(roulette_open(&options, &client), 0);
    EVENTUALLY(roulette_cluster_error(client, 0, text, sizeof(text)) == 0);
    cr_assert_str_eq(text, "");
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL));
    EVENTUALLY(roulette_cluster_error(client, 0, text, sizeof(text)) == ROULETTE_ECONNECT);
    (void)snprintf(start, sizeof(start), "cluster 0 (%s) is not connected: connect() to ",
                   fleet.list);
    cr_assert_eq(strncmp(text, start, strlen(start)), 0, "%s", text);
    cr_assert_eq(roulette_cluster_error(client, 0, text, 12), ROULETTE_ECONNECT);
    cr_assert_str_eq(text, "cluster 0 (");
    cr_assert_eq(roulette_cluster_error(client, 0, NULL, 0), ROULETTE_ECONNECT);
    cr_assert_eq(roulette_cluster_error(client, 0, NULL, 1), ROULETTE_EINVAL);
    cr_assert_eq(roulette_cluster_error(client, 1, text, sizeof(text)), ROULETTE_EINVAL);
    cr_assert_eq(roulette_cluster_error(NULL, 0, text, sizeof(text)), ROULETTE_EINVAL);
    cr_assert(nats_server_restart(fleet.servers[0]));
    EVENTUALLY(roulette_cluster_error(client, 0, text, sizeof(text)) == 0);
    cr_assert_str_eq(text, "");
    roulette_free(client);
    fleet_stop(&fleet);
}

/* ---- Calls -------------------------------------------------------------------------------- */

/* This thread's last failure names the second cluster, and why it is away. */
static void require_told(const char *away)
{
    char cluster[64];
    (void)snprintf(cluster, sizeof(cluster), "cluster 1 (%s)", away);
    cr_assert(strstr(roulette_last_error(), cluster) != NULL, "%s", roulette_last_error());
    cr_assert(strstr(roulette_last_error(), "Connection refused") != NULL, "%s",
              roulette_last_error());
}

Test(cluster_error, each_call_that_waits_in_vain_names_the_cluster_and_the_reason)
{
    struct fleet fleet;
    char away[32];
    char servers[256];
    char topic[32];
    fleet_start(&fleet, 1);
    (void)snprintf(away, sizeof(away), "127.0.0.1:%u", net_hold_port());
    (void)snprintf(servers, sizeof(servers), "%s,%s", fleet.list, away);
    struct roulette_options options = options_of(servers);
    roulette_client *client;
    roulette_subscriber *subscriber;
    struct roulette_subscription_options how;
    struct roulette_ledger ledger;
    roulette_subscription_options_init(&how);
    how.timeout_ms = 100;
    options.max_retry = 2;
    cr_assert_eq(roulette_open(&options, &client), 0);
    (void)fleet_topic(client, 1, "t", 0, topic, sizeof(topic));
    cr_assert_eq(roulette_subscriber_open(client, NULL, &subscriber), 0);
    cr_assert_eq(roulette_subscribe_with(subscriber, topic, ROULETTE_STRLEN, &how, NULL),
                 ROULETTE_ETIMEDOUT);
    require_told(away);
    cr_assert_lt(roulette_flush(client, 2000, NULL, 0), 0);
    require_told(away);
    cr_assert_eq(roulette_flush_cluster(client, 0, EVENTUALLY_MS, &ledger), 0);
    cr_assert_eq(ledger.accepted, 0);
    EVENTUALLY(roulette_flush_cluster(client, 1, 0, NULL) == ROULETTE_EUNREACHABLE);
    require_told(away);
    cr_assert_eq(roulette_publish(client, topic, ROULETTE_STRLEN, "x", 1), ROULETTE_EUNREACHABLE);
    require_told(away);
    roulette_subscriber_close(subscriber);
    roulette_free(client);
    options.max_retry = 1000;
    cr_assert_eq(roulette_open(&options, &client), 0);
    cr_assert_eq(roulette_publish(client, topic, ROULETTE_STRLEN, "x", 1), 0);
    cr_assert_eq(roulette_close(client, 200, NULL, 0), ROULETTE_ETIMEDOUT);
    require_told(away);
    roulette_free(client);
    fleet_stop(&fleet);
}

/* ---- Any thread --------------------------------------------------------------------------- */

struct reading {
    roulette_client *client;
    atomic_bool over;
};

static void *read_on(void *argument)
{
    struct reading *reading = argument;
    char text[1024];
    while (!atomic_load_explicit(&reading->over, memory_order_acquire)) {
        if (roulette_cluster_error(reading->client, 0, text, sizeof(text)) != 0) {
            REQUIRE(strncmp(text, "cluster 0 (", 11) == 0, "%s", text);
        }
    }
    return NULL;
}

Test(cluster_error, any_thread_may_ask_while_attempts_fail)
{
    char address[32];
    struct reading reading = {.client = NULL};
    pthread_t threads[2];
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", net_hold_port());
    struct roulette_options options = options_of(address);
    options.reconnect_interval_ms = 1;
    options.base_backoff_ms = 1;
    options.max_backoff_ms = 1;
    cr_assert_eq(roulette_open(&options, &reading.client), 0);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, read_on, &reading), 0);
    }
    EVENTUALLY(failures(reading.client) >= 100);
    atomic_store_explicit(&reading.over, true, memory_order_release);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    roulette_free(reading.client);
}
