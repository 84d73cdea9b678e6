/* SPDX-License-Identifier: MIT */
#include "harness/window.h"

#include <sys/resource.h>
#include <time.h>

#include "harness/calls.h"

static double of_timeval(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static struct window look(void)
{
    struct timespec now;
    struct rusage usage;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    (void)getrusage(RUSAGE_SELF, &usage);
    return (struct window){
        .seconds = (double)now.tv_sec + (double)now.tv_nsec / 1e9,
        .cpu_seconds = of_timeval(usage.ru_utime) + of_timeval(usage.ru_stime),
        .switches = (uint64_t)usage.ru_nvcsw + (uint64_t)usage.ru_nivcsw,
    };
}

uint64_t window_warm_up(uint64_t messages)
{
    return messages / 10 + 1;
}

void window_open(struct window *window)
{
    calls_begin();
    *window = look();
}

void window_close(const struct window *window, struct sample *sample)
{
    struct window now = look();
    calls_end();
    sample->seconds = now.seconds - window->seconds;
    sample->cpu_seconds = now.cpu_seconds - window->cpu_seconds;
    sample->switches = now.switches - window->switches;
}

void window_of_arrival(const struct peer *peer, void *client, const struct peer_tally *tally,
                       uint64_t messages, uint32_t subscribers, struct sample *sample)
{
    struct window window;
    uint64_t warm_up = window_warm_up(messages);
    peer->await(client, warm_up * subscribers);
    window_open(&window);
    uint64_t received = atomic_load_explicit(&tally->received, memory_order_relaxed);
    uint64_t dropped = atomic_load_explicit(&tally->dropped, memory_order_relaxed);
    peer->await(client, (warm_up + messages) * subscribers);
    window_close(&window, sample);
    sample->messages = atomic_load_explicit(&tally->received, memory_order_relaxed) - received;
    sample->dropped = atomic_load_explicit(&tally->dropped, memory_order_relaxed) - dropped;
}
