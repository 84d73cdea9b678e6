/* SPDX-License-Identifier: MIT */
/**
 * The smallest program that uses an installed roulette, its inline functions too. Plain C11, and
 * C++.
 */
#include <roulette.h>
#include <string.h>

int main(void)
{
    struct roulette_options options;
    struct roulette_stats stats;
    roulette_options_init(&options);
    if (options.size != sizeof(options) || options.pool_size != 1) {
        return 1;
    }
    if (roulette_stats_get(NULL, 0, &stats) != ROULETTE_EINVAL) {
        return 1;
    }
    return strcmp(roulette_error_name(ROULETTE_EAGAIN), "ROULETTE_EAGAIN") == 0 ? 0 : 1;
}
