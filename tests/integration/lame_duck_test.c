/* SPDX-License-Identifier: MIT */
/**
 * A rolling upgrade: each server in turn becomes a lame duck (SIGUSR2), ends, and is started
 * again. Under load, and with every kind of subscription, nothing is lost, nothing comes twice,
 * order is kept, and no connection is lost; with publishers and subscribers in clients of their
 * own, and in one.
 *
 * Queue groups have topics of their own: when the last member on a server leaves, nats-server 2.9
 * sends what is on its way to it on to another server, where those who are subscribed to the topic
 * without a group get it once more.
 *
 * RLT_LAME_DUCKS: how many times each server has its turn.
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/load.h"
#include "support/test.h"
#include "support/topology.h"

enum { PUBLISHER, FIRST, SECOND, CLIENTS }; /* or one, which is all of them */
enum { PLAIN, WILDCARD, GROUP, WILDCARD_GROUP, TALLIES };
enum { READERS = 6 };

struct upgrade {
    bool is_one; /* client */
    struct topology topology;
    struct load load;
    roulette_client *clients[CLIENTS];
    struct tally tallies[TALLIES];
    struct tally *list[TALLIES];
    struct load_reader readers[READERS];
};

static const struct {
    int client;
    const char *pattern;
    const char *group;
    int tally;
} plan[READERS] = {
    {FIRST, NULL, NULL, PLAIN},
    {SECOND, "load.*", NULL, WILDCARD},
    {FIRST, NULL, "literal", GROUP},
    {SECOND, NULL, "literal", GROUP},
    {FIRST, "work.>", "wild", WILDCARD_GROUP},
    {SECOND, "work.>", "wild", WILDCARD_GROUP},
};

static long rounds(void)
{
    const char *text = getenv("RLT_LAME_DUCKS");
    return text != NULL ? strtol(text, NULL, 10) : 1;
}

static void open_clients(struct upgrade *upgrade)
{
    static const char *const names[CLIENTS] = {"publisher", "first", "second"};
    for (size_t i = 0; i < CLIENTS; i++) {
        struct roulette_options options = topology_options(&upgrade->topology, names[i]);
        options.pool_size = i == PUBLISHER && !upgrade->is_one ? 2 : 1;
        upgrade->clients[i] =
            i == 0 || !upgrade->is_one ? fleet_open(&options) : upgrade->clients[0];
    }
}

static void start(struct upgrade *upgrade)
{
    topology_start(&upgrade->topology);
    open_clients(upgrade);
    load_init(&upgrade->load, upgrade->clients[PUBLISHER]);
    for (size_t i = 0; i < TALLIES; i++) {
        tally_init(&upgrade->tallies[i], i < GROUP ? LOAD_LOAD : LOAD_WORK);
        upgrade->list[i] = &upgrade->tallies[i];
    }
    for (size_t i = 0; i < READERS; i++) {
        load_reader_start(&upgrade->readers[i], upgrade->clients[plan[i].client], &upgrade->load,
                          plan[i].pattern, plan[i].group, &upgrade->tallies[plan[i].tally]);
    }
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        for (size_t k = 0; k < TOPOLOGY_SERVERS; k++) {
            load_prime(&upgrade->load, &upgrade->topology, i, k, upgrade->list, TALLIES);
        }
    }
    load_start(&upgrade->load);
}

/* In all clusters at once: they know nothing of each other. */
static void replace_servers(struct upgrade *upgrade, size_t server)
{
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        cr_assert(nats_server_kill(upgrade->topology.clusters[i].servers[server], SIGUSR2));
    }
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        topology_restart(&upgrade->topology, i, server);
        /* Until it knows of all subscriptions, a publisher must not be driven to it. */
        load_prime(&upgrade->load, &upgrade->topology, i, server, upgrade->list, TALLIES);
    }
}

/* Close a client. Returns: how many connections it has made. */
static uint64_t close_client(struct upgrade *upgrade, size_t client)
{
    struct roulette_ledger ledgers[TOPOLOGY_CLUSTERS];
    uint64_t connects = 0;
    int result = roulette_close(upgrade->clients[client], 10000, ledgers, TOPOLOGY_CLUSTERS);
    cr_assert_eq(result, 0, "%s", roulette_last_error());
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        struct roulette_stats stats = fleet_stats(upgrade->clients[client], i);
        printf("lame duck: client %zu, cluster %zu: accepted %llu, confirmed %llu, connects %llu, "
               "disconnects %llu, suppressed %llu, dropped %llu; waited %llu, %llu too short, the "
               "longest %.1f ms\n",
               client, i, (unsigned long long)ledgers[i].accepted,
               (unsigned long long)ledgers[i].confirmed, (unsigned long long)stats.connects,
               (unsigned long long)stats.disconnects, (unsigned long long)stats.suppressed,
               (unsigned long long)(stats.dropped_ring_full + stats.dropped_pinned),
               (unsigned long long)stats.held_messages, (unsigned long long)stats.held_early,
               (double)stats.held_ns_max / 1e6);
        cr_assert_eq(stats.disconnects, 0, "client %zu: %s", client,
                     roulette_error_name(stats.last_error));
        cr_assert_eq(ledgers[i].confirmed, ledgers[i].accepted);
        cr_assert_eq(stats.dropped_ring_full + stats.dropped_pinned, 0);
        connects += stats.connects;
    }
    return connects;
}

/* The last messages have come. */
static void await_rest(struct upgrade *upgrade)
{
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        for (size_t k = 0; k < TOPOLOGY_SERVERS; k++) {
            load_prime(&upgrade->load, &upgrade->topology, i, k, upgrade->list, TALLIES);
        }
    }
    /* Copies on the way to the other member of a group: the member's close takes them along. */
    cr_assert_eq(roulette_flush(upgrade->clients[FIRST], EVENTUALLY_MS, NULL, 0), 0);
    cr_assert_eq(roulette_flush(upgrade->clients[SECOND], EVENTUALLY_MS, NULL, 0), 0);
}

/* Returns: how many connections they have made. */
static uint64_t close_clients(struct upgrade *upgrade)
{
    uint64_t connects = 0;
    for (size_t i = 0; i < (upgrade->is_one ? 1 : CLIENTS); i++) {
        connects += close_client(upgrade, i);
    }
    for (size_t i = 0; i < READERS; i++) {
        load_reader_stop(&upgrade->readers[i]);
        cr_assert_eq(atomic_load(&upgrade->readers[i].lost), 0);
    }
    return connects;
}

static void check(struct upgrade *upgrade)
{
    static const char *const names[TALLIES] = {"plain", "wildcard", "group", "wildcard group"};
    for (size_t i = 0; i < TALLIES; i++) {
        printf("lame duck: %s: received %llu, missing %llu, twice %llu\n", names[i],
               (unsigned long long)atomic_load(&upgrade->tallies[i].seen),
               (unsigned long long)tally_missing(&upgrade->tallies[i], upgrade->load.accepted),
               (unsigned long long)atomic_load(&upgrade->tallies[i].repeated));
    }
    for (size_t i = 0; i < READERS; i++) {
        printf("lame duck: reader %zu: %llu out of order\n", i,
               (unsigned long long)atomic_load(&upgrade->readers[i].out_of_order));
    }
    for (size_t i = 0; i < TALLIES; i++) {
        cr_assert_eq(tally_missing(&upgrade->tallies[i], upgrade->load.accepted), 0);
        cr_assert_eq(atomic_load(&upgrade->tallies[i].repeated), 0);
        tally_fini(&upgrade->tallies[i]);
    }
    for (size_t i = 0; i < READERS; i++) {
        /* A server spreads a group's messages over both connections of a member that moves. */
        cr_assert(plan[i].group != NULL || atomic_load(&upgrade->readers[i].out_of_order) == 0);
    }
}

static void run(bool is_one)
{
    static struct upgrade upgrade;
    long turns = rounds();
    memset(&upgrade, 0, sizeof(upgrade));
    upgrade.is_one = is_one;
    start(&upgrade);
    for (long round = 0; round < turns; round++) {
        for (size_t i = 0; i < TOPOLOGY_SERVERS; i++) {
            replace_servers(&upgrade, i);
        }
    }
    uint64_t accepted = load_stop(&upgrade.load);
    await_rest(&upgrade);
    uint64_t connects = close_clients(&upgrade);
    printf("lame duck: %ld rounds, %llu connections: accepted and confirmed %llu\n", turns,
           (unsigned long long)connects, (unsigned long long)accepted);
    check(&upgrade);
    for (size_t i = 0; i < (is_one ? 1 : CLIENTS); i++) {
        roulette_free(upgrade.clients[i]);
    }
    topology_stop(&upgrade.topology);
}

Test(lame_duck, a_rolling_upgrade_is_not_noticed, .timeout = 1600)
{
    run(false);
}

Test(lame_duck, a_rolling_upgrade_is_not_noticed_by_one_client, .timeout = 1600)
{
    run(true);
}
