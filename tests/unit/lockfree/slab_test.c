/* SPDX-License-Identifier: MIT */
#include "lockfree/slab.h"

#include <signal.h>

#include "base/memory.h"
#include "lockfree/delivery_ring.h"
#include "roulette.h"
#include "support/test.h"
#include "unit/lockfree/stress.h"

#define SLAB_BYTES ((size_t)128 * 1024)

static void start(struct rlt_slab_pool *pool, uint32_t count, uint32_t spares)
{
    cr_assert_eq(rlt_slab_pool_init(pool, SLAB_BYTES, count, spares), 0);
}

/** A slab of which `issued` references were handed out. */
static struct rlt_slab *issue(struct rlt_slab_pool *pool, int64_t issued)
{
    struct rlt_slab *slab = rlt_slab_acquire(pool);
    cr_assert_not_null(slab);
    slab->issued = issued;
    return slab;
}

/* ---- The pool ----------------------------------------------------------------------------- */

static int refuse(void *context, size_t size)
{
    (void)context;
    (void)size;
    return 0;
}

Test(slab, pool_without_memory_is_refused)
{
    struct rlt_slab_pool pool;
    rlt_memory_set_gate(refuse, NULL);
    cr_assert_eq(rlt_slab_pool_init(&pool, SLAB_BYTES, 4, 1), ROULETTE_ENOMEM);
    rlt_memory_set_gate(NULL, NULL);
    rlt_slab_pool_fini(&pool);
}

Test(slab, pool_of_odd_slabs_aborts, .signal = SIGABRT)
{
    struct rlt_slab_pool pool;
    (void)rlt_slab_pool_init(&pool, 3 * SLAB_BYTES, 4, 0);
}

Test(slab, acquire_takes_the_lowest_and_fails_when_all_are_in_use)
{
    struct rlt_slab_pool pool;
    start(&pool, 70, 0);
    for (uint32_t i = 0; i < 70; i++) {
        struct rlt_slab *slab = rlt_slab_acquire(&pool);
        cr_assert_not_null(slab);
        cr_assert_eq(slab->index, i);
        cr_assert_eq(slab->length, 1);
        cr_assert_eq(slab->capacity, SLAB_BYTES - sizeof(struct rlt_slab));
        cr_assert_eq(slab, rlt_slab_at(&pool, i));
        cr_assert_eq(atomic_load(&slab->references), RLT_SLAB_BIAS);
        cr_assert_eq(rlt_slab_pool_in_use(&pool), i + 1);
    }
    cr_assert_null(rlt_slab_acquire(&pool));
    rlt_slab_settle(rlt_slab_at(&pool, 66));
    rlt_slab_settle(rlt_slab_at(&pool, 3));
    cr_assert_eq(rlt_slab_acquire(&pool)->index, 3);
    cr_assert_eq(rlt_slab_acquire(&pool)->index, 66);
    rlt_slab_pool_fini(&pool);
}

Test(slab, every_byte_leads_to_its_slab)
{
    struct rlt_slab_pool pool;
    start(&pool, 4, 1);
    struct rlt_slab *slab = rlt_slab_acquire(&pool);
    struct rlt_slab *second = rlt_slab_acquire(&pool);
    cr_assert_eq((uintptr_t)slab->bytes % RLT_CACHE_LINE, 0);
    memset(slab->bytes, 'a', slab->capacity);
    memset(second->bytes, 'b', second->capacity);
    cr_assert_eq(rlt_slab_of(slab->bytes, SLAB_BYTES), slab);
    cr_assert_eq(rlt_slab_of(slab->bytes + slab->capacity - 1, SLAB_BYTES), slab);
    cr_assert_eq(rlt_slab_of(second->bytes, SLAB_BYTES), second);
    rlt_slab_pool_fini(&pool);
}

Test(slab, spare_is_outside_the_pool_and_never_returned)
{
    struct rlt_slab_pool pool;
    start(&pool, 4, 2);
    struct rlt_slab *spare = rlt_slab_spare(&pool, 1);
    cr_assert_eq(spare->index, 5);
    cr_assert(rlt_slab_is_spare(spare));
    cr_assert(rlt_slab_is_spare(rlt_slab_spare(&pool, 0)));
    cr_assert_not(rlt_slab_is_spare(rlt_slab_acquire(&pool)));
    memset(spare->bytes, 's', spare->capacity);
    cr_assert(rlt_slab_is_idle(spare));
    rlt_slab_settle(spare);
    rlt_slab_settle(spare);
    cr_assert_eq(rlt_slab_pool_in_use(&pool), 1);
    rlt_slab_pool_fini(&pool);
}

Test(slab, spare_with_a_reference_aborts, .signal = SIGABRT)
{
    struct rlt_slab_pool pool;
    start(&pool, 4, 1);
    rlt_slab_spare(&pool, 0)->issued = 1;
    rlt_slab_settle(rlt_slab_spare(&pool, 0));
}

/* ---- Runs --------------------------------------------------------------------------------- */

Test(slab, run_is_taken_from_the_top)
{
    struct rlt_slab_pool pool;
    start(&pool, 16, 1);
    struct rlt_slab *run = rlt_slab_acquire_run(&pool, 2 * SLAB_BYTES);
    cr_assert_eq(run->index, 13);
    cr_assert_eq(run->length, 3);
    cr_assert_eq(run->capacity, 3 * SLAB_BYTES - sizeof(*run));
    memset(run->bytes, 'r', run->capacity);
    cr_assert_eq(rlt_slab_pool_in_use(&pool), 3);
    cr_assert_eq(rlt_slab_acquire_run(&pool, SLAB_BYTES)->index, 11);
    cr_assert_eq(rlt_slab_acquire(&pool)->index, 0);
    rlt_slab_settle(run);
    cr_assert_eq(rlt_slab_pool_in_use(&pool), 3);
    cr_assert_eq(rlt_slab_acquire_run(&pool, 2 * SLAB_BYTES)->index, 13);
    rlt_slab_pool_fini(&pool);
}

Test(slab, run_is_just_as_long_as_needed)
{
    struct rlt_slab_pool pool;
    start(&pool, 16, 0);
    size_t head = sizeof(struct rlt_slab);
    cr_assert_eq(rlt_slab_acquire_run(&pool, 1)->length, 1);
    cr_assert_eq(rlt_slab_acquire_run(&pool, SLAB_BYTES - head)->length, 1);
    cr_assert_eq(rlt_slab_acquire_run(&pool, SLAB_BYTES - head + 1)->length, 2);
    cr_assert_eq(rlt_slab_run_max(&pool), 4 * SLAB_BYTES - head);
    cr_assert_eq(rlt_slab_acquire_run(&pool, rlt_slab_run_max(&pool))->length, 4);
    rlt_slab_pool_fini(&pool);
}

Test(slab, run_needs_adjacent_slabs)
{
    struct rlt_slab_pool pool;
    struct rlt_slab *slabs[16];
    start(&pool, 16, 0);
    for (unsigned i = 0; i < 16; i++) {
        slabs[i] = rlt_slab_acquire(&pool);
    }
    for (unsigned i = 0; i < 16; i += 2) {
        rlt_slab_settle(slabs[i]);
    }
    cr_assert_null(rlt_slab_acquire_run(&pool, SLAB_BYTES));
    rlt_slab_settle(slabs[5]);
    struct rlt_slab *run = rlt_slab_acquire_run(&pool, SLAB_BYTES);
    cr_assert_eq(run->index, 5);
    cr_assert_null(rlt_slab_acquire_run(&pool, SLAB_BYTES));
    rlt_slab_pool_fini(&pool);
}

Test(slab, run_returns_whole_with_its_last_reference)
{
    struct rlt_slab_pool pool;
    start(&pool, 8, 0);
    struct rlt_slab *run = rlt_slab_acquire_run(&pool, SLAB_BYTES);
    run->issued = 1;
    rlt_slab_settle(run);
    cr_assert_eq(rlt_slab_pool_in_use(&pool), 2);
    rlt_slab_release(run, 1);
    for (unsigned i = 0; i < 8; i++) {
        cr_assert_not_null(rlt_slab_acquire(&pool));
    }
    cr_assert_null(rlt_slab_acquire(&pool));
    rlt_slab_pool_fini(&pool);
}

/* ---- References --------------------------------------------------------------------------- */

Test(slab, without_references_settle_returns_it)
{
    struct rlt_slab_pool pool;
    start(&pool, 4, 0);
    rlt_slab_settle(issue(&pool, 0));
    cr_assert_eq(rlt_slab_pool_in_use(&pool), 0);
    rlt_slab_pool_fini(&pool);
}

Test(slab, all_released_before_settle_does_not_return_it)
{
    struct rlt_slab_pool pool;
    start(&pool, 4, 0);
    struct rlt_slab *slab = issue(&pool, 3);
    cr_assert_not(rlt_slab_is_idle(slab));
    rlt_slab_release(slab, 2);
    cr_assert_not(rlt_slab_is_idle(slab));
    rlt_slab_release(slab, 1);
    cr_assert(rlt_slab_is_idle(slab));
    cr_assert_eq(rlt_slab_acquire(&pool)->index, 1, "still in use");
    rlt_slab_settle(slab);
    cr_assert_eq(rlt_slab_pool_in_use(&pool), 1);
    rlt_slab_pool_fini(&pool);
}

Test(slab, last_release_after_settle_returns_it)
{
    struct rlt_slab_pool pool;
    start(&pool, 4, 0);
    struct rlt_slab *slab = issue(&pool, 5);
    rlt_slab_release(slab, 1);
    rlt_slab_settle(slab);
    rlt_slab_release(slab, 3);
    cr_assert_eq(rlt_slab_acquire(&pool)->index, 1, "still in use");
    rlt_slab_release(slab, 1);
    cr_assert_eq(rlt_slab_pool_in_use(&pool), 2, "not seen yet");
    cr_assert_eq(rlt_slab_acquire(&pool)->index, 0);
    rlt_slab_pool_fini(&pool);
}

Test(slab, rewound_slab_is_as_if_acquired)
{
    struct rlt_slab_pool pool;
    start(&pool, 4, 0);
    struct rlt_slab *slab = issue(&pool, 2);
    rlt_slab_release(slab, 2);
    cr_assert(rlt_slab_is_idle(slab));
    rlt_slab_rewind(slab);
    cr_assert_eq(slab->issued, 0);
    cr_assert_eq(atomic_load(&slab->references), RLT_SLAB_BIAS);
    slab->issued = 1;
    rlt_slab_settle(slab);
    rlt_slab_release(slab, 1);
    cr_assert_eq(rlt_slab_acquire(&pool)->index, 0);
    rlt_slab_pool_fini(&pool);
}

Test(slab, reference_released_twice_after_settle_aborts, .signal = SIGABRT)
{
    struct rlt_slab_pool pool;
    start(&pool, 4, 0);
    struct rlt_slab *slab = issue(&pool, 1);
    rlt_slab_settle(slab);
    rlt_slab_release(slab, 1);
    rlt_slab_release(slab, 1);
}

Test(slab, reference_released_twice_before_settle_aborts_there, .signal = SIGABRT)
{
    struct rlt_slab_pool pool;
    start(&pool, 4, 0);
    struct rlt_slab *slab = issue(&pool, 1);
    rlt_slab_release(slab, 2);
    rlt_slab_settle(slab);
}

Test(slab, more_released_at_once_than_issued_aborts, .signal = SIGABRT)
{
    struct rlt_slab_pool pool;
    start(&pool, 4, 0);
    struct rlt_slab *slab = issue(&pool, 2);
    rlt_slab_settle(slab);
    rlt_slab_release(slab, 3);
}

/* ---- Threads ------------------------------------------------------------------------------ */

#define CONSUMERS 3
#define SLABS     8
/** Bytes of a message; the slabs' other bytes are not touched, which keeps the test small. */
#define MESSAGE ((size_t)64)

struct race {
    struct rlt_slab_pool pool;
    struct rlt_delivery_ring rings[CONSUMERS];
    uint64_t messages; /* for each consumer */
    uint64_t seed;
};

struct consumer {
    struct race *race;
    unsigned number;
};

/** Check that the messages from `first` to `position` are still there, and release them. */
static void release(struct race *race, struct rlt_delivery_ring *ring, uint64_t first,
                    uint64_t position)
{
    struct rlt_slab *slab = NULL;
    int64_t count = 0;
    for (uint64_t i = first; i < position; i++) {
        const struct rlt_delivery *delivery = rlt_delivery_ring_peek(ring, i);
        struct stress_head head = stress_read(delivery->base, MESSAGE);
        stress_check(head.sequence == (uint64_t)(uintptr_t)delivery->target);
        struct rlt_slab *own = rlt_slab_of(delivery->base, race->pool.slab_bytes);
        if (own != slab && slab != NULL) {
            rlt_slab_release(slab, count);
            count = 0;
        }
        slab = own;
        count++;
    }
    rlt_slab_release(slab, count);
    rlt_delivery_ring_advance(ring, position);
}

/* Holds up to 100 messages before it releases them, in one run for each slab. */
static void *consume(void *argument)
{
    struct consumer *consumer = argument;
    struct race *race = consumer->race;
    struct rlt_delivery_ring *ring = &race->rings[consumer->number];
    struct rlt_random random = {.state = race->seed + consumer->number};
    uint64_t position = 0;
    while (position < race->messages) {
        uint64_t first = position;
        uint64_t max = 1 + rlt_random_below(&random, 100);
        while (position - first < max && rlt_delivery_ring_peek(ring, position) != NULL) {
            position++;
        }
        if (position == first) {
            (void)sched_yield();
            continue;
        }
        release(race, ring, first, position);
    }
    return NULL;
}

/** Put one message into `slab`, for as many consumers as have room. Returns: for how many. */
static unsigned deliver(struct race *race, struct rlt_slab *slab, size_t offset, uint64_t number)
{
    unsigned delivered = 0;
    stress_write(slab->bytes + offset, MESSAGE, 0, number);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        struct rlt_delivery_ring *ring = &race->rings[i];
        if (ring->next < race->messages && rlt_delivery_ring_has_room(ring, 1)) {
            struct rlt_delivery *delivery = rlt_delivery_ring_fill(ring);
            delivery->base = slab->bytes + offset;
            delivery->target = (void *)(uintptr_t)number;
            slab->issued++;
            rlt_delivery_ring_publish(ring);
            delivered++;
        }
    }
    return delivered;
}

/** The event thread: fill slabs; leave each after some messages, or start it again when idle. */
static void produce(struct race *race)
{
    struct rlt_random random = {.state = ~race->seed};
    struct rlt_slab *slab = NULL;
    size_t offset = 0;
    uint64_t delivered = 0;
    for (uint64_t number = 0; delivered < CONSUMERS * race->messages; number++) {
        if (slab != NULL && rlt_slab_is_idle(slab)) {
            rlt_slab_rewind(slab);
            offset = 0;
        }
        if (slab != NULL && rlt_random_below(&random, 40) == 0) {
            rlt_slab_settle(slab);
            slab = NULL;
        }
        while (slab == NULL) {
            bool is_run = rlt_random_below(&random, 4) == 0;
            slab = is_run ? rlt_slab_acquire_run(&race->pool, SLAB_BYTES)
                          : rlt_slab_acquire(&race->pool);
            offset = 0;
            if (slab == NULL) {
                (void)sched_yield();
            }
        }
        unsigned more = deliver(race, slab, offset, number);
        delivered += more;
        offset += more != 0 ? MESSAGE : 0;
        if (more == 0) {
            (void)sched_yield();
        }
        if (offset + MESSAGE > SLAB_BYTES / 2) {
            rlt_slab_settle(slab);
            slab = NULL;
        }
    }
    if (slab != NULL) {
        rlt_slab_settle(slab);
    }
}

Test(slab, returns_once_and_only_when_nobody_reads_it)
{
    static struct race race;
    struct consumer consumers[CONSUMERS];
    pthread_t threads[CONSUMERS];
    race.messages = 1000000 / STRESS_SCALE;
    race.seed = stress_seed("slab");
    start(&race.pool, SLABS, 0);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        cr_assert_eq(rlt_delivery_ring_init(&race.rings[i], 256), 0);
        consumers[i] = (struct consumer){&race, i};
        threads[i] = stress_start(consume, &consumers[i]);
    }
    produce(&race);
    for (unsigned i = 0; i < CONSUMERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        rlt_delivery_ring_fini(&race.rings[i]);
    }
    for (unsigned i = 0; i < SLABS; i++) {
        cr_assert_not_null(rlt_slab_acquire(&race.pool), "slab %u was not returned", i);
    }
    cr_assert_null(rlt_slab_acquire(&race.pool));
    rlt_slab_pool_fini(&race.pool);
}
