/* SPDX-License-Identifier: MIT */
#include "harness/report.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "harness/goal.h"
#include "harness/nats_release.h"

/* A line of the table; what stands beside it begins behind so many characters. */
#define LINE_SIZE         200
#define NOTES_AT          105
#define NOTES_AT_COMPARED 126

void report_head(const struct machine *machine, uint32_t rounds, double seconds, double minutes)
{
    printf("machine   %s, %ld cores, load %.1f before\n", machine->cpu, machine->cores,
           machine->load);
    printf("kernel    %s\n", machine->kernel);
    printf("compiler  %s, %s\n", machine->compiler, machine->flags);
    printf("versions  roulette %s, libnats %s\n", machine->roulette, machine->libnats);
    printf("servers   %s, and %s\n", nats_release_name(),
           nats_release_newer_path() != NULL ? nats_release_newer_name() : "no newer one");
    if (machine->before != NULL) {
        printf("before    %s\n", machine->before);
    }
    printf("rounds    %u of about %.1f s, paced %u, interleaved; medians, and the spread of the "
           "rate\n",
           rounds, seconds, workload_rounds(&(struct workload){.pace = 1}, rounds));
    printf("CPU       of the client, user and system; ratios are of the same round\n");
    printf("calls     system calls of the client: each one stopped by seccomp and counted by\n"
           "          ptrace, in a short run of its own whose rate is not used\n");
    printf("time      about %.0f min for all that was chosen\n", minutes);
}

/* ---- Columns ------------------------------------------------------------------------------ */

/* Append to a line. */
static void add(char line[LINE_SIZE], const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(char line[LINE_SIZE], const char *format, ...)
{
    size_t len = strlen(line);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line + len, LINE_SIZE - len, format, arguments);
    va_end(arguments);
}

/* The heads of the columns, in two lines: `compares` adds those of the older build. */
static void print_columns(enum workload_kind kind, bool compares)
{
    if (kind == WORKLOAD_LATENCY) {
        printf("\n%-18s %9s %9s %9s %13s %10s %9s %9s%s\n", "", "p50", "p99", "p99.9", "CPU/msg",
               "p50 of", "p99 of", "CPU of", compares ? "    p50 of    p99 of    CPU of" : "");
        printf("%-18s %9s %9s %9s %13s %10s %9s %9s%s\n", "", "us", "us", "us", "", "libnats",
               "libnats", "libnats", compares ? "    before    before    before" : "");
        return;
    }
    printf("\n%-18s %9s  %-19s %13s %9s %9s %8s%s %9s\n", "", "M msg/s", "(min .. max)", "CPU/msg",
           "rate of", "CPU of", "CPU of", compares ? "   rate of    CPU of" : "", "calls");
    printf("%-18s %9s  %-19s %13s %9s %9s %8s%s %9s\n", "", "", "", "", "libnats", "libnats", "raw",
           compares ? "    before    before" : "", "per msg");
}

static void add_ratio(char line[LINE_SIZE], const struct contest *contest,
                      const struct entry *entry, const struct peer *peer, enum metric metric,
                      int width)
{
    struct series series = {0};
    const struct entry *reference = contest_find(contest, entry->workload, peer);
    if (reference != NULL) {
        entry_ratios(entry, reference, metric, &series);
    }
    if (series.count == 0) {
        add(line, " %*s", width, "-");
    } else {
        add(line, " %*.2f x", width - 2, series_median(&series));
    }
}

static double median(const struct entry *entry, enum metric metric)
{
    struct series series;
    entry_series(entry, metric, &series);
    return series_median(&series);
}

static void add_times(char line[LINE_SIZE], const struct contest *contest,
                      const struct entry *entry)
{
    add(line, " %9.1f %9.1f %9.1f %10.0f ns", median(entry, METRIC_P50), median(entry, METRIC_P99),
        median(entry, METRIC_P999), median(entry, METRIC_CPU));
    add_ratio(line, contest, entry, &peer_libnats, METRIC_P50, 10);
    add_ratio(line, contest, entry, &peer_libnats, METRIC_P99, 9);
    add_ratio(line, contest, entry, &peer_libnats, METRIC_CPU, 9);
    if (contest->compares) {
        add_ratio(line, contest, entry, &peer_roulette_before, METRIC_P50, 9);
        add_ratio(line, contest, entry, &peer_roulette_before, METRIC_P99, 9);
        add_ratio(line, contest, entry, &peer_roulette_before, METRIC_CPU, 9);
    }
}

static void add_rates(char line[LINE_SIZE], const struct contest *contest,
                      const struct entry *entry)
{
    char spread[48];
    struct series rate;
    entry_series(entry, METRIC_RATE, &rate);
    (void)snprintf(spread, sizeof(spread), "(%.3f .. %.3f)", series_min(&rate) / 1e6,
                   series_max(&rate) / 1e6);
    add(line, " %9.3f  %-19s %10.1f ns", series_median(&rate) / 1e6, spread,
        median(entry, METRIC_CPU));
    add_ratio(line, contest, entry, &peer_libnats, METRIC_RATE, 9);
    add_ratio(line, contest, entry, &peer_libnats, METRIC_CPU, 9);
    add_ratio(line, contest, entry, &peer_raw, METRIC_CPU, 8);
    if (contest->compares) {
        add_ratio(line, contest, entry, &peer_roulette_before, METRIC_RATE, 9);
        add_ratio(line, contest, entry, &peer_roulette_before, METRIC_CPU, 9);
    }
    if (entry->calls_counted) {
        add(line, " %9.6f", entry->calls_per_message);
    }
}

/* ---- Goals -------------------------------------------------------------------------------- */

static void write_goal(const struct goal *goal, struct report_count *count, char line[LINE_SIZE])
{
    add(line, "goal %s: ", goal->text);
    if (!goal->known) {
        count->unknown++;
        add(line, "not measured");
        return;
    }
    add(line, "%.3g%s, ", goal->got, goal->is_ratio ? " x" : "");
    if (goal->reached) {
        count->reached++;
        add(line, "reached");
    } else {
        count->missed++;
        add(line, "%.0f %% off", 100 * fabs(goal->got / goal->wanted - 1));
    }
}

/* ---- Rows --------------------------------------------------------------------------------- */

/* What stands beside a row: its goals, and what else is to be known; one below the other. */
struct notes {
    size_t count;
    char lines[GOALS_MAX + 4][LINE_SIZE];
};

static char *next_note(struct notes *notes)
{
    char *line = notes->lines[notes->count++];
    line[0] = '\0';
    return line;
}

static void take_notes(const struct contest *contest, const struct entry *entry,
                       struct report_count *count, struct notes *notes)
{
    struct goal goals[GOALS_MAX];
    size_t goal_count = goal_list(contest, entry, goals);
    uint64_t done = entry_done(entry);
    uint64_t dropped = entry_dropped(entry);
    for (size_t i = 0; i < goal_count; i++) {
        write_goal(&goals[i], count, next_note(notes));
    }
    if (entry->workload->kind == WORKLOAD_FAN_OUT && done != 0) {
        add(next_note(notes), "%.0f on the wire", median(entry, METRIC_COPIES));
    }
    if (entry->workload->calls && !entry->calls_counted) {
        add(next_note(notes), "system calls could not be counted");
    }
    if (dropped != 0) {
        add(next_note(notes), "%.2f %% dropped",
            100.0 * (double)dropped / (double)(dropped + done));
    }
    if (entry->failures != 0) {
        add(next_note(notes), "%u runs failed", entry->failures);
    }
}

static void print_entry(const struct contest *contest, const struct entry *entry,
                        struct report_count *count)
{
    char line[LINE_SIZE] = "";
    int notes_at = contest->compares ? NOTES_AT_COMPARED : NOTES_AT;
    struct notes notes = {0};
    add(line, "  %-16s", entry->peer->name);
    if (entry_done(entry) == 0) {
        add(line, " %9s", "failed");
    } else if (entry->workload->kind == WORKLOAD_LATENCY) {
        add_times(line, contest, entry);
    } else {
        add_rates(line, contest, entry);
    }
    take_notes(contest, entry, count, &notes);
    if (notes.count == 0) {
        printf("%s\n", line);
    }
    for (size_t i = 0; i < notes.count; i++) {
        printf("%-*s  %s\n", notes_at, i == 0 ? line : "", notes.lines[i]);
    }
}

void report_contest(const struct contest *contest, struct report_count *count)
{
    static int columns = -1; /* of which kind the last that were printed are */
    char title[WORKLOAD_TITLE_SIZE];
    for (size_t i = 0; i < contest->entry_count; i++) {
        const struct entry *entry = &contest->entries[i];
        if (i == 0 || entry->workload != contest->entries[i - 1].workload) {
            int kind = entry->workload->kind == WORKLOAD_LATENCY;
            if (columns != kind) {
                print_columns(entry->workload->kind, contest->compares);
                columns = kind;
            }
            printf("%s\n", workload_title(entry->workload, title, sizeof(title)));
        }
        print_entry(contest, entry, count);
    }
    (void)fflush(stdout);
}

void report_skipped(const struct workload *workload, struct report_count *count)
{
    char title[WORKLOAD_TITLE_SIZE];
    printf("%s\n  skipped: bench was given no newer nats-server\n",
           workload_title(workload, title, sizeof(title)));
    (void)fflush(stdout);
    count->skipped++;
}

void report_end(const struct report_count *count, double seconds)
{
    uint32_t all = count->reached + count->missed + count->unknown;
    printf("\ngoals     %u of %u reached, %u not, %u not measured\n", count->reached, all,
           count->missed, count->unknown);
    if (count->skipped != 0) {
        printf("skipped   %u workloads\n", count->skipped);
    }
    printf("time      %.0f min %.0f s\n", floor(seconds / 60), fmod(seconds, 60));
}
