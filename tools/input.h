/* SPDX-License-Identifier: MIT */
/**
 * What a command reads from standard input.
 */
#ifndef RLT_TOOLS_INPUT_H
#define RLT_TOOLS_INPUT_H

#include <stddef.h>

#include "command.h"

/** A NATS server takes 64 MiB in a message at most (max_payload). */
#define INPUT_BYTES_MAX ((size_t)64 << 20)

/**
 * Read all of standard input.
 *
 * Ownership: `*bytes` is the caller's; free() it.
 * Returns:   0, or an enum command_exit after complaining (unreadable, or too large).
 */
int input_read_all(const struct command *command, char **bytes, size_t *len);

/** Called for each line, without its line end. Returns: 0, or what input_each_line() returns. */
typedef int input_line_fn(void *context, const char *line, size_t len);

/** Read standard input line by line. Returns: as input_read_all(). */
int input_each_line(const struct command *command, input_line_fn *each, void *context);

#endif
