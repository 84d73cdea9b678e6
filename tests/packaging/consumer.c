/* SPDX-License-Identifier: MIT */
/**
 * The smallest program that uses an installed roulette. Plain C11, and C++.
 */
#include <roulette.h>
#include <string.h>

int main(void)
{
    return strcmp(roulette_error_name(ROULETTE_EAGAIN), "ROULETTE_EAGAIN") == 0 ? 0 : 1;
}
