/* SPDX-License-Identifier: MIT */
#include "proto/text.h"

#include <string.h>
#include <strings.h>

#include "base/assert.h"

struct rlt_text rlt_text_slice(struct rlt_text text, size_t start, size_t end)
{
    RLT_ASSERT(start <= end && end <= text.len);
    return (struct rlt_text){text.bytes + start, end - start};
}

static size_t index_of(struct rlt_text text, const char *found)
{
    return found != NULL ? (size_t)(found - text.bytes) : text.len;
}

size_t rlt_text_find(struct rlt_text text, char byte)
{
    return index_of(text, text.len != 0 ? memchr(text.bytes, byte, text.len) : NULL);
}

size_t rlt_text_find_last(struct rlt_text text, char byte)
{
    return index_of(text, text.len != 0 ? memrchr(text.bytes, byte, text.len) : NULL);
}

size_t rlt_text_find_word(struct rlt_text text, const char *word)
{
    return index_of(text, text.len != 0 ? memmem(text.bytes, text.len, word, strlen(word)) : NULL);
}

bool rlt_text_is(struct rlt_text text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.bytes, word, text.len) == 0;
}

struct rlt_text rlt_text_trim(struct rlt_text text)
{
    while (text.len != 0 && strchr(" \t", text.bytes[0]) != NULL) {
        text = rlt_text_slice(text, 1, text.len);
    }
    while (text.len != 0 && strchr(" \t", text.bytes[text.len - 1]) != NULL) {
        text = rlt_text_slice(text, 0, text.len - 1);
    }
    return text;
}
