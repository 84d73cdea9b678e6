/* SPDX-License-Identifier: MIT */
#include "core/overlap.h"

#include <string.h>

#include "support/test.h"

static struct rlt_overlap overlap;

static void open_overlap(void)
{
    cr_assert_eq(rlt_overlap_open(&overlap, 0), 0);
}

static void close_overlap(void)
{
    rlt_overlap_close(&overlap);
}

#define OverlapTest(name) Test(overlap, name, .init = open_overlap, .fini = close_overlap)

static bool is_second(const char *body, int side)
{
    struct rlt_frame frame = {
        .op = RLT_OP_MSG,
        .topic = (const uint8_t *)body,
        .body_len = (uint32_t)strlen(body),
    };
    return rlt_overlap_take(&overlap, &frame, side) == RLT_OVERLAP_SECOND;
}

OverlapTest(copy_that_comes_first_is_let_through_on_either_side)
{
    cr_assert_not(is_second("a", 0));
    cr_assert_not(is_second("b", 1));
    cr_assert(is_second("a", 1));
    cr_assert(is_second("b", 0));
}

OverlapTest(equal_messages_are_as_many_as_were_published)
{
    cr_assert_not(is_second("a", 0));
    cr_assert_not(is_second("a", 0));
    cr_assert(is_second("a", 1));
    cr_assert(is_second("a", 1));
    cr_assert_not(is_second("a", 1));
    cr_assert(is_second("a", 0));
}

OverlapTest(copies_of_a_side_that_ended_are_not_waited_for)
{
    cr_assert_not(is_second("a", 0));
    cr_assert_not(is_second("b", 1));
    rlt_overlap_end_side(&overlap, 1);
    cr_assert_not(is_second("a", 1));
    cr_assert(is_second("b", 0));
}

Test(overlap, end_of_a_side_is_nothing_when_it_is_closed)
{
    rlt_overlap_end_side(&overlap, 0);
    cr_assert_null(overlap.entries);
}
