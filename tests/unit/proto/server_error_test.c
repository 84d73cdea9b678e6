/* SPDX-License-Identifier: MIT */
#include "proto/server_error.h"

#include <ctype.h>
#include <string.h>

#include "roulette.h"
#include "support/test.h"
#include "unit/proto/guarded.h"

static struct rlt_server_error classify(const char *text)
{
    size_t len = strlen(text);
    return rlt_server_error_classify((const char *)guarded_behind(text, len), len);
}

struct expected {
    const char *text;
    enum rlt_reaction reaction;
    int error;
};

/** Texts as servers of versions 1 and 2 send them. */
static const struct expected table[] = {
    {"Permissions Violation for Publish to \"s\"", RLT_REACTION_REPORT, ROULETTE_EPERMISSION},
    {"Permissions Violation for Publish with Reply of \"r\"", RLT_REACTION_REPORT,
     ROULETTE_EPERMISSION},
    {"Permissions Violation for Subscription to \"s\"", RLT_REACTION_SUBSCRIPTION,
     ROULETTE_EPERMISSION},
    {"Permissions Violation for Subscription to \"s\", too many tokens", RLT_REACTION_SUBSCRIPTION,
     ROULETTE_EPERMISSION},
    {"Invalid Subject", RLT_REACTION_SUBSCRIPTION, ROULETTE_ETOPIC},
    {"Invalid Publish Subject", RLT_REACTION_REPORT, ROULETTE_ETOPIC},
    {"maximum subscriptions exceeded", RLT_REACTION_SUBSCRIPTION, ROULETTE_ESERVER},
    {"Stale Connection", RLT_REACTION_RECONNECT, ROULETTE_ESTALE},
    {"Authorization Violation", RLT_REACTION_RECONNECT, ROULETTE_EAUTH},
    {"User Authentication Expired", RLT_REACTION_RECONNECT, ROULETTE_EAUTH},
    {"User Authentication Revoked", RLT_REACTION_RECONNECT, ROULETTE_EAUTH},
    {"Account Authentication Expired", RLT_REACTION_RECONNECT, ROULETTE_EAUTH},
    {"Authentication Timeout", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"maximum connections exceeded", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"maximum account active connections exceeded", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Connection throttling is active. Please try again later.", RLT_REACTION_RECONNECT,
     ROULETTE_ESERVER},
    {"Maximum Payload Violation", RLT_REACTION_RECONNECT, ROULETTE_EPAYLOAD},
    {"maximum control line exceeded", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Unknown Protocol Operation", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Secure Connection - TLS Required", RLT_REACTION_RECONNECT, ROULETTE_ENOTSUP},
    {"invalid client protocol", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"no responders requires headers support", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"Failed Account Registration", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"attempted to connect to route port", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"attempted to connect to leaf node port", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
    {"attempted to connect to gateway port", RLT_REACTION_RECONNECT, ROULETTE_ESERVER},
};

#define TABLE_COUNT (sizeof table / sizeof table[0])

Test(server_error, every_known_text)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        struct rlt_server_error error = classify(table[i].text);
        cr_assert_eq(error.reaction, table[i].reaction, "%s", table[i].text);
        cr_assert_eq(error.error, table[i].error, "%s", table[i].text);
    }
}

Test(server_error, any_case_and_any_text_behind)
{
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        char text[128];
        for (int upper = 0; upper < 2; upper++) {
            size_t len = strlen(table[i].text);
            for (size_t at = 0; at < len; at++)
                text[at] = (char)(upper ? toupper(table[i].text[at]) : tolower(table[i].text[at]));
            strcpy(text + len, " and more");
            cr_assert_eq(classify(text).reaction, table[i].reaction, "%s", text);
            cr_assert_eq(classify(text).error, table[i].error, "%s", text);
        }
    }
}

Test(server_error, unknown_texts_are_reported_only)
{
    static const char *const texts[] = {"",
                                        "Slow Consumer",
                                        "Invalid",
                                        "Invalid Subjec",
                                        "x Stale Connection",
                                        "Permissions Violation",
                                        "\xff"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct rlt_server_error error = classify(texts[i]);
        cr_assert_eq(error.reaction, RLT_REACTION_REPORT);
        cr_assert_eq(error.error, ROULETTE_ESERVER);
        cr_assert_null(error.topic);
        cr_assert_null(error.queue);
    }
}

/** Check the names that a text has; NULL: none. */
static void check_names(const char *text, const char *topic, const char *queue)
{
    struct rlt_server_error error = classify(text);
    cr_assert_eq(error.topic != NULL, topic != NULL, "%s", text);
    cr_assert_eq(error.queue != NULL, queue != NULL, "%s", text);
    cr_assert_eq(error.topic_len, topic != NULL ? strlen(topic) : 0, "%s", text);
    cr_assert_eq(error.queue_len, queue != NULL ? strlen(queue) : 0, "%s", text);
    if (topic != NULL)
        cr_assert_arr_eq(error.topic, topic, error.topic_len);
    if (queue != NULL)
        cr_assert_arr_eq(error.queue, queue, error.queue_len);
}

#define SUBSCRIPTION "Permissions Violation for Subscription to "

Test(server_error, permission_texts_name_topic_and_queue)
{
    check_names(SUBSCRIPTION "\"room.1\"", "room.1", NULL);
    check_names(SUBSCRIPTION "\"room.*\" using queue \"q\"", "room.*", "q");
    check_names(SUBSCRIPTION "\"a\" using queue \"q\" (sid \"7\")", "a", "q");
    check_names(SUBSCRIPTION "\"a\" (sid \"7\")", "a", NULL);
    check_names(SUBSCRIPTION "\"a\", too many tokens", "a", NULL);
    check_names("Permissions Violation for Publish to \"a.b\"", "a.b", NULL);
    check_names("Permissions Violation for Publish with Reply of \"_INBOX.1\"", "_INBOX.1", NULL);
    check_names("permissions violation for subscription to \"Room.1\" USING QUEUE \"Q\"", "Room.1",
                "Q");
}

Test(server_error, names_that_are_escaped_or_cut_are_none)
{
    check_names(SUBSCRIPTION "\"a\\\"b\"", NULL, NULL);
    check_names(SUBSCRIPTION "\"a\\\\\" using queue \"q\"", NULL, "q");
    /* The topic alone is another subscription. */
    check_names(SUBSCRIPTION "\"a\" using queue \"\\xff\"", NULL, NULL);
    check_names(SUBSCRIPTION "\"\"", NULL, NULL);
    check_names(SUBSCRIPTION "\"a", NULL, NULL);
    check_names(SUBSCRIPTION "\"a\\", NULL, NULL);
    check_names(SUBSCRIPTION "\"", NULL, NULL);
    check_names(SUBSCRIPTION, NULL, NULL);
    check_names(SUBSCRIPTION "FOO", NULL, NULL);
    check_names(SUBSCRIPTION "\"a\" using queue ", NULL, NULL);
    check_names(SUBSCRIPTION "\"a\" using queue \"q", NULL, NULL);
}

Test(server_error, sid_is_read_if_the_text_ends_with_it)
{
    cr_assert_eq(classify(SUBSCRIPTION "\"a\" (sid \"7\")").sid, 7);
    cr_assert_eq(classify(SUBSCRIPTION "\"a\\\"b\" (SID \"16777217\")").sid, 16777217);
    cr_assert_eq(classify(SUBSCRIPTION "\"a\" using queue \"q\" (sid \"12\")").sid, 12);
    cr_assert_eq(classify(SUBSCRIPTION "\"a\"").sid, 0);
    cr_assert_eq(classify(SUBSCRIPTION "\"a\" (sid \"\")").sid, 0);
    cr_assert_eq(classify(SUBSCRIPTION "\"a\" (sid \"7").sid, 0);
    cr_assert_eq(classify(SUBSCRIPTION "\"a\" (sid \"-7\")").sid, 0);
    cr_assert_eq(classify(SUBSCRIPTION "\"a\" (sid \"7x\")").sid, 0);
    cr_assert_eq(classify(SUBSCRIPTION "\"a\" (sid \"99999999999999999999999\")").sid, 0);
}

/* ---- What the server has quoted ----------------------------------------------------------- */

static void assert_unquoted(const char *quoted, const char *expected)
{
    char name[16];
    size_t len = rlt_server_error_unquote(quoted, strlen(quoted), name, sizeof(name));
    cr_assert_eq(len, strlen(expected), "%s: %zu", quoted, len);
    cr_assert_eq(memcmp(name, expected, len), 0, "%s", quoted);
}

/* As strconv.Quote() of Go writes it; seen of nats-server 2.9.10, 2.10.27 and 2.15.1. */
Test(server_error, quoted_name_is_what_was_sent)
{
    assert_unquoted("a.b", "a.b");
    assert_unquoted("x.\\\"q", "x.\"q");
    assert_unquoted("x.\\\\b", "x.\\b");
    assert_unquoted("\\x01\\x7f\\xff", "\x01\x7f\xff");
    assert_unquoted("x.\\u2028z", "x.\xe2\x80\xa8z");
    assert_unquoted("\\U000e0001", "\xf3\xa0\x80\x81");
    assert_unquoted("\\u0085", "\xc2\x85");
    assert_unquoted("\\a\\b\\f\\n\\r\\t\\v", "\a\b\f\n\r\t\v");
    assert_unquoted("1234567890123456", "1234567890123456");
}

Test(server_error, what_is_not_quoted_like_that_has_no_name)
{
    assert_unquoted("", "");
    assert_unquoted("12345678901234567", "");
    assert_unquoted("a\\", "");
    assert_unquoted("\\q", "");
    assert_unquoted("\\x1", "");
    assert_unquoted("\\xg1", "");
    assert_unquoted("\\u12", "");
    assert_unquoted("\\UFFFFFFFF", "");
    assert_unquoted("1234567890123\\u2028\\x01", "");
}

Test(server_error, refused_message_is_named_by_topic_or_reply)
{
    static const char topic[] = "Permissions Violation for Publish to \"a\\\"b\"";
    static const char reply[] = "Permissions Violation for Publish with Reply of \"r\"";
    struct rlt_server_error error = rlt_server_error_classify(topic, sizeof(topic) - 1);
    cr_assert_eq(error.quoted_len, 4);
    cr_assert_eq(memcmp(error.quoted, "a\\\"b", 4), 0);
    cr_assert_not(error.by_reply);
    error = rlt_server_error_classify(reply, sizeof(reply) - 1);
    cr_assert_eq(error.quoted_len, 1);
    cr_assert_eq(error.quoted[0], 'r');
    cr_assert(error.by_reply);
}
