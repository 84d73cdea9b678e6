/* SPDX-License-Identifier: MIT */
#include "roulette.h"

#define TEXT2(x) #x
#define TEXT(x)  TEXT2(x)

const char *roulette_version(void)
{
    return TEXT(ROULETTE_VERSION_MAJOR) "." TEXT(ROULETTE_VERSION_MINOR) "." TEXT(
        ROULETTE_VERSION_PATCH);
}
