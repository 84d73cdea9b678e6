/* SPDX-License-Identifier: MIT */
#include "io/tls/first_line.h"

#include <string.h>

#include "support/test.h"

/* Whether anything follows the first line of `stream`, which comes in pieces of `size` bytes. */
static bool is_followed(const char *stream, size_t size)
{
    struct rlt_tls_first_line line = {0};
    char copy[64];
    size_t len = strlen(stream);
    memcpy(copy, stream, len);
    for (size_t at = 0; at < len; at += size) {
        size_t bytes = len - at < size ? len - at : size;
        /* In two spans, the second one longer than what came. */
        struct rlt_span spans[] = {
            {.bytes = copy + at, .len = bytes / 2},
            {.bytes = copy + at + bytes / 2, .len = sizeof(copy)},
        };
        rlt_tls_first_line_scan(&line, spans, 2, bytes);
    }
    return line.followed;
}

Test(tls_first_line, a_byte_behind_it_is_seen_however_it_comes)
{
    for (size_t size = 1; size <= 16; size++) {
        cr_assert(!is_followed("INFO {}\r\n", size), "%zu", size);
        cr_assert(is_followed("INFO {}\r\nP", size), "%zu", size);
        cr_assert(is_followed("INFO {}\r\n\n", size), "%zu", size);
        cr_assert(!is_followed("INFO {}", size), "%zu", size);
    }
}
