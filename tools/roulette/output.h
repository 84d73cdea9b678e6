/* SPDX-License-Identifier: MIT */
/**
 * What a command writes to standard output while it has other things to look after: in batches of
 * whole lines, one write() for each, given up when the program is to end (ending.h).
 */
#ifndef RLT_TOOLS_OUTPUT_H
#define RLT_TOOLS_OUTPUT_H

#include <stddef.h>

/** Bytes that wait for one write() at most. A line that is longer is written in pieces. */
#define OUTPUT_BYTES ((size_t)256 << 10)

/** `error` of an output whose reader did not read when the program was to end. */
#define OUTPUT_STALLED (-1)

/** The bytes that were not written yet. Of one thread. */
struct output {
    int fd;
    int error; /* why it cannot be written to any more: an errno, OUTPUT_STALLED; 0: it can */
    char *bytes;
    size_t len;
    size_t whole; /* of them up to the end of the last whole line */
};

/**
 * Write to `fd` from now on. One that is not open for writing is an `error` already.
 *
 * Ownership: output_close() ends it, without writing.
 * Returns:   0, or -1 if there is no memory.
 */
int output_open(struct output *output, int fd);
void output_close(struct output *output);

/** Add bytes as they are. Those that do not end with output_line_end() count as whole too. */
void output_raw(struct output *output, const char *bytes, size_t len);

/**
 * Add a part of a line: a backslash and control bytes as \\, \t, \n, \r or \xNN. Bytes of the
 * network neither reach a terminal as commands nor end a line early.
 */
void output_escaped(struct output *output, const char *bytes, size_t len);

/** Add a byte of the command's own to a line, or end the line. */
void output_separator(struct output *output, char byte);
void output_line_end(struct output *output);

/** Write all that is there. Blocks as long as the reader does not read, up to ending_is_due(). */
void output_flush(struct output *output);

#endif
