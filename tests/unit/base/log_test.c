/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "support/test.h"

#include <string.h>

/** What the log function received last, and how often it was called. */
struct sink {
    unsigned calls;
    enum roulette_log_level level;
    char text[1024];
};

static void take(void *context, enum roulette_log_level level, const char *text)
{
    struct sink *sink = context;
    sink->calls++;
    sink->level = level;
    strncpy(sink->text, text, sizeof(sink->text) - 1);
}

Test(log, line_reaches_the_function_with_its_context)
{
    struct sink sink = {0};
    struct rlt_log log = {.write = take, .context = &sink, .level = ROULETTE_LOG_INFO};
    rlt_log(&log, ROULETTE_LOG_WARNING, "cluster %d lost", 2);
    cr_assert_eq(sink.calls, 1);
    cr_assert_eq(sink.level, ROULETTE_LOG_WARNING);
    cr_assert_str_eq(sink.text, "cluster 2 lost");
}

Test(log, level_is_the_least_severe_that_passes)
{
    struct sink sink = {0};
    struct rlt_log log = {.write = take, .context = &sink, .level = ROULETTE_LOG_WARNING};
    rlt_log(&log, ROULETTE_LOG_INFO, "quiet");
    rlt_log(&log, ROULETTE_LOG_DEBUG, "quiet");
    cr_assert_eq(sink.calls, 0);
    rlt_log(&log, ROULETTE_LOG_WARNING, "loud");
    rlt_log(&log, ROULETTE_LOG_ERROR, "loud");
    cr_assert_eq(sink.calls, 2);
}

Test(log, no_function_or_no_log_is_silent)
{
    struct rlt_log log = {.write = NULL, .level = ROULETTE_LOG_DEBUG};
    rlt_log(&log, ROULETTE_LOG_ERROR, "nobody hears");
    rlt_log(NULL, ROULETTE_LOG_ERROR, "nobody hears");
}

Test(log, control_bytes_cannot_forge_a_line_or_an_escape)
{
    struct sink sink = {0};
    struct rlt_log log = {.write = take, .context = &sink, .level = ROULETTE_LOG_DEBUG};
    rlt_log(&log, ROULETTE_LOG_ERROR, "%s", "a\r\nb\tc\033[0m\x7f\x01z");
    cr_assert_str_eq(sink.text, "a??b?c?[0m??z");
}

Test(log, bytes_above_127_pass_as_they_are)
{
    struct sink sink = {0};
    struct rlt_log log = {.write = take, .context = &sink, .level = ROULETTE_LOG_DEBUG};
    rlt_log(&log, ROULETTE_LOG_ERROR, "%s", "gr\xc3\xbc\xc3\x9f");
    cr_assert_str_eq(sink.text, "gr\xc3\xbc\xc3\x9f");
}

Test(log, long_line_is_cut)
{
    struct sink sink = {0};
    struct rlt_log log = {.write = take, .context = &sink, .level = ROULETTE_LOG_DEBUG};
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    rlt_log(&log, ROULETTE_LOG_ERROR, "%s", text);
    cr_assert_eq(strlen(sink.text), 1023);
}
