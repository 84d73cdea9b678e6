/* SPDX-License-Identifier: MIT */
#include "core/merging/overlap.h"

#include <stdio.h>
#include <string.h>

#include "base/random.h"
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

static enum rlt_overlap_copy take(const char *body, int side)
{
    struct rlt_frame frame = {
        .op = RLT_OP_MSG,
        .topic = (const uint8_t *)body,
        .body_len = (uint32_t)strlen(body),
    };
    return rlt_overlap_take(&overlap, rlt_overlap_key(&frame), side);
}

static bool is_second(const char *body, int side)
{
    return take(body, side) == RLT_OVERLAP_SECOND;
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

OverlapTest(what_was_missing_at_both_ends_is_forgotten)
{
    cr_assert_not(is_second("a", 0));
    rlt_overlap_mark(&overlap);
    cr_assert_not(is_second("a", 0));
    cr_assert_not(is_second("b", 0));
    rlt_overlap_forget(&overlap);
    rlt_overlap_end_side(&overlap, 0);
    cr_assert_eq(overlap.owed, 2);
    cr_assert(is_second("a", 1));
    cr_assert_not(is_second("a", 1));
    cr_assert(is_second("b", 1));
    cr_assert_eq(overlap.owed, 0);
}

OverlapTest(what_has_come_meanwhile_is_not_forgotten_twice)
{
    cr_assert_not(is_second("a", 0));
    cr_assert_not(is_second("a", 0));
    rlt_overlap_mark(&overlap);
    cr_assert(is_second("a", 1));
    rlt_overlap_forget(&overlap);
    cr_assert_not(is_second("a", 0));
    cr_assert(is_second("a", 1));
}

OverlapTest(messages_that_both_sides_have_brought_take_no_room)
{
    char body[16];
    for (int i = 0; i < (int)RLT_OVERLAP_ENTRIES; i++) {
        (void)snprintf(body, sizeof(body), "%d", i);
        cr_assert_not(is_second(body, i % 2));
        cr_assert(is_second(body, 1 - i % 2));
    }
    cr_assert_eq(overlap.used, 0);
}

OverlapTest(message_is_unseen_when_there_is_no_room)
{
    char body[16];
    uint32_t room = RLT_OVERLAP_ENTRIES / 4 * 3;
    for (uint32_t i = 0; i <= room; i++) {
        (void)snprintf(body, sizeof(body), "%u", i);
        enum rlt_overlap_copy copy = take(body, 0);
        cr_assert_eq(copy, i < room ? RLT_OVERLAP_FIRST : RLT_OVERLAP_UNSEEN);
    }
    cr_assert(is_second("0", 1));
    cr_assert_not(is_second(body, 0));
}

/* Entries come and go in all orders, with probes that pass others. */
OverlapTest(counts_are_those_of_a_model)
{
    enum { BODIES = 60000, STEPS = 600000 };
    static int ahead[BODIES];
    struct rlt_random random = {1};
    char body[16];
    for (int i = 0; i < STEPS; i++) {
        uint64_t which = rlt_random_below(&random, BODIES);
        int side = (int)rlt_random_below(&random, 2);
        int step = side == 0 ? 1 : -1;
        (void)snprintf(body, sizeof(body), "%d", (int)which);
        cr_assert_eq(is_second(body, side), ahead[which] * step < 0, "step %d", i);
        ahead[which] += step;
    }
}

Test(overlap, end_of_a_side_is_nothing_when_it_is_closed)
{
    rlt_overlap_end_side(&overlap, 0);
    cr_assert_null(overlap.entries);
}
