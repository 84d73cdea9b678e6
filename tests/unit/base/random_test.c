/* SPDX-License-Identifier: MIT */
#include "base/random.h"
#include "support/test.h"

/* From the reference implementation, https://prng.di.unimi.it/splitmix64.c, seed 1234567. */
Test(random, next_equals_the_reference)
{
    static const uint64_t expected[] = {
        UINT64_C(6457827717110365317),  UINT64_C(3203168211198807973),
        UINT64_C(9817491932198370423),  UINT64_C(4593380528125082431),
        UINT64_C(16408922859458223821),
    };
    struct rlt_random random = {.state = 1234567};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        cr_assert_eq(rlt_random_next(&random), expected[i], "number %zu", i);
    }
}

Test(random, same_seed_gives_the_same_numbers)
{
    struct rlt_random a = {.state = 42};
    struct rlt_random b = {.state = 42};
    for (unsigned i = 0; i < 1000; i++) {
        cr_assert_eq(rlt_random_next(&a), rlt_random_next(&b));
    }
}

Test(random, below_stays_below_its_bound)
{
    static const uint64_t bounds[] = {1, 2, 3, 10, 1000003, UINT64_C(1) << 63, UINT64_MAX};
    struct rlt_random random = {.state = 7};
    for (size_t b = 0; b < sizeof(bounds) / sizeof(bounds[0]); b++) {
        for (unsigned i = 0; i < 1000; i++) {
            cr_assert_lt(rlt_random_below(&random, bounds[b]), bounds[b]);
        }
    }
}

Test(random, below_reaches_each_value_about_equally)
{
    unsigned counts[10] = {0};
    struct rlt_random random = {.state = 99};
    for (unsigned i = 0; i < 100000; i++) {
        counts[rlt_random_below(&random, 10)]++;
    }
    /* 10000 expected, standard deviation 95: 500 is more than five of them. */
    for (unsigned i = 0; i < 10; i++) {
        cr_assert_gt(counts[i], 9500, "%u came %u times", i, counts[i]);
        cr_assert_lt(counts[i], 10500, "%u came %u times", i, counts[i]);
    }
}
