/* SPDX-License-Identifier: MIT */
#include "core/seam/report.h"

#include <inttypes.h>

#include "base/log.h"
#include "core/seam/env.h"

static const struct {
    enum roulette_log_level level;
    const char *text;
} kinds[] = {
#define RLT_REPORT_KIND(name, level, text) [RLT_REPORT_##name] = {ROULETTE_LOG_##level, text},
    RLT_REPORTS(RLT_REPORT_KIND)
#undef RLT_REPORT_KIND
};

const char *rlt_report_text(enum rlt_report what)
{
    return kinds[what].text;
}

/* End a window, and tell how many lines it left out. */
static void close_window(struct rlt_env *env, enum rlt_report what)
{
    struct rlt_report_window *window = &env->reports.windows[what];
    uint64_t left_out = window->left_out;
    *window = (struct rlt_report_window){.end_ns = 0};
    env->reports.left_out -= left_out != 0 ? 1 : 0;
    if (left_out != 0) {
        rlt_log(&env->config->log, kinds[what].level,
                "cluster %u (%s): %s: %" PRIu64 " more lines of this kind were left out",
                env->index, env->address->label, kinds[what].text, left_out);
    }
}

void rlt_report(struct rlt_env *env, enum rlt_report what, const char *detail)
{
    struct rlt_report_window *window = &env->reports.windows[what];
    if (!rlt_log_takes(&env->config->log, kinds[what].level)) {
        return;
    }
    if (env->now_ns >= window->end_ns) {
        close_window(env, what);
        window->end_ns = env->now_ns + RLT_REPORT_WINDOW_NS;
    }
    if (window->count >= RLT_REPORT_BURST) {
        env->reports.left_out += window->left_out++ == 0 ? 1 : 0;
        return;
    }
    window->count++;
    rlt_log(&env->config->log, kinds[what].level, "cluster %u (%s): %s%s%s", env->index,
            env->address->label, kinds[what].text, detail[0] != '\0' ? ": " : "", detail);
}

void rlt_report_step(struct rlt_env *env, uint64_t now_ns)
{
    for (int i = 0; i < RLT_REPORT_COUNT && env->reports.left_out != 0; i++) {
        if (now_ns >= env->reports.windows[i].end_ns) {
            close_window(env, (enum rlt_report)i);
        }
    }
}

uint64_t rlt_report_deadline(const struct rlt_reports *reports)
{
    uint64_t deadline_ns = RLT_NEVER;
    for (int i = 0; i < RLT_REPORT_COUNT && reports->left_out != 0; i++) {
        if (reports->windows[i].left_out != 0) {
            deadline_ns = rlt_min_u64(deadline_ns, reports->windows[i].end_ns);
        }
    }
    return deadline_ns;
}

void rlt_report_end(struct rlt_env *env)
{
    for (int i = 0; i < RLT_REPORT_COUNT; i++) {
        close_window(env, (enum rlt_report)i);
    }
}
