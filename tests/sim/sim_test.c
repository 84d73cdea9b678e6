/* SPDX-License-Identifier: MIT */
/*
 * The whole core: the clusters of one event thread, in one thread, against servers, a network, a
 * clock and other threads that exist only here. One seed decides everything that happens.
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
#include "sim/sim_world.h"
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
#define SEEDS  200
#define MOVES  40
#define LATE   20
#define STALLS 10
#else
#define SEEDS  8000
#define MOVES  1000
#define LATE   500
#define STALLS 200
#endif

/* Less than a cluster may need: core/cluster/handover.h. */
#define ROUTE_NS (180 * RLT_NS_PER_MS)

/* What the worlds must have seen, so that a test that sees nothing does not pass. */
static const struct {
    const char *name;
    size_t offset; /* of a counter in struct rlt_metrics */
} counted[] = {
    {"confirmed", offsetof(struct rlt_metrics, confirmed)},
    {"in doubt", offsetof(struct rlt_metrics, in_doubt)},
    {"failed", offsetof(struct rlt_metrics, failed)},
    {"denied", offsetof(struct rlt_metrics, denied)},
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
    {"probes", offsetof(struct rlt_metrics, probes)},
    {"held back", offsetof(struct rlt_metrics, held_back)},
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
    [SIM_SIGHT_DIRECT_BUSY] = "direct sends while the event thread worked",
    [SIM_SIGHT_RECEIVE] = "direct receives",
    [SIM_SIGHT_RECEIVE_BUSY] = "direct receives while the event thread worked",
    [SIM_SIGHT_RECEIVE_LEFT] = "direct receives of which something was left",
    [SIM_SIGHT_RECEIVE_AWAKE] = "direct receives while the event thread was awake",
    [SIM_SIGHT_UNATTENDED] = "watched connections that nobody attended",
    [SIM_SIGHT_WATCHED_OVER] = "watched connections that ended",
    [SIM_SIGHT_ASKED] = "questions which SUB was refused",
    [SIM_SIGHT_TESTED] = "questions whether the last ones were",
    [SIM_SIGHT_REMADE] = "questions by making all again",
    [SIM_SIGHT_LIMIT_RAISED] = "limits that were raised",
    [SIM_SIGHT_REFUSED] = "messages that were refused",
    [SIM_SIGHT_CONFIRM] = "timers for what is unconfirmed",
    [SIM_SIGHT_CONFIRM_LENT] = "timers for what publishers sent by themselves",
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

/* ---- Tests -------------------------------------------------------------------------------- */

static struct sim_world world;

static void open_worlds(void)
{
    /* Each world allocates and frees the same: keep the memory. */
    (void)mallopt(M_MMAP_THRESHOLD, 64 * 1024 * 1024);
    (void)mallopt(M_TRIM_THRESHOLD, 256 * 1024 * 1024);
    watch_crashes();
    sim_world_create(&world);
}

static void close_worlds(void)
{
    sim_world_destroy(&world);
}

static void begin(uint64_t seed)
{
    current_seed = seed;
    sim_world_begin(&world, seed);
}

/* Returns the hash of all that happened. */
static uint64_t run_seed(uint64_t seed)
{
    begin(seed);
    uint64_t rounds = 30 + sim_below(&world.sim, 200);
    if (world.sim.faults.lame != 0) {
        /* Time enough for handovers while things go wrong. */
        world.sim.round_ns = RLT_NS_PER_MS * (1 + sim_below(&world.sim, 10));
        rounds *= 2;
    }
    for (uint64_t i = rounds; i != 0; i--) {
        sim_world_round(&world, sim_world_act);
    }
    if (sim_below(&world.sim, 4) != 0) {
        sim_world_heal(&world);
    }
    sim_world_stop(&world);
    sim_world_end(&world);
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
        uint64_t total = world.totals[counted[i].offset / sizeof(rlt_counter)];
        printf("sim: %12" PRIu64 " %s\n", total, counted[i].name);
        cr_assert(count < 100 || total != 0, "%s: none", counted[i].name);
    }
    for (size_t i = 0; i < SIM_SIGHTS; i++) {
        uint64_t seen = 0;
        for (uint32_t k = 0; k < SIM_CLUSTERS_MAX; k++) {
            seen += world.sites[k].network.sights[i];
        }
        printf("sim: %12" PRIu64 " %s\n", seen, sights[i]);
        /* The rarest are seen in one of 1000 worlds, or less. */
        cr_assert(count < 4000 || seen != 0, "%s: none", sights[i]);
    }
}

static void check_moved(const struct sim_site *site)
{
    const struct sim *sim = &site->world->sim;
    const struct rlt_metrics *metrics = &site->cluster->env.metrics;
    SIM_CHECK(sim, rlt_counter_get(&metrics->disconnects) == 0);
    SIM_CHECK(sim, rlt_counter_get(&metrics->in_doubt) == 0);
    SIM_CHECK(sim, rlt_counter_get(&metrics->failed) == 0);
    SIM_CHECK(sim, rlt_counter_get(&metrics->unmatched) == 0);
    SIM_CHECK(sim, site->subscribers.losses == 0);
    SIM_CHECK(sim, site->publishers.again == 0);
}

/* Nothing goes wrong, but servers shut down, and close when all have left. */
static void run_moves(uint64_t seed)
{
    world.slabs_more = 60;
    begin(seed);
    world.slabs_more = 0;
    uint32_t lame = 1 + (uint32_t)sim_below(&world.sim, 60);
    world.sim.faults = (struct sim_faults){.lame = lame};
    world.sim.lag = (uint32_t)sim_below(&world.sim, 300);
    if (sim_below(&world.sim, 4) != 0) {
        /* Time for moves, and for messages between servers. */
        world.sim.route_ns = 1 + sim_below(&world.sim, ROUTE_NS);
        world.sim.round_ns = RLT_NS_PER_MS * (1 + sim_below(&world.sim, 10));
        world.sim.in_order = true;
    }
    /* Nor is anything so slow that it looks dead. */
    world.config.max_retry = 100;
    sim_world_keep_up(&world.sim);
    for (uint64_t i = 100 + sim_below(&world.sim, 800); i != 0; i--) {
        sim_world_round(&world, sim_world_act);
    }
    sim_world_heal(&world);
    for (uint32_t i = 0; i < world.site_count; i++) {
        check_moved(&world.sites[i]);
    }
    sim_world_stop(&world);
    sim_world_end(&world);
}

static uint64_t total_of(size_t offset)
{
    return world.totals[offset / sizeof(rlt_counter)];
}

Test(sim, servers_that_shut_down_cost_nothing, .init = open_worlds, .fini = close_worlds)
{
    uint64_t first = env_number("RLT_SEED", 1);
    uint64_t count = env_number("RLT_SEEDS", getenv("RLT_SEED") != NULL ? 1 : MOVES);
    for (uint64_t seed = first; seed < first + count; seed++) {
        run_moves(seed);
    }
    uint64_t connects = total_of(offsetof(struct rlt_metrics, connects));
    printf("sim: %" PRIu64 " connects in %" PRIu64 " worlds\n", connects, count);
    uint64_t held = total_of(offsetof(struct rlt_metrics, held));
    uint64_t early = total_of(offsetof(struct rlt_metrics, held_early));
    printf("sim: %" PRIu64 " messages waited for older ones, %" PRIu64 " of them not long enough\n",
           held, early);
    cr_assert(count < MOVES || (held > MOVES && early < held / 20));
}

/* Nothing goes wrong, but servers do not serve one connection or another for up to 20 s. */
static void run_stalls(uint64_t seed)
{
    begin(seed);
    world.sim.faults = (struct sim_faults){.stall = 1 + (uint32_t)sim_below(&world.sim, 3)};
    world.sim.lag = 0;
    world.sim.round_ns = 10 * RLT_NS_PER_MS;
    world.config.max_ping_failure = 2 + (uint32_t)sim_below(&world.sim, 2);
    world.config.held_back_max_ns = 60 * RLT_NS_PER_S;
    world.config.ping_interval_ns = 2 * RLT_NS_PER_S; /* some handshakes here take more than 1 s */
    world.config.max_retry = 100;                     /* a handshake may be stalled too */
    sim_world_keep_up(&world.sim);
    for (int i = 0; i < 3000; i++) {
        sim_world_round(&world, sim_world_act);
    }
    for (uint32_t i = 0; i < world.site_count; i++) {
        const struct rlt_metrics *metrics = &world.sites[i].cluster->env.metrics;
        SIM_CHECK(&world.sim, rlt_counter_get(&metrics->disconnects) == 0);
        SIM_CHECK(&world.sim, rlt_counter_get(&metrics->in_doubt) == 0);
        SIM_CHECK(&world.sim, rlt_counter_get(&metrics->failed) == 0);
    }
    sim_world_heal(&world);
    sim_world_stop(&world);
    sim_world_end(&world);
}

Test(sim, server_that_stalls_one_connection_is_not_left, .init = open_worlds, .fini = close_worlds)
{
    uint64_t first = env_number("RLT_SEED", 1);
    uint64_t count = env_number("RLT_SEEDS", getenv("RLT_SEED") != NULL ? 1 : STALLS);
    for (uint64_t seed = first; seed < first + count; seed++) {
        run_stalls(seed);
    }
    uint64_t held = world.totals[offsetof(struct rlt_metrics, held_back) / sizeof(rlt_counter)];
    printf("sim: held back %" PRIu64 " times in %" PRIu64 " worlds\n", held, count);
    cr_assert(count < STALLS || held > STALLS);
}

/* The site's servers have all that was sent. `*unread`: set if a PONG of theirs was not read. */
static bool is_answered(const struct sim_site *site, bool *unread)
{
    for (uint32_t i = 0; i < world.config.pool_size; i++) {
        const struct rlt_connection *connection = site->cluster->paths[i].active;
        const struct sim_slot *slot = &site->transport.slots[connection->slot];
        const struct rlt_ping_marks *pings = &connection->sender.pings;
        if (connection->session.state != RLT_SESSION_READY || slot->send.in_progress ||
            slot->up_len != 0) {
            return false;
        }
        *unread = *unread || (slot->server.out_len != 0 && pings->written != pings->answered);
    }
    return true;
}

/* The event thread loses its CPU for long if all servers have answered, and a PONG lies unread.
 * Returns: whether it did. */
static bool come_late(void)
{
    bool answered = true;
    bool unread = false;
    for (uint32_t i = 0; i < world.site_count; i++) {
        sim_transport_step(&world.sites[i].transport, true); /* the servers go on alone */
        answered = is_answered(&world.sites[i], &unread) && answered;
    }
    if (!answered) {
        return false;
    }
    uint64_t ns = unread ? 3 * RLT_NS_PER_S : RLT_NS_PER_S / 4;
    world.sim.now_ns += ns + sim_below(&world.sim, ns);
    return unread;
}

/* Nothing goes wrong, but the event thread gets no CPU for longer than servers may be silent. */
static uint64_t run_late(uint64_t seed)
{
    uint64_t late = 0;
    begin(seed);
    world.sim.faults = (struct sim_faults){0};
    world.sim.pace = 1000;
    world.sim.lag = 0;
    world.sim.send_style = world.sim.receive_style = SIM_WHOLE;
    for (int i = 0; i < 400; i++) {
        sim_world_round(&world, sim_world_act);
        late += come_late() ? 1 : 0;
    }
    for (uint32_t i = 0; i < world.site_count; i++) {
        const struct rlt_metrics *metrics = &world.sites[i].cluster->env.metrics;
        SIM_CHECK(&world.sim, rlt_counter_get(&metrics->lost_by_ping) == 0);
        SIM_CHECK(&world.sim, rlt_counter_get(&metrics->disconnects) == 0);
    }
    sim_world_heal(&world);
    sim_world_stop(&world);
    sim_world_end(&world);
    return late;
}

Test(sim, thread_that_is_late_leaves_no_server, .init = open_worlds, .fini = close_worlds)
{
    uint64_t first = env_number("RLT_SEED", 1);
    uint64_t count = env_number("RLT_SEEDS", getenv("RLT_SEED") != NULL ? 1 : LATE);
    uint64_t late = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        late += run_late(seed);
    }
    printf("sim: late %" PRIu64 " times in %" PRIu64 " worlds\n", late, count);
    cr_assert(count < LATE || late > LATE);
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
    begin(4);
    world.sim.faults = (struct sim_faults){0};
    world.sim.pace = 900;
    world.sites[0].transport.first_up = up;
    world.sites[0].transport.first_down = down;
    for (int i = 0; i < 40; i++) {
        sim_world_round(&world, sim_world_act);
    }
    sim_world_heal(&world);
    sim_world_stop(&world);
    sim_world_end(&world);
}

Test(sim, connection_may_break_at_every_byte_of_either_direction, .init = open_worlds,
     .fini = close_worlds)
{
    for (uint64_t offset = 0; offset < 1500; offset++) {
        run_cut(offset, UINT64_MAX);
        run_cut(UINT64_MAX, offset);
    }
}
