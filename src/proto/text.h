/* SPDX-License-Identifier: MIT */
/**
 * Slices of a text, which the caller keeps: found and compared without a copy.
 */
#ifndef RLT_PROTO_TEXT_H
#define RLT_PROTO_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/** Bytes that are not NUL-terminated. */
struct rlt_text {
    const char *bytes;
    size_t len;
};

/** Cut the part from index `start` to before `end`. */
struct rlt_text rlt_text_slice(struct rlt_text text, size_t start, size_t end);

/** Find the index of the first `byte`, or the length. */
size_t rlt_text_find(struct rlt_text text, char byte);

/** Find the index of the last `byte`, or the length. */
size_t rlt_text_find_last(struct rlt_text text, char byte);

/** Find the index of the first `word`, or the length. */
size_t rlt_text_find_word(struct rlt_text text, const char *word);

/** Whether the text is `word`, in upper or lower case. */
bool rlt_text_is(struct rlt_text text, const char *word);

/** Cut off the blanks (SP and TAB) around a text. */
struct rlt_text rlt_text_trim(struct rlt_text text);

static inline bool rlt_text_is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/** Whether a byte is an ASCII letter. */
static inline bool rlt_text_is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

#endif
