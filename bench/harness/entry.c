/* SPDX-License-Identifier: MIT */
#include "harness/entry.h"

static double value_of(const struct entry *entry, enum metric metric, uint32_t round)
{
    const struct sample *sample = &entry->trials[round].sample;
    switch (metric) {
    case METRIC_RATE:
        return sample_rate(sample);
    case METRIC_CPU:
        return sample_cpu_ns(sample);
    case METRIC_P50:
        return sample->p50_us;
    case METRIC_P99:
        return sample->p99_us;
    case METRIC_P999:
        return sample->p999_us;
    case METRIC_COPIES:
        return sample->copies;
    case METRIC_SENDS:
        return (double)sample->sends / (double)sample->messages;
    case METRIC_CALLS:
        break;
    }
    return entry->calls_per_message;
}

void entry_series(const struct entry *entry, enum metric metric, struct series *series)
{
    series->count = 0;
    if (metric == METRIC_CALLS) {
        if (entry->calls_counted) {
            series_add(series, entry->calls_per_message);
        }
        return;
    }
    for (uint32_t i = 0; i < entry->rounds; i++) {
        bool known = metric != METRIC_SENDS || entry->trials[i].sample.sends != 0;
        if (entry->good[i] && known) {
            series_add(series, value_of(entry, metric, i));
        }
    }
}

void entry_ratios(const struct entry *entry, const struct entry *reference, enum metric metric,
                  struct series *series)
{
    series->count = 0;
    for (uint32_t i = 0; i < entry->rounds && i < reference->rounds; i++) {
        if (entry->good[i] && reference->good[i]) {
            series_add(series, value_of(entry, metric, i) / value_of(reference, metric, i));
        }
    }
}

uint64_t entry_done(const struct entry *entry)
{
    uint64_t done = 0;
    for (uint32_t i = 0; i < entry->rounds; i++) {
        done += entry->good[i] ? entry->trials[i].sample.messages : 0;
    }
    return done;
}

uint64_t entry_dropped(const struct entry *entry)
{
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < entry->rounds; i++) {
        dropped += entry->good[i] ? entry->trials[i].sample.dropped : 0;
    }
    return dropped;
}
