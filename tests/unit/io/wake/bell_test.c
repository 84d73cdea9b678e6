/* SPDX-License-Identifier: MIT */
#include "io/wake/bell.h"

#include <ck_pr.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/random.h"
#include "io/system/clock.h"
#include "io/wake/park.h"
#include "support/condition.h"
#include "support/test.h"

static struct rlt_bell bell;

static void open_it(void)
{
    cr_assert_eq(rlt_bell_init(&bell), 0);
}

static void close_it(void)
{
    rlt_bell_fini(&bell);
}

#define BellTest(name) Test(bell, name, .init = open_it, .fini = close_it)

static bool is_readable(void)
{
    struct rlt_park_entry entry = {.descriptor = bell.descriptor};
    return rlt_park_descriptors_wait(&entry, 1, 1) && entry.readable;
}

/* The two steps of a ringer, which may lie far apart. */
static void ring(void)
{
    cr_assert(rlt_doorbell_knock(&bell.doorbell, 1));
}

static void signal_it(void)
{
    rlt_park_descriptor_signal(bell.descriptor);
}

BellTest(descriptor_tells_until_it_is_armed_again)
{
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    ring();
    signal_it();
    cr_assert(is_readable());
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    ring();
    signal_it();
    cr_assert(is_readable());
}

BellTest(bell_that_was_not_rung_is_left_armed)
{
    rlt_bell_arm(&bell);
    rlt_bell_arm(&bell);
    ring();
    signal_it();
    cr_assert(is_readable());
}

BellTest(late_signal_is_cleared_all_the_same)
{
    rlt_bell_arm(&bell);
    ring();
    rlt_bell_arm(&bell); /* there is nothing to clear yet */
    signal_it();
    cr_assert(is_readable());
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    ring();
    signal_it();
    cr_assert(is_readable(), "and it is still armed");
}

BellTest(several_late_signals_are_cleared)
{
    for (int i = 0; i < 3; i++) {
        rlt_bell_arm(&bell);
        ring();
    }
    rlt_bell_arm(&bell);
    signal_it();
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    signal_it();
    signal_it();
    cr_assert(is_readable());
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    cr_assert_eq(bell.due, 0);
}

BellTest(signals_of_the_sleeper_itself_are_taken_back)
{
    rlt_bell_arm(&bell);
    ring(); /* its signal is late */
    rlt_bell_signal(&bell);
    rlt_bell_signal(&bell);
    cr_assert(is_readable());
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    signal_it();
    cr_assert(is_readable());
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    cr_assert_eq(bell.due, 0);
    ring();
}

BellTest(each_signal_is_an_edge)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    cr_assert_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, bell.descriptor, &event), 0);
    for (int i = 0; i < 3; i++) {
        rlt_bell_signal(&bell);
        cr_assert_eq(epoll_wait(epoll, &event, 1, 0), 1);
        cr_assert_eq(epoll_wait(epoll, &event, 1, 0), 0);
    }
    (void)close(epoll);
}

BellTest(disarmed_bell_is_not_rung)
{
    rlt_bell_arm(&bell);
    rlt_bell_disarm(&bell);
    cr_assert_not(rlt_doorbell_knock(&bell.doorbell, 1));
    rlt_bell_arm(&bell);
    cr_assert_eq(bell.due, 0);
    ring();
}

BellTest(late_signal_of_a_bell_that_is_disarmed_is_cleared)
{
    rlt_bell_arm(&bell);
    ring();
    rlt_bell_disarm(&bell);
    rlt_bell_disarm(&bell);
    rlt_bell_arm(&bell);
    signal_it();
    cr_assert(is_readable());
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    cr_assert_eq(bell.due, 0);
}

/* ---- Between the steps of the sleeper ----------------------------------------------------- */

uint64_t __real_rlt_park_descriptor_clear(int descriptor);
uint64_t __wrap_rlt_park_descriptor_clear(int descriptor);

static void (*before_clear)(void);

/* In place of the library's own: see CMakeLists.txt. */
uint64_t __wrap_rlt_park_descriptor_clear(int descriptor)
{
    if (before_clear != NULL) {
        before_clear();
    }
    return __real_rlt_park_descriptor_clear(descriptor);
}

static void ring_and_signal(void)
{
    if (rlt_doorbell_knock(&bell.doorbell, 1)) {
        signal_it();
    }
}

BellTest(ring_just_before_the_descriptor_is_cleared_is_not_forgotten)
{
    rlt_bell_arm(&bell);
    ring();
    rlt_bell_arm(&bell);
    signal_it();
    before_clear = ring_and_signal;
    rlt_bell_arm(&bell);
    before_clear = NULL;
    cr_assert(is_readable() || rlt_doorbell_knock(&bell.doorbell, 1), "nobody will ring any more");
    rlt_bell_disarm(&bell);
    cr_assert_leq(bell.due, 1);
}

/* ---- Threads ------------------------------------------------------------------------------ */

enum { RINGERS = 2, ROUNDS = SCALED(300000, 30000) };

static _Atomic(uint64_t) put[RINGERS];

static void lose_time(struct rlt_random *random)
{
    uint64_t ns = rlt_random_below(random, 8) == 0 ? rlt_random_below(random, 20000) : 0;
    uint64_t until_ns = rlt_clock_ns() + ns;
    while (ns != 0 && rlt_clock_ns() < until_ns) {
        ck_pr_stall();
    }
}

/* With pauses between its steps. */
static void *put_and_ring(void *argument)
{
    _Atomic(uint64_t) *own = argument;
    struct rlt_random random = {(uint64_t)(own - put) + 1};
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        atomic_store_explicit(own, i, memory_order_release);
        lose_time(&random);
        if (rlt_doorbell_knock(&bell.doorbell, 1)) {
            lose_time(&random);
            signal_it();
        }
    }
    return NULL;
}

static uint64_t total_put(void)
{
    uint64_t total = 0;
    for (int i = 0; i < RINGERS; i++) {
        total += atomic_load_explicit(&put[i], memory_order_acquire);
    }
    return total;
}

/* Each sleep must be ended by a ringer, and not by its deadline. */
BellTest(ringers_that_lose_time_between_their_steps_wake_the_sleeper)
{
    pthread_t threads[RINGERS];
    struct rlt_random random = {99};
    uint64_t taken = 0;
    for (int i = 0; i < RINGERS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, put_and_ring, (void *)&put[i]), 0);
    }
    while (taken != (uint64_t)RINGERS * ROUNDS) {
        uint64_t now = total_put();
        if (now != taken) {
            taken = now;
            continue;
        }
        lose_time(&random);
        rlt_bell_arm(&bell);
        if (total_put() != taken || rlt_random_below(&random, 4) == 0) {
            continue; /* it polls only now and then */
        }
        struct rlt_park_entry entry = {.descriptor = bell.descriptor};
        cr_assert(rlt_park_descriptors_wait(&entry, 1, rlt_clock_deadline(10000)),
                  "asleep at %llu of %llu", (unsigned long long)taken,
                  (unsigned long long)total_put());
    }
    for (int i = 0; i < RINGERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    rlt_bell_arm(&bell);
    cr_assert_eq(bell.due, 0);
    cr_assert_not(is_readable());
}
