/* SPDX-License-Identifier: MIT */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connect.h"
#include "ending.h"

enum {
    WORD = sizeof(uint64_t),
    ESCAPED_MAX = 4, /* "\xNN" */
    /* Bytes that are escaped between two looks at the room. */
    PART_MAX = 16 << 10,
    /* When the program is to end: how long a reader that does not read is waited for. */
    STALL_MS = 200,
};

int output_open(struct output *output, int fd)
{
    int mode = fcntl(fd, F_GETFL);
    bool writable = mode >= 0 && (mode & O_ACCMODE) != O_RDONLY;
    *output = (struct output){
        .fd = fd,
        .error = writable ? 0 : EBADF,
        .bytes = malloc(OUTPUT_BYTES),
    };
    return output->bytes != NULL ? 0 : -1;
}

void output_close(struct output *output)
{
    free(output->bytes);
    output->bytes = NULL;
}

/* ---- Writing ------------------------------------------------------------------------------ */

/* Wait until something can be written, which may be an error, or until something interrupts. */
static void await_room(const struct output *output)
{
    struct pollfd wait = {.fd = output->fd, .events = POLLOUT};
    (void)poll(&wait, 1, -1);
}

/* Whether the reader makes room within STALL_MS, whatever interrupts. */
static bool is_read(const struct output *output)
{
    struct pollfd wait = {.fd = output->fd, .events = POLLOUT};
    uint64_t end_ms = connect_now_ms() + STALL_MS;
    int result;
    do {
        result = poll(&wait, 1, connect_left_ms(end_ms));
    } while (result < 0 && errno == EINTR);
    return result > 0;
}

/*
 * One write(), which may be partial or, when a signal or the deadline interrupts it, nothing.
 * Once the program is to end, a reader still gets what it reads: pieces that a pipe with any room
 * takes without waiting.
 */
static size_t write_some(struct output *output, const char *bytes, size_t len)
{
    if (ending_is_due()) {
        if (!is_read(output)) {
            output->error = OUTPUT_STALLED;
            return 0;
        }
        len = len < PIPE_BUF ? len : PIPE_BUF;
    }
    ssize_t written = write(output->fd, bytes, len);
    if (written >= 0) {
        ending_goes_on();
        return (size_t)written;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        /* Somebody who shares the descriptor made it non-blocking. */
        await_room(output);
    } else if (errno != EINTR) {
        output->error = errno;
    }
    return 0;
}

static void write_out(struct output *output, const char *bytes, size_t len)
{
    size_t done = 0;
    while (done < len && output->error == 0) {
        done += write_some(output, bytes + done, len - done);
    }
}

void output_flush(struct output *output)
{
    write_out(output, output->bytes, output->len);
    output->len = 0;
    output->whole = 0;
}

/* Make room for `len` bytes, at most OUTPUT_BYTES / 2: write the whole lines, or, if there is none,
 * the beginning of a long one. */
static char *reserve(struct output *output, size_t len)
{
    if (OUTPUT_BYTES - output->len < len) {
        size_t now = output->whole != 0 ? output->whole : output->len;
        write_out(output, output->bytes, now);
        output->len -= now;
        output->whole = 0;
        memmove(output->bytes, output->bytes + now, output->len);
        if (OUTPUT_BYTES - output->len < len) {
            output_flush(output);
        }
    }
    return output->bytes + output->len;
}

/* ---- Adding ------------------------------------------------------------------------------- */

void output_raw(struct output *output, const char *bytes, size_t len)
{
    if (len >= OUTPUT_BYTES / 2) {
        output_flush(output);
        write_out(output, bytes, len);
        return;
    }
    memcpy(reserve(output, len), bytes, len);
    output->len += len;
    output->whole = output->len;
}

static bool is_plain(unsigned char byte)
{
    return byte >= 0x20 && byte != 0x7f && byte != '\\';
}

/*
 * Whether all eight bytes of a word are plain. Each line sets the high bit of a byte below 0x20 or
 * equal to the one it looks for, and of none else below the first such byte: a borrow begins only
 * there. Bytes from 0x80 on are plain; their own high bit is masked. (Bit Twiddling Hacks,
 * "Determine if a word has a byte less than n".)
 */
static bool is_plain_word(uint64_t word)
{
    const uint64_t ones = UINT64_MAX / 0xff;
    uint64_t control = word - ones * 0x20;
    uint64_t delete = (word ^ ones * 0x7f) - ones;
    uint64_t backslash = (word ^ ones * '\\') - ones;
    return ((control | delete | backslash) & ~word & ones * 0x80) == 0;
}

/* Returns the end of what was written. */
static char *escape_byte(char *out, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    static const char letters[] = {['\\'] = '\\', ['\t'] = 't', ['\n'] = 'n', ['\r'] = 'r'};
    if (is_plain(byte)) {
        *out++ = (char)byte;
        return out;
    }
    *out++ = '\\';
    if (byte < sizeof(letters) && letters[byte] != '\0') {
        *out++ = letters[byte];
        return out;
    }
    *out++ = 'x';
    *out++ = digits[byte >> 4];
    *out++ = digits[byte & 0xf];
    return out;
}

/* Write `len` bytes to `out`, which has room for ESCAPED_MAX times as many. */
static char *escape(char *out, const char *bytes, size_t len)
{
    while (len >= WORD) {
        uint64_t word;
        memcpy(&word, bytes, WORD);
        if (is_plain_word(word)) {
            memcpy(out, &word, WORD);
            out += WORD;
        } else {
            for (size_t i = 0; i < WORD; i++) {
                out = escape_byte(out, (unsigned char)bytes[i]);
            }
        }
        bytes += WORD;
        len -= WORD;
    }
    for (size_t i = 0; i < len; i++) {
        out = escape_byte(out, (unsigned char)bytes[i]);
    }
    return out;
}

void output_escaped(struct output *output, const char *bytes, size_t len)
{
    while (len != 0 && output->error == 0) {
        size_t part = len < PART_MAX ? len : PART_MAX;
        char *out = reserve(output, part * ESCAPED_MAX);
        output->len += (size_t)(escape(out, bytes, part) - out);
        bytes += part;
        len -= part;
    }
}

void output_separator(struct output *output, char byte)
{
    *reserve(output, 1) = byte;
    output->len++;
}

void output_line_end(struct output *output)
{
    output_separator(output, '\n');
    output->whole = output->len;
}
