/* SPDX-License-Identifier: MIT */
#include "io/wake/park.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/defs.h"
#include "base/error.h"
#include "io/system/clock.h"
#include "io/system/descriptor.h"
#include "io/system/system_text.h"
#include "roulette.h"

bool rlt_park_wait(_Atomic(uint32_t) *word, uint32_t expected, uint64_t deadline_ns)
{
    struct timespec deadline = {
        .tv_sec = (time_t)(deadline_ns / RLT_NS_PER_S),
        .tv_nsec = (long)(deadline_ns % RLT_NS_PER_S),
    };
    /* The bitset form takes an absolute CLOCK_MONOTONIC time. */
    long result =
        syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected,
                deadline_ns == RLT_NEVER ? NULL : &deadline, NULL, FUTEX_BITSET_MATCH_ANY);
    return !(result < 0 && errno == ETIMEDOUT);
}

void rlt_park_wake(_Atomic(uint32_t) *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

int rlt_park_descriptor_create(void)
{
    int descriptor = rlt_descriptor_above(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    if (descriptor < 0) {
        char text[RLT_SYSTEM_TEXT_MAX];
        return rlt_error_set(ROULETTE_ESYSTEM, "eventfd() has failed: %s",
                             rlt_system_text(errno, text));
    }
    return descriptor;
}

void rlt_park_descriptor_destroy(int descriptor)
{
    if (descriptor >= 0) {
        (void)close(descriptor);
    }
}

void rlt_park_descriptor_signal(int descriptor)
{
    uint64_t one = 1;
    long written;
    do {
        /* Not write(), a cancellation point: a publisher that ended here would have taken the
         * sleeper's announcement and not woken it. EAGAIN: the counter is at its limit, so it is
         * readable already. */
        written = syscall(SYS_write, descriptor, &one, sizeof(one));
    } while (written < 0 && errno == EINTR);
}

uint64_t rlt_park_descriptor_clear(int descriptor)
{
    uint64_t count;
    long got;
    do {
        /* Not read(), a cancellation point: a subscriber's thread that ended here would leave a
         * bell that no thread rings. */
        got = syscall(SYS_read, descriptor, &count, sizeof(count));
    } while (got < 0 && errno == EINTR);
    return got == (long)sizeof(count) ? count : 0;
}

bool rlt_park_descriptors_wait(struct rlt_park_entry *entries, uint32_t count, uint64_t deadline_ns)
{
    struct pollfd pollers[RLT_PARK_ENTRIES_MAX];
    RLT_ASSERT(count <= RLT_PARK_ENTRIES_MAX);
    for (uint32_t i = 0; i < count; i++) {
        pollers[i] = (struct pollfd){.fd = entries[i].descriptor, .events = POLLIN};
    }
    struct timespec left;
    struct timespec *timeout = NULL;
    if (deadline_ns != RLT_NEVER) {
        uint64_t now_ns = rlt_clock_ns();
        uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
        left.tv_sec = (time_t)(left_ns / RLT_NS_PER_S);
        left.tv_nsec = (long)(left_ns % RLT_NS_PER_S);
        timeout = &left;
    }
    int result = ppoll(pollers, count, timeout, NULL);
    for (uint32_t i = 0; i < count; i++) {
        entries[i].readable = result > 0 && pollers[i].revents != 0;
    }
    return result != 0;
}
