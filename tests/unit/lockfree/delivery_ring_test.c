/* SPDX-License-Identifier: MIT */
#include "lockfree/delivery_ring.h"

#include <signal.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/test.h"
#include "unit/lockfree/stress.h"

/** Fill a slot with a notice of which nothing but the number counts. */
static void fill(struct rlt_delivery_ring *ring, uint64_t number)
{
    *rlt_delivery_ring_fill(ring) = (struct rlt_delivery){
        .notice = {.count = number, .error = -(int32_t)(number & 0xffff), .kind = 1}};
}

static bool is_number(const struct rlt_delivery *delivery, uint64_t number)
{
    return delivery != NULL && delivery->base == NULL && delivery->notice.count == number &&
           delivery->notice.error == -(int32_t)(number & 0xffff) && delivery->notice.kind == 1;
}

Test(delivery_ring, new_ring_is_empty_and_has_room_for_its_capacity)
{
    struct rlt_delivery_ring ring;
    cr_assert_eq(rlt_delivery_ring_init(&ring, 8), 0);
    cr_assert_eq(rlt_delivery_ring_head(&ring), 0);
    cr_assert_null(rlt_delivery_ring_peek(&ring, 0));
    cr_assert(rlt_delivery_ring_has_room(&ring, 8));
    cr_assert_not(rlt_delivery_ring_has_room(&ring, 9));
    rlt_delivery_ring_fini(&ring);
}

static int refuse(void *context, size_t size)
{
    (void)context;
    (void)size;
    return 0;
}

Test(delivery_ring, without_memory_there_is_none)
{
    struct rlt_delivery_ring ring;
    rlt_memory_set_gate(refuse, NULL);
    cr_assert_eq(rlt_delivery_ring_init(&ring, 8), ROULETTE_ENOMEM);
    rlt_memory_set_gate(NULL, NULL);
    rlt_delivery_ring_fini(&ring);
}

Test(delivery_ring, capacity_that_is_no_power_of_two_aborts, .signal = SIGABRT)
{
    struct rlt_delivery_ring ring;
    (void)rlt_delivery_ring_init(&ring, 12);
}

Test(delivery_ring, filled_slots_are_invisible_until_published_together)
{
    struct rlt_delivery_ring ring;
    cr_assert_eq(rlt_delivery_ring_init(&ring, 8), 0);
    for (uint64_t i = 0; i < 3; i++) {
        fill(&ring, i);
        cr_assert_null(rlt_delivery_ring_peek(&ring, 0));
    }
    rlt_delivery_ring_publish(&ring);
    for (uint64_t i = 0; i < 3; i++) {
        cr_assert(is_number(rlt_delivery_ring_peek(&ring, i), i));
    }
    cr_assert_null(rlt_delivery_ring_peek(&ring, 3));
    rlt_delivery_ring_fini(&ring);
}

Test(delivery_ring, filled_slots_take_room_before_they_are_published)
{
    struct rlt_delivery_ring ring;
    cr_assert_eq(rlt_delivery_ring_init(&ring, 4), 0);
    for (uint64_t i = 0; i < 4; i++) {
        cr_assert(rlt_delivery_ring_has_room(&ring, 1));
        fill(&ring, i);
    }
    cr_assert_not(rlt_delivery_ring_has_room(&ring, 1));
    rlt_delivery_ring_fini(&ring);
}

Test(delivery_ring, only_advance_makes_room)
{
    struct rlt_delivery_ring ring;
    cr_assert_eq(rlt_delivery_ring_init(&ring, 4), 0);
    for (uint64_t i = 0; i < 4; i++) {
        fill(&ring, i);
    }
    rlt_delivery_ring_publish(&ring);
    cr_assert_not_null(rlt_delivery_ring_peek(&ring, 3));
    cr_assert_not(rlt_delivery_ring_has_room(&ring, 1));
    rlt_delivery_ring_advance(&ring, 3);
    cr_assert_eq(rlt_delivery_ring_head(&ring), 3);
    cr_assert(rlt_delivery_ring_has_room(&ring, 3));
    cr_assert_not(rlt_delivery_ring_has_room(&ring, 4));
    cr_assert(is_number(rlt_delivery_ring_peek(&ring, 3), 3));
    rlt_delivery_ring_fini(&ring);
}

Test(delivery_ring, slots_wrap)
{
    struct rlt_delivery_ring ring;
    cr_assert_eq(rlt_delivery_ring_init(&ring, 4), 0);
    for (uint64_t i = 0; i < 100; i += 3) {
        cr_assert(rlt_delivery_ring_has_room(&ring, 3));
        for (uint64_t j = 0; j < 3; j++) {
            fill(&ring, i + j);
        }
        rlt_delivery_ring_publish(&ring);
        for (uint64_t j = 0; j < 3; j++) {
            cr_assert(is_number(rlt_delivery_ring_peek(&ring, i + j), i + j));
        }
        cr_assert_null(rlt_delivery_ring_peek(&ring, i + 3));
        rlt_delivery_ring_advance(&ring, i + 3);
    }
    rlt_delivery_ring_fini(&ring);
}

/* ---- Threads ------------------------------------------------------------------------------ */

struct race {
    struct rlt_delivery_ring ring;
    uint64_t total;
    uint64_t seed;
};

static void *produce(void *argument)
{
    struct race *race = argument;
    struct rlt_random random = {.state = race->seed};
    uint64_t number = 0;
    while (number < race->total) {
        uint64_t batch = 1 + rlt_random_below(&random, 8);
        while (!rlt_delivery_ring_has_room(&race->ring, batch)) {
            (void)sched_yield();
        }
        for (uint64_t i = 0; i < batch; i++) {
            fill(&race->ring, number++);
        }
        rlt_delivery_ring_publish(&race->ring);
    }
    return NULL;
}

Test(delivery_ring, batches_arrive_whole_and_in_order)
{
    struct race race = {.total = 4000000 / STRESS_SCALE, .seed = stress_seed("delivery_ring")};
    struct rlt_random random = {.state = ~race.seed};
    cr_assert_eq(rlt_delivery_ring_init(&race.ring, 64), 0);
    pthread_t producer = stress_start(produce, &race);
    uint64_t position = 0;
    while (position < race.total) {
        uint64_t max = 1 + rlt_random_below(&random, 40);
        uint64_t start = position;
        const struct rlt_delivery *delivery;
        while (position - start < max &&
               (delivery = rlt_delivery_ring_peek(&race.ring, position)) != NULL) {
            stress_check(is_number(delivery, position));
            position++;
        }
        if (position == start) {
            (void)sched_yield();
        }
        rlt_delivery_ring_advance(&race.ring, position);
    }
    cr_assert_eq(pthread_join(producer, NULL), 0);
    /* The last batch may go beyond the total. */
    cr_assert_lt(race.ring.next - race.total, 8);
    rlt_delivery_ring_fini(&race.ring);
}
