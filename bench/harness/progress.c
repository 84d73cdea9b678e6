/* SPDX-License-Identifier: MIT */
#include "harness/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static double begin_seconds;
static size_t contest_number;
static size_t contest_count;

static double now_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

double progress_seconds(void)
{
    return begin_seconds > 0 ? now_seconds() - begin_seconds : 0;
}

void progress_contest(const struct workload *first, size_t number, size_t count)
{
    char title[WORKLOAD_TITLE_SIZE];
    if (begin_seconds <= 0) {
        begin_seconds = now_seconds();
    }
    contest_number = number;
    contest_count = count;
    if (!isatty(STDERR_FILENO)) {
        fprintf(stderr, "%4.0f s, %zu of %zu: %s ...\n", progress_seconds(), number, count,
                workload_title(first, title, sizeof(title)));
    }
}

void progress_round(const struct entry *entry, uint32_t round, uint32_t rounds)
{
    char title[WORKLOAD_TITLE_SIZE];
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K%4.0f s, %zu of %zu: %s: round %u of %u, %s ", progress_seconds(),
                contest_number, contest_count,
                workload_title(entry->workload, title, sizeof(title)), round, rounds,
                entry->peer->name);
    }
}

void progress_end(void)
{
    if (isatty(STDERR_FILENO)) {
        fprintf(stderr, "\r\033[K");
    }
}
