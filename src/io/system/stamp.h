/* SPDX-License-Identifier: MIT */
/**
 * A stamp tells one state of a file from another without reading the file.
 *
 * A file that was written so shortly ago that its clock has not moved on since may change once more
 * and look the same (file systems count in ticks of the kernel, network file systems in seconds):
 * only a settled stamp may be trusted.
 */
#ifndef RLT_IO_SYSTEM_STAMP_H
#define RLT_IO_SYSTEM_STAMP_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "base/defs.h"

/** How old a change must be, so that a later one looks different. */
#define RLT_STAMP_SETTLED_NS (2 * RLT_NS_PER_S)

struct rlt_stamp {
    bool exists;
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
    struct timespec changed; /* also when `modified` was set back */
};

/** Take the stamp of the file that a path leads to now, through links. Threads: any thread. */
struct rlt_stamp rlt_stamp_of(const char *path);

/** Whether two stamps are of the same state of a file. */
bool rlt_stamp_is_equal(const struct rlt_stamp *a, const struct rlt_stamp *b);

/** Whether a file exists, and its stamp will show a change that comes from now on. */
bool rlt_stamp_is_settled(const struct rlt_stamp *stamp);

#endif
