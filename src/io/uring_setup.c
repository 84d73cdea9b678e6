/* SPDX-License-Identifier: MIT */
#include "io/uring_setup.h"

#include <errno.h>
#include <stddef.h>

#include "io/descriptor.h"
#include "roulette.h"

/* Out of 0 to 2 with the ring's descriptor: all of liburing's calls use these two fields. */
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

int rlt_uring_setup(struct io_uring *ring, unsigned entries, unsigned completions)
{
    int result = create(ring, entries, completions);
    if (result == -EPERM || result == -ENOSYS || result == -EINVAL) {
        return ROULETTE_ENOTSUP;
    }
    /* -ENOMEM is RLIMIT_MEMLOCK, -EMFILE the limit of descriptors. */
    return result == 0 ? 0 : ROULETTE_ESYSTEM;
}
