/* SPDX-License-Identifier: MIT */
/*
 * The whole core of one cluster, in one thread, against servers, a network, a clock and threads
 * that exist only here. One seed decides everything that happens.
 *
 *     RLT_SEED=n    begin with this seed; alone: run no other
 *     RLT_SEEDS=n   run this many
 *
 * A failure prints its seed.
 */
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/defs.h"
#include "core/cluster.h"
#include "proto/address.h"
#include "sim/sim.h"
#include "sim/sim_publishers.h"
#include "sim/sim_subscribers.h"
#include "sim/sim_transport.h"
#include "support/env.h"
#include "support/test.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
#include <sanitizer/common_interface_defs.h>
#define SEEDS 200
#define MOVES 40
#else
#define SEEDS 8000
#define MOVES 2000
#endif

#define EVENTS_MAX 8
/* Faults are over: within this time everything must be well. */
#define HEAL_NS (60 * RLT_NS_PER_S)
#define STOP_NS (10 * RLT_NS_PER_S)
/* Rounds of an event thread that neither sleeps nor gets an event. */
#define SPINS_MAX 1000

/* What the worlds must have seen, so that a test that sees nothing does not pass. */
static const struct {
    const char *name;
    size_t offset; /* of a counter in struct rlt_metrics */
} counted[] = {
    {"confirmed", offsetof(struct rlt_metrics, confirmed)},
    {"in doubt", offsetof(struct rlt_metrics, in_doubt)},
    {"failed", offsetof(struct rlt_metrics, failed)},
    {"delivered", offsetof(struct rlt_metrics, delivered_messages)},
    {"dropped for the ring", offsetof(struct rlt_metrics, dropped_ring_full)},
    {"dropped for pinned memory", offsetof(struct rlt_metrics, dropped_pinned)},
    {"dropped for size", offsetof(struct rlt_metrics, dropped_oversized)},
    {"unknown sids", offsetof(struct rlt_metrics, unknown_sid)},
    {"second copies", offsetof(struct rlt_metrics, suppressed)},
    {"joins", offsetof(struct rlt_metrics, joins)},
    {"connects", offsetof(struct rlt_metrics, connects)},
    {"failed connects", offsetof(struct rlt_metrics, connect_failures)},
    {"disconnects", offsetof(struct rlt_metrics, disconnects)},
    {"lost by ping", offsetof(struct rlt_metrics, lost_by_ping)},
    {"protocol errors", offsetof(struct rlt_metrics, protocol_errors)},
    {"server errors", offsetof(struct rlt_metrics, server_errors)},
};
#define COUNTED (sizeof(counted) / sizeof(counted[0]))

static const char *const sights[SIM_SIGHTS] = {
    [SIM_SIGHT_PLAIN] = "servers with the wrong idea of TLS",
    [SIM_SIGHT_CLEAR] = "servers with bytes in clear before TLS",
    [SIM_SIGHT_TLS_HANG] = "handshakes that did not end",
    [SIM_SIGHT_TLS_GARBAGE] = "garbage inside TLS",
    [SIM_SIGHT_EARLY] = "messages before the proof",
    [SIM_SIGHT_DENIED] = "denials",
    [SIM_SIGHT_DENIED_MOVE] = "denials with two servers",
    [SIM_SIGHT_DIRECT] = "direct sends",
    [SIM_SIGHT_DIRECT_RECALLED] = "direct sends while the event thread awoke",
    [SIM_SIGHT_DIRECT_CUT] = "direct sends of which something was left",
    [SIM_SIGHT_DIRECT_CLOSE] = "direct sends while the connection was given up",
    [SIM_SIGHT_RECEIVE] = "direct receives",
    [SIM_SIGHT_RECEIVE_LEFT] = "direct receives of which something was left",
    [SIM_SIGHT_RECEIVE_AWAKE] = "direct receives while the event thread was awake",
    [SIM_SIGHT_UNATTENDED] = "watched connections that nobody attended",
    [SIM_SIGHT_WATCHED_OVER] = "watched connections that ended",
};

struct world {
    struct sim sim;
    struct rlt_config config;
    struct rlt_address address;
    struct rlt_cluster *cluster;
    struct sim_transport transport;
    struct sim_publishers publishers;
    struct sim_subscribers subscribers;
    struct sim_network network;
    bool sleeping;
    uint32_t spins;
    uint32_t busyness; /* steps of other threads between two of the event thread */
    uint64_t totals[COUNTED];
};

/* ---- Which seed it was, however the process ends ------------------------------------------ */

static uint64_t current_seed;

static void print_seed(void)
{
    char text[64];
    int len = snprintf(text, sizeof(text), "sim: RLT_SEED=%" PRIu64 "\n", current_seed);
    (void)!write(STDERR_FILENO, text, (size_t)len);
}

static void on_crash(int number)
{
    print_seed();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void watch_crashes(void)
{
    (void)signal(SIGABRT, on_crash);
#ifdef SANITIZED
    __sanitizer_set_death_callback(print_seed);
#else
    (void)signal(SIGSEGV, on_crash);
#endif
}

/* ---- A world ------------------------------------------------------------------------------ */

static void on_signal(void *context, int descriptor)
{
    sim_subscribers_on_signal(&((struct world *)context)->subscribers, descriptor);
}

static void on_received(void *context, uint32_t slot)
{
    sim_subscribers_on_received(&((struct world *)context)->subscribers, slot);
}

static void on_wake(void *context, _Atomic(uint32_t) *word)
{
    sim_publishers_on_wake(&((struct world *)context)->publishers, word);
}

/* Each kind of fault is absent from half of the worlds. */
static uint32_t random_rate(struct sim *sim, uint64_t most)
{
    return sim_below(sim, 2) == 0 ? 0 : (uint32_t)sim_below(sim, most + 1);
}

/* Most handovers come to their end. */
static void calm(struct sim_faults *faults)
{
    faults->open_error /= 10;
    faults->open_hang /= 10;
    faults->cut /= 10;
    faults->close /= 10;
    faults->silent /= 10;
    faults->garbage /= 10;
    faults->bad_greeting /= 10;
    faults->plain /= 10;
    faults->clear /= 10;
    faults->lame_close /= 10;
}

static void random_faults(struct sim *sim)
{
    sim->faults = (struct sim_faults){
        .open_error = random_rate(sim, 700),
        .open_hang = random_rate(sim, 200),
        .cut = random_rate(sim, 1000),
        .close = random_rate(sim, 30),
        .silent = random_rate(sim, 15),
        .error = random_rate(sim, 100),
        .garbage = random_rate(sim, 40),
        .bad_greeting = random_rate(sim, 300),
        .info = random_rate(sim, 100),
        .pong = random_rate(sim, 50),
        .ping = random_rate(sim, 100),
        .refuse = random_rate(sim, 300),
        .stray = random_rate(sim, 100),
        .large = random_rate(sim, 20),
        .tls = random_rate(sim, 200),
        .tls_hang = random_rate(sim, 100),
        .tls_garbage = random_rate(sim, 5),
        .plain = random_rate(sim, 300),
        .clear = random_rate(sim, 300),
        .early = random_rate(sim, 300),
    };
    if (sim_below(sim, 2) == 0) {
        sim->faults.lame = (uint32_t)sim_below(sim, 100);
        sim->faults.lame_close = random_rate(sim, 200);
        /* A copy that is too large is told as dropped, whatever becomes of the other one. */
        sim->faults.large = 0;
        if (sim_below(sim, 2) == 0) {
            calm(&sim->faults);
        }
    }
    /* Lies hide other mistakes: most worlds have none. */
    if (sim_below(sim, 8) != 0) {
        sim->faults.pong = 0;
    }
}

static void random_config(struct world *world)
{
    struct sim *sim = &world->sim;
    world->config = (struct rlt_config){
        .connection_timeout_ns = 2 * RLT_NS_PER_S,
        .ping_interval_ns = RLT_NS_PER_S,
        .reconnect_interval_ns = 100 * RLT_NS_PER_MS,
        .base_backoff_ms = 10,
        .max_backoff_ms = 2000,
        .max_ping_failure = 1 + (uint32_t)sim_below(sim, 3),
        .max_retry = 1 + (uint32_t)sim_below(sim, 6),
        .restart = sim_below(sim, 3) == 0 ? ROULETTE_RESTART_TEMPORARY : ROULETTE_RESTART_PERMANENT,
        .pool_size = 1 + (uint32_t)sim_below(sim, SIM_POOL_MAX),
        .guarantee = sim_below(sim, 2) == 0 ? ROULETTE_AT_LEAST_ONCE : ROULETTE_AT_MOST_ONCE,
        .lane_capacity = 65536,
        .slab_bytes = 131072,
        .slab_count = 4 + (uint32_t)sim_below(sim, 5),
        .name = "simulation",
        .tls = sim_below(sim, 4) == 0,
        .tls_first = sim_below(sim, 2) == 0,
    };
    world->address = (struct rlt_address){.host = "sim", .port = 4222, .label = "sim:4222"};
}

/* Copies that come later than a handover lingers are delivered twice. */
static void keep_up(struct sim *sim)
{
    sim->send_style = SIM_RANDOM;
    sim->receive_style = SIM_RANDOM;
    sim->pace = 600 + (uint32_t)sim_below(sim, 401);
}

static void begin_world(struct world *world, uint64_t seed)
{
    struct sim *sim = &world->sim;
    current_seed = seed;
    *sim = (struct sim){
        .seed = seed,
        .random = {seed},
        .now_ns = 1000 * RLT_NS_PER_S,
        .round_ns = 100 * RLT_NS_PER_US,
        .trace = UINT64_C(0xcbf29ce484222325),
    };
    random_faults(sim);
    sim->send_style = (enum sim_style)sim_below(sim, SIM_STYLES);
    sim->receive_style = (enum sim_style)sim_below(sim, SIM_STYLES);
    sim->pace = 200 + (uint32_t)sim_below(sim, 801);
    sim->max_payload = 1048576;
    sim->lag = random_rate(sim, 200);
    sim->alike = random_rate(sim, 1000);
    if (sim->faults.lame != 0) {
        keep_up(sim);
    }
    random_config(world);
    sim->tls = world->config.tls;
    sim->tls_first = world->config.tls_first;
    world->sleeping = false;
    world->spins = 0;
    world->network.next_number = 1;
    world->network.last_len = 0;
    memset(world->network.last_way, 0, sizeof(world->network.last_way));
    world->subscribers.network = &world->network;
    world->busyness = 1 + (uint32_t)sim_below(sim, 12);
    sim_transport_reset(&world->transport, sim, rlt_cluster_slot_count(&world->config));
    cr_assert_eq(rlt_cluster_create(&world->config, &world->address, 0, &world->transport.transport,
                                    seed, &world->cluster),
                 0);
    for (uint32_t i = 0; i < SIM_SLOTS_MAX; i++) {
        struct sim_server *server = &world->transport.slots[i].server;
        server->on_publish = sim_publishers_on_publish;
        server->context = &world->publishers;
        server->network = &world->network;
        server->lied = false;
        server->sub_count = 0;
        server->out_len = 0;
        server->record_count = 0;
        server->ended = false;
    }
    sim_publishers_begin(&world->publishers, sim, world->cluster, &world->transport);
    sim_subscribers_begin(&world->subscribers, sim, world->cluster, &world->transport);
    rlt_cluster_start(world->cluster, sim->now_ns);
}

/* ---- One round ---------------------------------------------------------------------------- */

/* The other threads go on. */
static void act(struct world *world)
{
    static const uint32_t limits[] = {0, 64, 1000, 1048576};
    struct sim *sim = &world->sim;
    for (uint64_t i = sim_below(sim, world->busyness + 1); i != 0; i--) {
        if (sim_below(sim, 2) == 0) {
            sim_publishers_step(&world->publishers);
        } else {
            sim_subscribers_step(&world->subscribers);
        }
    }
    if (sim_below(sim, 60) == 0) {
        sim_publishers_flush(&world->publishers, sim_below(sim, 2) == 0);
    }
    if (sim_chance(sim, sim->faults.info)) {
        sim->max_payload = limits[sim_below(sim, 4)];
    }
}

static bool was_woken(struct world *world)
{
    bool woke = world->publishers.woke || world->publishers.wake_due || world->subscribers.woke;
    world->publishers.wake_due = false;
    world->publishers.woke = false;
    world->subscribers.woke = false;
    return woke;
}

/* An event thread that sleeps and was not woken has nothing to do. */
static void check_nothing_missed(struct world *world)
{
    SIM_CHECK(&world->sim, rlt_stack_is_empty(&world->cluster->commands), "a command is missed");
    for (uint32_t i = 0; i < world->config.pool_size; i++) {
        struct rlt_connection *connection = world->cluster->active[i];
        const struct sim_slot *slot = &world->transport.slots[connection->slot];
        SIM_CHECK(&world->sim,
                  slot->closing || (connection->watched == slot->watched &&
                                    connection->receiving == slot->receive.in_progress),
                  "core and transport differ");
        SIM_CHECK(&world->sim, !connection->left_over, "what was left over is missed");
        SIM_CHECK(&world->sim,
                  (!rlt_connection_wants_lanes(connection) && !connection->sender.lent) ||
                      world->publishers.borrowers[i].borrowed ||
                      rlt_wire_queue_is_empty(connection->wire),
                  "a message is missed");
    }
}

static void deliver(struct world *world, const struct rlt_io_event *events, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        sim_subscribers_before_event(&world->subscribers, &events[i]);
        rlt_cluster_on_event(world->cluster, &events[i], world->sim.now_ns);
        sim_subscribers_check(&world->subscribers);
        if (events[i].kind == RLT_IO_CLOSED) {
            sim_publishers_on_closed(&world->publishers, events[i].slot);
        }
        sim_publishers_check(&world->publishers);
    }
}

/* The event thread works until it wants to sleep. */
static void run(struct world *world, void (*others)(struct world *))
{
    others(world);
    sim_publishers_before_run(&world->publishers);
    rlt_cluster_run(world->cluster, world->sim.now_ns);
    sim_publishers_check(&world->publishers);
    if (rlt_cluster_is_stopped(world->cluster)) {
        return;
    }
    others(world);
    world->publishers.woke = false;
    world->subscribers.woke = false;
    rlt_cluster_arm(world->cluster);
    world->sleeping = !rlt_cluster_has_work(world->cluster);
    if (world->sleeping) {
        rlt_cluster_sleep(world->cluster);
    }
}

static void round_of(struct world *world, void (*others)(struct world *))
{
    struct sim *sim = &world->sim;
    if (!world->sleeping) {
        run(world, others);
        if (rlt_cluster_is_stopped(world->cluster)) {
            return;
        }
    }
    others(world);
    sim_transport_step(&world->transport);
    struct rlt_io_event events[EVENTS_MAX];
    uint32_t count = 0;
    while (count < EVENTS_MAX && sim_transport_next(&world->transport, &events[count])) {
        count++;
    }
    bool rests = world->sleeping && rlt_cluster_deadline(world->cluster) > sim->now_ns;
    world->spins = rests || count != 0 ? 0 : world->spins + 1;
    SIM_CHECK(sim, world->spins < SPINS_MAX, "the event thread spins");
    if (world->sleeping && count == 0 && !was_woken(world)) {
        check_nothing_missed(world);
        uint64_t deadline_ns = rlt_cluster_deadline(world->cluster);
        uint64_t left_ns = deadline_ns > sim->now_ns ? deadline_ns - sim->now_ns : 0;
        sim->now_ns += rlt_min_u64(left_ns, sim_below(sim, 50 * RLT_NS_PER_MS));
        if (sim->now_ns < deadline_ns) {
            return;
        }
    }
    sim->now_ns += sim_below(sim, sim->round_ns);
    world->sleeping = false;
    SIM_CHECK(sim, rlt_loan_recall(&world->cluster->receiving), "a receive goes on");
    rlt_cluster_awake(world->cluster, sim->now_ns);
    sim_subscribers_check(&world->subscribers);
    deliver(world, events, count);
}

/* ---- After the faults --------------------------------------------------------------------- */

static void drain(struct world *world)
{
    sim_subscribers_drain(&world->subscribers);
}

/* What is not well yet; NULL: all is. */
static const char *ailment(struct world *world)
{
    for (uint32_t i = 0; i < world->config.pool_size; i++) {
        struct rlt_connection *connection = world->cluster->active[i];
        if (world->cluster->handovers[i].phase != RLT_HANDOVER_NONE) {
            return "a handover goes on";
        }
        if (connection->session.state != RLT_SESSION_READY) {
            return "a connection is not ready";
        }
        if (connection->pending.first != NULL) {
            return "a subscription is not told to the server";
        }
        if (connection->sender.span_count != 0 || !rlt_wire_queue_is_empty(connection->wire)) {
            return "a message is not sent";
        }
        if (connection->sender.keep && connection->sender.sent != connection->sender.confirmed) {
            return "a message is not confirmed";
        }
    }
    for (uint32_t i = 0; i < world->publishers.count; i++) {
        if (world->publishers.publishers[i].asleep != NULL) {
            return "a publisher sleeps";
        }
    }
    return world->publishers.flush_count != 0                  ? "a flush waits"
           : !sim_subscribers_are_settled(&world->subscribers) ? "a message or notice is not told"
           : !sim_subscribers_agree(&world->subscribers)       ? "a server has other subscriptions"
                                                               : NULL;
}

/* Nothing goes wrong any more: all must be well soon, and all of the ledger settled. */
static void heal(struct world *world)
{
    struct sim *sim = &world->sim;
    sim->faults = (struct sim_faults){0};
    sim->pace = 500 + sim->pace / 2;
    /* A trickle alone would take longer than that. */
    sim->send_style = SIM_RANDOM;
    sim->receive_style = SIM_RANDOM;
    sim->max_payload = 1048576;
    sim->lag = 0;
    /* Nor would what is queued go in that time, a few bytes in each round. */
    sim->round_ns = 100 * RLT_NS_PER_US;
    sim_publishers_settle(&world->publishers);
    uint64_t deadline_ns = sim->now_ns + HEAL_NS;
    /* The first flush may fail with a connection that is dead already. */
    for (int flushes = 0; flushes < 2; flushes++) {
        do {
            round_of(world, drain);
            SIM_CHECK(sim, sim->now_ns < deadline_ns, "no progress: %s", ailment(world));
        } while (ailment(world) != NULL);
        if (flushes == 0) {
            sim_publishers_flush(&world->publishers, false);
        }
    }
    const struct rlt_metrics *metrics = &world->cluster->metrics;
    SIM_CHECK(sim, rlt_counter_get(&metrics->connected) == world->config.pool_size);
    struct roulette_ledger ledger;
    rlt_cluster_ledger(world->cluster, false, &ledger);
    SIM_CHECK(sim, ledger.confirmed + ledger.in_doubt + ledger.failed == ledger.accepted,
              "%lu + %lu + %lu of %lu", ledger.confirmed, ledger.in_doubt, ledger.failed,
              ledger.accepted);
}

static void stop(struct world *world)
{
    struct sim *sim = &world->sim;
    sim_publishers_settle(&world->publishers);
    world->subscribers.woke |= rlt_cluster_submit(world->cluster, &world->cluster->stop);
    uint64_t deadline_ns = sim->now_ns + STOP_NS;
    while (!rlt_cluster_is_stopped(world->cluster)) {
        round_of(world, drain);
        SIM_CHECK(sim, sim->now_ns < deadline_ns, "it does not stop");
    }
    SIM_CHECK(sim, rlt_counter_get(&world->cluster->metrics.connected) == 0);
    SIM_CHECK(sim, rlt_counter_get(&world->cluster->metrics.subscriptions) == 0);
}

static void end_world(struct world *world)
{
    struct sim *sim = &world->sim;
    sim_publishers_end(&world->publishers);
    sim_subscribers_end(&world->subscribers);
    /* All references were given back. */
    struct rlt_slab *slab = rlt_slab_acquire(&world->cluster->slabs);
    SIM_CHECK(sim, slab != NULL);
    rlt_slab_settle(slab);
    SIM_CHECK(sim, rlt_slab_pool_in_use(&world->cluster->slabs) == 0);
    struct roulette_ledger ledger;
    rlt_cluster_ledger(world->cluster, true, &ledger);
    sim_trace(sim, ledger.confirmed);
    sim_trace(sim, ledger.in_doubt);
    sim_trace(sim, ledger.failed);
    sim_trace(sim, sim->now_ns);
    for (size_t i = 0; i < COUNTED; i++) {
        const char *metrics = (const char *)&world->cluster->metrics;
        world->totals[i] += rlt_counter_get((const void *)(metrics + counted[i].offset));
    }
    rlt_cluster_destroy(world->cluster);
}

/* ---- Tests -------------------------------------------------------------------------------- */

static struct world world;

static void open_worlds(void)
{
    /* Each world allocates and frees the same: keep the memory. */
    (void)mallopt(M_MMAP_THRESHOLD, 64 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
    watch_crashes();
    sim_transport_create(&world.transport);
    world.transport.on_signal = on_signal;
    world.transport.on_wake = on_wake;
    world.transport.on_received = on_received;
    world.transport.context = &world;
    sim_subscribers_create(&world.subscribers);
    world.network.copies = malloc(SIM_COPIES_MAX * sizeof(struct sim_copy));
}

static void close_worlds(void)
{
    sim_transport_destroy(&world.transport);
    sim_subscribers_destroy(&world.subscribers);
    free(world.network.copies);
}

/* Returns the hash of all that happened. */
static uint64_t run_seed(uint64_t seed)
{
    begin_world(&world, seed);
    uint64_t rounds = 30 + sim_below(&world.sim, 200);
    if (world.sim.faults.lame != 0) {
        /* Time enough for handovers while things go wrong. */
        world.sim.round_ns = RLT_NS_PER_MS * (1 + sim_below(&world.sim, 10));
        rounds *= 2;
    }
    for (uint64_t i = rounds; i != 0; i--) {
        round_of(&world, act);
    }
    if (sim_below(&world.sim, 4) != 0) {
        heal(&world);
    }
    stop(&world);
    end_world(&world);
    return world.sim.trace;
}

Test(sim, random_worlds_keep_every_promise, .init = open_worlds, .fini = close_worlds)
{
    uint64_t first = env_number("RLT_SEED", 1);
    uint64_t count = env_number("RLT_SEEDS", getenv("RLT_SEED") != NULL ? 1 : SEEDS);
    for (uint64_t seed = first; seed < first + count; seed++) {
        (void)run_seed(seed);
    }
    printf("sim: RLT_SEED=%" PRIu64 " RLT_SEEDS=%" PRIu64 "\n", first, count);
    for (size_t i = 0; i < COUNTED; i++) {
        printf("sim: %12" PRIu64 " %s\n", world.totals[i], counted[i].name);
        cr_assert(count < 100 || world.totals[i] != 0, "%s: none", counted[i].name);
    }
    for (size_t i = 0; i < SIM_SIGHTS; i++) {
        printf("sim: %12" PRIu64 " %s\n", world.network.sights[i], sights[i]);
        cr_assert(count < 1000 || world.network.sights[i] != 0, "%s: none", sights[i]);
    }
}

/* Nothing goes wrong, but servers shut down, and close when all have left. */
static void run_moves(uint64_t seed)
{
    begin_world(&world, seed);
    uint32_t lame = 1 + (uint32_t)sim_below(&world.sim, 60);
    world.sim.faults = (struct sim_faults){.lame = lame};
    world.sim.lag = (uint32_t)sim_below(&world.sim, 300);
    /* Nor is anything so slow that it looks dead. */
    world.config.max_retry = 100;
    keep_up(&world.sim);
    for (uint64_t i = 100 + sim_below(&world.sim, 800); i != 0; i--) {
        round_of(&world, act);
    }
    heal(&world);
    const struct rlt_metrics *metrics = &world.cluster->metrics;
    SIM_CHECK(&world.sim, rlt_counter_get(&metrics->disconnects) == 0);
    SIM_CHECK(&world.sim, rlt_counter_get(&metrics->in_doubt) == 0);
    SIM_CHECK(&world.sim, rlt_counter_get(&metrics->failed) == 0);
    SIM_CHECK(&world.sim, world.subscribers.losses == 0);
    SIM_CHECK(&world.sim, world.publishers.again == 0);
    stop(&world);
    end_world(&world);
}

Test(sim, servers_that_shut_down_cost_nothing, .init = open_worlds, .fini = close_worlds)
{
    uint64_t first = env_number("RLT_SEED", 1);
    uint64_t count = env_number("RLT_SEEDS", getenv("RLT_SEED") != NULL ? 1 : MOVES);
    for (uint64_t seed = first; seed < first + count; seed++) {
        run_moves(seed);
    }
    uint64_t connects = world.totals[10];
    printf("sim: %" PRIu64 " connects in %" PRIu64 " worlds\n", connects, count);
}

Test(sim, same_seed_gives_the_same_trace, .init = open_worlds, .fini = close_worlds)
{
    for (uint64_t seed = 1; seed <= 100; seed++) {
        uint64_t trace = run_seed(seed);
        cr_assert_eq(run_seed(seed), trace, "RLT_SEED=%" PRIu64, seed);
    }
}

/* A healthy world in which the first connection breaks at one byte of one direction. */
static void run_cut(uint64_t up, uint64_t down)
{
    begin_world(&world, 4);
    world.sim.faults = (struct sim_faults){0};
    world.sim.pace = 900;
    world.transport.first_up = up;
    world.transport.first_down = down;
    for (int i = 0; i < 40; i++) {
        round_of(&world, act);
    }
    heal(&world);
    stop(&world);
    end_world(&world);
}

Test(sim, connection_may_break_at_every_byte_of_either_direction, .init = open_worlds,
     .fini = close_worlds)
{
    for (uint64_t offset = 0; offset < 1500; offset++) {
        run_cut(offset, UINT64_MAX);
        run_cut(UINT64_MAX, offset);
    }
}
