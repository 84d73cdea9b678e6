/* SPDX-License-Identifier: MIT */
/**
 * A long line, which may not fit into a slab: an INFO that lists the servers of a large cluster. It
 * is assembled in memory of its own, which no connection has without such a line.
 *
 * Owner: the receiver.
 */
#ifndef RLT_CORE_RECEIVING_LONG_LINE_H
#define RLT_CORE_RECEIVING_LONG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Results of rlt_long_line_add() beside the number of bytes that were taken. */
#define RLT_LONG_LINE_TOO_LONG  (-1)
#define RLT_LONG_LINE_NO_MEMORY (-2)

/** All zeros: no line. */
struct rlt_long_line {
    uint8_t *bytes;
    size_t len;
    size_t capacity;
    bool open; /* its end has not arrived */
};

/** Begin a line, and free the last one. */
void rlt_long_line_begin(struct rlt_long_line *line);

/**
 * Add received bytes up to the line's end; then the line is not open any more. Each byte is scanned
 * once, however the line was cut. At most RLT_INFO_LEN_MAX bytes are kept.
 *
 * Returns: the number of bytes that belong to the line; RLT_LONG_LINE_TOO_LONG;
 *          RLT_LONG_LINE_NO_MEMORY.
 */
int64_t rlt_long_line_add(struct rlt_long_line *line, const uint8_t *bytes, size_t len);

/** Free the line. */
void rlt_long_line_end(struct rlt_long_line *line);

#endif
