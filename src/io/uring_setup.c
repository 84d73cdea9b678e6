/* SPDX-License-Identifier: MIT */
#include "io/uring_setup.h"

#include <errno.h>
#include <stddef.h>

#include "base/error.h"
#include "io/system/descriptor.h"
#include "io/system/system_text.h"
#include "roulette.h"

/* Interruptions that are tolerated when the ring is tried. */
#define PROBES_MAX 16
#define PROBE_S    1

/* Move the ring's descriptor out of 0 to 2: all of liburing's calls use these two fields. */
static int lift(struct io_uring *ring)
{
    ring->ring_fd = rlt_descriptor_above(ring->ring_fd);
    ring->enter_ring_fd = ring->ring_fd;
    return ring->ring_fd >= 0 ? 0 : -EMFILE;
}

/* The best ring that this kernel and its limits allow. */
static int create(struct io_uring *ring, unsigned entries, unsigned completions)
{
    static const unsigned flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_COOP_TASKRUN,
        0,
    };
    int result = -EINVAL;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && result == -EINVAL; i++) {
        struct io_uring_params params = {
            .flags = flags[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP,
            .cq_entries = completions > 2 * entries ? completions : 2 * entries,
        };
        result = io_uring_queue_init_params(entries, ring, &params);
    }
    if (result != 0) {
        return result;
    }
    (void)io_uring_ring_dontfork(ring);
    result = (ring->features & IORING_FEAT_EXT_ARG) != 0 ? lift(ring) : -ENOSYS;
    if (result != 0) {
        io_uring_queue_exit(ring);
    }
    return result;
}

/* Try to use the ring: a sandbox may allow to make a ring and not to use it. */
static int probe(struct io_uring *ring)
{
    struct io_uring_cqe *completion = NULL;
    struct __kernel_timespec timeout = {.tv_sec = PROBE_S};
    int result = -EINTR;
    io_uring_prep_nop(io_uring_get_sqe(ring));
    for (int i = 0; i < PROBES_MAX && (result == -EINTR || result == -EAGAIN); i++) {
        result = io_uring_submit_and_wait_timeout(ring, &completion, 1, &timeout, NULL);
    }
    if (result >= 0 && completion != NULL) {
        io_uring_cqe_seen(ring, completion);
        return 0;
    }
    return result < 0 ? result : -ETIME;
}

static int refuse(const char *call, int error)
{
    char text[RLT_SYSTEM_TEXT_MAX];
    const char *reason = rlt_system_text(error, text);
    if (error == EMFILE || error == ENFILE) {
        return rlt_error_set(ROULETTE_ESYSTEM, "%s() has failed: %s", call, reason);
    }
    if (error == ENOMEM) {
        return rlt_error_set(ROULETTE_ESYSTEM,
                             "%s() has failed: %s (raise the limit of locked memory: ulimit -l, or "
                             "LimitMEMLOCK of the service)",
                             call, reason);
    }
    return rlt_error_set(ROULETTE_ENOTSUP,
                         "io_uring is not available: %s() has failed: %s (Linux 5.11 or newer is "
                         "needed, kernel.io_uring_disabled must be 0, and a container's seccomp "
                         "profile must allow io_uring_setup and io_uring_enter)",
                         call, reason);
}

int rlt_uring_setup(struct io_uring *ring, unsigned entries, unsigned completions)
{
    int result = create(ring, entries, completions);
    if (result < 0) {
        return refuse("io_uring_setup", -result);
    }
    result = probe(ring);
    if (result < 0) {
        io_uring_queue_exit(ring);
        return refuse("io_uring_enter", -result);
    }
    return 0;
}
