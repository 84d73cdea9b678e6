/* SPDX-License-Identifier: MIT */
/*
 * Each topic is checked as topic and as pattern, by the code of this machine and by the portable
 * code, with inaccessible memory right behind it and again right before it, against a reference
 * that looks at one byte and its two neighbours.
 */
#include "base/random.h"
#include "proto/topic.h"
#include "roulette.h"
#include "support/test.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

int portable_topic_check(const char *topic, size_t len, const char **reason);
int portable_topic_check_pattern(const char *pattern, size_t len, const char **reason);

#define PAGE         4096
#define LEN_MAX      40 /* two whole chunks of 16 and a half */
#define LONGEST      (ROULETTE_TOPIC_LEN_MAX + 1)
#define RANDOM_SEED  UINT64_C(0x70a1c5)
#define RANDOM_COUNT 200000

/** A page of memory between two that may not be touched. Lives as long as the test's process. */
static char *page;

static void open_page(void)
{
    char *pages = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq((void *)pages, MAP_FAILED);
    cr_assert_eq(mprotect(pages + PAGE, PAGE, PROT_READ | PROT_WRITE), 0);
    page = pages + PAGE;
}

static int reference(const char *topic, size_t len, bool pattern)
{
    bool wildcard = false;
    if (len == 0 || len > ROULETTE_TOPIC_LEN_MAX) {
        return ROULETTE_ETOPIC;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = (unsigned char)topic[i];
        bool last = i + 1 == len;
        bool starts = i == 0 || topic[i - 1] == '.';
        bool ends = last || topic[i + 1] == '.';
        if (byte <= ' ' || byte == 0x7f || (byte == '.' && (starts || last))) {
            return ROULETTE_ETOPIC;
        }
        if (starts && ends && byte == '>' && pattern && !last) {
            /* Unless a later byte is worse, with the same code: no need to look. */
            return ROULETTE_ETOPIC;
        }
        wildcard |= starts && ends && (byte == '>' || byte == '*');
    }
    return !wildcard ? 0 : pattern ? 1 : ROULETTE_EWILDCARD;
}

/* Not through cr_assert: this runs a million times. */
static void check_at(const char *topic, size_t len)
{
    int as_topic = reference(topic, len, false);
    int as_pattern = reference(topic, len, true);
    if (rlt_topic_check(topic, len, NULL) != as_topic ||
        portable_topic_check(topic, len, NULL) != as_topic ||
        rlt_topic_check_pattern(topic, len, NULL) != as_pattern ||
        portable_topic_check_pattern(topic, len, NULL) != as_pattern) {
        cr_assert_fail("\"%.*s\" of %zu: topic %d %d, not %d; pattern %d %d, not %d", (int)len,
                       topic, len, rlt_topic_check(topic, len, NULL),
                       portable_topic_check(topic, len, NULL), as_topic,
                       rlt_topic_check_pattern(topic, len, NULL),
                       portable_topic_check_pattern(topic, len, NULL), as_pattern);
    }
}

/* At both ends of the page, so that a read around the topic ends the test. */
static void check(const char *topic, size_t len)
{
    if (page == NULL) {
        open_page();
    }
    char *at_end = page + PAGE - len;
    memcpy(at_end, topic, len);
    check_at(at_end, len);
    memcpy(page, topic, len);
    check_at(page, len);
}

/* Every byte at every position of `text` at every length. */
static void check_each_byte(const char *text)
{
    for (size_t len = 1; len <= LEN_MAX; len++) {
        for (size_t position = 0; position < len; position++) {
            char topic[LEN_MAX];
            memcpy(topic, text, len);
            for (int byte = 0; byte < 256; byte++) {
                topic[position] = (char)byte;
                check(topic, len);
            }
        }
    }
}

Test(topic, each_byte_at_each_position_equals_the_reference)
{
    check_each_byte("abcdefghijklmnopqrstuvwxyz0123456789-_AB");
}

Test(topic, each_byte_among_short_tokens_equals_the_reference)
{
    check_each_byte("a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.");
}

Test(topic, each_byte_among_wildcards_equals_the_reference)
{
    check_each_byte("*.>.*.>.*.>.*.>.*.>.*.>.*.>.*.>.*.>.*.>.");
}

/* All texts of up to 6 of the bytes that matter, at each place around the edges of a chunk. */
Test(topic, all_short_texts_at_each_offset_equal_the_reference)
{
    static const char alphabet[] = "a.*> ";
    for (size_t before = 0; before <= 18; before++) {
        for (size_t len = 1; len <= 6; len++) {
            size_t combinations = 1;
            for (size_t i = 0; i < len; i++) {
                combinations *= strlen(alphabet);
            }
            for (size_t number = 0; number < combinations; number++) {
                char topic[LEN_MAX] = "abcdefghijklmnopqrs";
                size_t rest = number;
                for (size_t i = 0; i < len; i++, rest /= strlen(alphabet)) {
                    topic[before + i] = alphabet[rest % strlen(alphabet)];
                }
                check(topic, before + len);
            }
        }
    }
}

Test(topic, random_texts_equal_the_reference)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz......*>";
    struct rlt_random random = {.state = RANDOM_SEED};
    for (size_t n = 0; n < RANDOM_COUNT; n++) {
        char topic[100];
        size_t len = 1 + (size_t)rlt_random_below(&random, sizeof(topic));
        for (size_t i = 0; i < len; i++) {
            bool dotted = i != 0 && i + 1 != len && topic[i - 1] != '.';
            /* Mostly valid, else nearly all would fail for the same reason. */
            size_t letters = dotted || rlt_random_below(&random, 50) == 0 ? strlen(alphabet) : 26;
            topic[i] = alphabet[rlt_random_below(&random, letters)];
        }
        check(topic, len);
    }
}

Test(topic, length_limit_is_1024)
{
    char topic[LONGEST];
    memset(topic, 'a', sizeof(topic));
    check(topic, 1023);
    check(topic, 1024);
    check(topic, 1025);
    cr_assert_eq(rlt_topic_check(topic, 1024, NULL), 0);
    cr_assert_eq(rlt_topic_check(topic, 1025, NULL), ROULETTE_ETOPIC);
    cr_assert_eq(rlt_topic_check_pattern(topic, 1024, NULL), 0);
    cr_assert_eq(rlt_topic_check_pattern(topic, 1025, NULL), ROULETTE_ETOPIC);
    cr_assert_eq(rlt_topic_check(topic, SIZE_MAX, NULL), ROULETTE_ETOPIC);
}

Test(topic, last_byte_of_the_longest_is_checked)
{
    static const char bytes[] = ". \n\177\1";
    char topic[ROULETTE_TOPIC_LEN_MAX];
    for (size_t i = 0; i < strlen(bytes); i++) {
        memset(topic, 'a', sizeof(topic));
        topic[sizeof(topic) - 1] = bytes[i];
        cr_assert_eq(rlt_topic_check(topic, sizeof(topic), NULL), ROULETTE_ETOPIC);
        check(topic, sizeof(topic));
    }
}

/* One text, its code as topic and as pattern, and a part of the reason of the first failure. */
static const struct row {
    const char *text;
    int as_topic;
    int as_pattern;
    const char *reason;
} rows[] = {
    {"a", 0, 0, ""},
    {"room.1", 0, 0, ""},
    {"$SYS.REQ.ACCOUNT.PING", 0, 0, ""},
    {"caf\303\251.\377\200", 0, 0, ""},
    {"{tag}.x", 0, 0, ""},
    {"a*b", 0, 0, ""},
    {"a>", 0, 0, ""},
    {">a", 0, 0, ""},
    {"**", 0, 0, ""},
    {">>", 0, 0, ""},
    {"*>", 0, 0, ""},
    {"a.*b.c", 0, 0, ""},
    {"a.b*", 0, 0, ""},
    {"a>.b", 0, 0, ""},
    {"*", ROULETTE_EWILDCARD, 1, "wildcard"},
    {">", ROULETTE_EWILDCARD, 1, "wildcard"},
    {"a.*", ROULETTE_EWILDCARD, 1, "wildcard"},
    {"*.a", ROULETTE_EWILDCARD, 1, "wildcard"},
    {"a.*.b", ROULETTE_EWILDCARD, 1, "wildcard"},
    {"*.*.*", ROULETTE_EWILDCARD, 1, "wildcard"},
    {"a.>", ROULETTE_EWILDCARD, 1, "wildcard"},
    {"*.>", ROULETTE_EWILDCARD, 1, "wildcard"},
    {"chat.room.number.seventeen.*", ROULETTE_EWILDCARD, 1, "wildcard"},
    {">.a", ROULETTE_EWILDCARD, ROULETTE_ETOPIC, "wildcard"},
    {"a.>.b", ROULETTE_EWILDCARD, ROULETTE_ETOPIC, "wildcard"},
    {">.>", ROULETTE_EWILDCARD, ROULETTE_ETOPIC, "wildcard"},
    {"", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "it is empty"},
    {".", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "starts with a dot"},
    {"..", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "starts with a dot"},
    {".a", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "starts with a dot"},
    {"a.", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "ends with a dot"},
    {">.", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "ends with a dot"},
    {"a..b", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "two dots in a row"},
    {"a..*", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "two dots in a row"},
    {"abcdefghijklmno..pqrstuvw", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "two dots in a row"},
    {" ", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "blank or a control byte"},
    {"a b", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "blank or a control byte"},
    {"a..b ", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "blank or a control byte"},
    {"x\r\nPUB evil 0", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "blank or a control byte"},
    {"a\177", ROULETTE_ETOPIC, ROULETTE_ETOPIC, "blank or a control byte"},
};

Test(topic, rules_and_reasons)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *reason = "";
        size_t len = strlen(rows[i].text);
        cr_assert_eq(rlt_topic_check(rows[i].text, len, &reason), rows[i].as_topic, "row %zu", i);
        cr_assert_not_null(strstr(reason, rows[i].reason), "row %zu: %s", i, reason);
        cr_assert_eq(reason[0] == '\0', rows[i].as_topic == 0, "row %zu: %s", i, reason);
        cr_assert_eq(rlt_topic_check_pattern(rows[i].text, len, NULL), rows[i].as_pattern,
                     "row %zu", i);
        check(rows[i].text, len);
    }
}

Test(topic, nul_byte_is_refused)
{
    cr_assert_eq(rlt_topic_check("a\0b", 3, NULL), ROULETTE_ETOPIC);
    cr_assert_eq(rlt_topic_check("a\0", 2, NULL), ROULETTE_ETOPIC);
}

Test(topic, pattern_with_an_early_rest_says_so)
{
    const char *reason = NULL;
    cr_assert_eq(rlt_topic_check_pattern("a.>.b", 5, &reason), ROULETTE_ETOPIC);
    cr_assert_str_eq(reason, "it has a token \">\" that is not its last one");
}

Test(topic, reasons_of_lengths)
{
    static char topic[LONGEST];
    const char *reason = NULL;
    memset(topic, 'a', sizeof(topic));
    cr_assert_eq(rlt_topic_check(NULL, 0, &reason), ROULETTE_ETOPIC);
    cr_assert_str_eq(reason, "it is empty");
    cr_assert_eq(rlt_topic_check_pattern(topic, sizeof(topic), &reason), ROULETTE_ETOPIC);
    cr_assert_str_eq(reason, "it is longer than 1024 bytes");
}

Test(topic, reason_is_untouched_on_success)
{
    const char *reason = "before";
    cr_assert_eq(rlt_topic_check("a.b", 3, &reason), 0);
    cr_assert_eq(rlt_topic_check_pattern("a.*", 3, &reason), 1);
    cr_assert_str_eq(reason, "before");
}
