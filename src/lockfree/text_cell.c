/* SPDX-License-Identifier: MIT */
#include "lockfree/text_cell.h"

#include <string.h>

#include "base/defs.h"

void rlt_text_cell_set(struct rlt_text_cell *cell, int number, const char *text)
{
    uint64_t words[RLT_TEXT_CELL_WORDS] = {0};
    memcpy(words, text, rlt_min_size(strlen(text), RLT_TEXT_CELL_BYTES - 1));
    /* Relaxed: the writer's own value. */
    uint32_t next = atomic_load_explicit(&cell->count, memory_order_relaxed) + 1;
    struct rlt_text_place *place = &cell->places[next & 1];
    /* Release, with the readers' acquire fence: a reader that has seen any store below also sees
     * the last count, and knows that its copy is not whole. */
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&place->number, number, memory_order_relaxed);
    for (size_t i = 0; i < RLT_TEXT_CELL_WORDS; i++) {
        atomic_store_explicit(&place->words[i], words[i], memory_order_relaxed);
    }
    atomic_store_explicit(&cell->count, next, memory_order_release);
}

int rlt_text_cell_get(const struct rlt_text_cell *cell, char text[RLT_TEXT_CELL_BYTES])
{
    uint64_t words[RLT_TEXT_CELL_WORDS];
    uint32_t count;
    int number;
    do {
        count = atomic_load_explicit(&cell->count, memory_order_acquire);
        const struct rlt_text_place *place = &cell->places[count & 1];
        number = atomic_load_explicit(&place->number, memory_order_relaxed);
        for (size_t i = 0; i < RLT_TEXT_CELL_WORDS; i++) {
            words[i] = atomic_load_explicit(&place->words[i], memory_order_relaxed);
        }
        /* Acquire: partner of the writer's fence. */
        atomic_thread_fence(memory_order_acquire);
    } while (atomic_load_explicit(&cell->count, memory_order_relaxed) != count);
    memcpy(text, words, RLT_TEXT_CELL_BYTES);
    text[RLT_TEXT_CELL_BYTES - 1] = '\0';
    return number;
}
