/* SPDX-License-Identifier: MIT */
#include "core/seam/backoff.h"

#include "support/test.h"

#define DRAWS 2000

static const struct rlt_config config = {
    .reconnect_interval_ns = 100 * RLT_NS_PER_MS,
    .base_backoff_ms = 10,
    .max_backoff_ms = 5000,
};

/* The least and the most of many draws. */
static void draw(const struct rlt_config *from, uint32_t failures, uint64_t *least, uint64_t *most)
{
    struct rlt_random random = {failures};
    *least = UINT64_MAX;
    *most = 0;
    for (int i = 0; i < DRAWS; i++) {
        uint64_t wait_ns = rlt_backoff_ns(from, &random, failures);
        *least = rlt_min_u64(*least, wait_ns);
        *most = wait_ns > *most ? wait_ns : *most;
    }
}

Test(backoff, without_failure_is_half_to_a_whole_reconnect_interval)
{
    uint64_t least;
    uint64_t most;
    draw(&config, 0, &least, &most);
    cr_assert_geq(least, 50 * RLT_NS_PER_MS);
    cr_assert_lt(least, 55 * RLT_NS_PER_MS);
    cr_assert_leq(most, 100 * RLT_NS_PER_MS);
    cr_assert_gt(most, 95 * RLT_NS_PER_MS);
}

Test(backoff, grows_by_two_from_twice_the_base_to_the_limit)
{
    uint64_t limit_ms = 20;
    for (uint32_t failures = 1; failures < 70; failures++) {
        uint64_t least;
        uint64_t most;
        draw(&config, failures, &least, &most);
        cr_assert_geq(least, RLT_NS_PER_MS, "failures %u", failures);
        cr_assert_leq(least, (1 + limit_ms / 20) * RLT_NS_PER_MS, "failures %u", failures);
        cr_assert_leq(most, limit_ms * RLT_NS_PER_MS, "failures %u", failures);
        cr_assert_gt(most, limit_ms * 9 / 10 * RLT_NS_PER_MS, "failures %u", failures);
        limit_ms = rlt_min_u64(limit_ms * 2, 5000);
    }
}

Test(backoff, survives_any_count_of_failures)
{
    uint64_t least;
    uint64_t most;
    draw(&config, UINT32_MAX, &least, &most);
    cr_assert_leq(most, 5000 * RLT_NS_PER_MS);
}

Test(backoff, limit_below_the_base_holds)
{
    struct rlt_config small = config;
    small.max_backoff_ms = 1;
    uint64_t least;
    uint64_t most;
    draw(&small, 3, &least, &most);
    cr_assert_eq(least, RLT_NS_PER_MS);
    cr_assert_eq(most, RLT_NS_PER_MS);
}
