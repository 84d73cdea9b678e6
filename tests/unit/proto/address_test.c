/* SPDX-License-Identifier: MIT */
#include "base/memory.h"
#include "proto/address.h"
#include "roulette.h"
#include "support/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/** A list of one entry that is valid. NULL: no such part. */
static const struct valid {
    const char *list;
    const char *host;
    uint16_t port;
    const char *user;
    const char *password;
    const char *token;
    const char *label;
} valid_lists[] = {
    {"nats.example.com", "nats.example.com", 4222, NULL, NULL, NULL, "nats.example.com:4222"},
    {"nats.example.com:4333", "nats.example.com", 4333, NULL, NULL, NULL, "nats.example.com:4333"},
    {"HOST", "host", 4222, NULL, NULL, NULL, "host:4222"},
    {"127.0.0.1:1", "127.0.0.1", 1, NULL, NULL, NULL, "127.0.0.1:1"},
    {"h:65535", "h", 65535, NULL, NULL, NULL, "h:65535"},
    {"h:00080", "h", 80, NULL, NULL, NULL, "h:80"},
    {"my_nats-1.", "my_nats-1.", 4222, NULL, NULL, NULL, "my_nats-1.:4222"},
    {" \t h:5 \t", "h", 5, NULL, NULL, NULL, "h:5"},
    {"nats://h", "h", 4222, NULL, NULL, NULL, "h:4222"},
    {"NATS://h:5", "h", 5, NULL, NULL, NULL, "h:5"},
    {"[::1]", "::1", 4222, NULL, NULL, NULL, "[::1]:4222"},
    {"[2001:DB8:0:0:0:0:0:1]:5", "2001:db8::1", 5, NULL, NULL, NULL, "[2001:db8::1]:5"},
    {"[::ffff:10.0.0.1]", "::ffff:10.0.0.1", 4222, NULL, NULL, NULL, "[::ffff:10.0.0.1]:4222"},
    {"nats://[::1]:5", "::1", 5, NULL, NULL, NULL, "[::1]:5"},
    {"nats://al:pw@h:5", "h", 5, "al", "pw", NULL, "h:5"},
    {"nats://al:@h", "h", 4222, "al", "", NULL, "h:4222"},
    {"nats://al:p:w@h", "h", 4222, "al", "p:w", NULL, "h:4222"},
    {"nats://al:p@w@h", "h", 4222, "al", "p@w", NULL, "h:4222"},
    {"nats://al:pw@[::1]:5", "::1", 5, "al", "pw", NULL, "[::1]:5"},
    {"nats://t0k3n@h", "h", 4222, NULL, NULL, "t0k3n", "h:4222"},
    {"nats://a%3Al:%22p%40%2c%2F%25w%22@h", "h", 4222, "a:l", "\"p@,/%w\"", NULL, "h:4222"},
    {"nats://%c3%A9%20t@h", "h", 4222, NULL, NULL, "\303\251 t", "h:4222"},
    {"nats://\303\251@h", "h", 4222, NULL, NULL, "\303\251", "h:4222"},
};

static void check_text(const char *actual, const char *expected, const char *list)
{
    cr_assert_eq(actual == NULL, expected == NULL, "%s", list);
    if (actual != NULL) {
        cr_assert_str_eq(actual, expected, "%s: \"%s\"", list, actual);
    }
}

Test(address, valid_entries_are_taken_apart)
{
    for (size_t i = 0; i < COUNT_OF(valid_lists); i++) {
        const struct valid *valid = &valid_lists[i];
        struct rlt_address *addresses = NULL;
        size_t count = 0;
        int error = rlt_addresses_parse(valid->list, &addresses, &count);
        cr_assert_eq(error, 0, "%s: %s", valid->list, roulette_last_error());
        cr_assert_eq(count, 1);
        check_text(addresses->host, valid->host, valid->list);
        check_text(addresses->user, valid->user, valid->list);
        check_text(addresses->password, valid->password, valid->list);
        check_text(addresses->token, valid->token, valid->list);
        check_text(addresses->label, valid->label, valid->list);
        cr_assert_eq(addresses->port, valid->port, "%s", valid->list);
        rlt_addresses_free(addresses, count);
    }
}

Test(address, list_keeps_its_order)
{
    struct rlt_address *addresses = NULL;
    size_t count = 0;
    cr_assert_eq(rlt_addresses_parse(" c , a:1,\tnats://u:p@b:2 ,a:2", &addresses, &count), 0);
    cr_assert_eq(count, 4);
    cr_assert_str_eq(addresses[0].label, "c:4222");
    cr_assert_str_eq(addresses[1].label, "a:1");
    cr_assert_str_eq(addresses[2].label, "b:2");
    cr_assert_str_eq(addresses[3].label, "a:2");
    rlt_addresses_free(addresses, count);
}

/** A list that is refused, and a part of what is said about it. */
static const struct invalid {
    const char *list;
    const char *text;
} invalid_lists[] = {
    {"", "servers is empty: give host:port"},
    {" \t ", "servers is empty"},
    {",", "entry 1 \"\": it is empty"},
    {"a,,b", "entry 2 \"\": it is empty: write host:port, or remove the ','"},
    {"a, ,b", "entry 2 \"\": it is empty"},
    {"a,", "entry 2 \"\": it is empty"},
    {"nats://", "entry 1 \"nats://\": there is no host"},
    {":4222", "entry 1 \":4222\": there is no host"},
    {"/x", "there is no host"},
    {"nats://al:pw@", "entry 1 \"nats://***@\": there is no host"},
    {"a,b!c", "entry 2 \"b!c\": the host has other bytes"},
    {"caf\303\251", "entry 1 \"caf??\": the host has other bytes"},
    {"h%41", "the host has other bytes"},
    {"a..b", "a part between dots that is not 1 to 63 bytes"},
    {".a", "a part between dots"},
    {".", "a part between dots"},
    {"h:", "entry 1 \"h:\": the port is not a number from 1 to 65535"},
    {"h:99999", "entry 1 \"h:99999\": the port is not a number from 1 to 65535"},
    {"h:422x", "entry 1 \"h:***\": the port is not a number from 1 to 65535: correct it, or remove "
               "the ':' for port 4222; it is not shown, for it may be a password whose '@host' is "
               "missing"},
    {"nats://u:p@h:422x", "entry 1 \"nats://***@h:422x\": the port is not a number from 1"},
    {"h:0", "entry 1 \"h:0\": the port"},
    {"h:65536", "entry 1 \"h:65536\": the port"},
    {"h:99999999999999999999", "entry 1 \"h:***\": the port"},
    {"h:42x", "the port is not a number"},
    {"h:+5", "the port is not a number"},
    {"h:-5", "the port is not a number"},
    {"nats://al:pw@h:x", "entry 1 \"nats://***@h:x\": the port"},
    {"::1", "write an IPv6 address in brackets"},
    {"2001:db8::1:4222", "write an IPv6 address in brackets"},
    {"[::1", "the '[' has no ']'"},
    {"[]", "entry 1 \"[]\": what stands in brackets is not an IPv6 address"},
    {"[::g]:5", "entry 1 \"[::g]:5\": what stands in brackets"},
    {"[fe80::1%eth0]", "what stands in brackets is not an IPv6 address (one with a zone"},
    {"[127.0.0.1]", "what stands in brackets"},
    {"[1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20]", "what stands in brackets"},
    {"[::1]x", "the port is not"},
    {"[::1]:0", "entry 1 \"[::1]:0\": the port is not"},
    {"http://h", "its scheme is neither nats:// nor tls://"},
    {"://h", "its scheme is neither nats:// nor tls://"},
    {"h/path", "entry 1 \"h/path\": nothing may follow host and port: remove '/'"},
    {"nats://h:5/", "nothing may follow host and port"},
    {"h:5?a=b", "nothing may follow host and port: remove '?'"},
    {"h#x", "nothing may follow host and port: remove '#'"},
    {"nats://al:%4@h", "a '%' that two hexadecimal digits do not follow"},
    {"nats://al:%@h", "a '%' that two"},
    {"nats://al:%zz@h", "a '%' that two"},
    {"nats://al:%2g@h", "a '%' that two"},
    {"nats://a%l:pw@h", "a '%' that two"},
    {"nats://t%@h", "a '%' that two"},
    {"nats://al:p%00w@h", "a NUL byte (%00)"},
    {"nats://@h", "entry 1 \"nats://***@h\": there is no user before the '@'"},
    {"nats://:pw@h", "there is no user before the ':'"},
    {"nats://al:p/w@h", "the credentials have a '/': write it as %2F"},
    {"nats://al:p?w@h", "the credentials have a '?': write it as %3F"},
    {"al:pw@h", "entry 1 \"***@h\": credentials need the form nats://"},
    {"h o", "a blank or control byte (0x20)"},
    {"h\n", "entry 1 \"h?\": it has a blank or control byte (0x0a)"},
    {"h\177", "a blank or control byte (0x7f)"},
    {"nats://al:p w@h", "entry 1 \"nats://***@h\": it has a blank or control byte (0x20)"},
    {"h,h", "entry 2 \"h\": it is the same server as entry 1"},
    {"HOST,host", "entry 2 \"host\": it is the same server as entry 1"},
    {"a,h,b,h:4222", "entry 4 \"h:4222\": it is the same server as entry 2"},
    {"nats://h,h", "it is the same server as entry 1"},
    {"nats://al:pw@h,nats://bo:pw@h", "entry 2 \"nats://***@h\": it is the same server"},
    {"[::1],[0:0:0:0:0:0:0:1]", "it is the same server as entry 1"},
    {"[2001:DB8::1]:5,[2001:db8::1]:5", "it is the same server as entry 1"},
};

/* Parse a list that must fail; the out-parameters stay as they are. */
static const char *refused(const char *list, int expected)
{
    struct rlt_address *addresses = NULL;
    size_t count = 77;
    int error = rlt_addresses_parse(list, &addresses, &count);
    cr_assert_eq(error, expected, "\"%s\": %d", list != NULL ? list : "NULL", error);
    cr_assert_null(addresses);
    cr_assert_eq(count, 77);
    return roulette_last_error();
}

Test(address, invalid_lists_are_refused_with_advice)
{
    for (size_t i = 0; i < COUNT_OF(invalid_lists); i++) {
        const char *text = refused(invalid_lists[i].list, ROULETTE_ESERVERS);
        cr_assert_not_null(strstr(text, invalid_lists[i].text), "\"%s\": %s", invalid_lists[i].list,
                           text);
    }
}

Test(address, null_list_is_refused)
{
    cr_assert_not_null(strstr(refused(NULL, ROULETTE_ESERVERS), "servers is empty"));
}

Test(address, tls_is_asked_for_by_scheme)
{
    struct rlt_address *addresses;
    size_t count;
    cr_assert_eq(rlt_addresses_parse("a,TLS://u:p@b:1,nats://c,tls://d", &addresses, &count), 0);
    cr_assert_eq(count, 4);
    cr_assert_not(addresses[0].tls);
    cr_assert(addresses[1].tls);
    cr_assert_str_eq(addresses[1].user, "u");
    cr_assert_str_eq(addresses[1].label, "b:1");
    cr_assert_not(addresses[2].tls);
    cr_assert(addresses[3].tls);
    rlt_addresses_free(addresses, count);
}

/* Lists that are wrong in a way that could show a part of the credentials in the error. Every
 * secret in them contains one of "S3c" and "r3t". */
static const char *const leaking_lists[] = {
    "nats://S3c:r3t@h:bad",
    "nats://S3c:r3t@",
    "nats://S3cr3t@h!",
    "nats://S3c:r3%t@h",
    "nats://al:S3c%zzr3t@h",
    "nats://al:S3c,r3t@h",
    "nats://al:S3c,x,r3t@h",
    "a,nats://al:S3c,r3t@h,b",
    "nats://al:S3c@b,r3t@h",
    "nats://al:S3c@b!,r3t@h",
    "nats://al:x@S3c!,r3t@h",
    "nats://S3c!,r3t@h",
    "nats://al:S3c/r3t@h",
    "nats://al:S3c r3t@h",
    "nats://al:S3c\nr3t@h",
    "nats://al:S3c://r3t@h",
    "nats://:S3cr3t@h",
    "nats://al:S3cr3t",
    "nats://al:S3cr3t/x",
    "nats://al:S3c:r3t",
    "al:S3cr3t@h",
    "S3cr3t@h",
    "al:S3c://r3t@h",
    "S3c://r3t@h",
    "http://S3c:r3t@h",
    "tls://S3c:r3t@h:bad",
    "nats:/S3c:r3t@h",
    "nats:S3c:r3t@h",
    "x,nats://al:S3c@r3t@h:0",
    "nats://[al:S3cr3t",
};

Test(address, credentials_are_never_in_the_error)
{
    for (size_t i = 0; i < COUNT_OF(leaking_lists); i++) {
        const char *text = refused(leaking_lists[i], ROULETTE_ESERVERS);
        cr_assert_null(strstr(text, "S3c"), "\"%s\": %s", leaking_lists[i], text);
        cr_assert_null(strstr(text, "r3t"), "\"%s\": %s", leaking_lists[i], text);
        cr_assert_not_null(strstr(text, "***"), "\"%s\": %s", leaking_lists[i], text);
    }
}

/* "h0,h1,..." of `count` hosts, from malloc(). */
static char *make_list(size_t count)
{
    char *list = calloc(count, 16);
    cr_assert_not_null(list);
    size_t len = 0;
    for (size_t i = 0; i < count; i++) {
        len += (size_t)snprintf(list + len, 16, "%sh%zu", i != 0 ? "," : "", i);
    }
    return list;
}

Test(address, list_holds_256_entries_at_most)
{
    struct rlt_address *addresses = NULL;
    size_t count = 0;
    char *list = make_list(RLT_CLUSTERS_MAX);
    cr_assert_eq(rlt_addresses_parse(list, &addresses, &count), 0);
    cr_assert_eq(count, RLT_CLUSTERS_MAX);
    cr_assert_str_eq(addresses[255].label, "h255:4222");
    rlt_addresses_free(addresses, count);
    free(list);
    list = make_list(RLT_CLUSTERS_MAX + 1);
    cr_assert_str_eq(refused(list, ROULETTE_ESERVERS), "servers has 257 entries: give at most 256");
    free(list);
}

Test(address, host_and_its_parts_have_a_longest_length)
{
    char list[400] = "";
    struct rlt_address *addresses = NULL;
    size_t count = 0;
    for (size_t i = 0; i < 253; i++) {
        list[i] = i % 64 == 63 ? '.' : 'a';
    }
    cr_assert_eq(rlt_addresses_parse(list, &addresses, &count), 0, "%s", roulette_last_error());
    cr_assert_eq(strlen(addresses->label), 253 + 5);
    rlt_addresses_free(addresses, count);
    list[253] = 'a';
    cr_assert_not_null(strstr(refused(list, ROULETTE_ESERVERS), "longer than 253 bytes"));
    memset(list, 'a', 64);
    list[64] = '\0';
    cr_assert_not_null(strstr(refused(list, ROULETTE_ESERVERS), "not 1 to 63 bytes"));
}

Test(address, long_entry_is_quoted_in_part_with_its_advice)
{
    char list[5000];
    memset(list, 'a', sizeof(list));
    list[sizeof(list) - 1] = '\0';
    const char *text = refused(list, ROULETTE_ESERVERS);
    cr_assert_not_null(strstr(text, "aaa...\": the host has"), "%s", text);
    cr_assert_lt(strlen(text), 400);
}

Test(address, free_allows_null)
{
    rlt_addresses_free(NULL, 0);
}

static int let_some_through(void *context, size_t size)
{
    unsigned *left = context;
    (void)size;
    return *left > 0 && (*left)-- > 0;
}

Test(address, every_failed_allocation_is_enomem_and_leaks_nothing)
{
    static const char list[] = "nats://al:pw@h,nats://tok@[::1]:5,plain";
    struct rlt_address *addresses = NULL;
    size_t count = 0;
    unsigned failures = 0;
    for (unsigned allowed = 0; addresses == NULL; allowed++) {
        unsigned left = allowed;
        rlt_memory_set_gate(let_some_through, &left);
        int error = rlt_addresses_parse(list, &addresses, &count);
        rlt_memory_set_gate(NULL, NULL);
        cr_assert_eq(error, addresses != NULL ? 0 : ROULETTE_ENOMEM);
        failures += addresses == NULL;
    }
    cr_assert_eq(failures, 1 + 4 + 3 + 2);
    cr_assert_eq(count, 3);
    rlt_addresses_free(addresses, count);
}
