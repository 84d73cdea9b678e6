/* SPDX-License-Identifier: MIT */
#include "io/bell.h"

#include "io/park.h"
#include "support/test.h"

static struct rlt_bell bell;

static void open_it(void)
{
    cr_assert_eq(rlt_bell_init(&bell), 0);
}

static void close_it(void)
{
    rlt_bell_fini(&bell);
}

#define BellTest(name) Test(bell, name, .init = open_it, .fini = close_it)

static bool is_readable(void)
{
    struct rlt_park_entry entry = {.descriptor = bell.descriptor};
    return rlt_park_descriptors_wait(&entry, 1, 1) && entry.readable;
}

/* The two steps of a ringer, which may lie far apart. */
static void ring(void)
{
    cr_assert(rlt_doorbell_ring(&bell.doorbell, 1));
}

static void signal_it(void)
{
    rlt_park_descriptor_signal(bell.descriptor);
}

BellTest(descriptor_tells_until_it_is_armed_again)
{
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    ring();
    signal_it();
    cr_assert(is_readable());
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    ring();
    signal_it();
    cr_assert(is_readable());
}

BellTest(bell_that_was_not_rung_is_left_armed)
{
    rlt_bell_arm(&bell);
    rlt_bell_arm(&bell);
    ring();
    signal_it();
    cr_assert(is_readable());
}

BellTest(late_signal_is_cleared_all_the_same)
{
    rlt_bell_arm(&bell);
    ring();
    rlt_bell_arm(&bell); /* there is nothing to clear yet */
    signal_it();
    cr_assert(is_readable());
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    ring();
    signal_it();
    cr_assert(is_readable(), "and it is still armed");
}

BellTest(several_late_signals_are_cleared)
{
    for (int i = 0; i < 3; i++) {
        rlt_bell_arm(&bell);
        ring();
    }
    rlt_bell_arm(&bell);
    signal_it();
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    signal_it();
    signal_it();
    cr_assert(is_readable());
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    cr_assert_eq(bell.due, 0);
}

BellTest(disarmed_bell_is_not_rung)
{
    rlt_bell_arm(&bell);
    rlt_bell_disarm(&bell);
    cr_assert_not(rlt_doorbell_ring(&bell.doorbell, 1));
    rlt_bell_arm(&bell);
    cr_assert_eq(bell.due, 0);
    ring();
}

BellTest(late_signal_of_a_bell_that_is_disarmed_is_cleared)
{
    rlt_bell_arm(&bell);
    ring();
    rlt_bell_disarm(&bell);
    rlt_bell_disarm(&bell);
    rlt_bell_arm(&bell);
    signal_it();
    cr_assert(is_readable());
    rlt_bell_arm(&bell);
    cr_assert_not(is_readable());
    cr_assert_eq(bell.due, 0);
}
