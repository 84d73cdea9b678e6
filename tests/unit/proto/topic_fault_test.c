/* SPDX-License-Identifier: MIT */
#include "proto/topic_fault.h"

#include <stdio.h>
#include <string.h>

#include "proto/topic.h"
#include "roulette.h"
#include "support/test.h"

/* What is said of a name that a check refuses. */
static const char *refused(const char *name, size_t len,
                           int (*check)(const char *, size_t, const char **))
{
    const char *reason = NULL;
    int error = check(name, len, &reason);
    cr_assert_lt(error, 0);
    cr_assert_eq(rlt_topic_refuse(error, "topic", "is bad", name, len, reason), error);
    return roulette_last_error();
}

Test(topic_fault, tells_topic_reason_and_position)
{
    static const struct {
        const char *topic;
        const char *text;
    } rows[] = {
        {"", "the topic \"\" is bad: it is empty"},
        {"a b", "the topic \"a b\" is bad: it has a blank or a control byte, at byte 2 of 3"},
        {"a\r\nb", "the topic \"a\\x0d\\x0ab\" is bad: it has a blank or a control byte, at byte 2 "
                   "of 4"},
        {".a", "the topic \".a\" is bad: it starts with a dot, at byte 1 of 2"},
        {"a.", "the topic \"a.\" is bad: it ends with a dot, at byte 2 of 2"},
        {"a..b",
         "the topic \"a..b\" is bad: it has an empty token (two dots in a row), at byte 3 of "
         "4"},
        {"a*.b.*", "the topic \"a*.b.*\" is bad: it has a wildcard, a token \"*\" or \">\": only a "
                   "subscription may, at byte 6 of 6"},
        {"a.>", "the topic \"a.>\" is bad: it has a wildcard, a token \"*\" or \">\": only a "
                "subscription may, at byte 3 of 3"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *text = refused(rows[i].topic, strlen(rows[i].topic), rlt_topic_check);
        cr_assert_str_eq(text, rows[i].text, "%s", text);
    }
}

Test(topic_fault, tells_where_a_pattern_ends_too_early)
{
    cr_assert_str_eq(
        refused("a.>.b", 5, rlt_topic_check_pattern),
        "the topic \"a.>.b\" is bad: it has a token \">\" that is not its last one, at "
        "byte 3 of 5");
}

Test(topic_fault, group_may_have_what_a_topic_may_not)
{
    cr_assert_str_eq(
        refused("..\t", 3, rlt_topic_check_group),
        "the topic \"..\\x09\" is bad: it has a blank or a control byte, at byte 3 of 3");
}

/* Of a long topic the part around the fault is quoted, and no character is cut. */
Test(topic_fault, long_topic_is_quoted_around_the_fault)
{
    char topic[1200];
    for (size_t at = 0; at < 1024; at++) {
        memset(topic, 'x', sizeof(topic));
        for (size_t i = 0; i + 1 < 1024; i += 2) {
            memcpy(topic + i, "\xc3\xbc", 2);
        }
        topic[at] = ' ';
        char position[32];
        (void)snprintf(position, sizeof(position), ", at byte %zu of 1024", at + 1);
        const char *text = refused(topic, 1024, rlt_topic_check);
        cr_assert_not_null(strstr(text, position), "%s", text);
        cr_assert_lt(strlen(text), 250, "%s", text);
        const char *first = strchr(text, '"') + 1;
        first += strncmp(first, "...", 3) == 0 ? 3 : 0;
        cr_assert(((unsigned char)*first & 0xc0) != 0x80 || at == 0, "%s", text);
    }
    memset(topic, 'x', sizeof(topic));
    cr_assert_not_null(
        strstr(refused(topic, 1025, rlt_topic_check), "it is longer than 1024 bytes: it has 1025"));
}

/* The most that a quote can need. */
Test(topic_fault, topic_of_control_bytes_fits)
{
    char topic[1024];
    memset(topic, '\x01', sizeof(topic));
    const char *text = refused(topic, sizeof(topic), rlt_topic_check);
    cr_assert_not_null(
        strstr(text, "\\x01...\" is bad: it has a blank or a control byte, at byte 1 of"), "%s",
        text);
}

Test(topic_fault, without_a_reason_the_code_has_its_own_sentence)
{
    (void)rlt_topic_refuse(ROULETTE_ENOENT, "topic", "is not subscribed to", "a.b", 3, NULL);
    cr_assert_str_eq(roulette_last_error(),
                     "the topic \"a.b\" is not subscribed to: there is no such subscription");
}
