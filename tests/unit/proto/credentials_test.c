/* SPDX-License-Identifier: MIT */
#include "proto/credentials.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/test.h"
#include "unit/proto/guarded.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The payload is {"exp":1700000000}. */
#define JWT        "eyJ0eXAiOiJKV1QifQ.eyJleHAiOjE3MDAwMDAwMDB9.c2lnbmF0dXJl_-"
#define SEED       "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC     "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
#define JWT_BEGIN  "-----BEGIN NATS USER JWT-----\n"
#define JWT_END    "------END NATS USER JWT------\n"
#define SEED_BEGIN "-----BEGIN USER NKEY SEED-----\n"
#define SEED_END   "------END USER NKEY SEED------\n"
#define NOTICE                                                          \
    "\n************************* IMPORTANT *************************\n" \
    "NKEY Seed printed below can be used to sign and prove identity.\n" \
    "NKEYs are sensitive and should be treated as secrets.\n\n"

/* As `nsc generate creds` writes it. */
static const char usual[] =
    JWT_BEGIN JWT "\n" JWT_END NOTICE SEED_BEGIN SEED "\n" SEED_END
                  "\n*************************************************************\n";

static void check_taken(const char *text, size_t len)
{
    struct rlt_credentials credentials;
    char *copy = (char *)guarded_behind(text, len);
    cr_assert_eq(rlt_credentials_parse(copy, len, &credentials), 0, "%s: %s", text,
                 roulette_last_error());
    memset(copy, 'x', len); /* nothing of it is kept */
    cr_assert_str_eq(credentials.jwt, JWT);
    cr_assert_str_eq(credentials.nkey.public_key, PUBLIC);
    cr_assert_eq(credentials.expires_s, 1700000000);
    rlt_credentials_fini(&credentials);
    cr_assert_null(credentials.jwt);
}

Test(credentials, usual_file_is_read)
{
    check_taken(usual, sizeof usual - 1);
}

Test(credentials, tolerated_forms_are_read)
{
    static const char *const texts[] = {
        "---x---\n" JWT "\n---x---\n---y---\n" SEED "\n---y---",
        "------\n" JWT "\n------\n------\n" SEED "\n------\n",
        "\xef\xbb\xbf" JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN SEED "\n" SEED_END,
        "  " JWT_BEGIN "\t" JWT " \n " JWT_END " " SEED_BEGIN "  " SEED "\t \n   " SEED_END,
        "about\n--\n- - -\n" JWT_BEGIN JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN SEED "\n" SEED_END,
        JWT_BEGIN "\n" JWT_BEGIN JWT "\n" JWT_END "SU\n" SEED_BEGIN SEED "\n" SEED_END,
        JWT_BEGIN "two words\n" JWT_END JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN SEED "\n" SEED_END,
        JWT_BEGIN "word\n\n" JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN SEED "\n" SEED_END,
        JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN SEED "\n" SEED_END SEED_BEGIN "third\n" SEED_END,
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        check_taken(texts[i], strlen(texts[i]));
    }
}

Test(credentials, carriage_returns_are_tolerated)
{
    char text[2 * sizeof usual];
    size_t len = 0;
    for (const char *c = usual; *c != '\0'; c++) {
        if (*c == '\n') {
            text[len++] = '\r';
        }
        text[len++] = *c;
    }
    check_taken(text, len);
}

/** Neither the JWT nor the seed may be quoted. */
static void check_refused(const char *text, size_t len, int expected, const char *reason)
{
    struct rlt_credentials credentials;
    struct rlt_credentials before;
    memset(&credentials, 0xa5, sizeof credentials);
    memset(&before, 0xa5, sizeof before);
    const char *copy = (const char *)guarded_behind(text, len);
    cr_assert_eq(rlt_credentials_parse(copy, len, &credentials), expected, "%.*s", (int)len, text);
    cr_assert_not_null(strstr(roulette_last_error(), reason), "\"%s\", not \"%s\"",
                       roulette_last_error(), reason);
    cr_assert_null(strstr(roulette_last_error(), "eyJ"));
    cr_assert_null(strstr(roulette_last_error(), "ACSSL"));
    cr_assert_arr_eq(&credentials, &before, sizeof before, "a failure leaves it as it was");
}

Test(credentials, what_is_missing_or_wrong_is_named)
{
    static const char *const cases[][2] = {
        {"", "neither a JWT nor a seed: each is a line"},
        {"hello\n", "neither a JWT nor a seed: each is a line"},
        {JWT "\n" SEED "\n", "neither a JWT nor a seed: each is a line"},
        {JWT_BEGIN JWT_END SEED_BEGIN SEED_END, "neither a JWT nor a seed: each is a line"},
        {JWT_BEGIN JWT "\n", "neither a JWT nor a seed: what follows"},
        {JWT_BEGIN JWT "\n" JWT_END, "no seed: each"},
        {JWT_BEGIN JWT "\n" JWT_END SEED "\n", "no seed: each"},
        {JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN SEED_END, "no seed: each"},
        {JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN SEED "\n", "no seed: what follows"},
        {JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN SEED "\nSU\n" SEED_END, "no seed: what follows"},
        {SEED_BEGIN SEED "\n" SEED_END, "no JWT: each"},
        {JWT_BEGIN JWT "\n" NOTICE SEED_BEGIN SEED "\n" SEED_END, "no JWT: what follows"},
        {SEED_BEGIN SEED "\n" SEED_END JWT_BEGIN JWT "\n" JWT_END, "header.payload.signature"},
        {JWT_BEGIN "a.!.c\n" JWT_END SEED_BEGIN SEED "\n" SEED_END, "no JWT: each"},
        {JWT_BEGIN "a.e.c\n" JWT_END SEED_BEGIN SEED "\n" SEED_END, "JWT's payload"},
        {JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN "SA\n" SEED_END, "an account's"},
        {JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN SEED "A\n" SEED_END, "has 59 characters"},
        {JWT_BEGIN JWT "\n" JWT_END SEED_BEGIN PUBLIC "\n" SEED_END, "not a seed"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        check_refused(cases[i][0], strlen(cases[i][0]), ROULETTE_EINVAL, cases[i][1]);
    }
}

Test(credentials, file_cut_at_any_byte_is_refused_or_whole)
{
    size_t whole = sizeof(JWT_BEGIN JWT "\n" JWT_END NOTICE SEED_BEGIN SEED "\n------") - 1;
    for (size_t len = 0; len < sizeof usual; len++) {
        bool is_fence = len >= whole && len <= whole - 6 + sizeof(SEED_END);
        struct rlt_credentials credentials;
        const char *copy = (const char *)guarded_behind(usual, len);
        int error = rlt_credentials_parse(copy, len, &credentials);
        if (error == 0) {
            cr_assert_geq(len, whole);
            cr_assert_str_eq(credentials.jwt, JWT);
            cr_assert_str_eq(credentials.nkey.public_key, PUBLIC);
            rlt_credentials_fini(&credentials);
        } else {
            cr_assert_eq(error, ROULETTE_EINVAL);
            cr_assert(len < whole || is_fence, "cut at %zu: %s", len, roulette_last_error());
        }
    }
}

Test(credentials, bytes_of_any_value_are_survived)
{
    for (size_t at = 0; at + 1 < sizeof usual; at++) {
        for (int byte = 0; byte < 256; byte += 5) {
            char text[sizeof usual];
            memcpy(text, usual, sizeof usual);
            text[at] = (char)byte;
            struct rlt_credentials credentials;
            const char *copy = (const char *)guarded_behind(text, sizeof usual - 1);
            if (rlt_credentials_parse(copy, sizeof usual - 1, &credentials) == 0) {
                cr_assert_str_eq(credentials.nkey.public_key, PUBLIC);
                rlt_credentials_fini(&credentials);
            }
        }
    }
}

/** Lets a number of allocations through. */
static int let_some_through(void *context, size_t size)
{
    int *left = context;
    (void)size;
    return (*left)-- > 0;
}

Test(credentials, each_failed_allocation_is_told)
{
    for (int allowed = 0; allowed < 2; allowed++) {
        int left = allowed;
        rlt_memory_set_gate(let_some_through, &left);
        check_refused(usual, sizeof usual - 1, ROULETTE_ENOMEM, "memory");
        rlt_memory_set_gate(NULL, NULL);
    }
}

Test(credentials, fini_wipes_and_allows_zeros)
{
    struct rlt_credentials credentials;
    struct rlt_credentials zeros = {.jwt = NULL};
    cr_assert_eq(rlt_credentials_parse(usual, sizeof usual - 1, &credentials), 0);
    rlt_credentials_fini(&credentials);
    cr_assert_eq(credentials.expires_s, 0);
    cr_assert_arr_eq(credentials.nkey.secret, zeros.nkey.secret, sizeof zeros.nkey.secret);
    rlt_credentials_fini(&credentials);
}
