/* SPDX-License-Identifier: MIT */
#include "core/sending/sub_marks.h"

#include <signal.h>

#include "roulette.h"
#include "support/test.h"

static struct rlt_sub_marks marks;

static void set_up(void)
{
    cr_assert_eq(rlt_sub_marks_init(&marks), 0);
}

static void tear_down(void)
{
    rlt_sub_marks_fini(&marks);
}

#define MarksTest(name, ...) Test(sub_marks, name, .init = set_up, .fini = tear_down, ##__VA_ARGS__)

static uint64_t refuse(uint64_t pongs)
{
    return rlt_sub_marks_refuse(&marks, pongs, false, ROULETTE_ETOPIC);
}

MarksTest(refusal_is_of_the_only_sub_before_the_next_ping)
{
    for (uint64_t i = 1; i <= 5; i++) {
        rlt_sub_marks_push(&marks, 100 + i, i);
    }
    for (uint64_t pongs = 0; pongs < 5; pongs++) {
        cr_assert_not(rlt_sub_marks_confirm(&marks, pongs));
        cr_assert_eq(refuse(pongs), 101 + pongs);
        cr_assert_eq(refuse(pongs), 0, "it was refused already");
    }
    cr_assert_not(rlt_sub_marks_confirm(&marks, 5));
    cr_assert_eq(refuse(5), 0);
    cr_assert_eq(marks.count, 0);
}

/* Another PING, of a flush, stands between. */
MarksTest(refusal_where_no_sub_is_open_is_of_none)
{
    cr_assert_eq(refuse(0), 0);
    rlt_sub_marks_push(&marks, 7, 1);
    rlt_sub_marks_push(&marks, 8, 3);
    cr_assert_not(rlt_sub_marks_confirm(&marks, 1));
    cr_assert_eq(refuse(1), 0);
    cr_assert_not(rlt_sub_marks_are_in_doubt(&marks));
    cr_assert_not(rlt_sub_marks_confirm(&marks, 2));
    cr_assert_eq(refuse(2), 8);
}

MarksTest(refusal_of_one_of_several_leaves_them_in_doubt)
{
    rlt_sub_marks_push(&marks, 7, 1);
    rlt_sub_marks_push(&marks, 8, 2);
    rlt_sub_marks_push(&marks, 9, 2);
    rlt_sub_marks_push(&marks, 10, 3);
    cr_assert_not(rlt_sub_marks_confirm(&marks, 1));
    cr_assert_eq(refuse(1), 0);
    cr_assert(rlt_sub_marks_are_in_doubt(&marks));
    cr_assert(rlt_sub_marks_confirm(&marks, 2));
    cr_assert(rlt_sub_marks_confirm(&marks, 3), "what is behind them waits too");
    cr_assert_eq(marks.count, 3);
    const struct rlt_sub_window *window = rlt_sub_marks_window(&marks, 0);
    cr_assert_eq(window->invalid, 1);
    cr_assert_eq(window->limited, 0);
    cr_assert_eq(marks.error, ROULETTE_ETOPIC);
}

MarksTest(refusals_are_counted_by_kind_and_no_more_than_there_are_subs)
{
    for (uint64_t sid = 1; sid <= 3; sid++) {
        rlt_sub_marks_push(&marks, sid, 1);
    }
    cr_assert_eq(refuse(0), 0);
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(rlt_sub_marks_refuse(&marks, 0, true, ROULETTE_ESERVER), 0);
    }
    cr_assert_eq(rlt_sub_marks_window(&marks, 0)->invalid, 1);
    cr_assert_eq(rlt_sub_marks_window(&marks, 0)->limited, 2);
    cr_assert_eq(marks.error, ROULETTE_ETOPIC);
}

MarksTest(what_is_refused_by_its_name_is_not_in_doubt)
{
    rlt_sub_marks_push(&marks, 7, 1);
    rlt_sub_marks_push(&marks, 8, 1);
    rlt_sub_marks_push(&marks, 9, 1);
    rlt_sub_marks_settle(&marks, 0, 9);
    rlt_sub_marks_settle(&marks, 0, 1000);
    cr_assert_eq(refuse(0), 0);
    rlt_sub_marks_settle(&marks, 0, 7);
    cr_assert_eq(rlt_sub_marks_window(&marks, 0)->settled, 2);
    rlt_sub_marks_clear(&marks);
    rlt_sub_marks_push(&marks, 7, 1);
    rlt_sub_marks_push(&marks, 8, 1);
    rlt_sub_marks_settle(&marks, 0, 7);
    cr_assert_eq(refuse(0), 8);
}

MarksTest(sub_that_was_written_again_is_seen)
{
    rlt_sub_marks_push(&marks, 7, 1);
    rlt_sub_marks_push(&marks, 8, 2);
    rlt_sub_marks_push(&marks, 7, 3);
    cr_assert(rlt_sub_marks_have_later(&marks, 0, 7));
    cr_assert(rlt_sub_marks_have_later(&marks, 1, 7));
    cr_assert_not(rlt_sub_marks_have_later(&marks, 2, 7));
    cr_assert_not(rlt_sub_marks_have_later(&marks, 1, 8));
}

MarksTest(ping_is_needed_behind_an_unsub_and_behind_many)
{
    cr_assert_not(rlt_sub_marks_need_ping(&marks, 1));
    rlt_sub_marks_push(&marks, 1, 1);
    rlt_sub_marks_close(&marks);
    cr_assert(rlt_sub_marks_need_ping(&marks, 1));
    cr_assert_not(rlt_sub_marks_need_ping(&marks, 2), "it was written");
    for (uint64_t i = 0; i < RLT_SUB_WINDOW_SUBS; i++) {
        cr_assert_not(rlt_sub_marks_need_ping(&marks, 2));
        rlt_sub_marks_push(&marks, 2 + i, 2);
    }
    cr_assert(rlt_sub_marks_need_ping(&marks, 2));
}

MarksTest(room_is_bound_and_comes_back)
{
    uint64_t sid = 0;
    uint64_t ping = 1;
    uint64_t confirmed = 0;
    for (int round = 0; round < 3; round++) {
        while (!rlt_sub_marks_is_full(&marks)) {
            ping += rlt_sub_marks_need_ping(&marks, ping) ? 1 : 0;
            rlt_sub_marks_push(&marks, ++sid, ping);
        }
        cr_assert_eq(marks.count, RLT_SUB_MARKS_MAX);
        confirmed += 3;
        cr_assert_not(rlt_sub_marks_confirm(&marks, confirmed));
        cr_assert_eq(marks.count, RLT_SUB_MARKS_MAX - 3 * RLT_SUB_WINDOW_SUBS);
        cr_assert_eq(*rlt_sub_marks_at(&marks, 0), 1 + confirmed * RLT_SUB_WINDOW_SUBS);
    }
}

MarksTest(windows_are_bound_too)
{
    uint64_t ping = 0;
    while (!rlt_sub_marks_is_full(&marks)) {
        ping++;
        rlt_sub_marks_push(&marks, ping, ping);
    }
    cr_assert_eq(ping, RLT_SUB_WINDOWS_MAX);
    cr_assert_not(rlt_sub_marks_confirm(&marks, 1));
    cr_assert_not(rlt_sub_marks_is_full(&marks));
}

MarksTest(sub_without_the_ping_that_is_needed_is_a_bug, .signal = SIGABRT)
{
    rlt_sub_marks_push(&marks, 7, 1);
    rlt_sub_marks_close(&marks);
    rlt_sub_marks_push(&marks, 8, 1);
}
