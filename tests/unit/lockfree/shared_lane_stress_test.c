/* SPDX-License-Identifier: MIT */
/*
 * A shared lane between four producers, one of which is preempted again and again, and a consumer.
 */
#include "lockfree/shared_lane.h"

#include "io/wake/park.h"
#include "support/test.h"
#include "unit/lockfree/lanes.h"
#include "unit/lockfree/stress.h"

#define PRODUCERS 4 /* the first one is preempted between claim and commit, again and again */
#define NO_HOLE   UINT64_MAX

struct race {
    struct rlt_shared_lane lane;
    uint64_t frames; /* of each producer but the first */
    uint64_t holes;  /* frames of the first */
    uint64_t seed;
    bool parks;                 /* producers sleep when the lane is full */
    _Atomic(uint64_t) attempts; /* claims of the others that have returned */
    _Atomic(uint64_t) hole;     /* the slot that is not committed for now */
    _Atomic(uint64_t) stops;    /* times the consumer found nothing behind a hole */
    _Atomic(uint32_t) running;  /* other producers that go on */
};

struct producer {
    struct race *race;
    uint32_t number;
};

/** Claim, and sleep or yield while the lane is full. */
static struct rlt_shared_claim claim_waiting(struct race *race, size_t len)
{
    struct rlt_shared_claim claim;
    while (!rlt_shared_lane_claim(&race->lane, len, &claim)) {
        atomic_fetch_add(&race->attempts, 1);
        if (!race->parks) {
            (void)sched_yield();
            continue;
        }
        rlt_shared_lane_wait_begin(&race->lane);
        if (rlt_shared_lane_claim(&race->lane, len, &claim)) {
            break;
        }
        stress_check(rlt_park_wait(&race->lane.waiting, 1, rlt_clock_deadline(20000)));
    }
    atomic_fetch_add(&race->attempts, 1);
    return claim;
}

static void *produce(void *argument)
{
    struct producer *producer = argument;
    struct race *race = producer->race;
    struct rlt_random random = {.state = race->seed + producer->number};
    for (uint64_t i = 0; i < race->frames; i++) {
        size_t len = stress_len(&random, race->lane.capacity);
        struct rlt_shared_claim claim = claim_waiting(race, len);
        stress_write(claim.bytes, len, producer->number, i);
        rlt_shared_lane_commit(&race->lane, &claim, len);
    }
    atomic_fetch_sub(&race->running, 1);
    return NULL;
}

/**
 * As a thread that is preempted between claim and commit: it goes on when the others' claims have
 * returned many times and the consumer has stopped. If one of them waited for it, nobody would
 * ever go on.
 */
static void *produce_with_holes(void *argument)
{
    struct producer *producer = argument;
    struct race *race = producer->race;
    struct rlt_random random = {.state = race->seed};
    for (uint64_t i = 0; i < race->holes; i++) {
        size_t len = stress_len(&random, race->lane.capacity);
        struct rlt_shared_claim claim = claim_waiting(race, len);
        atomic_store(&race->hole, claim.slot);
        uint64_t attempts = atomic_load(&race->attempts) + 50;
        uint64_t stops = atomic_load(&race->stops) + 2;
        while (atomic_load(&race->stops) < stops ||
               (!race->parks && atomic_load(&race->running) != 0 &&
                atomic_load(&race->attempts) < attempts)) {
            (void)sched_yield();
        }
        stress_write(claim.bytes, len, producer->number, i);
        atomic_store(&race->hole, NO_HOLE);
        rlt_shared_lane_commit(&race->lane, &claim, len);
    }
    return NULL;
}

/** Check a chunk, with `numbers` the next frame of each producer, and count them up. */
static void check_chunk(const struct rlt_lane_chunk *chunk, uint64_t numbers[PRODUCERS])
{
    size_t offset = 0;
    uint64_t frames = 0;
    while (offset < chunk->len) {
        struct stress_head head = stress_read(chunk->bytes + offset, chunk->len - offset);
        stress_check(head.producer < PRODUCERS);
        stress_check(head.sequence == numbers[head.producer]);
        numbers[head.producer]++;
        frames++;
        offset += head.len;
    }
    stress_check(frames == messages(*chunk));
}

static void consume(struct race *race)
{
    struct rlt_random random = {.state = ~race->seed};
    uint64_t numbers[PRODUCERS] = {0};
    uint64_t total = race->holes + (PRODUCERS - 1) * race->frames;
    uint64_t found = 0;
    while (found < total) {
        struct rlt_lane_chunk chunk;
        size_t limit = rlt_random_below(&random, race->lane.capacity);
        uint64_t hole = atomic_load(&race->hole);
        bool some = rlt_shared_lane_peek(&race->lane, limit, &chunk);
        if (atomic_load(&race->hole) == hole && hole != NO_HOLE) {
            stress_check(!some || chunk.end.count <= hole);
            atomic_fetch_add(&race->stops, some ? 0 : 1);
        }
        if (!some) {
            (void)sched_yield();
            continue;
        }
        uint64_t before[PRODUCERS];
        memcpy(before, numbers, sizeof(numbers));
        check_chunk(&chunk, numbers);
        if (rlt_random_below(&random, 8) == 0) {
            /* Lost: the same frames again. */
            memcpy(numbers, before, sizeof(numbers));
            rlt_shared_lane_advance(&race->lane, chunk.end);
            rlt_shared_lane_advance(&race->lane, chunk.start);
            continue;
        }
        check_chunk(&chunk, before);
        found += messages(chunk);
        rlt_shared_lane_advance(&race->lane, chunk.end);
        rlt_shared_lane_release(&race->lane, chunk.end);
        if (rlt_shared_lane_take_waiter(&race->lane)) {
            rlt_park_wake(&race->lane.waiting);
        }
    }
    stress_check(numbers[0] == race->holes);
    for (unsigned i = 1; i < PRODUCERS; i++) {
        stress_check(numbers[i] == race->frames);
    }
}

static void run_race(struct race *race, struct rlt_lane_mark mark)
{
    struct producer producers[PRODUCERS];
    pthread_t threads[PRODUCERS];
    shared_lane_start_at(&race->lane, mark);
    atomic_store(&race->hole, NO_HOLE);
    atomic_store(&race->running, PRODUCERS - 1);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        producers[i] = (struct producer){race, i};
        threads[i] = stress_start(i == 0 ? produce_with_holes : produce, &producers[i]);
    }
    consume(race);
    for (uint32_t i = 0; i < PRODUCERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    uint64_t total = race->holes + (PRODUCERS - 1) * race->frames;
    cr_assert_eq(atomic_load(&race->lane.accepted), total);
    cr_assert_eq(rlt_shared_lane_tail_slot(&race->lane), mark.count + total);
    cr_assert_eq(rlt_shared_lane_queued_bytes(&race->lane), 0);
    rlt_shared_lane_fini(&race->lane);
}

Test(shared_lane, preempted_producer_blocks_no_other)
{
    struct race race = {
        .frames = 40000 / STRESS_SCALE,
        .holes = 400 / STRESS_SCALE,
        .seed = stress_seed("shared_lane"),
    };
    run_race(&race, (struct rlt_lane_mark){0, 0});
    race.seed++;
    /* Positions and slots wrap on the way. */
    run_race(&race,
             (struct rlt_lane_mark){(UINT64_C(1) << 40) - 500 * KIB, (UINT64_C(1) << 24) - 1000});
}

Test(shared_lane, producers_that_sleep_for_room_are_always_woken)
{
    struct race race = {
        .frames = 40000 / STRESS_SCALE,
        .holes = 200 / STRESS_SCALE,
        .seed = stress_seed("shared_lane"),
        .parks = true,
    };
    run_race(&race, (struct rlt_lane_mark){0, 0});
}

struct encounter {
    struct stress_pair pair;
    struct rlt_shared_lane lane;
    bool claimed;
};

static void *announce_and_claim(void *argument)
{
    struct encounter *encounter = argument;
    struct rlt_random random = {.state = 1};
    while (stress_round(&encounter->pair, 1, &random)) {
        struct rlt_shared_claim claim;
        rlt_shared_lane_wait_begin(&encounter->lane);
        encounter->claimed = rlt_shared_lane_claim(&encounter->lane, 32 * KIB, &claim);
        if (encounter->claimed) {
            rlt_shared_lane_commit(&encounter->lane, &claim, 32 * KIB);
        }
        stress_meet(&encounter->pair, 1);
    }
    return NULL;
}

/** Fill the lane, and move the cursor behind everything: it is only to be released. */
static void fill_and_skip(struct rlt_shared_lane *lane)
{
    struct rlt_shared_claim claim;
    while (rlt_shared_lane_claim(lane, 32 * KIB, &claim)) {
        rlt_shared_lane_commit(lane, &claim, 32 * KIB);
    }
    while (!rlt_shared_lane_is_empty(lane)) {
        struct rlt_lane_chunk chunk;
        cr_assert(rlt_shared_lane_peek(lane, SIZE_MAX, &chunk));
        rlt_shared_lane_advance(lane, chunk.end);
    }
    atomic_store(&lane->waiting, 0);
}

Test(shared_lane, producer_sees_the_room_or_the_consumer_sees_it_wait)
{
    static struct encounter encounter;
    struct rlt_shared_lane *lane = &encounter.lane;
    struct rlt_random random = {.state = 2};
    shared_lane_start_at(lane, (struct rlt_lane_mark){0, 0});
    stress_pair_init(&encounter.pair, 1000000);
    fill_and_skip(lane);
    pthread_t producer = stress_start(announce_and_claim, &encounter);
    while (stress_round(&encounter.pair, 0, &random)) {
        rlt_shared_lane_release(lane, lane->cursor);
        bool must_wake = rlt_shared_lane_take_waiter(lane);
        stress_meet(&encounter.pair, 0);
        cr_assert(encounter.claimed || must_wake, "slot %" PRIu64, lane->cursor.count);
        fill_and_skip(lane);
    }
    cr_assert_eq(pthread_join(producer, NULL), 0);
    rlt_shared_lane_fini(lane);
}
