/* SPDX-License-Identifier: MIT */
#include "io/system/file.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/memory.h"
#include "io/system/descriptor.h"
#include "io/system/system_text.h"

/* A path is quoted up to here: the reason behind it must not be cut off. */
#define PATH_QUOTE_MAX 256

static int refuse(const char *path, const char *reason)
{
    return rlt_error_set(ROULETTE_ESYSTEM, "cannot read the file \"%.*s\": %s", PATH_QUOTE_MAX,
                         path, reason);
}

/* O_NONBLOCK: to open a FIFO that nobody writes to must not wait; for files it has no meaning. */
static int open_file(const char *path)
{
    int fd;
    do {
        fd = rlt_descriptor_above(open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static int check_size(const char *path, int fd, size_t *size)
{
    struct stat status;
    char text[RLT_SYSTEM_TEXT_MAX];
    if (fstat(fd, &status) != 0) {
        return refuse(path, rlt_system_text(errno, text));
    }
    if (!S_ISREG(status.st_mode)) {
        return refuse(path, "it is not a regular file");
    }
    if (status.st_size > (off_t)RLT_FILE_BYTES_MAX) {
        return refuse(path, "it is larger than 16 MiB");
    }
    *size = (size_t)status.st_size;
    return 0;
}

/* Read up to the end of the file or of the buffer. Returns -1, with errno, if that fails. */
static ssize_t fill(int fd, char *buffer, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t got = read(fd, buffer + len, size - len);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            break;
        }
        len += (size_t)got;
    }
    return (ssize_t)len;
}

static int read_open(const char *path, int fd, char **bytes, size_t *len)
{
    size_t size = 0;
    char text[RLT_SYSTEM_TEXT_MAX];
    int error = check_size(path, fd, &size);
    if (error < 0) {
        return error;
    }
    /* One byte more than the file has tells that it grew, and one more is the NUL. */
    char *buffer = rlt_memory_alloc(size + 2, 1);
    if (buffer == NULL) {
        return rlt_error_set_plain(ROULETTE_ENOMEM);
    }
    ssize_t got = fill(fd, buffer, size + 1);
    if (got < 0 || (size_t)got > size) {
        error = refuse(path, got < 0 ? rlt_system_text(errno, text) : "it grew while it was read");
        rlt_file_free(buffer, size + 1); /* a failed read may have left bytes, too */
        return error;
    }
    *bytes = buffer;
    *len = (size_t)got;
    return 0;
}

int rlt_file_read(const char *path, char **bytes, size_t *len)
{
    int fd = open_file(path);
    if (fd < 0) {
        char text[RLT_SYSTEM_TEXT_MAX];
        return refuse(path, rlt_system_text(errno, text));
    }
    int error = read_open(path, fd, bytes, len);
    (void)close(fd);
    return error;
}

void rlt_file_free(char *bytes, size_t len)
{
    if (bytes != NULL) {
        OPENSSL_cleanse(bytes, len);
        rlt_memory_free(bytes);
    }
}
