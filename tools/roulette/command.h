/* SPDX-License-Identifier: MIT */
/**
 * The commands of the `roulette` program: `roulette pub`, `roulette sub`, `roulette ring`.
 */
#ifndef RLT_TOOLS_COMMAND_H
#define RLT_TOOLS_COMMAND_H

#include "arguments.h"

/** What the program exits with. The --help texts promise these. */
enum command_exit {
    COMMAND_OK = 0,
    COMMAND_FAILED = 1, /* the world: not connected, not confirmed, not received */
    COMMAND_USAGE = 2,  /* the caller: options, topics, the list of servers */
};

/** One command. Static; immutable. */
struct command {
    const char *name;
    const char *summary; /* for `roulette --help`: one line */
    const char *help;    /* `roulette NAME --help` */
    uint32_t options;    /* enum argument bits that it takes */
    int operands_min;
    int operands_max; /* negative: any number */

    /** Do it. Returns: an enum command_exit; if it is not COMMAND_OK, after complaining. */
    int (*run)(const struct command *command, const struct arguments *arguments);
};

extern const struct command command_pub;
extern const struct command command_sub;
extern const struct command command_ring;

#endif
