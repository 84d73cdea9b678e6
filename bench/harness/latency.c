/* SPDX-License-Identifier: MIT */
#include "harness/latency.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/stop.h"

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void latency_init(struct latency *latency, uint64_t skip, uint64_t capacity)
{
    *latency = (struct latency){.skip = skip, .capacity = capacity};
    latency->times_ns = calloc(capacity, sizeof(latency->times_ns[0]));
    if (latency->times_ns == NULL) {
        stop("no memory");
    }
}

void latency_fini(struct latency *latency)
{
    free(latency->times_ns);
}

void latency_stamp(void *payload)
{
    uint64_t now = now_ns();
    memcpy(payload, &now, sizeof(now));
}

void latency_note(struct latency *latency, const void *payload)
{
    uint64_t then;
    memcpy(&then, payload, sizeof(then));
    if (latency->seen++ >= latency->skip && latency->count < latency->capacity) {
        latency->times_ns[latency->count++] = now_ns() - then;
    }
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

/* The smallest time that at least `share` of all do not exceed. */
static double percentile_us(const struct latency *latency, double share)
{
    uint64_t place = (uint64_t)(share * (double)latency->count);
    place = place < latency->count ? place : latency->count - 1;
    return (double)latency->times_ns[place] / 1e3;
}

void latency_fill(struct latency *latency, struct sample *sample)
{
    if (latency->count == 0) {
        stop("no message came back");
    }
    qsort(latency->times_ns, latency->count, sizeof(latency->times_ns[0]), compare);
    sample->p50_us = percentile_us(latency, 0.5);
    sample->p99_us = percentile_us(latency, 0.99);
    sample->p999_us = percentile_us(latency, 0.999);
}
