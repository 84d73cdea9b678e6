/* SPDX-License-Identifier: MIT */
/*
 * Who is answered, by how many threads, while lookups hang.
 */
#include "io/resolver.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/condition.h"
#include "support/fake_dns.h"
#include "support/test.h"

#define NAMES (RLT_RESOLVER_THREADS_MAX + 10)

static _Atomic(unsigned) answers;
static char names[NAMES][32];

/* ---- Time --------------------------------------------------------------------------------- */

static _Atomic(time_t) ahead_s;
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = __real_clock_gettime(clock, now);
    now->tv_sec += atomic_load_explicit(&ahead_s, memory_order_relaxed);
    return result;
}

/* ---- Asking ------------------------------------------------------------------------------- */

static void on_done(void *context, struct rlt_lookup *lookup)
{
    (void)lookup;
    /* Release: the answer is in the lookup. */
    atomic_fetch_add_explicit((_Atomic(unsigned) *)context, 1, memory_order_release);
}

static unsigned answered(void)
{
    return atomic_load_explicit(&answers, memory_order_acquire);
}

static struct rlt_lookup *ask(const char *host)
{
    struct rlt_lookup *lookup = rlt_lookup_create(host, 1);
    cr_assert_not_null(lookup);
    lookup->done = on_done;
    lookup->context = &answers;
    cr_assert_eq(rlt_resolver_ask(lookup), 0);
    return lookup;
}

static void check_answer(struct rlt_lookup *lookup, uint32_t address)
{
    cr_assert_eq(lookup->error, 0);
    cr_assert_eq(lookup->found.count, 1);
    cr_assert_eq(ntohl(lookup->found.list[0].v4.sin_addr.s_addr), address);
    cr_assert_not(rlt_resolver_leave(lookup));
    rlt_memory_free(lookup);
}

static void leave(struct rlt_lookup *lookup)
{
    cr_assert(rlt_resolver_leave(lookup));
    rlt_memory_free(lookup);
}

static void name_all(void)
{
    for (size_t i = 0; i < NAMES; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "n%zu.example", i);
        fake_dns_set(names[i], "10.0.0.1", NULL);
    }
}

/* ---- Threads ------------------------------------------------------------------------------ */

Test(resolver, name_is_looked_up_once_for_all_who_ask)
{
    enum { ASKERS = 100 };
    struct rlt_lookup *lookups[ASKERS];
    fake_dns_set("a.example", "10.0.0.1", NULL);
    fake_dns_set("b.example", "10.0.0.2", NULL);
    fake_dns_hang("a.example");
    for (int i = 0; i < ASKERS; i++) {
        lookups[i] = ask("a.example");
    }
    struct rlt_lookup *other = ask("b.example");
    EVENTUALLY(answered() == 1);
    check_answer(other, 0x0a000002);
    EVENTUALLY(fake_dns_running("a.example") == 1);
    fake_dns_release();
    EVENTUALLY(answered() == 1 + ASKERS);
    cr_assert_eq(fake_dns_begun("a.example"), 1);
    for (int i = 0; i < ASKERS; i++) {
        check_answer(lookups[i], 0x0a000001);
    }
}

Test(resolver, finished_lookup_is_not_remembered)
{
    fake_dns_set("a.example", "10.0.0.1", NULL);
    struct rlt_lookup *first = ask("a.example");
    EVENTUALLY(answered() == 1);
    check_answer(first, 0x0a000001);
    fake_dns_set("a.example", "10.0.0.2", NULL);
    struct rlt_lookup *second = ask("a.example");
    EVENTUALLY(answered() == 2);
    check_answer(second, 0x0a000002);
}

Test(resolver, failure_is_told_to_all_who_ask)
{
    fake_dns_set("none.example", NULL);
    fake_dns_hang("none.example");
    struct rlt_lookup *lookups[2] = {ask("none.example"), ask("none.example")};
    fake_dns_release();
    EVENTUALLY(answered() == 2);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(lookups[i]->error, ROULETTE_ERESOLVE);
        rlt_memory_free(lookups[i]);
    }
}

Test(resolver, threads_are_bounded_and_further_names_wait_for_one)
{
    struct rlt_lookup *lookups[NAMES];
    name_all();
    for (size_t i = 0; i < NAMES; i++) {
        fake_dns_hang(names[i]);
        lookups[i] = ask(names[i]);
    }
    EVENTUALLY(fake_dns_running(NULL) == RLT_RESOLVER_THREADS_MAX);
    cr_assert_eq(fake_dns_begun(names[RLT_RESOLVER_THREADS_MAX]), 0);
    fake_dns_release();
    EVENTUALLY(answered() == NAMES);
    for (size_t i = 0; i < NAMES; i++) {
        cr_assert_eq(fake_dns_begun(names[i]), 1);
        check_answer(lookups[i], 0x0a000001);
    }
}

/* ---- Leaving ------------------------------------------------------------------------------ */

Test(resolver, who_leaves_is_not_answered_and_the_next_one_joins)
{
    fake_dns_set("a.example", "10.0.0.1", NULL);
    fake_dns_hang("a.example");
    for (int i = 0; i < 1000; i++) {
        leave(ask("a.example"));
    }
    struct rlt_lookup *lookup = ask("a.example");
    EVENTUALLY(fake_dns_running("a.example") == 1);
    fake_dns_release();
    EVENTUALLY(answered() == 1);
    cr_assert_eq(fake_dns_begun("a.example"), 1);
    check_answer(lookup, 0x0a000001);
}

Test(resolver, name_that_nobody_waits_for_is_not_looked_up)
{
    struct rlt_lookup *lookups[NAMES];
    name_all();
    for (size_t i = 0; i < NAMES; i++) {
        fake_dns_hang(names[i]);
        lookups[i] = ask(names[i]);
    }
    for (size_t i = 0; i < NAMES; i++) {
        leave(lookups[i]);
    }
    struct rlt_lookup *last = ask(names[NAMES - 1]);
    fake_dns_release();
    EVENTUALLY(answered() == 1);
    check_answer(last, 0x0a000001);
    for (size_t i = RLT_RESOLVER_THREADS_MAX; i < NAMES - 1; i++) {
        cr_assert_eq(fake_dns_begun(names[i]), 0);
    }
}

/* ---- Lookups that never end --------------------------------------------------------------- */

Test(resolver, overdue_lookup_is_left_behind_a_few_times)
{
    struct rlt_lookup *lookups[2 * RLT_RESOLVER_LOST_MAX];
    fake_dns_set("a.example", "10.0.0.1", NULL);
    fake_dns_hang("a.example");
    for (unsigned i = 0; i < 2 * RLT_RESOLVER_LOST_MAX; i++) {
        unsigned expected = i < RLT_RESOLVER_LOST_MAX ? i + 1 : RLT_RESOLVER_LOST_MAX + 1;
        lookups[i] = ask("a.example");
        EVENTUALLY(fake_dns_begun("a.example") == expected);
        atomic_fetch_add(&ahead_s, 59);
        leave(ask("a.example"));
        cr_assert_eq(fake_dns_begun("a.example"), expected);
        atomic_fetch_add(&ahead_s, 1);
    }
    fake_dns_release();
    EVENTUALLY(answered() == 2 * RLT_RESOLVER_LOST_MAX);
    for (unsigned i = 0; i < 2 * RLT_RESOLVER_LOST_MAX; i++) {
        check_answer(lookups[i], 0x0a000001);
    }
    /* The threads are back: again as many may be lost. */
    EVENTUALLY(fake_dns_running(NULL) == 0);
    fake_dns_hang("a.example");
    struct rlt_lookup *before = ask("a.example");
    atomic_fetch_add(&ahead_s, 60);
    struct rlt_lookup *after = ask("a.example");
    EVENTUALLY(fake_dns_running("a.example") == 2);
    fake_dns_release();
    EVENTUALLY(answered() == 2 * RLT_RESOLVER_LOST_MAX + 2);
    check_answer(before, 0x0a000001);
    check_answer(after, 0x0a000001);
}

/* ---- Memory and forks --------------------------------------------------------------------- */

static int refuse(void *context, size_t size)
{
    (void)context;
    (void)size;
    return 0;
}

Test(resolver, without_memory_nothing_was_asked)
{
    fake_dns_set("a.example", "10.0.0.1", NULL);
    struct rlt_lookup *lookup = rlt_lookup_create("a.example", 1);
    cr_assert_not_null(lookup);
    lookup->done = on_done;
    lookup->context = &answers;
    rlt_memory_set_gate(refuse, NULL);
    cr_assert_null(rlt_lookup_create("b.example", 1));
    cr_assert_eq(rlt_resolver_ask(lookup), ROULETTE_ENOMEM);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_eq(fake_dns_begun("a.example"), 0);
    cr_assert_eq(rlt_resolver_ask(lookup), 0);
    EVENTUALLY(answered() == 1);
    check_answer(lookup, 0x0a000001);
}

/* What a child does with what its parent asks for. Returns: its exit code. */
static int live_as_child(struct rlt_lookup **inherited, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        REQUIRE(rlt_resolver_leave(inherited[i]));
        rlt_memory_free(inherited[i]);
    }
    fake_dns_release();
    struct rlt_lookup *own[2] = {rlt_lookup_create("a.example", 1),
                                 rlt_lookup_create("b.example", 1)};
    for (int i = 0; i < 2; i++) {
        own[i]->done = on_done;
        own[i]->context = &answers;
        REQUIRE(rlt_resolver_ask(own[i]) == 0);
    }
    EVENTUALLY(answered() == 2);
    for (int i = 0; i < 2; i++) {
        REQUIRE(own[i]->error == 0 && own[i]->found.count == 1);
        rlt_memory_free(own[i]);
    }
    return 0;
}

struct busy {
    struct rlt_lookup *lookup;
    _Atomic(uint32_t) rounds;
    _Atomic(bool) stop;
};

/* Ask and leave without a pause, so that forks find the lock taken. Nothing is allocated meanwhile:
 * a child process would find the lock of a sanitizer's allocator taken too, and wait for ever. */
static void *keep_busy(void *context)
{
    struct busy *busy = context;
    while (!atomic_load_explicit(&busy->stop, memory_order_relaxed)) {
        REQUIRE(rlt_resolver_ask(busy->lookup) == 0 && rlt_resolver_leave(busy->lookup));
        atomic_fetch_add_explicit(&busy->rounds, 1, memory_order_relaxed);
    }
    return NULL;
}

Test(resolver, child_process_has_lookups_of_its_own)
{
#ifdef TEST_OWN_RUNNER
    cr_skip_test("ThreadSanitizer permits a child process no threads");
#endif
    enum { FORKS = SCALED(50, 5) };
    pthread_t thread;
    struct busy busy = {.lookup = rlt_lookup_create("a.example", 1)};
    cr_assert_not_null(busy.lookup);
    busy.lookup->done = on_done;
    busy.lookup->context = &answers;
    fake_dns_set("a.example", "10.0.0.1", NULL);
    fake_dns_set("b.example", "10.0.0.2", NULL);
    fake_dns_hang("a.example");
    struct rlt_lookup *lookups[2] = {ask("a.example"), ask("a.example")};
    EVENTUALLY(fake_dns_running("a.example") == 1);
    cr_assert_eq(pthread_create(&thread, NULL, keep_busy, &busy), 0);
    EVENTUALLY(atomic_load_explicit(&busy.rounds, memory_order_relaxed) > 1);
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) {
            _exit(live_as_child(lookups, 2));
        }
        int status;
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
    }
    atomic_store_explicit(&busy.stop, true, memory_order_relaxed);
    (void)pthread_join(thread, NULL);
    rlt_memory_free(busy.lookup);
    fake_dns_release();
    EVENTUALLY(answered() == 2);
    check_answer(lookups[0], 0x0a000001);
    check_answer(lookups[1], 0x0a000001);
}
