/* SPDX-License-Identifier: MIT */
#include "core/sending/hold.h"

#include "support/test.h"

#define NOW   (1000 * RLT_NS_PER_S)
#define FEW   ((size_t)8 * 1024)
#define LIMIT ((size_t)1 << 20)

/* Held since `NOW`, behind two sends of `FEW` bytes that were 200 us apart. */
static struct rlt_hold held(void)
{
    struct rlt_hold hold = {0};
    rlt_hold_on_send(&hold, 60, FEW, LIMIT, NOW - 200 * RLT_NS_PER_US);
    cr_assert_not(hold.active);
    rlt_hold_on_send(&hold, 60, FEW, LIMIT, NOW);
    cr_assert(hold.active);
    return hold;
}

static void look(struct rlt_hold *hold, size_t bytes)
{
    rlt_hold_look(hold, bytes, LIMIT, hold->tick_ns);
}

Test(hold, looks_at_the_same_moments_for_all)
{
    struct rlt_hold one = held();
    struct rlt_hold other = {0};
    rlt_hold_on_send(&other, 60, FEW, LIMIT, NOW - 100 * RLT_NS_PER_US);
    rlt_hold_on_send(&other, 60, FEW, LIMIT, NOW + 7 * RLT_NS_PER_US);
    cr_assert_eq(rlt_hold_deadline(&one), rlt_hold_deadline(&other));
    cr_assert_gt(rlt_hold_deadline(&one), NOW + 20 * RLT_NS_PER_US);
    cr_assert_leq(rlt_hold_deadline(&one), NOW + 100 * RLT_NS_PER_US);
}

Test(hold, small_sends_are_followed_at_once)
{
    struct rlt_hold hold = {0};
    for (uint64_t i = 0; i < 10; i++) {
        rlt_hold_on_send(&hold, 15, 2000, LIMIT, NOW + i * 100 * RLT_NS_PER_US);
        cr_assert_not(hold.active);
    }
    cr_assert_eq(rlt_hold_deadline(&hold), RLT_NEVER);
}

Test(hold, large_sends_are_followed_at_once)
{
    struct rlt_hold hold = {0};
    for (uint64_t i = 0; i < 10; i++) {
        rlt_hold_on_send(&hold, 1000, RLT_HOLD_BYTES, LIMIT, NOW + i * 100 * RLT_NS_PER_US);
        cr_assert_not(hold.active);
    }
}

Test(hold, what_is_there_soon_anyway_is_not_held)
{
    struct rlt_hold hold = {0};
    rlt_hold_on_send(&hold, 400, RLT_HOLD_BYTES - 1, LIMIT, NOW);
    rlt_hold_on_send(&hold, 400, RLT_HOLD_BYTES - 1, LIMIT, NOW + 20 * RLT_NS_PER_US);
    cr_assert_not(hold.active);
}

Test(hold, first_send_behind_a_pause_is_not_followed_by_one)
{
    struct rlt_hold hold = {0};
    rlt_hold_on_send(&hold, 60, FEW, LIMIT, NOW - RLT_NS_PER_S);
    rlt_hold_on_send(&hold, 60, FEW, LIMIT, NOW);
    cr_assert_not(hold.active);
}

Test(hold, ends_when_enough_is_there)
{
    struct rlt_hold hold = held();
    look(&hold, RLT_HOLD_BYTES - 1);
    cr_assert(hold.active);
    look(&hold, RLT_HOLD_BYTES);
    cr_assert_not(hold.active);
}

Test(hold, what_fills_a_quarter_of_a_small_lane_is_followed_at_once)
{
    struct rlt_hold hold = {0};
    for (uint64_t i = 0; i < 10; i++) {
        rlt_hold_on_send(&hold, 100, 16 * 1024, 16 * 1024, NOW + i * 100 * RLT_NS_PER_US);
        cr_assert_not(hold.active);
    }
}

Test(hold, ends_when_a_small_lane_fills)
{
    struct rlt_hold hold = held();
    rlt_hold_look(&hold, 16 * 1024, 16 * 1024, hold.tick_ns);
    cr_assert_not(hold.active);
}

Test(hold, nothing_waits_longer_than_the_bound)
{
    struct rlt_hold hold = held();
    uint64_t last_ns = 0;
    for (size_t bytes = 1; hold.active; bytes++) {
        last_ns = hold.tick_ns;
        look(&hold, bytes);
    }
    cr_assert_geq(last_ns, NOW + RLT_HOLD_MAX_NS);
    cr_assert_lt(last_ns, NOW + RLT_HOLD_MAX_NS + 100 * RLT_NS_PER_US);
}

Test(hold, ends_when_no_more_come)
{
    struct rlt_hold hold = held();
    look(&hold, 5000);
    cr_assert(hold.active);
    look(&hold, 5000);
    cr_assert_not(hold.active);
}

/* Send until it holds again. Returns: the sends before that. */
static uint32_t sends_without(struct rlt_hold *hold)
{
    uint32_t sends = 0;
    while (!hold->active) {
        rlt_hold_on_send(hold, 60, FEW, LIMIT, hold->sent_ns + 200 * RLT_NS_PER_US);
        sends++;
        cr_assert_lt(sends, 1000);
    }
    return sends - 1;
}

Test(hold, for_nothing_is_repeated_less_and_less)
{
    struct rlt_hold hold = held();
    for (uint32_t expected = 1; expected < 300; expected = expected * 2 + 1) {
        look(&hold, 5000);
        look(&hold, 5000);
        cr_assert_eq(sends_without(&hold), expected < 127 ? expected : 127);
    }
    look(&hold, RLT_HOLD_BYTES);
    cr_assert_eq(sends_without(&hold), 0);
}

Test(hold, of_an_empty_queue_just_ends)
{
    struct rlt_hold hold = held();
    look(&hold, 0);
    cr_assert_not(hold.active);
    cr_assert_eq(sends_without(&hold), 0);
}

Test(hold, before_its_moment_a_look_changes_nothing)
{
    struct rlt_hold hold = held();
    rlt_hold_look(&hold, RLT_HOLD_BYTES, LIMIT, hold.tick_ns - 1);
    cr_assert(hold.active);
    rlt_hold_end(&hold);
    cr_assert_eq(rlt_hold_deadline(&hold), RLT_NEVER);
}
