/* SPDX-License-Identifier: MIT */
/**
 * What this library is to reach, and whether it does. All goals but those of sends, system calls
 * and copies are ratios within a round: to another peer, or to this library on another workload.
 */
#ifndef BENCH_HARNESS_GOAL_H
#define BENCH_HARNESS_GOAL_H

#include "harness/contest.h"

#define GOALS_MAX 6

struct goal {
    char text[80]; /* as in "rate >= 1.8 x libnats" */
    double wanted;
    bool is_ratio;
    bool known; /* both sides were measured: `got` and `reached` are set */
    double got;
    bool reached;
};

/** The goals of an entry of a contest that has ended. Returns: how many. */
size_t goal_list(const struct contest *contest, const struct entry *entry,
                 struct goal goals[GOALS_MAX]);

#endif
