/* SPDX-License-Identifier: MIT */
#include "lockfree/note.h"

#include <pthread.h>

#include "support/test.h"

Test(note, zeroed_one_has_no_text)
{
    struct rlt_note note = {0};
    char text[RLT_NOTE_SIZE] = "before";
    cr_assert_not(rlt_note_read(&note, text));
    cr_assert_str_eq(text, "before");
}

Test(note, last_text_is_read_and_a_long_one_is_cut)
{
    static struct rlt_note note;
    static char longest[2 * RLT_NOTE_SIZE];
    char text[RLT_NOTE_SIZE];
    rlt_note_write(&note, "a longer text than the next");
    rlt_note_write(&note, "short");
    cr_assert(rlt_note_read(&note, text));
    cr_assert_str_eq(text, "short");
    memset(longest, 'x', sizeof(longest) - 1);
    rlt_note_write(&note, longest);
    cr_assert(rlt_note_read(&note, text));
    cr_assert_eq(strlen(text), RLT_NOTE_SIZE - 1);
    rlt_note_write(&note, "");
    cr_assert(rlt_note_read(&note, text));
    cr_assert_str_eq(text, "");
}

/* ---- Two threads -------------------------------------------------------------------------- */

#define TEXTS 20000

static struct rlt_note shared;

static void fill(char text[RLT_NOTE_SIZE], int i)
{
    memset(text, 'a' + i % 26, RLT_NOTE_SIZE - 1);
    text[RLT_NOTE_SIZE - 1] = '\0';
}

static void *write_all(void *unused)
{
    (void)unused;
    for (int i = 0; i < TEXTS; i++) {
        char text[RLT_NOTE_SIZE];
        fill(text, i);
        rlt_note_write(&shared, text);
    }
    return NULL;
}

Test(note, reader_never_sees_parts_of_two_texts)
{
    pthread_t writer;
    char text[RLT_NOTE_SIZE];
    char last[RLT_NOTE_SIZE];
    fill(last, TEXTS - 1);
    cr_assert_eq(pthread_create(&writer, NULL, write_all, NULL), 0);
    do {
        text[0] = '\0';
        if (rlt_note_read(&shared, text)) {
            for (size_t i = 1; i < RLT_NOTE_SIZE - 1; i++) {
                cr_assert_eq(text[i], text[0], "at %zu", i);
            }
        }
    } while (strcmp(text, last) != 0 || atomic_load(&shared.number) != 2 * (uint32_t)TEXTS);
    (void)pthread_join(writer, NULL);
}
