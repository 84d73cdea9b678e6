/* SPDX-License-Identifier: MIT */
#include "sim/sim_world.h"

#include <stdlib.h>
#include <string.h>

#include "base/defs.h"
#include "support/test.h"

/* Of a cluster, in a round: all that there are, as core/cluster/cluster.h demands. */
#define EVENTS_MAX 64
/* Faults are over: within this time everything must be well. */
#define HEAL_NS (60 * RLT_NS_PER_S)
#define STOP_NS (10 * RLT_NS_PER_S)
/* Rounds of an event thread that neither sleeps nor gets an event. */
#define SPINS_MAX 1000

/* ---- Beginning ---------------------------------------------------------------------------- */

static void on_signal(void *context, int descriptor)
{
    sim_subscribers_on_signal(&((struct sim_site *)context)->subscribers, descriptor);
}

static void on_received(void *context, uint32_t slot)
{
    sim_subscribers_on_received(&((struct sim_site *)context)->subscribers, slot);
}

static void on_wake(void *context, _Atomic(uint32_t) *word)
{
    sim_publishers_on_wake(&((struct sim_site *)context)->publishers, word);
}

/* No subscriber is in the middle of a receive. */
static void bring_home(struct rlt_loan *loan)
{
    cr_assert(rlt_loan_recall(loan));
}

static void on_stopped(void *context, uint32_t index)
{
    struct sim_world *world = context;
    SIM_CHECK(&world->sim, !world->sites[index].stopped, "told twice");
    world->sites[index].stopped = true;
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
    faults->stall /= 10;
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
        .stall = random_rate(sim, 15),
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
        .deny = random_rate(sim, 300),
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
    if (sim->faults.pong == 0 && sim->faults.lame == 0) {
        sim->faults.limit = random_rate(sim, 300);
    }
}

static void random_config(struct sim_world *world)
{
    struct sim *sim = &world->sim;
    world->config = (struct rlt_config){
        .connection_timeout_ns = 2 * RLT_NS_PER_S,
        .ping_interval_ns = RLT_NS_PER_S,
        .reconnect_interval_ns = 100 * RLT_NS_PER_MS,
        .base_backoff_ms = 10,
        .max_backoff_ms = 2000,
        .max_ping_failure = 1 + (uint32_t)sim_below(sim, 3),
        .held_back_max_ns = sim_below(sim, 2) * sim_below(sim, 15 * RLT_NS_PER_S),
        .confirm_ns = sim_below(sim, 4) == 0 ? 0 : 1 + sim_below(sim, 100 * RLT_NS_PER_MS),
        .max_retry = 1 + (uint32_t)sim_below(sim, 6),
        .restart = sim_below(sim, 3) == 0 ? ROULETTE_RESTART_TEMPORARY : ROULETTE_RESTART_PERMANENT,
        .pool_size = 1 + (uint32_t)sim_below(sim, SIM_POOL_MAX),
        .guarantee = sim_below(sim, 2) == 0 ? ROULETTE_AT_LEAST_ONCE : ROULETTE_AT_MOST_ONCE,
        .lane_capacity = 65536,
        .slab_bytes = 131072,
        .slab_count = world->slabs_more + 4 + (uint32_t)sim_below(sim, 5),
        .name = "simulation",
        .tls = sim_below(sim, 4) == 0,
        .tls_first = sim_below(sim, 2) == 0,
    };
    world->address = (struct rlt_address){.host = "sim", .port = 4222, .label = "sim:4222"};
}

/* Copies that come later than a handover lingers are delivered twice. */
void sim_world_keep_up(struct sim *sim)
{
    sim->send_style = SIM_RANDOM;
    sim->receive_style = SIM_RANDOM;
    sim->pace = 600 + (uint32_t)sim_below(sim, 401);
}

static void begin_site(struct sim_site *site, uint32_t index, uint64_t seed)
{
    struct sim_world *world = site->world;
    struct sim *sim = &world->sim;
    site->stopped = false;
    site->well = false;
    site->network.next_number = 1;
    site->network.last_len = 0;
    site->network.last_message = 0;
    memset(site->network.last_way, 0, sizeof(site->network.last_way));
    memset(site->network.refused, 0, sizeof(site->network.refused));
    memset(site->network.refusals_read, 0, sizeof(site->network.refusals_read));
    site->network.slanders_read = 0;
    site->subscribers.network = &site->network;
    sim_transport_reset(&site->transport, sim, rlt_cluster_slot_count(&world->config));
    cr_assert_eq(rlt_cluster_create(&world->config, &world->address, index,
                                    &site->transport.transport, seed, &site->cluster),
                 0);
    for (uint32_t i = 0; i < SIM_SLOTS_MAX; i++) {
        struct sim_server *server = &site->transport.slots[i].server;
        server->on_publish = sim_publishers_on_publish;
        server->context = &site->publishers;
        server->network = &site->network;
        server->lied = false;
        server->sub_count = 0;
        server->out_len = 0;
        server->record_count = 0;
        server->ended = false;
        server->routed_count = 0;
    }
    sim_publishers_begin(&site->publishers, sim, site->cluster, &site->transport);
    sim_subscribers_begin(&site->subscribers, sim, site->cluster, &site->transport);
    rlt_loop_add(&world->loop, site->cluster);
}

static void random_style(struct sim *sim)
{
    sim->send_style = (enum sim_style)sim_below(sim, SIM_STYLES);
    sim->receive_style = (enum sim_style)sim_below(sim, SIM_STYLES);
    sim->pace = 200 + (uint32_t)sim_below(sim, 801);
    sim->max_payload = 1048576;
    sim->lag = random_rate(sim, 200);
    sim->alike = random_rate(sim, 1000);
    if (sim->faults.lame != 0) {
        sim_world_keep_up(sim);
    }
}

void sim_world_begin(struct sim_world *world, uint64_t seed)
{
    struct sim *sim = &world->sim;
    *sim = (struct sim){
        .seed = seed,
        .random = {seed},
        .now_ns = 1000 * RLT_NS_PER_S,
        .round_ns = 100 * RLT_NS_PER_US,
        .trace = UINT64_C(0xcbf29ce484222325),
    };
    random_faults(sim);
    random_style(sim);
    random_config(world);
    sim->tls = world->config.tls;
    sim->tls_first = world->config.tls_first;
    if (world->config.restart == ROULETTE_RESTART_TEMPORARY) {
        sim->faults.limit = 0; /* what is made again ends then, in the middle of a stream */
    }
    world->spins = 0;
    world->busyness = 1 + (uint32_t)sim_below(sim, 12);
    world->loop = (struct rlt_loop){
        .entries = world->entries,
        .bring_home = bring_home,
        .on_stopped = on_stopped,
        .context = world,
    };
    /* As many worlds of one cluster as of several. */
    world->site_count =
        sim_below(sim, 2) == 0 ? 1 : 2 + (uint32_t)sim_below(sim, SIM_CLUSTERS_MAX - 1);
    for (uint32_t i = 0; i < world->site_count; i++) {
        begin_site(&world->sites[i], i, seed + i);
    }
    rlt_loop_start(&world->loop, sim->now_ns);
}

/* ---- One round ---------------------------------------------------------------------------- */

static struct sim_site *random_site(struct sim_world *world)
{
    return &world->sites[sim_below(&world->sim, world->site_count)];
}

static enum rlt_loop_state state_of(const struct sim_site *site)
{
    return site->world->entries[site - site->world->sites].state;
}

/* The other threads go on. */
void sim_world_act(struct sim_world *world)
{
    static const uint32_t limits[] = {0, 64, 1000, 1048576};
    struct sim *sim = &world->sim;
    for (uint64_t i = sim_below(sim, world->busyness + 1); i != 0; i--) {
        struct sim_site *site = random_site(world);
        if (sim_below(sim, 2) == 0) {
            sim_publishers_step(&site->publishers);
        } else {
            sim_subscribers_step(&site->subscribers);
        }
    }
    if (sim_below(sim, 60) == 0) {
        sim_publishers_flush(&random_site(world)->publishers, sim_below(sim, 2) == 0);
    }
    if (sim_chance(sim, sim->faults.info)) {
        sim->max_payload = limits[sim_below(sim, 4)];
    }
}

/* What a sleeping event thread has sent, or lets others send, has a PING, or soon. */
static void check_confirms(struct sim_site *site, const struct rlt_sender *sender)
{
    struct sim *sim = &site->world->sim;
    uint64_t wait_ns = site->world->config.confirm_ns;
    if (wait_ns == 0 || sender->keep || sender->batch.count != 0 ||
        sender->sent == sender->confirmed || sender->pings.count != 0) {
        return;
    }
    uint64_t due_ns = sender->confirm_timer.due_ns;
    SIM_CHECK(sim, due_ns <= sim->now_ns + wait_ns + 1, "a message is not to be confirmed");
    SIM_CHECK(sim, rlt_loop_deadline(&site->world->loop) <= due_ns, "a PING is missed");
    site->network.sights[sender->lent ? SIM_SIGHT_CONFIRM_LENT : SIM_SIGHT_CONFIRM]++;
}

/* A cluster that sleeps and that nobody has rung for has nothing to do. */
static void check_nothing_missed(struct sim_site *site)
{
    struct sim *sim = &site->world->sim;
    SIM_CHECK(sim, rlt_stack_is_empty(&site->cluster->commands), "a command is missed");
    for (uint32_t i = 0; i < site->world->config.pool_size; i++) {
        struct rlt_connection *connection = site->cluster->paths[i].active;
        const struct sim_slot *slot = &site->transport.slots[connection->slot];
        SIM_CHECK(sim,
                  slot->closing || (connection->watched == slot->watched &&
                                    connection->receiving == slot->receive.in_progress),
                  "core and transport differ");
        SIM_CHECK(sim, !connection->left_over || site->subscribers.call_due,
                  "what was left over is missed");
        uint32_t state = atomic_load_explicit(&connection->wire->state, memory_order_relaxed);
        SIM_CHECK(sim,
                  state != RLT_WIRE_UNREACHABLE || rlt_wire_queue_bytes(connection->wire) != 0 ||
                      connection->sender.pings.waiting == NULL,
                  "a flush waits for nothing");
        if (sim_publishers_are_at(&site->publishers, i)) {
            continue;
        }
        if (connection->session.state == RLT_SESSION_READY) {
            check_confirms(site, &connection->sender);
        }
        SIM_CHECK(sim, !connection->sender.lent || !rlt_loan_is_home(&site->cluster->paths[i].loan),
                  "what was given back is missed");
        SIM_CHECK(sim,
                  (!rlt_connection_wants_lanes(connection) && !connection->sender.lent) ||
                      rlt_wire_queue_is_empty(connection->wire),
                  "a message is missed");
    }
}

struct batch {
    uint32_t count;
    struct rlt_io_event events[EVENTS_MAX];
};

/* Those that are asleep, and have no events. */
static void check_sleepers(struct sim_world *world, const struct batch *batches)
{
    for (uint32_t i = 0; i < world->site_count; i++) {
        if (world->entries[i].state == RLT_LOOP_ASLEEP && batches[i].count == 0) {
            struct sim_site *site = &world->sites[i];
            check_nothing_missed(site);
            SIM_CHECK(&world->sim,
                      rlt_loop_deadline(&world->loop) <= rlt_cluster_deadline(site->cluster),
                      "a timer is missed");
        }
    }
}

/* What has ended on the transport of a cluster; its servers may `act`. */
static void collect(struct sim_site *site, bool act, struct batch *batch)
{
    batch->count = 0;
    sim_transport_step(&site->transport, act);
    while (batch->count < EVENTS_MAX &&
           sim_transport_next(&site->transport, &batch->events[batch->count])) {
        batch->count++;
    }
    SIM_CHECK(&site->world->sim, batch->count == 0 || state_of(site) != RLT_LOOP_STOPPED,
              "an event behind the end");
}

static void deliver(struct sim_site *site, const struct batch *batch)
{
    struct sim_world *world = site->world;
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct rlt_io_event *event = &batch->events[i];
        sim_subscribers_before_event(&site->subscribers, event);
        rlt_loop_on_event(&world->loop, (uint32_t)(site - world->sites), event, world->sim.now_ns);
        sim_subscribers_check(&site->subscribers);
        if (event->kind == RLT_IO_CLOSED) {
            sim_publishers_on_closed(&site->publishers, event->slot);
        }
        sim_publishers_check(&site->publishers);
    }
}

/* The event thread works until it wants to sleep, or is through. */
static void run(struct sim_world *world, void (*others)(struct sim_world *))
{
    bool ran[SIM_CLUSTERS_MAX];
    others(world);
    for (uint32_t i = 0; i < world->site_count; i++) {
        ran[i] = world->entries[i].state == RLT_LOOP_AWAKE;
        if (ran[i]) {
            sim_publishers_before_run(&world->sites[i].publishers);
        }
    }
    rlt_loop_step(&world->loop, world->sim.now_ns);
    for (uint32_t i = 0; i < world->site_count; i++) {
        struct sim_site *site = &world->sites[i];
        SIM_CHECK(&world->sim, site->stopped == rlt_cluster_is_stopped(site->cluster) &&
                                   site->stopped == (state_of(site) == RLT_LOOP_STOPPED));
        if (ran[i]) {
            sim_publishers_check(&site->publishers);
        }
    }
    if (!rlt_loop_is_over(&world->loop)) {
        others(world);
        world->sim.sleeping = rlt_loop_may_sleep(&world->loop);
    }
}

/* Whether the event thread's wait ends because another thread has ended it. */
static bool was_woken(struct sim *sim)
{
    if (sim->signals_due != 0 && sim_below(sim, 2) == 0) {
        sim->signals_due--;
        sim->signalled = true;
    }
    bool woken = sim->signalled;
    sim->signalled = false;
    return woken;
}

/* It sleeps, and nothing has woken it. Returns: whether it goes on sleeping. */
static bool sleep_on(struct sim_world *world, const struct batch *batches)
{
    struct sim *sim = &world->sim;
    if (sim->signals_due == 0) {
        check_sleepers(world, batches);
    }
    uint64_t deadline_ns = rlt_loop_deadline(&world->loop);
    uint64_t left_ns = deadline_ns > sim->now_ns ? deadline_ns - sim->now_ns : 0;
    uint64_t most_ns = sim->signals_due == 0 ? 50 * RLT_NS_PER_MS : sim->round_ns;
    sim->now_ns += rlt_min_u64(left_ns, sim_below(sim, most_ns));
    return sim->now_ns < deadline_ns;
}

static void awake(struct sim_world *world, bool woken, const struct batch *batches)
{
    world->sim.sleeping = false;
    rlt_loop_awake(&world->loop, woken, world->sim.now_ns);
    check_sleepers(world, batches);
    for (uint32_t i = 0; i < world->site_count; i++) {
        if (world->entries[i].state == RLT_LOOP_AWAKE) {
            sim_subscribers_check(&world->sites[i].subscribers);
        }
    }
}

void sim_world_round(struct sim_world *world, void (*others)(struct sim_world *))
{
    struct sim *sim = &world->sim;
    if (!world->sim.sleeping) {
        run(world, others);
        if (rlt_loop_is_over(&world->loop)) {
            return;
        }
    }
    others(world);
    struct batch batches[SIM_CLUSTERS_MAX];
    uint32_t count = 0;
    /* One at a time, so that there is as much to do as with one cluster. */
    const struct sim_site *actor = random_site(world);
    for (uint32_t i = 0; i < world->site_count; i++) {
        struct sim_site *site = &world->sites[i];
        collect(site, site == actor && !site->well, &batches[i]);
        count += batches[i].count;
    }
    bool rests = world->sim.sleeping && rlt_loop_deadline(&world->loop) > sim->now_ns;
    world->spins = rests || count != 0 ? 0 : world->spins + 1;
    SIM_CHECK(sim, world->spins < SPINS_MAX, "the event thread spins");
    bool woken = was_woken(sim);
    if (world->sim.sleeping && count == 0 && !woken && sleep_on(world, batches)) {
        return;
    }
    sim->now_ns += sim_below(sim, sim->round_ns);
    awake(world, woken, batches);
    for (uint32_t i = 0; i < world->site_count; i++) {
        deliver(&world->sites[i], &batches[i]);
    }
}

/* ---- After the faults --------------------------------------------------------------------- */

static void drain(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->site_count; i++) {
        sim_subscribers_drain(&world->sites[i].subscribers);
    }
}

static void settle(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->site_count; i++) {
        sim_publishers_settle(&world->sites[i].publishers);
    }
}

static const char *ailment_of_connection(struct sim_site *site, uint32_t path)
{
    const struct rlt_connection *connection = site->cluster->paths[path].active;
    if (site->cluster->paths[path].handover.phase != RLT_HANDOVER_NONE) {
        return "a handover goes on";
    }
    if (connection->session.state != RLT_SESSION_READY) {
        return "a connection is not ready";
    }
    if (connection->pending->first != NULL) {
        return "a subscription is not told to the server";
    }
    if (connection->sender.batch.count != 0 || !rlt_wire_queue_is_empty(connection->wire)) {
        return "a message is not sent";
    }
    bool confirms = connection->sender.keep || site->world->config.confirm_ns != 0;
    if (confirms && connection->sender.sent != connection->sender.confirmed) {
        return "a message is not confirmed";
    }
    return NULL;
}

static const char *ailment_of_site(struct sim_site *site)
{
    const char *ailment = NULL;
    for (uint32_t i = 0; i < site->world->config.pool_size && ailment == NULL; i++) {
        ailment = ailment_of_connection(site, i);
    }
    for (uint32_t i = 0; i < site->publishers.count && ailment == NULL; i++) {
        ailment = site->publishers.publishers[i].asleep != NULL ? "a publisher sleeps" : NULL;
    }
    return ailment != NULL                                    ? ailment
           : site->publishers.flush_count != 0                ? "a flush waits"
           : !sim_subscribers_are_settled(&site->subscribers) ? "a message or notice is not told"
           : !sim_subscribers_agree(&site->subscribers)       ? "a server has other subscriptions"
                                                              : NULL;
}

/* What is not well yet; NULL: all is. Clusters that are well wait for the others. */
static const char *ailment(struct sim_world *world)
{
    const char *first = NULL;
    for (uint32_t i = 0; i < world->site_count; i++) {
        const char *ailment = ailment_of_site(&world->sites[i]);
        world->sites[i].well = ailment == NULL;
        first = first != NULL ? first : ailment;
    }
    return first;
}

static void check_healed(const struct sim_site *site)
{
    const struct sim *sim = &site->world->sim;
    const struct rlt_metrics *metrics = &site->cluster->env.metrics;
    SIM_CHECK(sim, rlt_counter_get(&metrics->connected) == site->world->config.pool_size);
    struct roulette_ledger ledger;
    rlt_cluster_ledger(site->cluster, false, &ledger);
    SIM_CHECK(sim,
              ledger.confirmed + ledger.in_doubt + ledger.failed + ledger.denied == ledger.accepted,
              "%lu + %lu + %lu + %lu of %lu", ledger.confirmed, ledger.in_doubt, ledger.failed,
              ledger.denied, ledger.accepted);
}

/* From now on nothing goes wrong. */
static void end_faults(struct sim *sim)
{
    sim->faults = (struct sim_faults){0};
    sim->pace = 500 + sim->pace / 2;
    /* A trickle alone would take longer than that. */
    sim->send_style = SIM_RANDOM;
    sim->receive_style = SIM_RANDOM;
    sim->max_payload = 1048576;
    sim->lag = 0;
    /* Nor would what is queued go in that time, a few bytes in each round. */
    sim->round_ns = 100 * RLT_NS_PER_US;
}

/* All must be well soon, and all of the ledgers settled. */
void sim_world_heal(struct sim_world *world)
{
    struct sim *sim = &world->sim;
    end_faults(sim);
    settle(world);
    uint64_t deadline_ns = sim->now_ns + HEAL_NS;
    /* The first flush may fail with a connection that is dead already. */
    for (int flushes = 0; flushes < 2; flushes++) {
        do {
            sim_world_round(world, drain);
            SIM_CHECK(sim, sim->now_ns < deadline_ns, "no progress: %s", ailment(world));
        } while (ailment(world) != NULL);
        for (uint32_t i = 0; i < world->site_count && flushes == 0; i++) {
            sim_publishers_flush(&world->sites[i].publishers, false);
        }
    }
    for (uint32_t i = 0; i < world->site_count; i++) {
        check_healed(&world->sites[i]);
    }
}

/* One cluster after the other is told to stop. */
void sim_world_stop(struct sim_world *world)
{
    struct sim *sim = &world->sim;
    settle(world);
    uint64_t deadline_ns = sim->now_ns + STOP_NS;
    uint32_t told = 0;
    while (!rlt_loop_is_over(&world->loop)) {
        while (told < world->site_count && sim_below(sim, 2) == 0) {
            struct rlt_cluster *cluster = world->sites[told++].cluster;
            sim_wake_thread(sim, rlt_cluster_submit(cluster, &cluster->stop));
        }
        sim_world_round(world, drain);
        SIM_CHECK(sim, sim->now_ns < deadline_ns, "it does not stop");
    }
}

static void end_site(struct sim_site *site)
{
    struct sim *sim = &site->world->sim;
    const struct rlt_metrics *metrics = &site->cluster->env.metrics;
    SIM_CHECK(sim, rlt_counter_get(&metrics->connected) == 0);
    SIM_CHECK(sim, rlt_counter_get(&metrics->subscriptions) == 0);
    sim_publishers_end(&site->publishers);
    sim_subscribers_end(&site->subscribers);
    /* All references were given back. */
    struct rlt_slab *slab = rlt_slab_acquire(&site->cluster->exchange.slabs);
    SIM_CHECK(sim, slab != NULL);
    rlt_slab_settle(slab);
    SIM_CHECK(sim, rlt_slab_pool_in_use(&site->cluster->exchange.slabs) == 0);
    struct roulette_ledger ledger;
    rlt_cluster_ledger(site->cluster, true, &ledger);
    sim_trace(sim, ledger.confirmed);
    sim_trace(sim, ledger.in_doubt);
    sim_trace(sim, ledger.failed);
    for (size_t i = 0; i < SIM_COUNTERS; i++) {
        site->world->totals[i] += rlt_counter_get((const rlt_counter *)metrics + i);
    }
    rlt_cluster_destroy(site->cluster);
}

void sim_world_end(struct sim_world *world)
{
    for (uint32_t i = 0; i < world->site_count; i++) {
        end_site(&world->sites[i]);
    }
    sim_trace(&world->sim, world->sim.now_ns);
}

/* ---- Life --------------------------------------------------------------------------------- */

void sim_world_create(struct sim_world *world)
{
    for (uint32_t i = 0; i < SIM_CLUSTERS_MAX; i++) {
        struct sim_site *site = &world->sites[i];
        site->world = world;
        sim_transport_create(&site->transport);
        site->transport.on_signal = on_signal;
        site->transport.on_wake = on_wake;
        site->transport.on_received = on_received;
        site->transport.context = site;
        sim_subscribers_create(&site->subscribers);
        site->network.copies = malloc(SIM_COPIES_MAX * sizeof(struct sim_copy));
    }
}

void sim_world_destroy(struct sim_world *world)
{
    for (uint32_t i = 0; i < SIM_CLUSTERS_MAX; i++) {
        sim_transport_destroy(&world->sites[i].transport);
        sim_subscribers_destroy(&world->sites[i].subscribers);
        free(world->sites[i].network.copies);
    }
}
