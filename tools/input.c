/* SPDX-License-Identifier: MIT */
#include "input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

static int check(const struct command *command)
{
    if (ferror(stdin)) {
        command_complain(command, "standard input cannot be read: %s", strerror(errno));
        return COMMAND_FAILED;
    }
    return 0;
}

int input_read_all(const struct command *command, char **bytes, size_t *len)
{
    size_t size = 4096;
    size_t used = 0;
    char *buffer = malloc(size);
    while (buffer != NULL) {
        used += fread(buffer + used, 1, size - used, stdin);
        if (used < size) {
            break;
        }
        if (size >= INPUT_BYTES_MAX) {
            command_complain(command, "standard input is larger than a server takes in one "
                                      "message (64 MiB): split it, or give --lines");
            free(buffer);
            return COMMAND_USAGE;
        }
        size *= 2;
        char *larger = realloc(buffer, size);
        if (larger == NULL) {
            free(buffer);
        }
        buffer = larger;
    }
    if (buffer == NULL) {
        command_complain(command, "there is no memory for standard input: split it");
        return COMMAND_FAILED;
    }
    int result = check(command);
    if (result != 0) {
        free(buffer);
        return result;
    }
    *bytes = buffer;
    *len = used;
    return 0;
}

int input_each_line(const struct command *command, input_line_fn *each, void *context)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t got;
    int result = 0;
    while (result == 0 && (got = getline(&line, &size, stdin)) >= 0) {
        size_t len = (size_t)got;
        if (len != 0 && line[len - 1] == '\n') {
            len--;
        }
        result = each(context, line, len);
    }
    free(line);
    return result != 0 ? result : check(command);
}
