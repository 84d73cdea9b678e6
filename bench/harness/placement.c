/* SPDX-License-Identifier: MIT */
#include "harness/placement.h"

#include <sched.h>

#include "harness/stop.h"

static cpu_set_t all;

static void use(const cpu_set_t *cpus)
{
    if (sched_setaffinity(0, sizeof(*cpus), cpus) != 0) {
        stop("sched_setaffinity: %m");
    }
}

void placement_narrow(void)
{
    cpu_set_t one;
    size_t last = CPU_SETSIZE - 1;
    if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof(all), &all) != 0) {
        stop("sched_getaffinity: %m");
    }
    while (!CPU_ISSET(last, &all)) {
        last--;
    }
    CPU_ZERO(&one);
    CPU_SET(last, &one);
    use(&one);
}

void placement_widen(void)
{
    if (CPU_COUNT(&all) != 0) {
        use(&all);
    }
}
