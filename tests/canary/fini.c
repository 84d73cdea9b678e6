/* SPDX-License-Identifier: MIT */
/**
 * Tests that fail on purpose in their .fini, for tests/support/canary: each must turn its run red.
 * Criterion alone prints such a failure and passes: see test.h.
 */
#include "support/condition.h"
#include "support/test.h"

#include <stdio.h>

static void check(int left)
{
    cr_assert_eq(left, 0, "asserted at the end");
}

static void assert_nothing_is_left(void)
{
    check(1);
}

Test(fini, asserts_and_must_be_caught, .fini = assert_nothing_is_left)
{
}

static void require_that_nothing_is_left(void)
{
    REQUIRE(0, "required at the end");
}

Test(fini, requires_and_must_be_caught, .fini = require_that_nothing_is_left)
{
}

/* The tidying up goes on where the body fails, and is done once. */
static void tidy_up(void)
{
    static int times;
    fprintf(stderr, "tidied up: %d\n", ++times);
}

Test(fini, of_a_failed_body_runs, .fini = tidy_up)
{
    cr_assert(0);
}
