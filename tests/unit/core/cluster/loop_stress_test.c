/* SPDX-License-Identifier: MIT */
/*
 * Threads that want clusters of one loop, while the loop's thread falls asleep.
 */
#include <stdalign.h>

#include "core/cluster/loop.h"
#include "core/sending/fence.h"
#include "io/wake/park.h"
#include "roulette.h"
#include "unit/lockfree/stress.h"

/* So many that a look at all of them takes its time. */
#define CLUSTERS 64
#define RINGERS  3
/* What wakes the thread is there long before that. */
#define LONG_MS 20000

struct site {
    struct rlt_transport transport;
    struct rlt_cluster *cluster;
    bool closing;
};

static struct site sites[CLUSTERS];
static struct rlt_loop loop;
static struct rlt_loop_entry entries[CLUSTERS];
static struct rlt_config config;
static struct rlt_address address = {.host = "test", .port = 4222, .label = "test:4222"};

/* ---- Clusters that never come to anything ------------------------------------------------- */

static void open_slot(struct rlt_transport *transport, uint32_t slot, const char *host,
                      uint16_t port)
{
    (void)transport;
    (void)slot;
    (void)host;
    (void)port;
}

static void close_slot(struct rlt_transport *transport, uint32_t slot)
{
    cr_assert_eq(slot, 0);
    rlt_container_of(transport, struct site, transport)->closing = true;
}

static void wake_word(struct rlt_transport *transport, _Atomic(uint32_t) *word)
{
    (void)transport;
    (void)word;
}

static const struct rlt_transport_ops ops = {
    .name = "test",
    .open = open_slot,
    .close = close_slot,
    .wake = wake_word,
};

static void bring_home(struct rlt_loan *loan)
{
    cr_assert(rlt_loan_recall(loan));
}

static void on_stopped(void *context, uint32_t index)
{
    (void)context;
    (void)index;
}

static bool is_any_closing(void)
{
    bool any = false;
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        any = any || sites[i].closing;
    }
    return any;
}

static void deliver_closes(void)
{
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        if (sites[i].closing) {
            struct rlt_io_event event = {.kind = RLT_IO_CLOSED};
            sites[i].closing = false;
            rlt_loop_on_event(&loop, i, &event, rlt_clock_ns());
        }
    }
}

static void open_all(void)
{
    config = (struct rlt_config){
        .connection_timeout_ns = 3600 * RLT_NS_PER_S,
        .ping_interval_ns = 3600 * RLT_NS_PER_S,
        .max_retry = 3,
        .pool_size = 1,
        .lane_capacity = 65536,
        .slab_bytes = 131072,
        .slab_count = 4,
        .name = "test",
    };
    loop = (struct rlt_loop){
        .entries = entries,
        .bring_home = bring_home,
        .on_stopped = on_stopped,
    };
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        sites[i].transport.ops = &ops;
        cr_assert_eq(
            rlt_cluster_create(&config, &address, i, &sites[i].transport, i, &sites[i].cluster), 0);
        rlt_loop_add(&loop, sites[i].cluster);
    }
    rlt_loop_start(&loop, rlt_clock_ns());
}

/* The thread is awake: let all clusters fall asleep. */
static void settle(void)
{
    do {
        rlt_loop_awake(&loop, false, rlt_clock_ns());
        rlt_loop_step(&loop, rlt_clock_ns());
    } while (!rlt_loop_may_sleep(&loop));
    rlt_loop_awake(&loop, false, rlt_clock_ns());
}

static void close_all(void)
{
    for (uint32_t i = 0; i < CLUSTERS && !sites[i].cluster->env.stopping; i++) {
        (void)rlt_cluster_submit(sites[i].cluster, &sites[i].cluster->stop);
    }
    while (!rlt_loop_is_over(&loop)) {
        rlt_loop_awake(&loop, false, rlt_clock_ns());
        deliver_closes();
        rlt_loop_step(&loop, rlt_clock_ns());
    }
    for (uint32_t i = 0; i < CLUSTERS; i++) {
        rlt_cluster_destroy(sites[i].cluster);
    }
}

#define StressTest(name) Test(loop_stress, name, .init = open_all, .fini = close_all)

/* ---- Threads ------------------------------------------------------------------------------ */

struct race {
    int descriptor; /* the loop's thread sleeps on it */
    uint64_t rounds;
    uint64_t sleeps;
    _Atomic(uint32_t) ringers; /* that have not ended */
};

struct ringer {
    struct race *race;
    uint64_t seed;
};

static void submit(struct race *race, struct rlt_cluster *cluster, struct rlt_command *command)
{
    if (rlt_cluster_submit(cluster, command)) {
        rlt_park_descriptor_signal(race->descriptor);
    }
}

/* Until the loop has carried it out. */
static void await(struct rlt_fence *fence)
{
    uint64_t deadline_ns = rlt_clock_deadline(LONG_MS);
    while (atomic_load_explicit(&fence->done, memory_order_acquire) == 0) {
        stress_check(rlt_clock_ns() < deadline_ns);
        (void)sched_yield();
    }
}

/* The last one stops all clusters. */
static void end_ringer(struct race *race)
{
    if (atomic_fetch_sub_explicit(&race->ringers, 1, memory_order_acq_rel) == 1) {
        for (uint32_t i = 0; i < CLUSTERS; i++) {
            submit(race, sites[i].cluster, &sites[i].cluster->stop);
        }
    }
}

static void *want_clusters(void *argument)
{
    struct ringer *ringer = argument;
    struct rlt_random random = {.state = ringer->seed};
    for (uint64_t i = 0; i < ringer->race->rounds; i++) {
        struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_SYNC);
        submit(ringer->race, sites[rlt_random_below(&random, CLUSTERS)].cluster,
               &fence->parts[0].command);
        await(fence);
        rlt_fence_release(fence);
    }
    end_ringer(ringer->race);
    return NULL;
}

/* As the event thread does. Each sleep must be ended by a ringer, and not by its deadline. */
static void serve(struct race *race)
{
    for (;;) {
        rlt_loop_step(&loop, rlt_clock_ns());
        if (rlt_loop_is_over(&loop)) {
            return;
        }
        bool sleeps = rlt_loop_may_sleep(&loop) && !is_any_closing();
        if (sleeps) {
            struct rlt_park_entry entry = {.descriptor = race->descriptor};
            stress_check(rlt_park_descriptors_wait(&entry, 1, rlt_clock_deadline(LONG_MS)));
            rlt_park_descriptor_clear(race->descriptor);
            race->sleeps++;
        }
        rlt_loop_awake(&loop, sleeps, rlt_clock_ns());
        deliver_closes();
    }
}

StressTest(no_wake_is_lost)
{
    struct race race = {.rounds = 20000 / STRESS_SCALE, .ringers = RINGERS};
    struct ringer ringers[RINGERS];
    pthread_t threads[RINGERS];
    uint64_t seed = stress_seed("loop");
    race.descriptor = rlt_park_descriptor_create();
    cr_assert_geq(race.descriptor, 0);
    for (uint32_t i = 0; i < RINGERS; i++) {
        ringers[i] = (struct ringer){&race, seed * RINGERS + i};
        threads[i] = stress_start(want_clusters, &ringers[i]);
    }
    serve(&race);
    for (uint32_t i = 0; i < RINGERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_assert_gt(race.sleeps, 0);
    rlt_park_descriptor_destroy(race.descriptor);
}

/* ---- At the same time --------------------------------------------------------------------- */

struct encounter {
    struct stress_pair pair;
    struct rlt_cluster *cluster;
    alignas(RLT_CACHE_LINE) bool must_wake;
};

static void *ring(void *argument)
{
    struct encounter *encounter = argument;
    struct rlt_random random = {.state = 1};
    while (stress_round(&encounter->pair, 1, &random)) {
        encounter->must_wake = rlt_cluster_knock(encounter->cluster, RLT_WAKE_COMMANDS);
        stress_meet(&encounter->pair, 1);
    }
    return NULL;
}

StressTest(thread_sees_the_cluster_or_the_ringer_sees_the_thread)
{
    static struct encounter encounter;
    struct rlt_random random = {.state = 2};
    unsigned counts[2][2] = {{0}};
    stress_pair_init(&encounter.pair, 1000000);
    encounter.cluster = sites[0].cluster; /* the first that is looked at */
    settle();
    pthread_t ringer = stress_start(ring, &encounter);
    while (stress_round(&encounter.pair, 0, &random)) {
        bool sleeps = rlt_loop_may_sleep(&loop);
        stress_meet(&encounter.pair, 0);
        cr_assert(!sleeps || encounter.must_wake);
        counts[!sleeps][encounter.must_wake]++;
        settle();
    }
    cr_assert_eq(pthread_join(ringer, NULL), 0);
    printf("loop: the thread saw it %u times, the ringer %u, both %u\n", counts[1][0], counts[0][1],
           counts[1][1]);
}

static void *give_back(void *argument)
{
    struct encounter *encounter = argument;
    struct rlt_random random = {.state = 3};
    while (stress_round(&encounter->pair, 1, &random)) {
        rlt_loan_bring_home(&encounter->cluster->paths[0].loan);
        rlt_cluster_call(encounter->cluster);
        stress_meet(&encounter->pair, 1);
    }
    return NULL;
}

StressTest(cluster_sees_what_is_given_back_or_is_called)
{
    static struct encounter encounter;
    struct rlt_random random = {.state = 4};
    unsigned seen = 0;
    unsigned rounds = 0;
    stress_pair_init(&encounter.pair, 1000000);
    struct rlt_cluster *cluster = encounter.cluster = sites[0].cluster;
    settle();
    rlt_cluster_awake(cluster, rlt_clock_ns());
    atomic_store_explicit(&cluster->paths[0].loan.state, RLT_LOAN_RECALLED, memory_order_relaxed);
    cluster->paths[0].active->sender.lent = true;
    pthread_t borrower = stress_start(give_back, &encounter);
    while (stress_round(&encounter.pair, 0, &random)) {
        rlt_cluster_arm(cluster);
        atomic_thread_fence(memory_order_seq_cst);
        bool sleeps = !rlt_cluster_has_work(cluster);
        stress_meet(&encounter.pair, 0);
        cr_assert(!sleeps || !rlt_doorbell_is_untouched(&cluster->doorbell));
        rlt_cluster_awake(cluster, rlt_clock_ns());
        cr_assert_not(cluster->paths[0].active->sender.lent);
        atomic_store_explicit(&cluster->paths[0].loan.state, RLT_LOAN_RECALLED,
                              memory_order_relaxed);
        cluster->paths[0].active->sender.lent = true;
        seen += sleeps ? 0 : 1;
        rounds++;
    }
    cr_assert_eq(pthread_join(borrower, NULL), 0);
    cluster->paths[0].active->sender.lent = false;
    atomic_store_explicit(&cluster->paths[0].loan.state, RLT_LOAN_HOME, memory_order_relaxed);
    printf("loop: it saw what was given back in %u of %u rounds\n", seen, rounds);
}
