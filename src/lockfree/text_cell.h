/* SPDX-License-Identifier: MIT */
/**
 * A number and a short text that one thread sets now and then, and any thread may read whole: the
 * cause of the last failure.
 *
 * Writers: one. Readers: any number. Progress: the writer never waits; a reader copies anew only if
 * the writer has set a text meanwhile, and a preempted writer does not delay it. Zeroed memory is
 * a cell with 0 and "".
 *
 * There are two places; the writer fills the place that no reader is sent to, and then increments
 * the count. A reader's copy is whole if the count is the same behind it: a text that was written
 * meanwhile went to the other place.
 *
 * Not ck: readers of ck_sequence wait for a writer that is preempted.
 */
#ifndef RLT_LOCKFREE_TEXT_CELL_H
#define RLT_LOCKFREE_TEXT_CELL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/** Bytes of the text, with its NUL. */
#define RLT_TEXT_CELL_BYTES 512
#define RLT_TEXT_CELL_WORDS (RLT_TEXT_CELL_BYTES / sizeof(uint64_t))

struct rlt_text_place {
    /* Relaxed: ordered by the count, and by the fences beside it. */
    _Atomic(int) number;
    _Atomic(uint64_t) words[RLT_TEXT_CELL_WORDS];
};

struct rlt_text_cell {
    /* Release by the writer: publishes the place that readers are sent to from here on. Acquire by
     * readers. */
    _Atomic(uint32_t) count;
    struct rlt_text_place places[2];
};

/** Set number and text, which is cut at RLT_TEXT_CELL_BYTES - 1. Threads: the one writer. */
void rlt_text_cell_set(struct rlt_text_cell *cell, int number, const char *text);

/** Read both; `text` takes RLT_TEXT_CELL_BYTES. Returns: the number. Threads: any thread. */
int rlt_text_cell_get(const struct rlt_text_cell *cell, char text[RLT_TEXT_CELL_BYTES]);

#endif
