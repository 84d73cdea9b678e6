/* SPDX-License-Identifier: MIT */
#include "io/tls/first_line.h"

#include <string.h>

#include "base/defs.h"

void rlt_tls_first_line_scan(struct rlt_tls_first_line *line, const struct rlt_span *spans,
                             uint32_t count, size_t bytes)
{
    for (uint32_t i = 0; i < count && bytes != 0 && !line->followed; i++) {
        const uint8_t *start = spans[i].bytes;
        size_t len = rlt_min_size(spans[i].len, bytes);
        bytes -= len;
        const uint8_t *end = line->ended ? start : memchr(start, '\n', len);
        if (end != NULL) {
            size_t line_len = line->ended ? 0 : (size_t)(end - start) + 1;
            line->ended = true;
            line->followed = line_len != len;
        }
    }
}
