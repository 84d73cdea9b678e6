/* SPDX-License-Identifier: MIT */
#include "core/sending/ping_marks.h"

#include "support/test.h"

static struct rlt_ping_marks marks;
static struct rlt_fence_link links[4];

static void set_up(void)
{
    rlt_ping_marks_init(&marks);
}

#define MarksTest(name) Test(ping_marks, name, .init = set_up)

/* The list has the links `first` to `first + count - 1`, in order. */
static void require_links(const struct rlt_fence_link *list, int first, int count)
{
    for (int i = 0; i < count; i++) {
        cr_assert_eq(list, &links[first + i], "link %d", i);
        list = list->next;
    }
    cr_assert_null(list);
}

/* A batch with a PING is sent. */
static struct rlt_ping_mark *ping(bool with_armed)
{
    struct rlt_ping_mark *mark = rlt_ping_marks_push(&marks, with_armed);
    rlt_ping_marks_end_batch(&marks);
    return mark;
}

MarksTest(pongs_are_for_the_pings_in_order)
{
    for (uint64_t i = 0; i < 5; i++) {
        ping(false)->sent = i;
    }
    for (uint64_t i = 0; i < 5; i++) {
        cr_assert_eq(rlt_ping_marks_pop(&marks)->sent, i);
    }
    cr_assert_null(rlt_ping_marks_pop(&marks));
}

MarksTest(pings_are_bound_and_go_on_with_a_pong)
{
    for (uint64_t i = 0; i < 100; i++) {
        for (int k = 0; marks.count < RLT_PING_MARKS_MAX; k++) {
            cr_assert_leq(k, i == 0 ? RLT_PING_MARKS_MAX - 1 : 0);
            cr_assert_not_null(ping(false));
        }
        cr_assert_null(ping(false));
        cr_assert_not_null(rlt_ping_marks_pop(&marks));
    }
}

MarksTest(pong_of_a_ping_in_flight_counts_when_it_is_sent)
{
    (void)ping(false);
    struct rlt_ping_mark *mark = rlt_ping_marks_push(&marks, false);
    cr_assert_neq(rlt_ping_marks_pop(&marks), mark);
    cr_assert_null(rlt_ping_marks_pop(&marks));
    cr_assert_null(rlt_ping_marks_pop_early(&marks));
    rlt_ping_marks_end_batch(&marks);
    cr_assert_eq(rlt_ping_marks_pop_early(&marks), mark);
    cr_assert_null(rlt_ping_marks_pop_early(&marks));
    cr_assert_null(rlt_ping_marks_pop(&marks));
}

MarksTest(pings_without_a_mark_take_a_pong_each)
{
    rlt_ping_marks_skip(&marks);
    rlt_ping_marks_skip(&marks);
    struct rlt_ping_mark *mark = ping(false);
    rlt_ping_marks_skip(&marks);
    cr_assert_null(rlt_ping_marks_pop(&marks));
    cr_assert_null(rlt_ping_marks_pop(&marks));
    cr_assert_eq(rlt_ping_marks_pongs(&marks), 2);
    cr_assert_eq(rlt_ping_marks_pop(&marks), mark);
    cr_assert_null(rlt_ping_marks_pop(&marks));
    cr_assert_null(rlt_ping_marks_pop(&marks), "nobody's PONG");
    cr_assert_eq(rlt_ping_marks_pongs(&marks), 4);
    cr_assert_eq(ping(false)->number, 5);
}

/* Those behind it are not sent. */
MarksTest(early_pong_is_counted_at_once_and_the_last)
{
    rlt_ping_marks_skip(&marks);
    struct rlt_ping_mark *mark = rlt_ping_marks_push(&marks, false);
    rlt_ping_marks_skip(&marks);
    cr_assert_null(rlt_ping_marks_pop(&marks));
    for (int i = 0; i < 3; i++) {
        cr_assert_null(rlt_ping_marks_pop(&marks));
        cr_assert_eq(rlt_ping_marks_pongs(&marks), 2);
    }
    rlt_ping_marks_end_batch(&marks);
    cr_assert_eq(rlt_ping_marks_pop_early(&marks), mark);
    cr_assert_eq(rlt_ping_marks_pongs(&marks), 2);
}

MarksTest(fences_ride_when_they_are_armed_and_pass_with_the_pong)
{
    rlt_ping_marks_add_fence(&marks, &links[0]);
    rlt_ping_marks_add_fence(&marks, &links[1]);
    cr_assert_null(ping(true)->fences);
    cr_assert(rlt_ping_marks_arm(&marks));
    cr_assert_null(ping(false)->fences);
    rlt_ping_marks_add_fence(&marks, &links[2]);
    cr_assert_not(rlt_ping_marks_arm(&marks), "others are armed");
    (void)ping(true);
    cr_assert(rlt_ping_marks_arm(&marks));
    cr_assert_not(rlt_ping_marks_arm(&marks), "nothing waits");
    cr_assert_null(rlt_ping_marks_pop(&marks)->fences);
    cr_assert_null(rlt_ping_marks_pop(&marks)->fences);
    require_links(rlt_ping_marks_pop(&marks)->fences, 0, 2);
    require_links(rlt_ping_marks_take_unsent(&marks), 2, 1);
    cr_assert_null(rlt_ping_marks_take_unsent(&marks));
}

MarksTest(fences_without_a_ping_are_taken_in_their_order)
{
    rlt_ping_marks_add_fence(&marks, &links[0]);
    cr_assert(rlt_ping_marks_arm(&marks));
    rlt_ping_marks_add_fence(&marks, &links[1]);
    require_links(rlt_ping_marks_take_waiting(&marks), 1, 1);
    rlt_ping_marks_add_fence(&marks, &links[1]);
    rlt_ping_marks_add_fence(&marks, &links[2]);
    require_links(rlt_ping_marks_take_unsent(&marks), 0, 3);
}

/* Two on PINGs, one armed, one waiting. */
static void begin_all(void)
{
    rlt_ping_marks_init(&marks);
    for (int i = 0; i < 3; i++) {
        rlt_ping_marks_add_fence(&marks, &links[i]);
        cr_assert(rlt_ping_marks_arm(&marks));
        if (i < 2) {
            (void)rlt_ping_marks_push(&marks, true);
        }
    }
    rlt_ping_marks_add_fence(&marks, &links[3]);
}

MarksTest(all_that_has_begun_fails_with_the_connection)
{
    begin_all();
    require_links(rlt_ping_marks_fail(&marks, false), 0, 3);
    require_links(rlt_ping_marks_take_waiting(&marks), 3, 1);
    begin_all();
    require_links(rlt_ping_marks_fail(&marks, true), 0, 4);
    rlt_ping_marks_end_batch(&marks);
    cr_assert_null(rlt_ping_marks_pop(&marks));
    cr_assert_null(rlt_ping_marks_take_unsent(&marks));
    cr_assert_eq(rlt_ping_marks_pongs(&marks), 0);
}

MarksTest(early_pong_is_forgotten_with_its_connection)
{
    (void)rlt_ping_marks_push(&marks, false);
    cr_assert_null(rlt_ping_marks_pop(&marks));
    (void)rlt_ping_marks_fail(&marks, false);
    rlt_ping_marks_end_batch(&marks);
    (void)ping(false);
    cr_assert_null(rlt_ping_marks_pop_early(&marks));
    cr_assert_not_null(rlt_ping_marks_pop(&marks));
}
