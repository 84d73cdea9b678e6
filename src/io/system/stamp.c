/* SPDX-License-Identifier: MIT */
#include "io/system/stamp.h"

#include <stdint.h>
#include <sys/stat.h>

struct rlt_stamp rlt_stamp_of(const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        return (struct rlt_stamp){.exists = false};
    }
    return (struct rlt_stamp){
        .exists = true,
        .device = status.st_dev,
        .inode = status.st_ino,
        .size = status.st_size,
        .modified = status.st_mtim,
        .changed = status.st_ctim,
    };
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool rlt_stamp_is_equal(const struct rlt_stamp *a, const struct rlt_stamp *b)
{
    return a->exists == b->exists && a->device == b->device && a->inode == b->inode &&
           a->size == b->size && is_same_time(a->modified, b->modified) &&
           is_same_time(a->changed, b->changed);
}

/* A clock that was set back makes a file new for as long as that. */
static bool is_old(struct timespec time, struct timespec now)
{
    int64_t age_ns =
        ((int64_t)now.tv_sec - time.tv_sec) * (int64_t)RLT_NS_PER_S + (now.tv_nsec - time.tv_nsec);
    return age_ns > (int64_t)RLT_STAMP_SETTLED_NS;
}

bool rlt_stamp_is_settled(const struct rlt_stamp *stamp)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* the clock of files */
    return stamp->exists && is_old(stamp->modified, now) && is_old(stamp->changed, now);
}
