/* SPDX-License-Identifier: MIT */
#include "lockfree/wire_queue.h"

#include <stdlib.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/test.h"
#include "unit/lockfree/stress.h"

#define LANE_BYTES ((size_t)64 * 1024)

/** A queue; too large for a stack. */
static struct rlt_wire_queue *start(void)
{
    static struct rlt_wire_queue queue;
    rlt_wire_queue_init(&queue, LANE_BYTES);
    return &queue;
}

/** Put a frame of `len` bytes into a lane of either kind. Returns: whether there was room. */
static bool put(struct rlt_wire_queue *queue, int lane, size_t len, uint32_t producer,
                uint64_t sequence)
{
    if (lane == RLT_WIRE_LANES) {
        struct rlt_shared_claim claim;
        if (!rlt_shared_lane_claim(&queue->shared, len, &claim)) {
            return false;
        }
        stress_write(claim.bytes, len, producer, sequence);
        rlt_shared_lane_commit(&queue->shared, &claim, len);
        return true;
    }
    uint8_t *out = rlt_lane_claim(&queue->lanes[lane], len);
    if (out == NULL) {
        return false;
    }
    stress_write(out, len, producer, sequence);
    rlt_lane_commit(&queue->lanes[lane], len);
    return true;
}

/* ---- Lanes -------------------------------------------------------------------------------- */

Test(wire_queue, new_queue_is_open_and_empty)
{
    struct rlt_wire_queue *queue = start();
    cr_assert_eq(atomic_load(&queue->state), RLT_WIRE_OPEN);
    cr_assert(rlt_wire_queue_is_empty(queue));
    cr_assert_eq(rlt_wire_queue_used(queue), 0);
    cr_assert_eq(rlt_wire_queue_accepted(queue), 0);
    cr_assert_eq(rlt_wire_queue_bytes(queue), 0);
    cr_assert_eq(rlt_wire_queue_discard(queue), 0);
    rlt_wire_queue_fini(queue);
}

Test(wire_queue, each_thread_gets_its_own_lane_then_the_shared_one)
{
    struct rlt_wire_queue *queue = start();
    for (int i = 0; i < RLT_WIRE_LANES; i++) {
        cr_assert_eq(rlt_wire_queue_acquire(queue), i);
        cr_assert_eq(rlt_wire_queue_used(queue), (uint32_t)i + 1);
        cr_assert_eq(queue->lanes[i].capacity, LANE_BYTES);
    }
    cr_assert_null(queue->shared.bytes);
    cr_assert_eq(rlt_wire_queue_acquire(queue), RLT_WIRE_LANES);
    cr_assert_eq(rlt_wire_queue_acquire(queue), RLT_WIRE_LANES);
    cr_assert_eq(rlt_wire_queue_used(queue), RLT_WIRE_LANES);
    cr_assert_eq(queue->shared.capacity, LANE_BYTES);
    rlt_wire_queue_fini(queue);
}

Test(wire_queue, lane_given_back_is_taken_again_with_its_memory)
{
    struct rlt_wire_queue *queue = start();
    for (int i = 0; i < 4; i++) {
        (void)rlt_wire_queue_acquire(queue);
    }
    uint8_t *bytes = queue->lanes[2].bytes;
    rlt_wire_queue_give_back(queue, 2);
    rlt_wire_queue_give_back(queue, RLT_WIRE_LANES); /* nothing to give back */
    cr_assert_eq(rlt_wire_queue_used(queue), 4);
    cr_assert_eq(rlt_wire_queue_acquire(queue), 2);
    cr_assert_eq(queue->lanes[2].bytes, bytes);
    cr_assert_eq(rlt_wire_queue_acquire(queue), 4);
    rlt_wire_queue_fini(queue);
}

Test(wire_queue, next_thread_goes_on_behind_unsent_bytes)
{
    struct rlt_wire_queue *queue = start();
    struct rlt_lane_chunk chunk;
    cr_assert_eq(rlt_wire_queue_acquire(queue), 0);
    cr_assert(put(queue, 0, 100, 7, 0));
    rlt_wire_queue_give_back(queue, 0);
    cr_assert_eq(rlt_wire_queue_acquire(queue), 0);
    cr_assert(put(queue, 0, 50, 8, 0));
    cr_assert(rlt_lane_peek(&queue->lanes[0], SIZE_MAX, &chunk));
    cr_assert_eq(chunk.len, 150);
    cr_assert_eq(stress_read(chunk.bytes, chunk.len).producer, 7);
    cr_assert_eq(stress_read(chunk.bytes + 100, 50).producer, 8);
    cr_assert_eq(rlt_wire_queue_accepted(queue), 2);
    rlt_wire_queue_fini(queue);
}

static int refuse(void *context, size_t size)
{
    (void)context;
    (void)size;
    return 0;
}

Test(wire_queue, lane_without_memory_stays_free)
{
    struct rlt_wire_queue *queue = start();
    rlt_memory_set_gate(refuse, NULL);
    cr_assert_eq(rlt_wire_queue_acquire(queue), ROULETTE_ENOMEM);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_eq(rlt_wire_queue_used(queue), 0);
    for (int i = 0; i < RLT_WIRE_LANES; i++) {
        cr_assert_eq(rlt_wire_queue_acquire(queue), i);
    }
    rlt_memory_set_gate(refuse, NULL);
    cr_assert_eq(rlt_wire_queue_acquire(queue), ROULETTE_ENOMEM);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_eq(rlt_wire_queue_acquire(queue), RLT_WIRE_LANES);
    rlt_wire_queue_fini(queue);
}

Test(wire_queue, totals_are_over_all_lanes)
{
    struct rlt_wire_queue *queue = start();
    for (int i = 0; i <= RLT_WIRE_LANES; i++) {
        int lane = rlt_wire_queue_acquire(queue);
        cr_assert(rlt_wire_queue_is_empty(queue));
        cr_assert(put(queue, lane, 100, 0, 0));
        cr_assert_not(rlt_wire_queue_is_empty(queue));
        cr_assert_eq(rlt_wire_queue_bytes(queue), 100);
        cr_assert_eq(rlt_wire_queue_discard(queue), 1);
    }
    for (int lane = 0; lane <= RLT_WIRE_LANES; lane++) {
        cr_assert(put(queue, lane, 200, 0, 0));
    }
    cr_assert_eq(rlt_wire_queue_bytes(queue), 200 * (RLT_WIRE_LANES + 1));
    cr_assert_eq(rlt_wire_queue_accepted(queue), 2 * (RLT_WIRE_LANES + 1));
    cr_assert_eq(rlt_wire_queue_discard(queue), RLT_WIRE_LANES + 1);
    cr_assert(rlt_wire_queue_is_empty(queue));
    cr_assert_eq(rlt_wire_queue_bytes(queue), 0);
    cr_assert_eq(rlt_wire_queue_accepted(queue), 2 * (RLT_WIRE_LANES + 1));
    rlt_wire_queue_fini(queue);
}

/* ---- Threads ------------------------------------------------------------------------------ */

#define THREADS 20

/** Threads that come and go: each turn is a producer of its own, which keeps its order. */
struct race {
    struct rlt_wire_queue *queue;
    pthread_barrier_t barrier;
    uint32_t turns;
    uint64_t seed;
    _Atomic(uint32_t) shared_turns;
    _Atomic(uint64_t) frames;
    _Atomic(uint32_t) running;
};

struct thread {
    struct race *race;
    uint32_t number;
};

static void *produce(void *argument)
{
    struct thread *thread = argument;
    struct race *race = thread->race;
    struct rlt_random random = {.state = race->seed + thread->number};
    for (uint32_t turn = 0; turn < race->turns; turn++) {
        int lane;
        /* Another thread may be just making the shared lane. */
        while ((lane = rlt_wire_queue_acquire(race->queue)) == ROULETTE_EAGAIN) {
            (void)sched_yield();
        }
        stress_check(lane >= 0 && lane <= RLT_WIRE_LANES);
        if (turn == 0) {
            /* All have a lane at the same time, so some have the shared one. */
            (void)pthread_barrier_wait(&race->barrier);
        }
        atomic_fetch_add(&race->shared_turns, lane == RLT_WIRE_LANES ? 1 : 0);
        uint64_t frames = rlt_random_below(&random, 40);
        for (uint64_t i = 0; i < frames; i++) {
            size_t len = stress_len(&random, LANE_BYTES);
            while (!put(race->queue, lane, len, thread->number * race->turns + turn, i)) {
                (void)sched_yield();
            }
        }
        atomic_fetch_add(&race->frames, frames);
        rlt_wire_queue_give_back(race->queue, lane);
    }
    atomic_fetch_sub(&race->running, 1);
    return NULL;
}

static bool peek(struct rlt_wire_queue *queue, int lane, struct rlt_lane_chunk *chunk)
{
    return lane == RLT_WIRE_LANES ? rlt_shared_lane_peek(&queue->shared, 16384, chunk)
                                  : rlt_lane_peek(&queue->lanes[lane], 16384, chunk);
}

static void release(struct rlt_wire_queue *queue, int lane, struct rlt_lane_mark mark)
{
    if (lane == RLT_WIRE_LANES) {
        rlt_shared_lane_advance(&queue->shared, mark);
        rlt_shared_lane_release(&queue->shared, mark);
    } else {
        rlt_lane_advance(&queue->lanes[lane], mark);
        rlt_lane_release(&queue->lanes[lane], mark.position);
    }
}

/** Take one chunk of a lane. `next` is the next frame of each turn. Returns: frames taken. */
static uint64_t take(struct rlt_wire_queue *queue, int lane, uint64_t *next)
{
    struct rlt_lane_chunk chunk;
    if (!peek(queue, lane, &chunk)) {
        return 0;
    }
    uint64_t frames = 0;
    for (size_t offset = 0; offset < chunk.len; frames++) {
        struct stress_head head = stress_read(chunk.bytes + offset, chunk.len - offset);
        stress_check(head.sequence == next[head.producer]);
        next[head.producer]++;
        offset += head.len;
    }
    stress_check(frames == chunk.end.count - chunk.start.count);
    release(queue, lane, chunk.end);
    return frames;
}

static uint64_t take_all(struct race *race, uint64_t *next)
{
    uint64_t taken = 0;
    bool running;
    do {
        /* Read first: what was committed before a thread ended is seen below. */
        running = atomic_load(&race->running) != 0;
        uint64_t before = taken;
        uint32_t used = rlt_wire_queue_used(race->queue);
        for (uint32_t lane = 0; lane < used; lane++) {
            taken += take(race->queue, (int)lane, next);
        }
        taken += take(race->queue, RLT_WIRE_LANES, next);
        stress_check(rlt_wire_queue_accepted(race->queue) >= taken);
        if (taken == before) {
            (void)sched_yield();
        }
    } while (running || !rlt_wire_queue_is_empty(race->queue));
    return taken;
}

Test(wire_queue, threads_come_and_go_and_nothing_is_lost)
{
    static struct race race;
    struct thread threads[THREADS];
    pthread_t handles[THREADS];
    race.queue = start();
    race.turns = 600 / STRESS_SCALE;
    race.seed = stress_seed("wire_queue");
    atomic_store(&race.running, THREADS);
    cr_assert_eq(pthread_barrier_init(&race.barrier, NULL, THREADS), 0);
    uint64_t *next = calloc((size_t)THREADS * race.turns, sizeof(*next));
    cr_assert_not_null(next);
    for (uint32_t i = 0; i < THREADS; i++) {
        threads[i] = (struct thread){&race, i};
        handles[i] = stress_start(produce, &threads[i]);
    }
    uint64_t taken = take_all(&race, next);
    for (uint32_t i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(handles[i], NULL), 0);
    }
    cr_assert_eq(taken, atomic_load(&race.frames));
    cr_assert_eq(rlt_wire_queue_accepted(race.queue), taken);
    cr_assert_eq(rlt_wire_queue_bytes(race.queue), 0);
    cr_assert_geq(atomic_load(&race.shared_turns), THREADS - RLT_WIRE_LANES);
    free(next);
    cr_assert_eq(pthread_barrier_destroy(&race.barrier), 0);
    rlt_wire_queue_fini(race.queue);
}
