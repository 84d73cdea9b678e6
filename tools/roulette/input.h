/* SPDX-License-Identifier: MIT */
/**
 * What a command reads from standard input.
 */
#ifndef RLT_TOOLS_INPUT_H
#define RLT_TOOLS_INPUT_H

#include <stddef.h>

#include "command.h"

/** The most in one message: a NATS server takes no more (max_payload). */
#define INPUT_BYTES_MAX ((size_t)64 << 20)

/**
 * Read all of standard input.
 *
 * Ownership: `*bytes` is the caller's; free() it.
 * Returns:   0, or an enum command_exit after complaining (unreadable, or too large).
 */
int input_read_all(const struct command *command, char **bytes, size_t *len);

/** Called for each line, without its line end, as soon as it was read. Returns: 0, or what
 * input_each_line() returns. */
typedef int input_line_fn(void *context, const char *line, size_t len);

/** Read standard input line by line. Returns: as input_read_all(), if a line is too large. */
int input_each_line(const struct command *command, input_line_fn *each, void *context);

#endif
