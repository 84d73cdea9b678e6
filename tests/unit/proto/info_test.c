/* SPDX-License-Identifier: MIT */
#include "proto/info.h"

#include <jansson.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "roulette.h"
#include "support/test.h"
#include "unit/proto/guarded.h"

/** Parse with a guard page behind the text; `info` is filled with a pattern first. */
static int parse(const char *json, size_t len, struct rlt_info *info)
{
    memset(info, 0x5a, sizeof *info);
    return rlt_info_parse((const char *)guarded_behind(json, len), len, info);
}

static struct rlt_info parse_good(const char *json)
{
    struct rlt_info info;
    cr_assert_eq(parse(json, strlen(json), &info), 0, "%s", json);
    return info;
}

static void check_bad(const char *json)
{
    struct rlt_info info;
    struct rlt_info before;
    memset(&before, 0x5a, sizeof before);
    cr_assert_eq(parse(json, strlen(json), &info), ROULETTE_EPROTOCOL, "%s", json);
    cr_assert_arr_eq(&info, &before, sizeof info);
}

Test(info, what_a_server_sends)
{
    struct rlt_info info = parse_good(
        "{\"server_id\":\"NCXQ\",\"server_name\":\"n1\",\"version\":\"2.9.10\",\"proto\":1,"
        "\"go\":\"go1.19\",\"host\":\"0.0.0.0\",\"port\":4222,\"headers\":true,"
        "\"auth_required\":true,\"tls_required\":true,\"tls_available\":true,"
        "\"max_payload\":1048576,\"client_id\":5,\"client_ip\":\"127.0.0.1\",\"cluster\":\"c1\","
        "\"nonce\":\"abc\",\"ldm\":true,\"connect_urls\":[\"10.0.0.1:4222\"]}");
    cr_assert_str_eq(info.server_id, "NCXQ");
    cr_assert_str_eq(info.server_name, "n1");
    cr_assert_str_eq(info.version, "2.9.10");
    cr_assert_str_eq(info.cluster, "c1");
    cr_assert_str_eq(info.nonce, "abc");
    cr_assert_eq(info.protocol, 1);
    cr_assert_eq(info.max_payload, 1048576);
    cr_assert_eq(info.client_id, 5);
    cr_assert(info.headers && info.auth_required && info.tls_required && info.tls_available &&
              info.lame_duck);
}

Test(info, missing_members_are_zero_or_empty)
{
    struct rlt_info info = parse_good(" { } ");
    cr_assert_str_eq(info.server_id, "");
    cr_assert_str_eq(info.server_name, "");
    cr_assert_str_eq(info.version, "");
    cr_assert_str_eq(info.cluster, "");
    cr_assert_str_eq(info.nonce, "");
    cr_assert_eq(info.protocol, 0);
    cr_assert_eq(info.max_payload, 0);
    cr_assert_eq(info.client_id, 0);
    cr_assert(!info.headers && !info.auth_required && !info.tls_required && !info.tls_available &&
              !info.lame_duck);
}

Test(info, members_of_another_type_are_missing)
{
    static const char *const values[] = {"null", "[]", "{}", "\"1\"", "[true]"};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        char json[256];
        const char *value = values[i];
        snprintf(json, sizeof json,
                 "{\"proto\":%s,\"max_payload\":%s,\"client_id\":%s,\"headers\":%s,\"ldm\":%s,"
                 "\"server_id\":%s,\"nonce\":1}",
                 value, value, value, value, value, value[0] == '"' ? "7" : value);
        struct rlt_info info = parse_good(json);
        cr_assert_eq(info.protocol, 0);
        cr_assert_eq(info.max_payload, 0);
        cr_assert_eq(info.client_id, 0);
        cr_assert(!info.headers && !info.lame_duck);
        cr_assert_str_eq(info.server_id, "");
        cr_assert_str_eq(info.nonce, "");
    }
    cr_assert(!parse_good("{\"headers\":1}").headers);
    cr_assert_eq(parse_good("{\"max_payload\":true}").max_payload, 0);
}

Test(info, numbers_out_of_range_are_clamped)
{
    static const char big[] = "{\"proto\":18446744073709551615,\"max_payload\":9223372036854775808,"
                              "\"client_id\":99999999999999999999}";
    static const char small[] = "{\"proto\":-9223372036854775808,\"client_id\":-1,"
                                "\"max_payload\":-99999999999999999999}";
    struct rlt_info info = parse_good(big);
    cr_assert_eq(info.protocol, INT_MAX);
    cr_assert_eq(info.max_payload, INT64_MAX);
    cr_assert_eq(info.client_id, UINT64_MAX);
    info = parse_good(small);
    cr_assert_eq(info.protocol, INT_MIN);
    cr_assert_eq(info.max_payload, INT64_MIN);
    cr_assert_eq(info.client_id, 0);
}

Test(info, numbers_keep_their_value)
{
    cr_assert_eq(parse_good("{\"max_payload\":9223372036854775807}").max_payload, INT64_MAX);
    cr_assert_eq(parse_good("{\"max_payload\":-1}").max_payload, -1);
    cr_assert_eq(parse_good("{\"max_payload\":1e6}").max_payload, 1000000);
    cr_assert_eq(parse_good("{\"client_id\":9007199254740993}").client_id,
                 UINT64_C(9007199254740993));
    cr_assert_eq(parse_good("{\"client_id\":9223372036854775808}").client_id,
                 UINT64_C(9223372036854775808));
}

Test(info, of_duplicate_keys_the_last_counts)
{
    struct rlt_info info = parse_good("{\"proto\":1,\"headers\":true,\"proto\":2,\"headers\":0}");
    cr_assert_eq(info.protocol, 2);
    cr_assert(!info.headers);
}

/** An INFO whose member `key` is `head` and then `count` times `unit`. */
static struct rlt_info parse_long(const char *key, const char *head, const char *unit, int count)
{
    char json[2048];
    snprintf(json, sizeof json, "{\"%s\":\"%s", key, head);
    for (int i = 0; i < count; i++)
        strcat(json, unit);
    strcat(json, "\"}");
    return parse_good(json);
}

Test(info, long_texts_are_cut)
{
    cr_assert_eq(strlen(parse_long("server_id", "", "x", 127).server_id), 127);
    cr_assert_eq(strlen(parse_long("server_id", "", "x", 128).server_id), 127);
    cr_assert_eq(strlen(parse_long("server_name", "", "x", 500).server_name), 127);
    cr_assert_eq(strlen(parse_long("cluster", "", "x", 500).cluster), 127);
    cr_assert_eq(strlen(parse_long("version", "", "x", 500).version), 31);
}

Test(info, long_texts_are_cut_between_characters)
{
    cr_assert_eq(strlen(parse_long("version", "", "\xc3\xa9", 40).version), 30);
    cr_assert_eq(strlen(parse_long("version", "x", "\xc3\xa9", 40).version), 31);
    cr_assert_eq(strlen(parse_long("version", "x", "\xf0\x9f\x98\x80", 40).version), 29);
}

Test(info, a_nonce_is_whole_or_empty)
{
    struct rlt_info info;
    cr_assert_eq(strlen(parse_long("nonce", "", "x", 127).nonce), 127);
    info = parse_long("nonce", "", "x", 128);
    cr_assert_str_eq(info.nonce, "");
    info = parse_good("{\"nonce\":\"a\\u0000b\"}");
    cr_assert_str_eq(info.nonce, "");
}

Test(info, a_text_ends_at_a_nul)
{
    struct rlt_info info;
    info = parse_good("{\"server_name\":\"a\\u0000b\"}");
    cr_assert_str_eq(info.server_name, "a");
}

Test(info, at_most_8_levels)
{
    parse_good("{\"a\":[[[[[[[1]]]]]]],\"proto\":1}");
    check_bad("{\"a\":[[[[[[[[1]]]]]]]],\"proto\":1}");
    parse_good("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}");
    check_bad("{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}}}}}");
    parse_good("{\"a\":\"[[[[[[[[[[{{{{\\\"[[[[[[[[[\",\"b\":[],\"c\":[[]],\"d\":[],\"e\":{}}");
}

Test(info, a_bomb_of_brackets_is_refused_without_recursion)
{
    enum { LEN = 65536 };
    static char json[LEN + 1];
    memset(json, '[', LEN);
    check_bad(json);
}

Test(info, what_is_not_an_object_is_refused)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "x",
                                        "1",
                                        "[]",
                                        "\"a\"",
                                        "null",
                                        "{",
                                        "{}x",
                                        "{}{}",
                                        "{\"a\"}",
                                        "{\"a\":}",
                                        "{\"a\":1,}",
                                        "{a:1}",
                                        "{\"a\":01}",
                                        "{\"a\":\"",
                                        "{\"a\":\"\\",
                                        "{\"a\":\"\xff\"}",
                                        "{\"a\":1e999}",
                                        "]",
                                        "}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        check_bad(texts[i]);
}

Test(info, every_prefix_is_refused)
{
    static const char json[] = "{\"proto\":1,\"a\":[\"x\\\"\",{\"b\":null}],\"headers\":true}";
    struct rlt_info info;
    for (size_t len = 0; len < sizeof json - 1; len++)
        cr_assert_eq(parse(json, len, &info), ROULETTE_EPROTOCOL, "%zu", len);
    cr_assert_eq(parse(json, sizeof json - 1, &info), 0);
}

/* ---- Memory ------------------------------------------------------------------------------- */

/** What jansson has allocated, and the most of it at a time. */
static size_t bytes_now;
static size_t bytes_most;

static void *measured_malloc(size_t size)
{
    void *block = malloc(size);
    bytes_now += malloc_usable_size(block) + 16;
    bytes_most = bytes_now > bytes_most ? bytes_now : bytes_most;
    return block;
}

static void measured_free(void *block)
{
    bytes_now -= block != NULL ? malloc_usable_size(block) + 16 : 0;
    free(block);
}

/** A text of about `len` bytes: `head`, then `part` again and again, then `tail`. `part` may have a
 *  place for a number. */
static char *repeat(const char *head, const char *part, const char *tail, size_t len)
{
    char *text = malloc(len + 256);
    cr_assert_not_null(text);
    size_t at = (size_t)sprintf(text, "%s", head);
    for (unsigned i = 0; at + strlen(tail) + 32 < len; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        at += (size_t)sprintf(text + at, part, i);
#pragma GCC diagnostic pop
    }
    (void)sprintf(text + at, "%s", tail);
    return text;
}

#define MEBIBYTE 1048576

Test(info, a_mebibyte_of_addresses_is_read)
{
    char *json =
        repeat("{\"proto\":1,\"connect_urls\":[", "\"10.1.2.3:%05u\",", "\"x\"]}", MEBIBYTE);
    cr_assert_eq(parse_good(json).protocol, 1);
    free(json);
}

/** Read a text of 1 MiB, or refuse it, with bounded memory. */
static void check_memory(const char *head, const char *part, const char *tail)
{
    struct rlt_info info;
    char *json = repeat(head, part, tail, MEBIBYTE);
    bytes_most = 0;
    (void)parse(json, strlen(json), &info);
    cr_assert_eq(bytes_now, 0);
    cr_assert_leq(bytes_most, 16 * MEBIBYTE, "%s: %zu bytes", part, bytes_most);
    free(json);
}

Test(info, memory_is_bounded_however_the_text_is_arranged)
{
    json_set_alloc_funcs(measured_malloc, measured_free);
    check_memory("{\"a\":[", "[],", "0]}");
    check_memory("{\"a\":[", "{},", "0]}");
    check_memory("{\"a\":[", "{\"b\":0},", "0]}");
    check_memory("{\"a\":[", "\"\",", "0]}");
    check_memory("{\"a\":[", "\"1.2.3.4:5\",", "0]}");
    check_memory("{\"a\":[", "0,", "0]}");
    check_memory("{\"a\":[", "0.5,", "0]}");
    check_memory("{", "\"%x\":0,", "\"a\":0}");
    check_memory("{\"a\":\"", "x", "\"}");
    check_memory("{\"a\":\"", "\\u00e9", "\"}");
    check_memory("{\"a\":[", "1e1,", "99999999999999999999]}");
}

/** Allocations that jansson may still do; the next one fails. */
static int allocations_left;
static int allocations_open;

static void *counted_malloc(size_t size)
{
    if (allocations_left == 0)
        return NULL;
    allocations_left--;
    allocations_open++;
    return malloc(size);
}

static void counted_free(void *block)
{
    allocations_open -= block != NULL;
    free(block);
}

Test(info, a_failed_allocation_is_an_error_without_leak)
{
    static const char json[] = "{\"server_id\":\"x\",\"a\":[1,{\"b\":1.5}],\"proto\":1}";
    struct rlt_info info;
    int result = ROULETTE_ENOMEM;
    json_set_alloc_funcs(counted_malloc, counted_free);
    for (int allowed = 0; result != 0; allowed++) {
        cr_assert_lt(allowed, 1000);
        allocations_left = allowed;
        result = parse(json, sizeof json - 1, &info);
        cr_assert(result == 0 || result == ROULETTE_ENOMEM || result == ROULETTE_EPROTOCOL);
        cr_assert(allowed > 0 || result == ROULETTE_ENOMEM);
        cr_assert_eq(allocations_open, 0);
    }
    cr_assert_eq(info.protocol, 1);
}
