/* SPDX-License-Identifier: MIT */
#include "core/seam/pace.h"

#include "support/test.h"

/* Before everything else here, in the clock of a machine that has run for a while. */
#define EARLIER UINT64_C(1000000000)

/* A thread that has just found a cluster asleep. */
static struct rlt_pace settled(void)
{
    struct rlt_pace pace = {0};
    rlt_pace_count(&pace);
    (void)rlt_pace_is_sparse(&pace, EARLIER);
    return pace;
}

/* It publishes `count` messages, to whatever clusters; the last one sleeps `ns` after EARLIER. */
static bool is_sparse(struct rlt_pace *pace, unsigned count, uint64_t ns)
{
    for (unsigned i = 0; i < count; i++) {
        rlt_pace_count(pace);
    }
    return rlt_pace_is_sparse(pace, EARLIER + ns);
}

Test(pace, first_message_of_a_thread_is_sparse)
{
    struct rlt_pace pace = {0};
    rlt_pace_count(&pace);
    cr_assert(rlt_pace_is_sparse(&pace, EARLIER));
}

Test(pace, message_behind_a_gap_is_sparse)
{
    struct rlt_pace pace = settled();
    cr_assert(is_sparse(&pace, 1, RLT_PACE_GAP_NS));
}

Test(pace, message_just_behind_another_is_not)
{
    struct rlt_pace pace = settled();
    cr_assert_not(is_sparse(&pace, 1, RLT_PACE_GAP_NS - 1));
    pace = settled();
    cr_assert_not(is_sparse(&pace, 1, 0), "the clock stood still");
}

Test(pace, average_gap_since_the_last_look_counts)
{
    struct rlt_pace pace = settled();
    cr_assert(is_sparse(&pace, 10, 10 * RLT_PACE_GAP_NS));
    pace = settled();
    cr_assert_not(is_sparse(&pace, 11, 10 * RLT_PACE_GAP_NS));
}

/* Each of many clusters gets a message now and then, and is found asleep. */
Test(pace, thread_that_spreads_a_burst_over_clusters_is_not_sparse)
{
    struct rlt_pace pace = settled();
    for (unsigned i = 1; i <= 100; i++) {
        cr_assert_not(is_sparse(&pace, 1, i * 100), "message %u", i);
    }
}

Test(pace, burst_before_the_last_look_is_forgotten)
{
    struct rlt_pace pace = settled();
    cr_assert_not(is_sparse(&pace, 1000, 1000));
    cr_assert(is_sparse(&pace, 1, 1000 + RLT_PACE_GAP_NS));
}
