/* SPDX-License-Identifier: MIT */
#include "ending.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "complain.h"
#include "connect.h"

enum { MS_PER_S = 1000, NS_PER_MS = 1000000 };

/* All that the handlers use, which run in the main thread only. The atomics are free of locks, and
 * relaxed: there is one thread. */
static timer_t timer;
static int asked_fd = -1;
static uint64_t deadline_ms = UINT64_MAX;
static atomic_int asked;
static atomic_int ticks_left = ENDING_TICKS;
static atomic_int stalled_left = ENDING_TICKS;
static atomic_int code;

static struct timespec timespec_of(uint64_t ms)
{
    return (struct timespec){
        .tv_sec = (time_t)(ms / MS_PER_S),
        .tv_nsec = (long)(ms % MS_PER_S * NS_PER_MS),
    };
}

/* The first tick at `at_ms`, which is not 0: that would stop the timer. */
static int start_ticking(uint64_t at_ms)
{
    struct itimerspec when = {
        .it_value = timespec_of(at_ms),
        .it_interval = timespec_of(ENDING_TICK_MS),
    };
    return timer_settime(timer, TIMER_ABSTIME, &when, NULL);
}

static void on_signal(int signal)
{
    int before = errno;
    uint64_t one = 1;
    (void)signal;
    if (atomic_exchange_explicit(&asked, 1, memory_order_relaxed) == 0) {
        atomic_store_explicit(&code, COMMAND_OK, memory_order_relaxed);
        atomic_store_explicit(&ticks_left, ENDING_TICKS, memory_order_relaxed);
        atomic_store_explicit(&stalled_left, ENDING_TICKS_STALLED, memory_order_relaxed);
        (void)start_ticking(connect_now_ms() + ENDING_TICK_MS);
        (void)!write(asked_fd, &one, sizeof(one));
    }
    errno = before;
}

static void on_tick(int signal)
{
    (void)signal;
    bool late = atomic_fetch_sub_explicit(&ticks_left, 1, memory_order_relaxed) <= 1;
    bool stalled = atomic_fetch_sub_explicit(&stalled_left, 1, memory_order_relaxed) <= 1;
    if (late || stalled) {
        _exit(atomic_load_explicit(&code, memory_order_relaxed));
    }
}

/* SA_RESTART is not set: what sleeps is to be interrupted. */
static int handle(int signal, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler};
    /* One at a time: they share what is above. */
    (void)sigaddset(&action.sa_mask, SIGINT);
    (void)sigaddset(&action.sa_mask, SIGTERM);
    (void)sigaddset(&action.sa_mask, SIGALRM);
    sigset_t one;
    (void)sigemptyset(&one);
    (void)sigaddset(&one, signal);
    /* Whoever started this program may have blocked it. */
    return sigaction(signal, &action, NULL) == 0 ? sigprocmask(SIG_UNBLOCK, &one, NULL) : -1;
}

int ending_prepare(const struct command *command, uint64_t end_ms, int late_code)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    deadline_ms = end_ms;
    atomic_store_explicit(&code, late_code, memory_order_relaxed);
    asked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (asked_fd < 0 || timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        handle(SIGALRM, on_tick) != 0 || handle(SIGINT, on_signal) != 0 ||
        handle(SIGTERM, on_signal) != 0 || (end_ms != UINT64_MAX && start_ticking(end_ms) != 0)) {
        command_complain(command, "signals cannot be caught: %s", strerror(errno));
        return -1;
    }
    return asked_fd;
}

void ending_goes_on(void)
{
    if (ending_is_asked()) {
        atomic_store_explicit(&stalled_left, ENDING_TICKS_STALLED, memory_order_relaxed);
    }
}

bool ending_is_asked(void)
{
    return atomic_load_explicit(&asked, memory_order_relaxed) != 0;
}

bool ending_is_due(void)
{
    return ending_is_asked() || connect_now_ms() >= deadline_ms;
}
