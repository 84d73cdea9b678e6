/* SPDX-License-Identifier: MIT */
#include "harness/sample.h"

#include <stdlib.h>
#include <string.h>

double sample_rate(const struct sample *sample)
{
    return (double)sample->messages / sample->seconds;
}

double sample_cpu_ns(const struct sample *sample)
{
    return sample->cpu_seconds * 1e9 / (double)sample->messages;
}

void series_add(struct series *series, double value)
{
    if (series->count < SAMPLE_ROUNDS_MAX) {
        series->values[series->count++] = value;
    }
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

/* The value at a rank between 0 (smallest) and 1. */
static double at_rank(const struct series *series, double rank)
{
    if (series->count == 0) {
        return 0;
    }
    double sorted[SAMPLE_ROUNDS_MAX];
    memcpy(sorted, series->values, series->count * sizeof(sorted[0]));
    qsort(sorted, series->count, sizeof(sorted[0]), compare);
    double place = rank * (double)(series->count - 1);
    size_t low = (size_t)place;
    size_t high = low + 1 < series->count ? low + 1 : low;
    return sorted[low] + (sorted[high] - sorted[low]) * (place - (double)low);
}

double series_median(const struct series *series)
{
    return at_rank(series, 0.5);
}

double series_min(const struct series *series)
{
    return at_rank(series, 0);
}

double series_max(const struct series *series)
{
    return at_rank(series, 1);
}
