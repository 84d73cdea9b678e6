/* SPDX-License-Identifier: MIT */
/*
 * bench: this library beside the official C client and a bare socket, on the same work in the
 * same run. bench/run builds and starts it.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "contest.h"
#include "lines.h"
#include "machine.h"
#include "record.h"
#include "report.h"

static const char usage[] =
    "usage: bench [options]\n"
    "\n"
    "  --quick           3 short rounds instead of 5\n"
    "  --rounds N        rounds of each workload, 1 to 64\n"
    "  --seconds S       how long one run of one peer is to last; 0.6, quick 0.2\n"
    "  --only GROUP      publish, deliver or through\n"
    "  --title TEXT      only workloads whose title contains TEXT, as in \"16 B, 1\"\n"
    "  --peer NAME       only \"roulette\", \"roulette, text\", \"libnats\" or \"raw socket\"\n"
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

enum { OPTION_ROUNDS = 1, OPTION_SECONDS, OPTION_ONLY, OPTION_TITLE, OPTION_PEER, OPTION_OUTPUT };

static bool is_group(const char *name)
{
    for (size_t i = 0; i < workload_count; i++) {
        if (strcmp(workload_group(&workloads[i]), name) == 0) {
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
    options->rounds = options->rounds != 0 ? options->rounds : options->quick ? 3 : 5;
    options->seconds = options->seconds > 0 ? options->seconds : options->quick ? 0.2 : 0.6;
}

static bool is_chosen(const struct options *options, const struct workload *workload)
{
    char title[64];
    return (options->group == NULL || strcmp(options->group, workload_group(workload)) == 0) &&
           (options->title == NULL ||
            strstr(workload_title(workload, title, sizeof(title)), options->title) != NULL);
}

static void on_trial(void *context, const struct contest *contest, const struct entry *entry,
                     uint32_t round, const struct trial *trial)
{
    record_trial(context, contest, entry, round, trial);
}

/* Run one workload. Returns the number of runs that failed. */
static uint32_t run(const struct workload *workload, const struct options *options,
                    struct lines *lines)
{
    static struct contest contest;
    struct contest_options settings = {
        .rounds = options->rounds,
        .seconds = options->seconds,
        .peer = options->peer,
        .on_trial = on_trial,
        .context = lines,
    };
    contest_run(workload, &settings, &contest);
    report_contest(&contest);
    record_contest(lines, &contest);
    uint32_t failures = 0;
    for (size_t i = 0; i < contest.entry_count; i++) {
        failures += contest.entries[i].failures;
    }
    return failures;
}

static bool is_any_chosen(const struct options *options)
{
    for (size_t i = 0; i < workload_count; i++) {
        if (is_chosen(options, &workloads[i])) {
            return true;
        }
    }
    return false;
}

int main(int argc, char **argv)
{
    struct options options;
    struct machine machine;
    read_options(argc, argv, &options);
    if (!is_any_chosen(&options)) {
        fprintf(stderr, "bench: no workload of this group has such a title\n");
        return 2;
    }
    machine_describe(&machine);
    struct lines *lines = lines_open(options.output, LINES_REPLACE, &machine);
    report_head(&machine, options.rounds, options.seconds);
    uint32_t failures = 0;
    for (size_t i = 0; i < workload_count; i++) {
        if (is_chosen(&options, &workloads[i])) {
            failures += run(&workloads[i], &options, lines);
        }
    }
    lines_close(lines);
    return failures == 0 ? 0 : 1;
}
