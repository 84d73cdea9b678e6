/* SPDX-License-Identifier: MIT */
#include "complain.h"

#include <stdarg.h>
#include <stdio.h>

#include "command.h"

enum { COMPLAINT_MAX = 4096 }; /* PIPE_BUF: longer ones are cut */

void command_complain(const struct command *command, const char *format, ...)
{
    char line[COMPLAINT_MAX];
    va_list arguments;
    /* What was printed before comes before. */
    (void)fflush(stdout);
    va_start(arguments, format);
    size_t len = (size_t)snprintf(
        line, sizeof(line),
        command != NULL ? "roulette %s: " : "roulette: ", command != NULL ? command->name : "");
    int more = vsnprintf(line + len, sizeof(line) - len, format, arguments);
    va_end(arguments);
    len += more > 0 ? (size_t)more : 0;
    len = len < sizeof(line) - 1 ? len : sizeof(line) - 1;
    line[len++] = '\n';
    /* In one piece: event threads log to the same descriptor. */
    (void)fwrite(line, 1, len, stderr);
}
