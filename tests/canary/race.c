/* SPDX-License-Identifier: MIT */
/**
 * A test that races on purpose, for tests/support/canary: the sanitizer run must turn red.
 */
#include "support/test.h"

#include <pthread.h>

static int shared;

static void *write_shared(void *unused)
{
    shared++;
    return unused;
}

Test(canary, races_and_must_be_caught)
{
    pthread_t threads[2];
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, write_shared, NULL), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
}
