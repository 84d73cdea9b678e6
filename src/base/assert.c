/* SPDX-License-Identifier: MIT */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

void rlt_assert_fail(const char *condition, const char *file, int line)
{
    fprintf(stderr, "roulette: assertion failed: %s (%s:%d)\n", condition, file, line);
    abort();
}

void rlt_misuse(const char *call, const char *mistake)
{
    fprintf(stderr, "roulette: %s was misused: %s\n", call, mistake);
    abort();
}
