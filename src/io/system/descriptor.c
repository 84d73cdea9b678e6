/* SPDX-License-Identifier: MIT */
#include "io/system/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int rlt_descriptor_above(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO) {
        return fd;
    }
    int above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    (void)close(fd);
    if (above < 0) {
        /* Or EINVAL: RLIMIT_NOFILE itself is no more than 3. */
        errno = EMFILE;
    }
    return above;
}
