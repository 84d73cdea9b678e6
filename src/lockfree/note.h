/* SPDX-License-Identifier: MIT */
/**
 * A note: a short text that one thread writes now and then, and any thread may read.
 *
 * A sequence lock without fences: the number is odd while the text is being written. Each word is
 * stored with release behind the odd number, and loaded with acquire before the number is looked
 * at again: a reader that has seen a word of a later text sees a later number too.
 *
 * Writers:  one. Wait-free.
 * Readers:  any number. They read again while a text is being written; a writer that is not
 *           scheduled then holds them up, so they try RLT_NOTE_TRIES times.
 * Wrap:     the number wraps after 2^31 texts; a reader would have to sleep for exactly as many.
 */
#ifndef RLT_LOCKFREE_NOTE_H
#define RLT_LOCKFREE_NOTE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define RLT_NOTE_WORDS 32
/** The longest text, with its NUL. */
#define RLT_NOTE_SIZE  (RLT_NOTE_WORDS * sizeof(uint64_t))
#define RLT_NOTE_TRIES 1000

/** All zero: no text. */
struct rlt_note {
    _Atomic(uint32_t) number;
    _Atomic(uint64_t) words[RLT_NOTE_WORDS];
};

/** Write a text; what is too long is cut. Threads: the writer. */
static inline void rlt_note_write(struct rlt_note *note, const char *text)
{
    uint64_t words[RLT_NOTE_WORDS] = {0};
    memcpy(words, text, strnlen(text, RLT_NOTE_SIZE - 1));
    uint32_t number = atomic_load_explicit(&note->number, memory_order_relaxed);
    atomic_store_explicit(&note->number, number + 1, memory_order_relaxed);
    for (uint32_t i = 0; i < RLT_NOTE_WORDS; i++) {
        atomic_store_explicit(&note->words[i], words[i], memory_order_release);
    }
    atomic_store_explicit(&note->number, number + 2, memory_order_release);
}

/** Read the text. Threads: any. Returns: false if there is none, or it could not be had. */
static inline bool rlt_note_read(const struct rlt_note *note, char text[RLT_NOTE_SIZE])
{
    uint64_t words[RLT_NOTE_WORDS];
    for (int i = 0; i < RLT_NOTE_TRIES; i++) {
        uint32_t number = atomic_load_explicit(&note->number, memory_order_acquire);
        if (number == 0) {
            return false;
        }
        for (uint32_t k = 0; k < RLT_NOTE_WORDS; k++) {
            words[k] = atomic_load_explicit(&note->words[k], memory_order_acquire);
        }
        if (number % 2 == 0 &&
            atomic_load_explicit(&note->number, memory_order_relaxed) == number) {
            memcpy(text, words, RLT_NOTE_SIZE);
            return true;
        }
    }
    return false;
}

#endif
