/* SPDX-License-Identifier: MIT */
#include "lockfree/text_cell.h"

#include <pthread.h>
#include <string.h>

#include "support/condition.h"
#include "support/test.h"

Test(text_cell, zeroed_cell_is_empty)
{
    static struct rlt_text_cell cell;
    char text[RLT_TEXT_CELL_BYTES];
    cr_assert_eq(rlt_text_cell_get(&cell, text), 0);
    cr_assert_str_eq(text, "");
}

Test(text_cell, last_text_counts_and_is_cut)
{
    static struct rlt_text_cell cell;
    char text[RLT_TEXT_CELL_BYTES];
    char long_text[RLT_TEXT_CELL_BYTES + 10];
    memset(long_text, 'x', sizeof(long_text) - 1);
    long_text[sizeof(long_text) - 1] = '\0';
    rlt_text_cell_set(&cell, -1, long_text);
    cr_assert_eq(rlt_text_cell_get(&cell, text), -1);
    cr_assert_eq(strlen(text), RLT_TEXT_CELL_BYTES - 1);
    rlt_text_cell_set(&cell, -2, "short");
    cr_assert_eq(rlt_text_cell_get(&cell, text), -2);
    cr_assert_str_eq(text, "short");
}

enum { READERS = 2, TEXTS = 20000 };

static struct rlt_text_cell shared;
static atomic_int over;

/* A text of one letter only, and as many as the number says. */
static void *read_all(void *unused)
{
    char text[RLT_TEXT_CELL_BYTES];
    (void)unused;
    while (atomic_load_explicit(&over, memory_order_acquire) == 0) {
        int number = rlt_text_cell_get(&shared, text);
        REQUIRE(strlen(text) == (size_t)number);
        for (int i = 1; i < number; i++) {
            REQUIRE(text[i] == text[0]);
        }
    }
    return NULL;
}

Test(text_cell, readers_see_whole_texts_only)
{
    pthread_t readers[READERS];
    char text[RLT_TEXT_CELL_BYTES];
    for (size_t i = 0; i < READERS; i++) {
        cr_assert_eq(pthread_create(&readers[i], NULL, read_all, NULL), 0);
    }
    for (int i = 0; i < SCALED(TEXTS, TEXTS / 10); i++) {
        int len = 1 + i * 37 % (RLT_TEXT_CELL_BYTES - 1);
        memset(text, 'a' + i % 26, (size_t)len);
        text[len] = '\0';
        rlt_text_cell_set(&shared, len, text);
    }
    atomic_store_explicit(&over, 1, memory_order_release);
    for (size_t i = 0; i < READERS; i++) {
        cr_assert_eq(pthread_join(readers[i], NULL), 0);
    }
}
