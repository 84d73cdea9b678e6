/* SPDX-License-Identifier: MIT */
/**
 * The maintenance of a load balancer, as operators do it: each server in turn gets no more new
 * connections (drain) and then loses those it has (shutdown sessions). Under load, what was
 * confirmed was processed, and no guarantee is broken. What the servers processed is told by a
 * witness that is connected directly to a server, which itself goes on.
 *
 * RLT_ROUNDS: how many times each server has its turn.
 */
#include <stdio.h>
#include <stdlib.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/load.h"
#include "support/test.h"
#include "support/topology.h"
#include "support/witness.h"

enum { ROUNDS = SCALED(3, 1), FLOW = SCALED(2000, 400), POOL = 2, PING_MS = 200 };

/* Everything of one run; static, for its size. */
struct drill {
    struct topology topology;
    struct load load;
    struct tally witnessed;
    struct tally received;
    struct load_reader reader;
    struct witness *witnesses[TOPOLOGY_CLUSTERS];
    roulette_client *publisher;
    roulette_client *subscriber;
    long cut;
    struct roulette_ledger total;
};

static long rounds(void)
{
    const char *text = getenv("RLT_ROUNDS");
    return text != NULL ? strtol(text, NULL, 10) : ROUNDS;
}

static void prime(struct drill *drill, struct tally *const *tallies, size_t count)
{
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        for (size_t k = 0; k < TOPOLOGY_SERVERS; k++) {
            load_prime(&drill->load, &drill->topology, i, k, tallies, count);
        }
    }
}

static void start(struct drill *drill, enum roulette_guarantee guarantee)
{
    topology_start(&drill->topology);
    tally_init(&drill->witnessed, TALLY_ALL);
    tally_init(&drill->received, TALLY_ALL);
    struct roulette_options options = topology_options(&drill->topology, "publisher");
    options.guarantee = guarantee;
    options.pool_size = POOL;
    /* At most once, messages are confirmed by these pings only. */
    options.ping_interval_ms = PING_MS;
    options.max_ping_failure = 15;
    drill->publisher = fleet_open(&options);
    options = topology_options(&drill->topology, "subscriber");
    drill->subscriber = fleet_open(&options);
    load_init(&drill->load, drill->publisher);
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        drill->witnesses[i] =
            witness_start(nats_server_port(drill->topology.clusters[i].servers[i]), ">", tally_note,
                          &drill->witnessed);
    }
    load_reader_start(&drill->reader, drill->subscriber, &drill->load, NULL, NULL,
                      &drill->received);
    prime(drill, (struct tally *[]){&drill->witnessed, &drill->received}, 2);
    load_start(&drill->load);
}

static bool flows(const struct drill *drill, size_t cluster, uint64_t confirmed, uint64_t received)
{
    struct roulette_stats stats = fleet_stats(drill->publisher, cluster);
    return stats.connected == POOL && stats.ledger.confirmed >= confirmed + FLOW &&
           fleet_stats(drill->subscriber, cluster).received_messages >= received + FLOW;
}

/* Wait until more messages of a cluster were confirmed, and received. */
static void await_flow(const struct drill *drill, size_t cluster)
{
    uint64_t confirmed = fleet_stats(drill->publisher, cluster).ledger.confirmed;
    uint64_t received = fleet_stats(drill->subscriber, cluster).received_messages;
    EVENTUALLY(flows(drill, cluster, confirmed, received));
}

static void drill_all(struct drill *drill)
{
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        for (size_t k = 0; k < TOPOLOGY_SERVERS; k++) {
            topology_drain(&drill->topology, i, k);
            drill->cut += topology_cut(&drill->topology, i, k);
            await_flow(drill, i);
            topology_ready(&drill->topology, i, k);
        }
    }
}

static void add(struct roulette_ledger *total, const struct roulette_ledger *part)
{
    total->accepted += part->accepted;
    total->confirmed += part->confirmed;
    total->in_doubt += part->in_doubt;
    total->failed += part->failed;
    total->discarded += part->discarded;
}

/* Stop everything but the witnesses, and wait until those have seen all there is. */
static void finish(struct drill *drill)
{
    struct roulette_ledger ledgers[TOPOLOGY_CLUSTERS];
    uint64_t accepted = load_stop(&drill->load);
    cr_assert_eq(roulette_close(drill->publisher, 10000, ledgers, TOPOLOGY_CLUSTERS), 0, "%s",
                 roulette_last_error());
    prime(drill, (struct tally *[]){&drill->witnessed, &drill->received}, 2);
    cr_assert_eq(roulette_close(drill->subscriber, 10000, NULL, 0), 0);
    load_reader_stop(&drill->reader);
    uint64_t disconnects = 0;
    uint64_t lost = 0;
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        struct roulette_stats stats = fleet_stats(drill->subscriber, i);
        witness_stop(drill->witnesses[i]);
        cr_assert_eq(fleet_difference(&ledgers[i]), 0, "cluster %zu", i);
        add(&drill->total, &ledgers[i]);
        disconnects += fleet_stats(drill->publisher, i).disconnects + stats.disconnects;
        lost += stats.disconnects * TALLY_TOPICS / TOPOLOGY_CLUSTERS;
        cr_assert_eq(stats.dropped_ring_full + stats.dropped_pinned, 0);
    }
    cr_assert_eq(drill->total.accepted, accepted);
    cr_assert_eq(drill->total.failed + drill->total.discarded, 0);
    /* Not equal to the cuts: a connection may be cut before it is established. */
    cr_assert_gt(disconnects, 0);
    cr_assert_gt(drill->cut, 0);
    cr_assert_eq(atomic_load(&drill->reader.lost), lost);
    cr_assert_eq(atomic_load(&drill->reader.restored), lost);
}

static void report(const struct drill *drill, const char *guarantee, long turns)
{
    const struct roulette_ledger *total = &drill->total;
    printf("drill: %s, %ld rounds, %ld connections cut: accepted %llu = confirmed %llu + in doubt "
           "%llu + failed %llu + discarded %llu, difference %lld; refused %llu; the servers "
           "processed %llu, "
           "%llu of them again; received %llu, %llu again, %llu out of order\n",
           guarantee, turns, drill->cut, (unsigned long long)total->accepted,
           (unsigned long long)total->confirmed, (unsigned long long)total->in_doubt,
           (unsigned long long)total->failed, (unsigned long long)total->discarded,
           (long long)fleet_difference(total),
           (unsigned long long)atomic_load(&drill->load.refused),
           (unsigned long long)atomic_load(&drill->witnessed.seen),
           (unsigned long long)atomic_load(&drill->witnessed.repeated),
           (unsigned long long)atomic_load(&drill->received.seen),
           (unsigned long long)atomic_load(&drill->received.repeated),
           (unsigned long long)atomic_load(&drill->reader.out_of_order));
}

static void run(struct drill *drill, enum roulette_guarantee guarantee, const char *name)
{
    long turns = rounds();
    start(drill, guarantee);
    for (size_t i = 0; i < TOPOLOGY_CLUSTERS; i++) {
        await_flow(drill, i);
    }
    for (long i = 0; i < turns; i++) {
        drill_all(drill);
    }
    finish(drill);
    report(drill, name, turns);
}

static void end(struct drill *drill)
{
    roulette_free(drill->publisher);
    roulette_free(drill->subscriber);
    topology_stop(&drill->topology);
    tally_fini(&drill->witnessed);
    tally_fini(&drill->received);
}

Test(drill, at_least_once_loses_nothing, .timeout = 600)
{
    static struct drill drill;
    run(&drill, ROULETTE_AT_LEAST_ONCE, "at least once");
    cr_assert_eq(drill.total.confirmed, drill.total.accepted);
    cr_assert_eq(tally_missing(&drill.witnessed, drill.load.accepted), 0);
    end(&drill);
}

Test(drill, at_most_once_repeats_nothing, .timeout = 600)
{
    static struct drill drill;
    run(&drill, ROULETTE_AT_MOST_ONCE, "at most once");
    uint64_t processed = atomic_load(&drill.witnessed.seen);
    cr_assert_eq(atomic_load(&drill.witnessed.repeated), 0);
    cr_assert_eq(atomic_load(&drill.received.repeated), 0);
    cr_assert_geq(processed, drill.total.confirmed);
    cr_assert_leq(processed, drill.total.confirmed + drill.total.in_doubt);
    end(&drill);
}
