/* SPDX-License-Identifier: MIT */
#include "lockfree/doorbell.h"

#include <stdalign.h>

#include "io/system/barrier.h"
#include "io/system/clock.h"
#include "io/wake/park.h"
#include "support/test.h"
#include "unit/lockfree/stress.h"

enum { LANES = 1, COMMANDS = 2 };

Test(doorbell, awake_sleeper_needs_no_wake)
{
    struct rlt_doorbell doorbell = {0};
    cr_assert_not(rlt_doorbell_knock(&doorbell, LANES));
    rlt_doorbell_arm(&doorbell, LANES);
    rlt_doorbell_disarm(&doorbell);
    cr_assert_not(rlt_doorbell_knock(&doorbell, LANES));
}

Test(doorbell, one_of_several_ringers_must_wake)
{
    struct rlt_doorbell doorbell = {0};
    rlt_doorbell_arm(&doorbell, LANES | COMMANDS);
    cr_assert(rlt_doorbell_knock(&doorbell, LANES));
    cr_assert_not(rlt_doorbell_knock(&doorbell, LANES));
    cr_assert_not(rlt_doorbell_knock(&doorbell, COMMANDS), "the sleeper is woken already");
    rlt_doorbell_arm(&doorbell, LANES);
    cr_assert(rlt_doorbell_knock(&doorbell, LANES));
}

Test(doorbell, ring_without_interest_leaves_it_armed)
{
    struct rlt_doorbell doorbell = {0};
    rlt_doorbell_arm(&doorbell, COMMANDS);
    cr_assert_not(rlt_doorbell_knock(&doorbell, LANES));
    cr_assert(rlt_doorbell_knock(&doorbell, COMMANDS));
}

/* ---- Threads ------------------------------------------------------------------------------ */

#define RINGERS_MAX 4

struct race {
    struct rlt_doorbell doorbell;
    _Atomic(uint64_t) put[RINGERS_MAX]; /* each ringer's queue: how much it ever put in */
    _Atomic(uint64_t) taken;
    _Atomic(uint32_t) done;
    _Atomic(uint64_t) sleeps;
    unsigned ringers;
    uint64_t rounds; /* of each ringer */
    uint32_t interest_of[RINGERS_MAX];
    int descriptor;
};

struct ringer {
    struct race *race;
    unsigned number;
};

static bool wait_for(int descriptor, uint64_t deadline_ns)
{
    struct rlt_park_entry entry = {.descriptor = descriptor};
    return rlt_park_descriptors_wait(&entry, 1, deadline_ns);
}

static uint64_t total_put(struct race *race)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < race->ringers; i++) {
        total += atomic_load_explicit(&race->put[i], memory_order_acquire);
    }
    return total;
}

/* Relaxed stores and loads of the queues, so that only the doorbell's fences hold them together. */
static void *ring(void *argument)
{
    struct ringer *ringer = argument;
    struct race *race = ringer->race;
    for (uint64_t i = 1; i <= race->rounds; i++) {
        atomic_store_explicit(&race->put[ringer->number], i, memory_order_relaxed);
        if (rlt_doorbell_knock(&race->doorbell, LANES)) {
            rlt_park_descriptor_signal(race->descriptor);
        }
        /* Let the sleeper fall asleep now and then. */
        while (i % 4 == 0 &&
               atomic_load_explicit(&race->taken, memory_order_relaxed) + 8 < total_put(race)) {
            (void)sched_yield();
        }
    }
    return NULL;
}

/** Take until everything was taken. Each sleep must be ended by a ringer, and not by its deadline.
 */
static void take_all(struct race *race)
{
    uint64_t expected = race->ringers * race->rounds;
    uint64_t taken = 0;
    while (taken < expected) {
        uint64_t put = total_put(race);
        if (put != taken) {
            taken = put;
            atomic_store_explicit(&race->taken, taken, memory_order_relaxed);
            continue;
        }
        rlt_doorbell_arm(&race->doorbell, LANES);
        if (total_put(race) == taken) {
            stress_check(wait_for(race->descriptor, rlt_clock_deadline(20000)));
            rlt_park_descriptor_clear(race->descriptor);
            race->sleeps++;
        }
        rlt_doorbell_disarm(&race->doorbell);
    }
}

Test(doorbell, no_wake_is_lost)
{
    struct race race = {.ringers = 3, .rounds = 70000 / STRESS_SCALE};
    struct ringer ringers[RINGERS_MAX];
    pthread_t threads[RINGERS_MAX];
    race.descriptor = rlt_park_descriptor_create();
    cr_assert_geq(race.descriptor, 0);
    for (unsigned i = 0; i < race.ringers; i++) {
        ringers[i] = (struct ringer){&race, i};
        threads[i] = stress_start(ring, &ringers[i]);
    }
    take_all(&race);
    for (unsigned i = 0; i < race.ringers; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_assert_gt(race.sleeps, 0);
    rlt_park_descriptor_destroy(race.descriptor);
}

/* ---- At the same time --------------------------------------------------------------------- */

struct encounter {
    struct stress_pair pair;
    struct rlt_doorbell doorbell;
    alignas(RLT_CACHE_LINE) _Atomic(uint64_t) queue;
    bool must_wake;
};

static void *put_and_ring(void *argument)
{
    struct encounter *encounter = argument;
    struct rlt_random random = {.state = 1};
    for (uint64_t i = 1; stress_round(&encounter->pair, 1, &random); i++) {
        atomic_store_explicit(&encounter->queue, i, memory_order_relaxed);
        encounter->must_wake = rlt_doorbell_knock(&encounter->doorbell, LANES);
        stress_meet(&encounter->pair, 1);
    }
    return NULL;
}

static void arm(struct rlt_doorbell *doorbell, bool asymmetric)
{
    if (asymmetric) {
        rlt_doorbell_arm_unfenced(doorbell, LANES);
        cr_assert(rlt_barrier_execute());
    } else {
        rlt_doorbell_arm(doorbell, LANES);
    }
}

static void meet(bool asymmetric, unsigned encounters)
{
    static struct encounter encounter;
    struct rlt_random random = {.state = 2};
    unsigned both = 0;
    unsigned rounds = 0;
    stress_pair_init(&encounter.pair, encounters);
    rlt_doorbell_set_asymmetric(&encounter.doorbell, asymmetric);
    pthread_t ringer = stress_start(put_and_ring, &encounter);
    for (uint64_t i = 1; stress_round(&encounter.pair, 0, &random); i++) {
        arm(&encounter.doorbell, asymmetric);
        bool seen = atomic_load_explicit(&encounter.queue, memory_order_relaxed) == i;
        stress_meet(&encounter.pair, 0);
        cr_assert(seen || encounter.must_wake, "round %u", (unsigned)i);
        both += seen && encounter.must_wake;
        rounds++;
        rlt_doorbell_disarm(&encounter.doorbell);
    }
    cr_assert_eq(pthread_join(ringer, NULL), 0);
    printf("doorbell: both saw the other in %u of %u rounds\n", both, rounds);
}

Test(doorbell, sleeper_sees_the_entry_or_the_ringer_sees_it_armed)
{
    meet(false, 1000000);
}

Test(doorbell, barrier_of_the_sleeper_stands_for_the_fence_of_the_ringer)
{
    if (!rlt_barrier_register()) {
        cr_skip_test("membarrier(2) is not to be had here");
    }
    meet(true, 300000);
}

/* ---- Interests that change ---------------------------------------------------------------- */

static void *ring_for_lanes(void *argument)
{
    struct race *race = argument;
    while (atomic_load_explicit(&race->done, memory_order_relaxed) == 0) {
        if (rlt_doorbell_knock(&race->doorbell, LANES)) {
            rlt_park_descriptor_signal(race->descriptor);
        }
    }
    return NULL;
}

static void *ring_for_commands(void *argument)
{
    struct race *race = argument;
    for (uint64_t i = 1; i <= race->rounds; i++) {
        atomic_store_explicit(&race->put[0], i, memory_order_relaxed);
        if (rlt_doorbell_knock(&race->doorbell, COMMANDS)) {
            rlt_park_descriptor_signal(race->descriptor);
        }
        while (atomic_load_explicit(&race->taken, memory_order_relaxed) < i) {
            (void)sched_yield();
        }
    }
    return NULL;
}

/*
 * A publisher that found the lanes wanted, and is late: meanwhile the sleeper has armed itself
 * for commands only. Whoever takes that announcement away must wake the sleeper too.
 */
Test(doorbell, late_ringer_does_not_silence_another_interest)
{
    struct race race = {.ringers = 1, .rounds = 60000 / STRESS_SCALE};
    race.descriptor = rlt_park_descriptor_create();
    cr_assert_geq(race.descriptor, 0);
    pthread_t lanes = stress_start(ring_for_lanes, &race);
    pthread_t commands = stress_start(ring_for_commands, &race);
    uint64_t taken = 0;
    while (taken < race.rounds) {
        rlt_doorbell_arm(&race.doorbell, LANES | COMMANDS);
        rlt_doorbell_arm(&race.doorbell, COMMANDS);
        if (total_put(&race) == taken) {
            bool woken = wait_for(race.descriptor, rlt_clock_deadline(10000));
            cr_assert(woken, "no wake for a command after %u commands", (unsigned)taken);
            rlt_park_descriptor_clear(race.descriptor);
        }
        rlt_doorbell_disarm(&race.doorbell);
        taken = total_put(&race);
        atomic_store_explicit(&race.taken, taken, memory_order_relaxed);
    }
    atomic_store_explicit(&race.done, 1, memory_order_relaxed);
    cr_assert_eq(pthread_join(commands, NULL), 0);
    cr_assert_eq(pthread_join(lanes, NULL), 0);
    rlt_park_descriptor_destroy(race.descriptor);
}
