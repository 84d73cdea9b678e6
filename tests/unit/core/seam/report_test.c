/* SPDX-License-Identifier: MIT */
#include "core/seam/report.h"

#include <stdio.h>
#include <string.h>

#include "base/defs.h"
#include "unit/core/cluster/cluster_world.h"

static char lines[8192];
static uint32_t line_count;

static void note(void *context, enum roulette_log_level level, const char *text)
{
    size_t len = strlen(lines);
    (void)context;
    (void)level;
    line_count++;
    cr_assert_lt((size_t)snprintf(lines + len, sizeof(lines) - len, "%s\n", text),
                 sizeof(lines) - len);
}

static void open_world(void)
{
    world_open(1, ROULETTE_RESTART_PERMANENT, ROULETTE_AT_MOST_ONCE);
    world.config.log.write = note;
    world.config.log.level = ROULETTE_LOG_DEBUG;
}

static void forget(void)
{
    lines[0] = '\0';
    line_count = 0;
}

static uint32_t occurrences(const char *text)
{
    uint32_t count = 0;
    for (const char *at = lines; (at = strstr(at, text)) != NULL; at++) {
        count++;
    }
    return count;
}

static void flood(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        world_say(0, "-ERR 'Slow Down'\r\n");
    }
}

#define ReportTest(name) Test(report, name, .init = open_world, .fini = world_close)

ReportTest(lines_up_to_the_burst_are_written_and_nothing_more_is_told)
{
    flood(RLT_REPORT_BURST);
    cr_assert_eq(line_count, RLT_REPORT_BURST);
    cr_assert_eq(rlt_report_deadline(&world.cluster->env.reports), RLT_NEVER);
    world_pass(2 * RLT_REPORT_WINDOW_NS);
    cr_assert_eq(line_count, RLT_REPORT_BURST);
}

ReportTest(what_is_left_out_is_told_when_the_window_is_over)
{
    flood(1000);
    cr_assert_eq(line_count, RLT_REPORT_BURST);
    world_pass(RLT_REPORT_WINDOW_NS - 1);
    cr_assert_eq(line_count, RLT_REPORT_BURST);
    world_pass(1);
    cr_assert_eq(line_count, RLT_REPORT_BURST + 1);
    cr_assert_eq(occurrences("cluster 0 (test:4222): the server says: 990 more lines of this kind "
                             "were left out\n"),
                 1);
    cr_assert_eq(rlt_report_deadline(&world.cluster->env.reports), RLT_NEVER);
}

ReportTest(flood_that_goes_on_is_bounded_in_each_window)
{
    for (int i = 0; i < 5; i++) {
        flood(200);
        world_pass(RLT_REPORT_WINDOW_NS);
        cr_assert_eq(line_count, RLT_REPORT_BURST + 1);
        cr_assert_eq(occurrences("190 more lines"), 1);
        forget();
    }
}

ReportTest(flood_of_one_kind_hides_no_other)
{
    flood(1000);
    forget();
    world_say(0, "-ERR 'Stale Connection'\r\n");
    world_pass(RLT_NS_PER_MS);
    cr_assert_eq(occurrences("the server says: Stale Connection"), 2);
    cr_assert_eq(occurrences("connection lost: the server says: Stale Connection"), 1);
}

ReportTest(stop_tells_what_was_left_out)
{
    flood(15);
    forget();
    world_submit(&world.cluster->stop);
    cr_assert_eq(occurrences("5 more lines"), 1);
}

/* Neither counted nor told, and no timer wakes the thread for it. */
ReportTest(lines_that_the_application_does_not_want_have_no_window)
{
    world.config.log.level = ROULETTE_LOG_ERROR;
    flood(1000);
    cr_assert_eq(rlt_report_deadline(&world.cluster->env.reports), RLT_NEVER);
    world_pass(2 * RLT_REPORT_WINDOW_NS);
    cr_assert_eq(line_count, 0);
}

/* The servers of two clusters do not share a limit. */
ReportTest(each_cluster_has_limits_of_its_own)
{
    struct rlt_cluster *other;
    flood(1000);
    forget();
    cr_assert_eq(rlt_cluster_create(&world.config, &world.address, 1, &world.transport, 8, &other),
                 0);
    rlt_report(&other->env, RLT_REPORT_COMPLAINT, "Slow Down");
    cr_assert_eq(occurrences("cluster 1 (test:4222): the server says: Slow Down\n"), 1);
    rlt_cluster_destroy(other);
}
