/* SPDX-License-Identifier: MIT */
#include "io/tls/events.h"

#include "support/test.h"

static struct rlt_io_event event_of(enum rlt_io_kind kind)
{
    return (struct rlt_io_event){.slot = 3, .kind = kind, .bytes = 7};
}

Test(tls_events, what_was_sent_comes_before_what_was_received)
{
    struct rlt_tls_events events = {0};
    struct rlt_io_event taken[RLT_TLS_EVENT_KINDS];
    rlt_tls_events_add(&events, event_of(RLT_IO_CLOSED));
    rlt_tls_events_add(&events, event_of(RLT_IO_RECEIVED));
    rlt_tls_events_add(&events, event_of(RLT_IO_SENT));
    cr_assert_eq(rlt_tls_events_take(&events, taken, RLT_TLS_EVENT_KINDS), 3);
    cr_assert_eq(taken[0].kind, RLT_IO_SENT);
    cr_assert_eq(taken[1].kind, RLT_IO_RECEIVED);
    cr_assert_eq(taken[2].kind, RLT_IO_CLOSED);
    cr_assert_eq(taken[0].slot, 3);
    cr_assert_eq(taken[0].bytes, 7);
    cr_assert_eq(rlt_tls_events_take(&events, taken, RLT_TLS_EVENT_KINDS), 0);
}

Test(tls_events, what_has_no_room_waits)
{
    struct rlt_tls_events events = {0};
    struct rlt_io_event taken[1];
    rlt_tls_events_add(&events, event_of(RLT_IO_RECEIVED));
    rlt_tls_events_add(&events, event_of(RLT_IO_OPENED));
    cr_assert_eq(rlt_tls_events_take(&events, taken, 0), 0);
    cr_assert_eq(rlt_tls_events_take(&events, taken, 1), 1);
    cr_assert_eq(taken[0].kind, RLT_IO_OPENED);
    cr_assert(rlt_tls_events_has(&events, RLT_IO_RECEIVED));
    cr_assert(!rlt_tls_events_has(&events, RLT_IO_OPENED));
    cr_assert_eq(rlt_tls_events_take(&events, taken, 1), 1);
    cr_assert_eq(taken[0].kind, RLT_IO_RECEIVED);
}
