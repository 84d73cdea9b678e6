/* SPDX-License-Identifier: MIT */
/**
 * How a command tells that something is wrong.
 */
#ifndef RLT_TOOLS_COMPLAIN_H
#define RLT_TOOLS_COMPLAIN_H

struct command;

/** Print "roulette NAME: …" as one line on stderr. `command` NULL: without a name. */
void command_complain(const struct command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
