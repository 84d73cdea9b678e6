/* SPDX-License-Identifier: MIT */
/*
 * micro: what single operations of the data path cost. bench/run builds and starts it.
 *
 * Each is repeated until a round lasts long enough for the clock, for several rounds. With one
 * thread the CPU time of that thread counts, so that others on the machine disturb little; with
 * two it is the clock, in longer rounds: there another busy program is seen.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness/lines.h"
#include "micro/micro.h"

static const char usage[] =
    "usage: micro [options]\n"
    "\n"
    "  --quick           5 rounds of 10 ms instead of 9 of 50 ms\n"
    "  --name TEXT       only operations whose name contains TEXT, as in \"parse\"\n"
    "  --output FILE     where JSON lines are added; micro.jsonl\n"
    "  --help            this text\n";

struct options {
    uint32_t rounds;
    double seconds; /* of a round */
    const char *name;
    const char *output;
};

static void read_options(int argc, char **argv, struct options *options)
{
    static const struct option names[] = {
        {"help", no_argument, NULL, 'h'},
        {"quick", no_argument, NULL, 'q'},
        {"name", required_argument, NULL, 'n'},
        {"output", required_argument, NULL, 'o'},
        {NULL, 0, NULL, 0},
    };
    *options = (struct options){.rounds = 9, .seconds = 0.05, .name = "", .output = "micro.jsonl"};
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'h':
            fputs(usage, stdout);
            exit(0);
        case 'q':
            options->rounds = 5;
            options->seconds = 0.01;
            break;
        case 'n':
            options->name = optarg;
            break;
        case 'o':
            options->output = optarg;
            break;
        default:
            fputs(usage, stderr);
            exit(2);
        }
    }
    if (optind != argc) {
        fputs(usage, stderr);
        exit(2);
    }
}

/* Seconds that `count` operations took. */
static double time_run(const struct micro *micro, void *state, uint64_t count)
{
    clockid_t clock = micro->threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC;
    struct timespec start;
    struct timespec end;
    (void)clock_gettime(clock, &start);
    micro->run(state, count);
    (void)clock_gettime(clock, &end);
    return (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
}

/* Operations that last for about `seconds`. */
static uint64_t probe(const struct micro *micro, void *state, double seconds)
{
    uint64_t count = MICRO_BATCH;
    double took;
    while ((took = time_run(micro, state, count)) < seconds / 2) {
        count *= took < seconds / 16 ? 8 : 2;
    }
    return count;
}

static void measure(const struct micro *micro, const struct options *options, struct series *ns)
{
    void *state = micro->open(micro->argument);
    /* Two threads are given time to find their cores. */
    double seconds = micro->threads == 1 ? options->seconds : options->seconds * 5;
    uint64_t count = probe(micro, state, seconds);
    ns->count = 0;
    while (ns->count < options->rounds) {
        ns->values[ns->count++] = time_run(micro, state, count) * 1e9 / (double)count;
    }
    micro->close(state);
}

static void run_table(const struct micro *table, const struct options *options, struct lines *lines)
{
    for (const struct micro *micro = table; micro->name != NULL; micro++) {
        if (strstr(micro->name, options->name) == NULL) {
            continue;
        }
        static struct series ns;
        measure(micro, options, &ns);
        char spread[32];
        (void)snprintf(spread, sizeof(spread), "(%.1f .. %.1f)", series_min(&ns), series_max(&ns));
        printf("  %-40s %7u %9.1f ns  %s\n", micro->name, micro->threads, series_median(&ns),
               spread);
        (void)fflush(stdout);
        lines_write(lines,
                    json_pack("{s:s, s:s, s:I, s:o}", "type", "micro", "operation", micro->name,
                              "threads", (json_int_t)micro->threads, "ns", lines_series(&ns)));
    }
}

int main(int argc, char **argv)
{
    struct options options;
    struct machine machine;
    read_options(argc, argv, &options);
    machine_describe(&machine);
    struct lines *lines = lines_open(options.output, LINES_APPEND, &machine);
    printf("single operations: median of %u rounds of %.0f ms\n", options.rounds,
           options.seconds * 1e3);
    printf("  %-40s %7s %12s  %s\n", "", "threads", "each", "(min .. max)");
    run_table(micro_topics, &options, lines);
    run_table(micro_wire, &options, lines);
    run_table(micro_receive, &options, lines);
    lines_close(lines);
    return 0;
}
