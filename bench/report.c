/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <stdio.h>

void report_head(const struct machine *machine, uint32_t rounds, double seconds)
{
    printf("machine   %s, %ld cores, load %.1f before\n", machine->cpu, machine->cores,
           machine->load);
    printf("kernel    %s\n", machine->kernel);
    printf("compiler  %s, %s\n", machine->compiler, machine->flags);
    printf("versions  roulette %s, libnats %s\n", machine->roulette, machine->libnats);
    printf("rounds    %u of about %.1f s, interleaved; medians, and the spread of the rate\n\n",
           rounds, seconds);
    printf("%-34s %9s  %-17s %10s %9s %9s %8s\n", "", "M msg/s", "(min .. max)", "CPU/msg",
           "rate of", "CPU of", "CPU of");
    printf("%-34s %9s  %-17s %10s %9s %9s %8s\n", "", "", "", "", "libnats", "libnats", "raw");
}

static void print_ratio(const struct series *series, int width)
{
    if (series->count == 0) {
        printf(" %*s", width, "-");
    } else {
        printf(" %*.2f x", width - 2, series_median(series));
    }
}

static void print_entry(const struct entry *entry)
{
    printf("  %-32s", entry->peer->name);
    if (entry->rate.count == 0) {
        printf(" %9s\n", "failed");
        return;
    }
    char spread[32];
    (void)snprintf(spread, sizeof(spread), "(%.2f .. %.2f)", series_min(&entry->rate) / 1e6,
                   series_max(&entry->rate) / 1e6);
    printf(" %9.2f  %-17s %7.1f ns", series_median(&entry->rate) / 1e6, spread,
           series_median(&entry->cpu_ns));
    print_ratio(&entry->rate_of_libnats, 9);
    print_ratio(&entry->cpu_of_libnats, 9);
    print_ratio(&entry->cpu_of_raw, 8);
    if (entry->dropped != 0) {
        printf("  %.2f %% dropped",
               100.0 * (double)entry->dropped / (double)(entry->dropped + entry->done));
    }
    if (entry->failures != 0) {
        printf("  %u runs failed", entry->failures);
    }
    printf("\n");
}

void report_contest(const struct contest *contest)
{
    char title[64];
    printf("%s\n", workload_title(contest->workload, title, sizeof(title)));
    for (size_t i = 0; i < contest->entry_count; i++) {
        print_entry(&contest->entries[i]);
    }
    (void)fflush(stdout);
}
