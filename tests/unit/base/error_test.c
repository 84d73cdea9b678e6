/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "support/test.h"

#include <pthread.h>
#include <string.h>

Test(error, name_is_the_public_constant)
{
    cr_assert_str_eq(roulette_error_name(ROULETTE_EAGAIN), "ROULETTE_EAGAIN");
    cr_assert_str_eq(roulette_error_name(ROULETTE_EBUSY), "ROULETTE_EBUSY");
}

Test(error, success_and_counts_are_ok)
{
    cr_assert_str_eq(roulette_error_name(0), "ROULETTE_OK");
    cr_assert_str_eq(roulette_error_name(17), "ROULETTE_OK");
    cr_assert_str_eq(roulette_error_text(0), "no error");
}

Test(error, unknown_code_has_a_name_and_a_text)
{
    cr_assert_str_eq(roulette_error_name(-1000), "ROULETTE_UNKNOWN");
    cr_assert_gt(strlen(roulette_error_text(-1000)), 0);
}

Test(error, codes_are_negative_dense_and_have_texts)
{
    int next = -1;
#define CHECK(name, value, text)                                    \
    cr_assert_eq(ROULETTE_##name, next, "ROULETTE_" #name);         \
    cr_assert_str_eq(roulette_error_text(ROULETTE_##name), text);   \
    cr_assert_str_eq(roulette_error_name(next), "ROULETTE_" #name); \
    next--;
    ROULETTE_ERRORS(CHECK)
#undef CHECK
    cr_assert_str_eq(roulette_error_name(next), "ROULETTE_UNKNOWN");
}

#define CHECK(name, value, text) cr_assert_neq(text[strlen(text) - 1], '.', #name);
Test(error, text_has_no_full_stop){ROULETTE_ERRORS(CHECK)}
#undef CHECK

Test(error, set_formats_the_text_and_returns_the_code)
{
    int code = rlt_error_set(ROULETTE_EINVAL, "pool_size is %u: give 1 to 16", 17U);
    cr_assert_eq(code, ROULETTE_EINVAL);
    cr_assert_str_eq(roulette_last_error(), "pool_size is 17: give 1 to 16");
}

Test(error, set_plain_uses_the_codes_own_sentence)
{
    cr_assert_eq(rlt_error_set_plain(ROULETTE_ETOPIC), ROULETTE_ETOPIC);
    cr_assert_str_eq(roulette_last_error(), roulette_error_text(ROULETTE_ETOPIC));
}

Test(error, long_text_is_cut_and_terminated)
{
    char text[2 * RLT_ERROR_TEXT_MAX];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)rlt_error_set(ROULETTE_EINVAL, "%s", text);
    cr_assert_eq(strlen(roulette_last_error()), RLT_ERROR_TEXT_MAX - 1);
}

static void *read_in_thread(void *unused)
{
    (void)unused;
    return (void *)(uintptr_t)strlen(roulette_last_error());
}

Test(error, last_error_belongs_to_the_thread)
{
    pthread_t thread;
    void *len = NULL;
    (void)rlt_error_set(ROULETTE_EINVAL, "of the main thread");
    cr_assert_eq(pthread_create(&thread, NULL, read_in_thread, NULL), 0);
    cr_assert_eq(pthread_join(thread, &len), 0);
    cr_assert_eq((uintptr_t)len, 0);
    cr_assert_str_eq(roulette_last_error(), "of the main thread");
}
