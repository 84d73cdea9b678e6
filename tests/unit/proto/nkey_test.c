/* SPDX-License-Identifier: MIT */
#include "proto/nkey.h"

#include <string.h>

#include "roulette.h"
#include "support/test.h"
#include "unit/proto/guarded.h"

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The pair that the NATS documentation shows. */
#define SEED   "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
#define PUBLIC "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"

static const struct vector {
    const char *seed;
    const char *public_key;
    const char *nonce;
    const char *signature;
} vectors[] = {
    /* github.com/mmmries/nkeys, test/nkeys_test.exs: made by other code than OpenSSL's. */
    {"SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU",
     "UCK5N7N66OBOINFXAYC2ACJQYFSOD4VYNU6APEJTAVFZB2SVHLKGEW7L", "PXoWU7zWAMt75FY",
     "ZaAiVDgB5CeYoXoQ7cBCmq-ZllzUnGUoDVb8C7PilWvCs8XKfUchAUhz2P4BYAF--Dg3w05CqyQFRDiGL6LrDw"},
    {"SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU",
     "UCK5N7N66OBOINFXAYC2ACJQYFSOD4VYNU6APEJTAVFZB2SVHLKGEW7L", "iBFByN3zQjAT7dQ",
     "kagPGrixaWS5yuHqw9nTQrda1Q376fK3fRCGtYdF4_w2aSk-4O7Ca0JM0qvzm69HH6MoMps2yF6Q0Qs830JZCA"},
    /* RFC 8032, 7.1, tests 1 and 2; the keys in the form of nkeys. */
    {"SUAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YALCA",
     "UDLVVGABQKYQVN6VJP7NHSLEA45A5YLS6PNKMIZFV4BBU2HXA5IRUVAL", "",
     "5VZDAMNgrHKQhuLMgG6CioSHfx645dl02HPgZSJJAVVfuIIVkKM7rMYeOXAc-bRr0lv18FlbviRlUUFDjnoQCw"},
    {"SUAEZTIITMUP7FW2TW3MGRXMCFHA6W4KGGPTLK5GETNIZ5XNJ64KN63OVI",
     "UA6UAF6D5BBYSWUSW4FKOTI3P26JZGBMZ4XMJFUMYDGVL4JK6RTAYUDN", "r",
     "kqAJqfDUyrhyDoILX2QlQKKye1QWUD-Ps3YiI-vbadoIWsHkPhWZbkWPNhPQ8R2MOHsurrQwKu6wDSkWErsMAA"},
    {SEED, PUBLIC, "PXoWU7zWAMt75FY",
     "zHsjAXoXbo2tbVRLf6_3-aHC2CGLiez1yMSLOyF4Z2wmzmO4ppyieii5IZsQSBgfdppsi6wMHWzYYXUv6A-8DQ"},
};

Test(nkey, known_seeds_give_known_keys_and_signatures)
{
    for (size_t i = 0; i < COUNT_OF(vectors); i++) {
        const struct vector *vector = &vectors[i];
        struct rlt_nkey nkey;
        char signature[RLT_NKEY_SIGNATURE_LEN + 1];
        const char *seed = (const char *)guarded_behind(vector->seed, RLT_NKEY_SEED_LEN);
        cr_assert_eq(rlt_nkey_init(&nkey, seed, RLT_NKEY_SEED_LEN), 0, "%s", roulette_last_error());
        cr_assert_str_eq(nkey.public_key, vector->public_key);
        size_t nonce_len = strlen(vector->nonce);
        const char *nonce = (const char *)guarded_behind(vector->nonce, nonce_len);
        cr_assert_eq(rlt_nkey_sign(&nkey, nonce, nonce_len, signature), 0);
        cr_assert_str_eq(signature, vector->signature);
        rlt_nkey_fini(&nkey);
    }
}

Test(nkey, fini_wipes_and_allows_zeros)
{
    struct rlt_nkey nkey;
    struct rlt_nkey zeros = {.public_key = ""};
    cr_assert_eq(rlt_nkey_init(&nkey, SEED, RLT_NKEY_SEED_LEN), 0);
    cr_assert_arr_neq(nkey.secret, zeros.secret, sizeof zeros.secret);
    rlt_nkey_fini(&nkey);
    cr_assert_arr_eq(&nkey, &zeros, sizeof nkey);
    rlt_nkey_fini(&nkey);
}

/** No five characters in a row of the seed, of which its kind is not a secret, may be shown. */
static void check_nothing_leaks(const char *seed, size_t len)
{
    for (size_t i = 3; i + 5 <= len; i++) {
        char part[6] = "";
        memcpy(part, seed + i, 5);
        if (strlen(part) != 5) {
            continue; /* a test put a NUL there */
        }
        cr_assert_null(strstr(roulette_last_error(), part), "\"%s\" is in \"%s\"", part,
                       roulette_last_error());
    }
}

static void check_refused(const char *seed, size_t len, const char *reason)
{
    struct rlt_nkey nkey;
    struct rlt_nkey before;
    memset(&nkey, 0xa5, sizeof nkey);
    memset(&before, 0xa5, sizeof before);
    const char *copy = (const char *)guarded_behind(seed, len);
    cr_assert_eq(rlt_nkey_init(&nkey, copy, len), ROULETTE_EINVAL);
    cr_assert_not_null(strstr(roulette_last_error(), reason), "\"%s\", not \"%s\"",
                       roulette_last_error(), reason);
    cr_assert_arr_eq(&nkey, &before, sizeof nkey, "a failure leaves it as it was");
    check_nothing_leaks(seed, len);
}

Test(nkey, each_kind_of_wrong_key_is_named)
{
    static const char *const wrong[][2] = {
        {"SOAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YFUVY", "an operator's"},
        {"SAAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YHY3Q", "an account's"},
        {"SNAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YFXBM", "a server's"},
        {"SCAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YH2DI", "a cluster's"},
        {"SXAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YAIWU", "an encryption key's"},
        {"SPAJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YFVZU", "not a user's"},
        /* The kind 20 << 3 | 1, with a checksum that holds. */
        {"SUEJ2YNRTXX72WTAXKCEV5ES5QWMIRCJYVUXWMTJDFYDXLADDSXH6YDPHY", "not a user's"},
        {PUBLIC, "not a seed"},
        {"hunter2hunter2", "not a seed"},
        {"suacssl3uahudxkfsnvuzrf5uhpmwz6bfdtj7m6usdxiednppqyyycu3vy", "not a seed"},
        {"S", "not a seed"},
        {"", "not a seed"},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        check_refused(wrong[i][0], strlen(wrong[i][0]), wrong[i][1]);
    }
}

Test(nkey, each_wrong_length_is_named)
{
    for (size_t len = 2; len < RLT_NKEY_SEED_LEN; len++) {
        check_refused(SEED, len, "a seed has 58");
    }
    check_refused(SEED "A", RLT_NKEY_SEED_LEN + 1, "has 59 characters");
    check_refused(SEED "\n", RLT_NKEY_SEED_LEN + 1, "has 59 characters");
}

Test(nkey, no_mistyped_character_is_missed)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    for (size_t i = 2; i < RLT_NKEY_SEED_LEN; i++) {
        for (int byte = 0; byte < 256; byte++) {
            char seed[] = SEED;
            seed[i] = (char)byte;
            if (byte == SEED[i]) {
                continue;
            }
            bool in_alphabet = memchr(alphabet, byte, 32) != NULL;
            /* Two bits of the last character belong to no byte and must be 0. */
            bool left_over = i == RLT_NKEY_SEED_LEN - 1 && in_alphabet &&
                             ((byte >= 'A' ? byte - 'A' : byte - '2' + 26) & 3) != 0;
            check_refused(seed, RLT_NKEY_SEED_LEN,
                          in_alphabet && !left_over ? "checksum" : "base32");
        }
    }
}

Test(nkey, swapped_neighbours_are_found)
{
    for (size_t i = 2; i + 1 < RLT_NKEY_SEED_LEN; i++) {
        char seed[] = SEED;
        seed[i] = SEED[i + 1];
        seed[i + 1] = SEED[i];
        if (seed[i] != seed[i + 1] && i + 2 < RLT_NKEY_SEED_LEN) {
            check_refused(seed, RLT_NKEY_SEED_LEN, "checksum");
        }
    }
}
