/* SPDX-License-Identifier: MIT */
/*
 * bench: this library beside the official C client and a bare socket, on the same work in the
 * same run. bench/run builds and starts it.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness/contest.h"
#include "harness/library.h"
#include "harness/lines.h"
#include "harness/machine.h"
#include "harness/nats_release.h"
#include "harness/progress.h"
#include "harness/record.h"
#include "harness/report.h"
#include "harness/stop.h"
#include "peers/peer.h"

static const char usage[] =
    "usage: bench [options]\n"
    "\n"
    "  --quick           a part of the workloads in 3 short rounds: 2 minutes, not 21\n"
    "  --rounds N        rounds of each workload, 1 to 64; 3 times of a paced one\n"
    "  --seconds S       how long one run of one peer is to last; 0.6, quick 0.2\n"
    "  --only GROUP      publish, deliver, through, fan-out or latency, or of all these the\n"
    "                    rows that differ in the number of clusters: clusters\n"
    "  --title TEXT      only workloads whose title contains TEXT, as in \"16 B, 1\"\n"
    "  --peer NAME       only \"roulette\", \"roulette, before\", \"roulette, text\",\n"
    "                    \"roulette, spin\", \"roulette, poll\", \"libnats\" or \"raw socket\"\n"
    "  --compare BUILD   an older build of roulette takes part, as \"roulette, before\": a\n"
    "                    build folder with src/libroulette.so\n"
    "  --newer FILE      a newer nats-server: without it, the rows with one are skipped\n"
    "  --event-threads N options.event_threads of roulette; 0, its default\n"
    "  --output FILE     where the JSON lines go; bench.jsonl\n"
    "  --help            this text\n";

struct options {
    uint32_t rounds; /* 0: not given */
    double seconds;  /* 0: not given */
    bool quick;
    const char *group;
    const char *title;
    const char *peer;
    const char *output;
};

enum {
    OPTION_ROUNDS = 1,
    OPTION_SECONDS,
    OPTION_ONLY,
    OPTION_TITLE,
    OPTION_PEER,
    OPTION_COMPARE,
    OPTION_NEWER,
    OPTION_EVENT_THREADS,
    OPTION_OUTPUT,
};

static bool is_group(const char *name)
{
    for (size_t i = 0; i < workload_count; i++) {
        if (workload_is_of(&workloads[i], name)) {
            return true;
        }
    }
    return false;
}

/* One option that takes a value. False if the value is not good. */
static bool take_value(struct options *options, int option, const char *value)
{
    char *end;
    switch (option) {
    case OPTION_ROUNDS:
        options->rounds = (uint32_t)strtoul(value, &end, 10);
        return *end == '\0' && options->rounds >= 1 && options->rounds <= SAMPLE_ROUNDS_MAX;
    case OPTION_SECONDS:
        options->seconds = strtod(value, &end);
        return *end == '\0' && options->seconds > 0 && options->seconds <= 10;
    case OPTION_ONLY:
        options->group = value;
        return is_group(value);
    case OPTION_TITLE:
        options->title = value;
        return true;
    case OPTION_PEER:
        options->peer = value;
        return contest_has_peer(value);
    case OPTION_COMPARE:
        if (!library_choose_before(value)) {
            fprintf(stderr, "bench: --compare %s: no src/libroulette.so: %m\n", value);
            exit(2);
        }
        return true;
    case OPTION_NEWER:
        return nats_release_choose_newer(value);
    case OPTION_EVENT_THREADS:
        peer_roulette_event_threads = (uint32_t)strtoul(value, &end, 10);
        return *end == '\0';
    case OPTION_OUTPUT:
        options->output = value;
        return true;
    default:
        return false;
    }
}

static void read_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"help", no_argument, NULL, 'h'},
        {"quick", no_argument, NULL, 'q'},
        {"rounds", required_argument, NULL, OPTION_ROUNDS},
        {"seconds", required_argument, NULL, OPTION_SECONDS},
        {"only", required_argument, NULL, OPTION_ONLY},
        {"title", required_argument, NULL, OPTION_TITLE},
        {"peer", required_argument, NULL, OPTION_PEER},
        {"compare", required_argument, NULL, OPTION_COMPARE},
        {"newer", required_argument, NULL, OPTION_NEWER},
        {"event-threads", required_argument, NULL, OPTION_EVENT_THREADS},
        {"output", required_argument, NULL, OPTION_OUTPUT},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){.output = "bench.jsonl"};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            exit(0);
        }
        if (option == 'q') {
            options->quick = true;
        } else if (!take_value(options, option, optarg)) {
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
    if (options->peer != NULL && strcmp(options->peer, peer_roulette_before.name) == 0 &&
        library_before_path() == NULL) {
        fprintf(stderr, "bench: --peer \"%s\" needs --compare\n", options->peer);
        exit(2);
    }
    options->rounds = options->rounds != 0 ? options->rounds : options->quick ? 3 : 5;
    options->seconds = options->seconds > 0 ? options->seconds : options->quick ? 0.2 : 0.6;
}

static bool is_chosen(const struct options *options, const struct workload *workload)
{
    char title[WORKLOAD_TITLE_SIZE];
    return (!options->quick || workload->quick) &&
           (options->group == NULL || workload_is_of(workload, options->group)) &&
           (options->title == NULL ||
            strstr(workload_title(workload, title, sizeof(title)), options->title) != NULL);
}

/* ---- Contests ----------------------------------------------------------------------------- */

/* Chosen workloads that are compared with each other. */
struct group {
    size_t count;
    const struct workload *workloads[CONTEST_WORKLOADS_MAX];
};

/* Whether there is a server for it; all of a group have the same. */
static bool is_possible(const struct workload *workload)
{
    return workload->server != SERVER_NATS_NEWER || nats_release_newer_path() != NULL;
}

/* The next group from workload `*next` on; empty if there is none. */
static void take_group(const struct options *options, size_t *next, struct group *group)
{
    group->count = 0;
    for (; *next < workload_count; (*next)++) {
        const struct workload *workload = &workloads[*next];
        if (!workload->joined && group->count != 0) {
            return;
        }
        if (is_chosen(options, workload)) {
            if (group->count == CONTEST_WORKLOADS_MAX) {
                stop("more than %d workloads are compared", CONTEST_WORKLOADS_MAX);
            }
            group->workloads[group->count++] = workload;
        }
    }
}

static size_t count_groups(const struct options *options)
{
    struct group group;
    size_t next = 0;
    size_t count = 0;
    for (take_group(options, &next, &group); group.count != 0; take_group(options, &next, &group)) {
        count++;
    }
    return count;
}

/* Where the results go, and what is known of the whole. */
struct run {
    const struct options *options;
    struct contest_options settings;
    struct lines *lines;
    struct report_count goals;
    uint32_t failures;
};

static void on_round(void *context, const struct entry *entry, uint32_t round)
{
    const struct run *run = context;
    progress_round(entry, round, workload_rounds(entry->workload, run->options->rounds));
}

static void on_trial(void *context, const struct entry *entry, uint32_t round,
                     const struct trial *trial)
{
    const struct run *run = context;
    record_trial(run->lines, entry, round, trial);
}

static void run_group(struct run *run, const struct group *group)
{
    static struct contest contest;
    if (!is_possible(group->workloads[0])) {
        for (size_t i = 0; i < group->count; i++) {
            report_skipped(group->workloads[i], &run->goals);
            record_skipped(run->lines, group->workloads[i]);
        }
        return;
    }
    contest_run(group->workloads, group->count, &run->settings, &contest);
    progress_end();
    report_contest(&contest, &run->goals);
    record_contest(run->lines, &contest);
    for (size_t i = 0; i < contest.entry_count; i++) {
        run->failures += contest.entries[i].failures;
    }
}

static double estimate_minutes(const struct options *options,
                               const struct contest_options *settings)
{
    double seconds = 0;
    for (size_t i = 0; i < workload_count; i++) {
        if (is_chosen(options, &workloads[i]) && is_possible(&workloads[i])) {
            seconds += workload_estimate_seconds(&workloads[i], options->rounds, options->seconds) *
                       (double)contest_width(&workloads[i], settings);
        }
    }
    return seconds / 60;
}

int main(int argc, char **argv)
{
    struct options options;
    struct machine machine;
    struct group group;
    size_t next = 0;
    size_t number = 0;
    read_options(argc, argv, &options);
    struct run run = {
        .options = &options,
        .settings = {options.rounds, options.seconds, options.peer, library_before_path() != NULL,
                     on_round, on_trial, &run},
    };
    size_t count = count_groups(&options);
    if (count == 0) {
        fprintf(stderr, "bench: no workload that was chosen has such a title\n");
        return 2;
    }
    machine_describe(&machine);
    machine.before = library_before_path();
    run.lines = lines_open(options.output, LINES_REPLACE, &machine);
    report_head(&machine, options.rounds, options.seconds,
                estimate_minutes(&options, &run.settings));
    for (take_group(&options, &next, &group); group.count != 0;
         take_group(&options, &next, &group)) {
        progress_contest(group.workloads[0], ++number, count);
        run_group(&run, &group);
    }
    report_end(&run.goals, progress_seconds());
    lines_close(run.lines);
    return run.failures == 0 ? 0 : 1;
}
