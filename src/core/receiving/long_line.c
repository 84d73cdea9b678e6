/* SPDX-License-Identifier: MIT */
#include "core/receiving/long_line.h"

#include <string.h>

#include "base/assert.h"
#include "base/defs.h"
#include "base/memory.h"
#include "proto/parser.h"

#define CAPACITY_MIN ((size_t)64 * 1024)

void rlt_long_line_begin(struct rlt_long_line *line)
{
    rlt_long_line_end(line);
    line->open = true;
}

/* Make room for `len` bytes more. */
static bool reserve(struct rlt_long_line *line, size_t len)
{
    size_t needed = line->len + len;
    if (needed <= line->capacity) {
        return true;
    }
    size_t capacity = line->capacity != 0 ? line->capacity : CAPACITY_MIN;
    while (capacity < needed) {
        capacity *= 2;
    }
    capacity = rlt_min_size(capacity, RLT_INFO_LEN_MAX);
    uint8_t *larger = rlt_memory_resize(line->bytes, capacity);
    if (larger == NULL) {
        return false;
    }
    line->bytes = larger;
    line->capacity = capacity;
    return true;
}

int64_t rlt_long_line_add(struct rlt_long_line *line, const uint8_t *bytes, size_t len)
{
    RLT_ASSERT(line->open);
    const uint8_t *lf = memchr(bytes, '\n', len);
    size_t here = lf != NULL ? (size_t)(lf - bytes) + 1 : len;
    if (here > RLT_INFO_LEN_MAX - line->len) {
        return RLT_LONG_LINE_TOO_LONG;
    }
    if (!reserve(line, here)) {
        return RLT_LONG_LINE_NO_MEMORY;
    }
    memcpy(line->bytes + line->len, bytes, here);
    line->len += here;
    line->open = lf == NULL;
    return (int64_t)here;
}

void rlt_long_line_end(struct rlt_long_line *line)
{
    rlt_memory_free(line->bytes);
    *line = (struct rlt_long_line){.bytes = NULL};
}
