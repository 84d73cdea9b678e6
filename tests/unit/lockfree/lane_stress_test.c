/* SPDX-License-Identifier: MIT */
/*
 * Lanes against a model in one thread, and between two threads.
 */
#include "lockfree/lane.h"

#include <stdlib.h>

#include "io/wake/park.h"
#include "support/test.h"
#include "unit/lockfree/lanes.h"
#include "unit/lockfree/stress.h"

/* ---- A model ------------------------------------------------------------------------------ */

#define MODEL_FRAMES 65536

/** What must be in the lane: the frames that were put and not released, in a ring of marks. */
struct model {
    struct rlt_lane lane;
    struct rlt_random random;
    struct rlt_lane_mark starts[MODEL_FRAMES];
    uint32_t lens[MODEL_FRAMES];
    uint64_t put;      /* frames */
    uint64_t peeked;   /* the cursor, in frames */
    uint64_t released; /* in frames */
};

static struct rlt_lane_mark frame_end(const struct model *model, uint64_t frame)
{
    struct rlt_lane_mark mark = model->starts[frame % MODEL_FRAMES];
    return (struct rlt_lane_mark){mark.position + model->lens[frame % MODEL_FRAMES],
                                  mark.count + 1};
}

static void model_put(struct model *model)
{
    struct rlt_lane *lane = &model->lane;
    size_t len = stress_len(&model->random, lane->capacity);
    uint64_t head = atomic_load(&lane->head);
    uint64_t start = lane->position;
    uint64_t lap = start / lane->capacity;
    if ((start + len - 1) / lane->capacity != lap) {
        start = (lap + 1) * lane->capacity;
    }
    uint8_t *out = rlt_lane_claim(lane, len);
    cr_assert_eq(out != NULL, start + len - head <= lane->capacity);
    if (out == NULL || model->put - model->released == MODEL_FRAMES) {
        return;
    }
    cr_assert_eq(out, lane->bytes + start % lane->capacity);
    stress_write(out, len, 0, model->put);
    rlt_lane_commit(lane, len);
    struct rlt_lane_mark mark = {start, atomic_load(&lane->accepted) - 1};
    model->starts[model->put % MODEL_FRAMES] = mark;
    model->lens[model->put % MODEL_FRAMES] = (uint32_t)len;
    model->put++;
}

/** The frame behind the last that peek must return. */
static uint64_t expected_end(const struct model *model, size_t limit)
{
    size_t capacity = model->lane.capacity;
    uint64_t start = model->starts[model->peeked % MODEL_FRAMES].position;
    uint64_t end = model->peeked + 1;
    while (end < model->put &&
           model->starts[end % MODEL_FRAMES].position / capacity == start / capacity) {
        end++;
    }
    if (frame_end(model, end - 1).position - start <= limit) {
        return end;
    }
    /* First frames of blocks: the last one that keeps the limit, else the first at all. */
    uint64_t best = 0;
    for (uint64_t i = model->peeked + 1; i < end; i++) {
        uint64_t block = model->starts[i % MODEL_FRAMES].position >> RLT_LANE_BLOCK_BITS;
        uint64_t before = model->starts[(i - 1) % MODEL_FRAMES].position >> RLT_LANE_BLOCK_BITS;
        bool keeps = model->starts[i % MODEL_FRAMES].position - start <= limit;
        if (block != before && (keeps || best == 0)) {
            best = i;
        }
    }
    return best != 0 ? best : end;
}

static void model_peek(struct model *model)
{
    struct rlt_lane_chunk chunk;
    size_t limit = rlt_random_below(&model->random, model->lane.capacity);
    bool some = rlt_lane_peek(&model->lane, limit, &chunk);
    cr_assert_eq(some, model->peeked < model->put);
    if (!some) {
        return;
    }
    uint64_t end = expected_end(model, limit);
    struct rlt_lane_mark start_mark = model->starts[model->peeked % MODEL_FRAMES];
    struct rlt_lane_mark end_mark = frame_end(model, end - 1);
    cr_assert_eq(chunk.start.position, start_mark.position);
    cr_assert_eq(chunk.start.count, start_mark.count);
    cr_assert_eq(chunk.end.position, end_mark.position);
    cr_assert_eq(chunk.end.count, end_mark.count);
    cr_assert_eq(chunk.len, end_mark.position - start_mark.position);
    size_t offset = 0;
    for (; model->peeked < end; model->peeked++) {
        struct stress_head head = stress_read(chunk.bytes + offset, chunk.len - offset);
        cr_assert_eq(head.sequence, model->peeked);
        offset += head.len;
    }
    rlt_lane_advance(&model->lane, chunk.end);
}

static void model_release(struct model *model)
{
    uint64_t peeked = model->peeked - model->released;
    if (peeked != 0) {
        model->released += 1 + rlt_random_below(&model->random, peeked);
        rlt_lane_release(&model->lane, frame_end(model, model->released - 1).position);
    }
}

static void model_rewind(struct model *model)
{
    if (model->peeked != model->released) {
        model->peeked =
            model->released + rlt_random_below(&model->random, model->peeked - model->released);
        rlt_lane_advance(&model->lane, model->starts[model->peeked % MODEL_FRAMES]);
    }
}

static void run_model(size_t capacity, struct rlt_lane_mark mark, uint64_t seed)
{
    struct model *model = calloc(1, sizeof(*model));
    cr_assert_not_null(model);
    model->random.state = seed;
    lane_start_at(&model->lane, capacity, mark);
    for (unsigned step = 0; step < 40000 / STRESS_SCALE; step++) {
        uint64_t kind = rlt_random_below(&model->random, 100);
        if (kind < 60) {
            model_put(model);
        } else if (kind < 80) {
            model_peek(model);
        } else if (kind < 95) {
            model_release(model);
        } else if (kind < 99) {
            model_rewind(model);
        } else if (model->peeked == model->released) {
            cr_assert_eq(rlt_lane_discard(&model->lane), model->put - model->peeked);
            model->peeked = model->released = model->put;
        }
    }
    cr_assert_gt(model->lane.position - mark.position, 10 * capacity / STRESS_SCALE);
    rlt_lane_fini(&model->lane);
    free(model);
}

Test(lane, equals_a_model)
{
    uint64_t seed = stress_seed("lane");
    struct rlt_lane_mark zero = {0, 0};
    struct rlt_lane_mark late = {
        .position = (UINT64_C(7) << RLT_LANE_POSITION_BITS) - 150 * KIB,
        .count = (UINT64_C(3) << (64 - RLT_LANE_POSITION_BITS)) - 100,
    };
    run_model(64 * KIB, zero, seed);
    run_model(64 * KIB, late, seed + 1);
    run_model(512 * KIB, zero, seed + 2);
    run_model(512 * KIB, late, seed + 3);
}

/* ---- Threads ------------------------------------------------------------------------------ */

struct race {
    struct rlt_lane lane;
    uint64_t frames;
    uint64_t seed;
    bool parks; /* the producer sleeps when the lane is full */
};

static void *produce(void *argument)
{
    struct race *race = argument;
    struct rlt_random random = {.state = race->seed};
    for (uint64_t i = 0; i < race->frames; i++) {
        size_t len = stress_len(&random, race->lane.capacity);
        uint8_t *out;
        while ((out = rlt_lane_claim(&race->lane, len)) == NULL) {
            if (!race->parks) {
                (void)sched_yield();
                continue;
            }
            rlt_lane_wait_begin(&race->lane);
            if ((out = rlt_lane_claim(&race->lane, len)) != NULL) {
                break;
            }
            stress_check(rlt_park_wait(&race->lane.waiting, 1, rlt_clock_deadline(20000)));
        }
        stress_write(out, len, 1, i);
        rlt_lane_commit(&race->lane, len);
    }
    return NULL;
}

/** Check a chunk's frames, which begin with number `sequence`. Returns: the number behind. */
static uint64_t check_frames(struct rlt_lane_chunk chunk, uint64_t sequence)
{
    size_t offset = 0;
    uint64_t first = sequence;
    while (offset < chunk.len) {
        struct stress_head head = stress_read(chunk.bytes + offset, chunk.len - offset);
        stress_check(head.sequence == sequence);
        sequence++;
        offset += head.len;
    }
    stress_check(sequence - first == messages(chunk));
    return sequence;
}

static void release(struct race *race, uint64_t position)
{
    rlt_lane_release(&race->lane, position);
    if (rlt_lane_take_waiter(&race->lane)) {
        rlt_park_wake(&race->lane.waiting);
    }
}

/** As the sender does it: up to two chunks in flight; sometimes the connection is lost. */
static void consume(struct race *race)
{
    struct rlt_random random = {.state = ~race->seed};
    uint64_t sequence = 0;
    while (sequence < race->frames) {
        struct rlt_lane_chunk chunks[2];
        uint64_t numbers[3] = {sequence, sequence, sequence};
        unsigned count = 0;
        while (count < 2) {
            size_t limit = rlt_random_below(&random, race->lane.capacity);
            if (!rlt_lane_peek(&race->lane, limit, &chunks[count])) {
                break;
            }
            numbers[count + 1] = check_frames(chunks[count], numbers[count]);
            rlt_lane_advance(&race->lane, chunks[count].end);
            count++;
        }
        if (count == 0) {
            (void)sched_yield();
            continue;
        }
        /* 0 to `count` chunks are taken by the kernel before the connection is lost. */
        bool is_lost = rlt_random_below(&random, 8) == 0;
        unsigned taken = is_lost ? (unsigned)rlt_random_below(&random, count + 1) : count;
        for (unsigned i = 0; i < taken; i++) {
            stress_check(check_frames(chunks[i], numbers[i]) == numbers[i + 1]);
            release(race, chunks[i].end.position);
        }
        sequence = numbers[taken];
        rlt_lane_advance(&race->lane, taken < count ? chunks[taken].start : chunks[count - 1].end);
    }
}

static void run_race(struct race *race, size_t capacity, struct rlt_lane_mark mark)
{
    lane_start_at(&race->lane, capacity, mark);
    pthread_t producer = stress_start(produce, race);
    consume(race);
    cr_assert_eq(pthread_join(producer, NULL), 0);
    cr_assert(rlt_lane_is_empty(&race->lane));
    cr_assert_eq(rlt_lane_queued_bytes(&race->lane), 0);
    cr_assert_eq(race->lane.cursor.count, mark.count + race->frames);
    rlt_lane_fini(&race->lane);
}

Test(lane, bytes_order_and_counts_survive_two_threads)
{
    struct race race = {.frames = 200000 / STRESS_SCALE, .seed = stress_seed("lane")};
    run_race(&race, 64 * KIB, (struct rlt_lane_mark){0, 0});
    race.seed++;
    run_race(&race, 256 * KIB,
             (struct rlt_lane_mark){(UINT64_C(1) << RLT_LANE_POSITION_BITS) - 900 * KIB,
                                    (UINT64_C(1) << (64 - RLT_LANE_POSITION_BITS)) - 5000});
}

Test(lane, producer_that_sleeps_for_room_is_always_woken)
{
    struct race race = {
        .frames = 200000 / STRESS_SCALE, .seed = stress_seed("lane"), .parks = true};
    run_race(&race, 64 * KIB, (struct rlt_lane_mark){0, 0});
}

struct encounter {
    struct stress_pair pair;
    struct rlt_lane lane;
    bool claimed;
};

static void *announce_and_claim(void *argument)
{
    struct encounter *encounter = argument;
    struct rlt_random random = {.state = 1};
    while (stress_round(&encounter->pair, 1, &random)) {
        rlt_lane_wait_begin(&encounter->lane);
        encounter->claimed = rlt_lane_claim(&encounter->lane, 32 * KIB) != NULL;
        stress_meet(&encounter->pair, 1);
    }
    return NULL;
}

/** Fill a lane of 64 KiB, and move the cursor behind everything: it is only to be released. */
static void fill_and_skip(struct rlt_lane *lane)
{
    for (int i = 0; i < 2; i++) {
        cr_assert_not_null(rlt_lane_claim(lane, 32 * KIB));
        rlt_lane_commit(lane, 32 * KIB);
    }
    lane->cursor = rlt_lane_tail(lane);
    atomic_store(&lane->waiting, 0);
}

Test(lane, producer_sees_the_room_or_the_consumer_sees_it_wait)
{
    static struct encounter encounter;
    struct rlt_lane *lane = &encounter.lane;
    struct rlt_random random = {.state = 2};
    lane_start_at(lane, 64 * KIB, (struct rlt_lane_mark){0, 0});
    stress_pair_init(&encounter.pair, 1000000);
    fill_and_skip(lane);
    pthread_t producer = stress_start(announce_and_claim, &encounter);
    while (stress_round(&encounter.pair, 0, &random)) {
        rlt_lane_release(lane, lane->position);
        bool must_wake = rlt_lane_take_waiter(lane);
        stress_meet(&encounter.pair, 0);
        cr_assert(encounter.claimed || must_wake, "position %" PRIu64, lane->position);
        /* While the other waits for the next round, its part of the lane is ours. */
        fill_and_skip(lane);
    }
    cr_assert_eq(pthread_join(producer, NULL), 0);
    rlt_lane_fini(lane);
}
