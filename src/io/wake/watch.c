/* SPDX-License-Identifier: MIT */
#include "io/wake/watch.h"

#include <stddef.h>
#include <sys/epoll.h>

#include "base/assert.h"
#include "io/system/descriptor.h"

void rlt_watch_init(struct rlt_watch *watch)
{
    watch->sockets = -1;
    watch->owner = -1;
    atomic_store_explicit(&watch->attended, 0, memory_order_relaxed);
}

static bool make(struct rlt_watch *watch)
{
    struct epoll_event event = {.events = EPOLLIN};
    watch->sockets = rlt_descriptor_above(epoll_create1(EPOLL_CLOEXEC));
    watch->owner = rlt_descriptor_above(epoll_create1(EPOLL_CLOEXEC));
    if (watch->sockets >= 0 && watch->owner >= 0 &&
        epoll_ctl(watch->owner, EPOLL_CTL_ADD, watch->sockets, &event) == 0) {
        return true;
    }
    rlt_watch_fini(watch);
    return false;
}

void rlt_watch_fini(struct rlt_watch *watch)
{
    rlt_descriptor_close(&watch->owner);
    rlt_descriptor_close(&watch->sockets);
}

bool rlt_watch_add(struct rlt_watch *watch, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return (watch->owner >= 0 || make(watch)) &&
           epoll_ctl(watch->sockets, EPOLL_CTL_ADD, fd, &event) == 0;
}

void rlt_watch_remove(struct rlt_watch *watch, int fd)
{
    (void)epoll_ctl(watch->sockets, EPOLL_CTL_DEL, fd, NULL);
}

/* Set the events that the owner is told of. Fails only without a watch: after a signal handler's
 * fork() while this thread attended. */
static void tell_owner(struct rlt_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events};
    int result = epoll_ctl(watch->owner, EPOLL_CTL_MOD, watch->sockets, &event);
    RLT_ASSERT(result == 0 || watch->owner < 0);
}

bool rlt_watch_attend(struct rlt_watch *watch)
{
    uint32_t attended = 0;
    if (!atomic_compare_exchange_strong_explicit(&watch->attended, &attended, 1,
                                                 memory_order_acquire, memory_order_relaxed)) {
        return false;
    }
    tell_owner(watch, 0);
    return true;
}

void rlt_watch_leave(struct rlt_watch *watch)
{
    tell_owner(watch, EPOLLIN);
    atomic_store_explicit(&watch->attended, 0, memory_order_release);
}
