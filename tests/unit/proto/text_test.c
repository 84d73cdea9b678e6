/* SPDX-License-Identifier: MIT */
#include "proto/text.h"

#include <string.h>

#include "support/test.h"

static struct rlt_text text_of(const char *bytes)
{
    return (struct rlt_text){bytes, strlen(bytes)};
}

Test(text, finds_the_first_and_the_last_byte)
{
    cr_assert_eq(rlt_text_find(text_of("a@b@c"), '@'), 1);
    cr_assert_eq(rlt_text_find_last(text_of("a@b@c"), '@'), 3);
}

Test(text, what_is_not_found_is_at_the_end)
{
    cr_assert_eq(rlt_text_find(text_of("abc"), '@'), 3);
    cr_assert_eq(rlt_text_find_last(text_of("abc"), '@'), 3);
    cr_assert_eq(rlt_text_find_word(text_of("a:/b"), "://"), 4);
    /* An empty text may have no bytes at all. */
    cr_assert_eq(rlt_text_find((struct rlt_text){NULL, 0}, '@'), 0);
    cr_assert_eq(rlt_text_find_last((struct rlt_text){NULL, 0}, '@'), 0);
    cr_assert_eq(rlt_text_find_word((struct rlt_text){NULL, 0}, "://"), 0);
}

Test(text, finds_nothing_behind_its_end)
{
    const struct rlt_text part = {"ab://@", 4};
    cr_assert_eq(rlt_text_find(part, '@'), 4);
    cr_assert_eq(rlt_text_find_word(part, "://"), 4);
    cr_assert_eq(rlt_text_find_word((struct rlt_text){"ab://@", 5}, "://"), 2);
}

Test(text, a_slice_is_a_part_of_the_same_bytes)
{
    const char *bytes = "nats://host";
    struct rlt_text part = rlt_text_slice(text_of(bytes), 7, 11);
    cr_assert_eq(part.bytes, bytes + 7);
    cr_assert_eq(part.len, 4);
    cr_assert_eq(rlt_text_slice(part, 4, 4).len, 0);
}

Test(text, is_a_word_in_any_case_and_whole)
{
    cr_assert(rlt_text_is(text_of("NaTs"), "nats"));
    cr_assert(!rlt_text_is(text_of("nat"), "nats"));
    cr_assert(!rlt_text_is(text_of("natss"), "nats"));
    cr_assert(rlt_text_is(text_of(""), ""));
}

Test(text, trim_takes_blanks_from_both_ends_only)
{
    struct rlt_text trimmed = rlt_text_trim(text_of(" \t a b\t "));
    cr_assert_eq(trimmed.len, 3);
    cr_assert(memcmp(trimmed.bytes, "a b", 3) == 0);
    cr_assert_eq(rlt_text_trim(text_of(" \t ")).len, 0);
    cr_assert_eq(rlt_text_trim(text_of("\r\n")).len, 2);
}

Test(text, digits_and_letters_are_those_of_ascii)
{
    for (int byte = 0; byte < 256; byte++) {
        bool digit = byte != 0 && strchr("0123456789", byte) != NULL;
        bool letter = byte != 0 &&
                      strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", byte) != NULL;
        cr_assert_eq(rlt_text_is_digit((char)byte), digit, "%d", byte);
        cr_assert_eq(rlt_text_is_letter((char)byte), letter, "%d", byte);
    }
}
