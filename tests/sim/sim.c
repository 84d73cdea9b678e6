/* SPDX-License-Identifier: MIT */
#include "sim/sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/test.h"

void sim_wake_thread(struct sim *sim, bool must)
{
    if (must && sim_below(sim, 4) == 0) {
        sim->signals_due++;
    } else {
        sim->signalled = sim->signalled || must;
    }
}

size_t sim_part(struct sim *sim, enum sim_style style, size_t len)
{
    switch (style) {
    case SIM_RANDOM:
        return 1 + (size_t)sim_below(sim, len);
    case SIM_TINY: {
        size_t few = 1 + (size_t)sim_below(sim, 16);
        return few < len ? few : len;
    }
    default:
        return len;
    }
}

static uint8_t filler(uint32_t number, size_t index)
{
    return (uint8_t)(number * 31 + index * 7);
}

void sim_fill(uint8_t *out, size_t len, uint32_t number)
{
    char digits[SIM_NUMBER_LEN + 1];
    (void)snprintf(digits, sizeof(digits), "%0*u", SIM_NUMBER_LEN, number % 100000000);
    memcpy(out, digits, SIM_NUMBER_LEN);
    for (size_t i = SIM_NUMBER_LEN; i < len; i++) {
        out[i] = filler(number, i);
    }
}

uint32_t sim_read(struct sim *sim, const uint8_t *bytes, size_t len)
{
    SIM_CHECK(sim, len >= SIM_NUMBER_LEN);
    uint32_t number = 0;
    for (size_t i = 0; i < SIM_NUMBER_LEN; i++) {
        SIM_CHECK(sim, bytes[i] >= '0' && bytes[i] <= '9');
        number = number * 10 + (uint32_t)(bytes[i] - '0');
    }
    for (size_t i = SIM_NUMBER_LEN; i < len; i++) {
        SIM_CHECK(sim, bytes[i] == filler(number, i), "byte %zu of message %u", i, number);
    }
    return number;
}

void sim_fail(const struct sim *sim, const char *file, int line, const char *condition,
              const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    fprintf(stderr, "sim: RLT_SEED=%" PRIu64 ": %s:%d: %s:%s\n", sim->seed, file, line, condition,
            text);
    cr_assert_fail("RLT_SEED=%" PRIu64 ": %s:%d: %s:%s", sim->seed, file, line, condition, text);
    abort(); /* not reached */
}
