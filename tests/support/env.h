/* SPDX-License-Identifier: MIT */
/**
 * What a test is told by its environment, such as the seed of a random one.
 */
#ifndef RLT_TESTS_SUPPORT_ENV_H
#define RLT_TESTS_SUPPORT_ENV_H

#include <stdint.h>
#include <stdlib.h>

/** The number in an environment variable; `otherwise` if it is not set. */
static inline uint64_t env_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL ? strtoull(text, NULL, 0) : otherwise;
}

#endif
