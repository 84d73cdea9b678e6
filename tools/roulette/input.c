/* SPDX-License-Identifier: MIT */
#include "input.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "complain.h"

/* Bytes of standard input: used is what is there, size what there is room for. */
struct text {
    char *bytes;
    size_t used;
    size_t size;
};

enum { SIZE_FIRST = 64 << 10 };
/* One byte more than may be there tells that there is more; for a line it is the line end. */
#define TEXT_MAX (INPUT_BYTES_MAX + 1)

static int text_open(const struct command *command, struct text *text)
{
    *text = (struct text){.bytes = malloc(SIZE_FIRST), .size = SIZE_FIRST};
    if (text->bytes == NULL) {
        command_complain(command, "there is no memory for standard input");
        return COMMAND_FAILED;
    }
    return 0;
}

/* Make room behind what is there, which is less than TEXT_MAX. */
static int make_room(const struct command *command, struct text *text)
{
    if (text->used < text->size) {
        return 0;
    }
    size_t size = text->size <= TEXT_MAX / 2 ? text->size * 2 : TEXT_MAX;
    char *larger = realloc(text->bytes, size);
    if (larger == NULL) {
        command_complain(command, "there is no memory for standard input: split it");
        return COMMAND_FAILED;
    }
    text->bytes = larger;
    text->size = size;
    return 0;
}

/* Read what there is, at least a byte. Returns: 0, with `*end` set at the end; or as above. */
static int read_some(const struct command *command, struct text *text, bool *end)
{
    for (;;) {
        ssize_t got = read(STDIN_FILENO, text->bytes + text->used, text->size - text->used);
        if (got >= 0) {
            text->used += (size_t)got;
            *end = got == 0;
            return 0;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            /* Somebody who shares the descriptor made it non-blocking. */
            struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
            (void)poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            command_complain(command, "standard input cannot be read: %s", strerror(errno));
            return COMMAND_FAILED;
        }
    }
}

static int refuse_size(const struct command *command, const char *what, const char *advice)
{
    command_complain(command,
                     "%s is larger than a server takes in one message (64 MiB): split it%s", what,
                     advice);
    return COMMAND_FAILED;
}

int input_read_all(const struct command *command, char **bytes, size_t *len)
{
    struct text text;
    bool end = false;
    int result = text_open(command, &text);
    while (result == 0 && !end) {
        if (text.used > INPUT_BYTES_MAX) {
            result = refuse_size(command, "standard input", ", or give --lines");
            break;
        }
        result = make_room(command, &text);
        result = result == 0 ? read_some(command, &text, &end) : result;
    }
    if (result != 0) {
        free(text.bytes);
        return result;
    }
    *bytes = text.bytes;
    *len = text.used;
    return 0;
}

/* Hand out the whole lines of a text and keep the rest; `from` is where no line end was seen yet.
 */
static int take_lines(struct text *text, size_t from, input_line_fn *each, void *context)
{
    size_t start = 0;
    int result = 0;
    char *found;
    while (result == 0 && (found = memchr(text->bytes + from, '\n', text->used - from)) != NULL) {
        size_t line_end = (size_t)(found - text->bytes);
        result = each(context, text->bytes + start, line_end - start);
        start = line_end + 1;
        from = start;
    }
    text->used -= start;
    memmove(text->bytes, text->bytes + start, text->used);
    return result;
}

int input_each_line(const struct command *command, input_line_fn *each, void *context)
{
    struct text text;
    bool end = false;
    int result = text_open(command, &text);
    while (result == 0 && !end) {
        size_t before = text.used;
        result = make_room(command, &text);
        result = result == 0 ? read_some(command, &text, &end) : result;
        result = result == 0 ? take_lines(&text, before, each, context) : result;
        if (result == 0 && text.used > INPUT_BYTES_MAX) {
            result = refuse_size(command, "a line of standard input", "");
        }
    }
    if (result == 0 && text.used != 0) {
        result = each(context, text.bytes, text.used);
    }
    free(text.bytes);
    return result;
}
