/* SPDX-License-Identifier: MIT */
#include "base/gate.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/condition.h"
#include "support/test.h"

Test(gate, lets_in_until_it_is_closed)
{
    cr_assert(rlt_gate_enter(RLT_GATE_LOG));
    rlt_gate_leave(RLT_GATE_LOG);
    rlt_gate_close(RLT_GATE_LOG);
    cr_assert_not(rlt_gate_enter(RLT_GATE_LOG));
    cr_assert(rlt_gate_is_empty(RLT_GATE_LOG));
    cr_assert(rlt_gate_enter(RLT_GATE_CRYPTO), "the other gate is open");
    rlt_gate_leave(RLT_GATE_CRYPTO);
}

Test(gate, thread_that_closes_it_does_not_wait_for_itself)
{
    cr_assert(rlt_gate_enter(RLT_GATE_LOG));
    cr_assert(rlt_gate_enter(RLT_GATE_LOG));
    rlt_gate_close(RLT_GATE_LOG);
    cr_assert(rlt_gate_is_empty(RLT_GATE_LOG));
    rlt_gate_leave(RLT_GATE_LOG);
    rlt_gate_leave(RLT_GATE_LOG);
    cr_assert(rlt_gate_is_empty(RLT_GATE_LOG));
}

struct visit {
    sem_t inside;
    sem_t end;
};

static void await(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) {
    }
}

static void *visit_gate(void *argument)
{
    struct visit *visit = argument;
    REQUIRE(rlt_gate_enter(RLT_GATE_CRYPTO));
    (void)sem_post(&visit->inside);
    await(&visit->end);
    rlt_gate_leave(RLT_GATE_CRYPTO);
    return NULL;
}

/* More threads than there are counters. */
Test(gate, each_thread_inside_is_waited_for_and_none_in_a_child)
{
    enum { VISITS = 40 };
    static struct visit visits[VISITS];
    pthread_t threads[VISITS];
    for (int i = 0; i < VISITS; i++) {
        cr_assert_eq(sem_init(&visits[i].inside, 0, 0), 0);
        cr_assert_eq(sem_init(&visits[i].end, 0, 0), 0);
        cr_assert_eq(pthread_create(&threads[i], NULL, visit_gate, &visits[i]), 0);
        await(&visits[i].inside);
    }
    cr_assert(rlt_gate_enter(RLT_GATE_CRYPTO));
    pid_t child = fork();
    if (child == 0) {
        bool was_empty = rlt_gate_is_empty(RLT_GATE_CRYPTO);
        rlt_gate_forked();
        bool is_empty = rlt_gate_is_empty(RLT_GATE_CRYPTO);
        rlt_gate_leave(RLT_GATE_CRYPTO);
        _exit(!was_empty && is_empty && rlt_gate_is_empty(RLT_GATE_CRYPTO) ? 0 : 1);
    }
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    rlt_gate_leave(RLT_GATE_CRYPTO);
    rlt_gate_close(RLT_GATE_CRYPTO);
    for (int i = 0; i < VISITS; i++) {
        cr_assert_not(rlt_gate_is_empty(RLT_GATE_CRYPTO), "%d have left", i);
        (void)sem_post(&visits[i].end);
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    cr_assert(rlt_gate_is_empty(RLT_GATE_CRYPTO));
}

/* Who was let in is seen by the one who closes: what is in use is never taken away. */
static atomic_bool is_there = true;
static atomic_uint_fast64_t visit_count;

static void *come_and_go(void *argument)
{
    while (rlt_gate_enter(RLT_GATE_CRYPTO)) {
        REQUIRE(atomic_load_explicit(&is_there, memory_order_relaxed));
        atomic_fetch_add_explicit(&visit_count, 1, memory_order_relaxed);
        rlt_gate_leave(RLT_GATE_CRYPTO);
    }
    return argument;
}

Test(gate, nobody_is_inside_once_it_is_empty)
{
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, come_and_go, NULL), 0);
    }
    EVENTUALLY(atomic_load(&visit_count) > 100000);
    rlt_gate_close(RLT_GATE_CRYPTO);
    EVENTUALLY(rlt_gate_is_empty(RLT_GATE_CRYPTO));
    atomic_store_explicit(&is_there, false, memory_order_relaxed);
    for (int i = 0; i < THREADS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
}
