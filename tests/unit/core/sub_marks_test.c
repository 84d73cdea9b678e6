/* SPDX-License-Identifier: MIT */
#include "core/sub_marks.h"

#include <signal.h>

#include "support/test.h"

static struct rlt_sub_marks marks;

static void set_up(void)
{
    rlt_sub_marks_clear(&marks);
}

#define MarksTest(name, ...) Test(sub_marks, name, .init = set_up, ##__VA_ARGS__)

MarksTest(refusal_is_of_the_sub_before_the_next_ping)
{
    for (uint64_t i = 1; i <= 5; i++) {
        rlt_sub_marks_push(&marks, 100 + i, i);
    }
    for (uint64_t pongs = 0; pongs < 5; pongs++) {
        rlt_sub_marks_confirm(&marks, pongs);
        cr_assert_eq(rlt_sub_marks_refused(&marks, pongs), 101 + pongs);
    }
    rlt_sub_marks_confirm(&marks, 5);
    cr_assert_eq(rlt_sub_marks_refused(&marks, 5), 0);
}

/* Another PING, of a flush, stands between. */
MarksTest(refusal_where_no_sub_is_open_is_of_none)
{
    cr_assert_eq(rlt_sub_marks_refused(&marks, 0), 0);
    rlt_sub_marks_push(&marks, 7, 1);
    rlt_sub_marks_push(&marks, 8, 3);
    rlt_sub_marks_confirm(&marks, 1);
    cr_assert_eq(rlt_sub_marks_refused(&marks, 1), 0);
    rlt_sub_marks_confirm(&marks, 2);
    cr_assert_eq(rlt_sub_marks_refused(&marks, 2), 8);
}

MarksTest(sub_that_was_written_again_is_not_ended_for_its_first)
{
    rlt_sub_marks_push(&marks, 7, 1);
    rlt_sub_marks_push(&marks, 8, 2);
    rlt_sub_marks_push(&marks, 7, 3);
    cr_assert_eq(rlt_sub_marks_refused(&marks, 0), 0);
    rlt_sub_marks_confirm(&marks, 1);
    cr_assert_eq(rlt_sub_marks_refused(&marks, 1), 8);
    rlt_sub_marks_confirm(&marks, 2);
    cr_assert_eq(rlt_sub_marks_refused(&marks, 2), 7);
}

MarksTest(last_sub_awaits_a_ping_until_one_is_written)
{
    cr_assert_not(rlt_sub_marks_await(&marks, 1));
    rlt_sub_marks_push(&marks, 7, 4);
    cr_assert(rlt_sub_marks_await(&marks, 4));
    cr_assert_not(rlt_sub_marks_await(&marks, 5));
    rlt_sub_marks_confirm(&marks, 3);
    cr_assert(rlt_sub_marks_await(&marks, 4));
    rlt_sub_marks_confirm(&marks, 4);
    cr_assert_not(rlt_sub_marks_await(&marks, 4));
}

MarksTest(room_is_bound_and_comes_back)
{
    uint64_t ping = 0;
    uint64_t confirmed = 0;
    for (int round = 0; round < 3; round++) {
        while (!rlt_sub_marks_is_full(&marks)) {
            ping++;
            rlt_sub_marks_push(&marks, ping, ping);
        }
        cr_assert_eq(ping - confirmed, RLT_SUB_MARKS_MAX);
        confirmed += 1000;
        rlt_sub_marks_confirm(&marks, confirmed);
        cr_assert_eq(rlt_sub_marks_refused(&marks, confirmed), confirmed + 1);
    }
    rlt_sub_marks_clear(&marks);
    cr_assert_eq(rlt_sub_marks_refused(&marks, confirmed), 0);
}

MarksTest(two_subs_without_a_ping_between_are_a_bug, .signal = SIGABRT)
{
    rlt_sub_marks_push(&marks, 7, 1);
    rlt_sub_marks_push(&marks, 8, 1);
}
