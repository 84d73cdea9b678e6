/* SPDX-License-Identifier: MIT */
#include "proto/encode.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>

#include "roulette.h"
#include "support/test.h"
#include "unit/proto/guarded.h"

Test(encode, digits_of_every_length)
{
    uint64_t value = 0;
    for (uint32_t count = 1; count <= 19; count++) {
        char expected[32];
        uint8_t out[RLT_DIGITS_MAX];
        value = value * 10 + count % 10;
        int len = snprintf(expected, sizeof expected, "%llu", (unsigned long long)value);
        cr_assert_eq(rlt_digit_count(value), (uint32_t)len);
        cr_assert_eq(rlt_encode_digits(out, value, rlt_digit_count(value)), out + len);
        cr_assert_arr_eq(out, expected, (size_t)len);
    }
    cr_assert_eq(rlt_digit_count(0), 1);
    cr_assert_eq(rlt_digit_count(9), 1);
    cr_assert_eq(rlt_digit_count(10), 2);
    cr_assert_eq(rlt_digit_count(UINT64_MAX), RLT_DIGITS_MAX);
}

/** A PUB fills exactly the length that was asked for, and is walked over by its length. */
static void check_pub(const struct rlt_pub *pub, const char *expected)
{
    size_t len = strlen(expected);
    uint32_t payload_len;
    uint8_t *out = guarded_area() + GUARDED_SIZE - len;
    cr_assert_eq(rlt_encode_pub_len(pub), len);
    cr_assert_eq(rlt_encode_pub(out, pub), out + len);
    cr_assert_arr_eq(out, expected, len);
    cr_assert_eq(rlt_pub_frame_len(out, len, &payload_len), len);
    cr_assert_eq(payload_len, pub->payload_len);
}

Test(encode, pub_with_and_without_reply)
{
    struct rlt_pub pub = {.topic = "room.1", .topic_len = 6, .payload = "hello", .payload_len = 5};
    check_pub(&pub, "PUB room.1 5\r\nhello\r\n");
    pub.reply = "_INBOX.1";
    pub.reply_len = 8;
    check_pub(&pub, "PUB room.1 _INBOX.1 5\r\nhello\r\n");
    pub.payload_len = 0;
    check_pub(&pub, "PUB room.1 _INBOX.1 0\r\n\r\n");
    check_pub(&(struct rlt_pub){.topic = "a", .topic_len = 1}, "PUB a 0\r\n\r\n");
}

Test(encode, pub_with_a_payload_of_protocol)
{
    struct rlt_pub pub = {
        .topic = "a", .topic_len = 1, .payload = "\r\nPUB b 1\r\n", .payload_len = 11};
    check_pub(&pub, "PUB a 11\r\n\r\nPUB b 1\r\n\r\n");
}

Test(encode, pubs_in_a_queue_are_walked_one_by_one)
{
    static const char queue[] =
        "PUB a 3\r\nabc\r\nPUB b reply 12\r\n0123456789ab\r\nPUB c 0\r\n\r\n";
    static const uint32_t payload_lens[] = {3, 12, 0};
    const uint8_t *at = guarded_behind(queue, sizeof queue - 1);
    size_t left = sizeof queue - 1;
    for (int i = 0; i < 3; i++) {
        uint32_t payload_len;
        size_t frame_len = rlt_pub_frame_len(at, left, &payload_len);
        cr_assert_eq(payload_len, payload_lens[i]);
        at += frame_len;
        left -= frame_len;
    }
    cr_assert_eq(left, 0);
}

Test(encode, a_pub_that_is_cut_is_a_bug_of_ours, .signal = SIGABRT)
{
    uint32_t payload_len;
    rlt_pub_frame_len((const uint8_t *)"PUB a 3\r\nabc\r", 13, &payload_len);
}

Test(encode, sub_with_and_without_queue_group)
{
    uint8_t out[RLT_SUB_LEN_MAX];
    static const char plain[] = "SUB room.* 7\r\n";
    static const char grouped[] = "SUB room.* workers 18446744073709551615\r\n";
    cr_assert_eq(rlt_encode_sub(out, "room.*", 6, NULL, 0, 7), out + sizeof plain - 1);
    cr_assert_arr_eq(out, plain, sizeof plain - 1);
    cr_assert_eq(rlt_encode_sub(out, "room.*", 6, "workers", 7, UINT64_MAX),
                 out + sizeof grouped - 1);
    cr_assert_arr_eq(out, grouped, sizeof grouped - 1);
}

Test(encode, the_longest_sub_fits)
{
    static char name[1024];
    uint8_t *out = guarded_area() + GUARDED_SIZE - RLT_SUB_LEN_MAX;
    memset(name, 'x', sizeof name);
    cr_assert_eq(rlt_encode_sub(out, name, sizeof name, name, sizeof name, UINT64_MAX),
                 out + RLT_SUB_LEN_MAX);
}

Test(encode, unsub)
{
    uint8_t *out = guarded_area() + GUARDED_SIZE - RLT_UNSUB_LEN_MAX;
    cr_assert_eq(rlt_encode_unsub(out, 12, 0), out + 10);
    cr_assert_arr_eq(out, "UNSUB 12\r\n", 10);
    cr_assert_eq(rlt_encode_unsub(out, UINT64_MAX, UINT64_MAX), out + RLT_UNSUB_LEN_MAX);
}

/** The JSON of a CONNECT, decoded by another implementation. */
static json_t *connect_json(const struct rlt_connect *connect)
{
    char out[4096];
    int len = rlt_encode_connect(connect, out, sizeof out);
    cr_assert_gt(len, 10);
    cr_assert_arr_eq(out, "CONNECT ", 8);
    cr_assert_arr_eq(out + len - 2, "\r\n", 2);
    json_t *root = json_loadb(out + 8, (size_t)len - 10, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(root);
    return root;
}

static void check_member(const json_t *root, const char *key, const char *expected)
{
    const char *value = json_string_value(json_object_get(root, key));
    cr_assert_not_null(value, "no %s", key);
    cr_assert_str_eq(value, expected);
}

Test(encode, connect_says_what_is_known)
{
    struct rlt_connect connect = {.name = "me", .version = "0.1.0", .user = "u", .password = "p"};
    json_t *root = connect_json(&connect);
    check_member(root, "name", "me");
    check_member(root, "version", "0.1.0");
    check_member(root, "lang", "C");
    check_member(root, "user", "u");
    check_member(root, "pass", "p");
    cr_assert_null(json_object_get(root, "auth_token"));
    cr_assert(json_is_false(json_object_get(root, "verbose")));
    cr_assert(json_is_false(json_object_get(root, "pedantic")));
    cr_assert(json_is_false(json_object_get(root, "tls_required")));
    cr_assert(json_is_true(json_object_get(root, "echo")));
    cr_assert(json_is_false(json_object_get(root, "headers")));
    cr_assert(json_is_false(json_object_get(root, "no_responders")));
    cr_assert_eq(json_integer_value(json_object_get(root, "protocol")), 1);
    json_decref(root);
}

Test(encode, connect_with_token_and_headers_only)
{
    struct rlt_connect connect = {.token = "secret", .headers = 1};
    json_t *root = connect_json(&connect);
    check_member(root, "auth_token", "secret");
    cr_assert_null(json_object_get(root, "name"));
    cr_assert_null(json_object_get(root, "user"));
    cr_assert_null(json_object_get(root, "pass"));
    cr_assert(json_is_true(json_object_get(root, "headers")));
    cr_assert(json_is_false(json_object_get(root, "no_responders")));
    json_decref(root);
}

Test(encode, connect_with_an_nkey_or_a_jwt)
{
    struct rlt_connect connect = {.nkey = "UDXU", .sig = "zHsj-_"};
    json_t *root = connect_json(&connect);
    check_member(root, "nkey", "UDXU");
    check_member(root, "sig", "zHsj-_");
    cr_assert_null(json_object_get(root, "jwt"));
    json_decref(root);
    connect = (struct rlt_connect){.jwt = "eyJ0.e30.c2ln", .sig = "\",\"x\":\""};
    root = connect_json(&connect);
    check_member(root, "jwt", "eyJ0.e30.c2ln");
    check_member(root, "sig", "\",\"x\":\"");
    cr_assert_null(json_object_get(root, "nkey"));
    cr_assert_null(json_object_get(root, "x"));
    json_decref(root);
    root = connect_json(&(struct rlt_connect){.user = "u"});
    cr_assert_null(json_object_get(root, "jwt"));
    cr_assert_null(json_object_get(root, "nkey"));
    cr_assert_null(json_object_get(root, "sig"));
    json_decref(root);
}

Test(encode, connect_escapes_what_json_must)
{
    static const char password[] = "\"\\/\b\r\n\t\x01\x1f\x7f \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
    json_t *root = connect_json(&(struct rlt_connect){.user = "\",\"x\":\"", .password = password});
    check_member(root, "user", "\",\"x\":\"");
    check_member(root, "pass", password);
    cr_assert_null(json_object_get(root, "x"));
    json_decref(root);
}

Test(encode, connect_takes_valid_utf8_only)
{
    static const char *const good[] = {"\xc2\x80",         "\xdf\xbf",        "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",     "\xee\x80\x80",    "\xef\xbf\xbf",
                                       "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xbf",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xc2\x41",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xe2\x82\x41",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf0\x9f\x98",
                                      "\xf5\x80\x80\x80",
                                      "\xff"};
    char out[512];
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        json_decref(connect_json(&(struct rlt_connect){.name = good[i]}));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(rlt_encode_connect(&(struct rlt_connect){.token = bad[i]}, out, sizeof out),
                     ROULETTE_EINVAL, "text %zu", i);
}

Test(encode, connect_that_does_not_fit_leaves_no_secret)
{
    struct rlt_connect connect = {.user = "u",
                                  .password = "correct horse battery staple",
                                  .jwt = "eyJ0.e30.c2ln",
                                  .sig = "zHsj"};
    char out[512];
    int len = rlt_encode_connect(&connect, out, sizeof out);
    cr_assert_gt(len, 0);
    for (size_t size = 0; size < (size_t)len; size++) {
        char *small = (char *)guarded_area() + GUARDED_SIZE - size;
        cr_assert_eq(rlt_encode_connect(&connect, small, size), ROULETTE_ENOMEM);
        for (size_t i = 0; i < size; i++)
            cr_assert_eq(small[i], 0);
    }
    char *exact = (char *)guarded_area() + GUARDED_SIZE - len;
    cr_assert_eq(rlt_encode_connect(&connect, exact, (size_t)len), len);
    cr_assert_arr_eq(exact, out, (size_t)len);
}
