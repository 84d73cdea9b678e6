/* SPDX-License-Identifier: MIT */
/**
 * A test that leaks on purpose, for tests/support/canary: the sanitizer run must turn red.
 */
#include "support/test.h"

#include <stdlib.h>

/** Many, so that a pointer left over in a register or on the stack does not hide them all. */
static void leak(void)
{
    for (size_t i = 0; i < 100; i++) {
        void *block = malloc(1234);
        __asm__ __volatile__("" : : "r"(block) : "memory"); /* keeps the call */
    }
}

Test(canary, leaks_and_must_be_caught)
{
    leak();
}
