/* SPDX-License-Identifier: MIT */
#include "core/sending/fence.h"

#include <signal.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/test.h"

/* Give a part the links that add_fence() of the cluster gives it. */
static void begin(struct rlt_fence_part *part, uint32_t connections)
{
    part->pending = connections;
    for (uint32_t i = 0; i < connections; i++) {
        part->links[i].part = part;
    }
}

static uint32_t is_done(struct rlt_fence *fence)
{
    return atomic_load_explicit(&fence->done, memory_order_acquire);
}

Test(fence, carries_its_kind_in_every_part)
{
    struct rlt_fence *fence = rlt_fence_create(3, RLT_COMMAND_SYNC);
    cr_assert_not_null(fence);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(fence->parts[i].command.kind, RLT_COMMAND_SYNC);
        cr_assert_eq(fence->parts[i].fence, fence);
    }
    for (uint32_t i = 0; i < 4; i++) {
        rlt_fence_release(fence);
    }
}

Test(fence, is_over_with_the_last_link_of_the_last_part)
{
    struct rlt_fence *fence = rlt_fence_create(2, RLT_COMMAND_FENCE);
    begin(&fence->parts[0], 2);
    begin(&fence->parts[1], 1);
    cr_assert_null(rlt_fence_link_done(&fence->parts[0].links[1], 0));
    cr_assert_null(rlt_fence_link_done(&fence->parts[1].links[0], 0));
    cr_assert_eq(is_done(fence), 0);
    cr_assert_eq(rlt_fence_link_done(&fence->parts[0].links[0], 0), fence);
    cr_assert_eq(is_done(fence), 1);
    rlt_fence_release(fence);
    rlt_fence_release(fence);
}

Test(fence, keeps_the_first_error_of_a_part)
{
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    begin(&fence->parts[0], 3);
    (void)rlt_fence_link_done(&fence->parts[0].links[0], 0);
    (void)rlt_fence_link_done(&fence->parts[0].links[1], ROULETTE_EDISCONNECTED);
    cr_assert_eq(rlt_fence_link_done(&fence->parts[0].links[2], ROULETTE_ECLOSED), fence);
    cr_assert_eq(fence->parts[0].error, ROULETTE_EDISCONNECTED);
    rlt_fence_release(fence);
    rlt_fence_release(fence);
}

Test(fence, outlives_a_flusher_that_left)
{
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    begin(&fence->parts[0], 1);
    rlt_fence_release(fence);
    cr_assert_eq(rlt_fence_link_done(&fence->parts[0].links[0], 0), fence);
    cr_assert_eq(is_done(fence), 1);
    rlt_fence_release(fence);
}

Test(fence, link_beyond_the_last_is_a_bug, .signal = SIGABRT)
{
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    begin(&fence->parts[0], 1);
    (void)rlt_fence_link_done(&fence->parts[0].links[0], 0);
    (void)rlt_fence_link_done(&fence->parts[0].links[0], 0);
}

static int refuse(void *context, size_t size)
{
    (void)context;
    (void)size;
    return 0;
}

Test(fence, is_null_without_memory)
{
    rlt_memory_set_gate(refuse, NULL);
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_null(fence);
}
