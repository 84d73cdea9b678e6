/* SPDX-License-Identifier: MIT */
#include "io/uring_setup.h"

#include <errno.h>
#include <stddef.h>

#include "roulette.h"

/* The best ring that this kernel and its limits allow. */
static int create(struct io_uring *ring, unsigned entries)
{
    static const unsigned flags[] = {
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
        IORING_SETUP_COOP_TASKRUN,
        0,
    };
    int result = -EINVAL;
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]) && result == -EINVAL; i++) {
        result = io_uring_queue_init(entries, ring, flags[i]);
    }
    if (result == 0) {
        (void)io_uring_ring_dontfork(ring);
        if ((ring->features & IORING_FEAT_EXT_ARG) == 0) {
            io_uring_queue_exit(ring);
            result = -ENOSYS;
        }
    }
    return result;
}

int rlt_uring_setup(struct io_uring *ring, unsigned entries)
{
    int result = create(ring, entries);
    if (result == -EPERM || result == -ENOSYS || result == -EINVAL) {
        return ROULETTE_ENOTSUP;
    }
    /* -ENOMEM is RLIMIT_MEMLOCK, -EMFILE the limit of descriptors. */
    return result == 0 ? 0 : ROULETTE_ESYSTEM;
}
