/* SPDX-License-Identifier: MIT */
/**
 * A watch: reports readable sockets, either to their owner or to a reader that attends in its
 * place, never to both.
 *
 *     watched sockets --> `sockets` --> `owner` --> the owner polls it; silent while attended
 *                             |
 *                             +-------> a reader polls it
 *
 * Both are epoll instances, made with the first socket, and last as long as the watch: a thread
 * that polls one holds no socket, and cannot take another file for a closed socket. They are
 * level-triggered: when a reader leaves, the owner is told of bytes that are left.
 *
 * Threads: as each function says. Nothing blocks.
 */
#ifndef RLT_IO_WAKE_WATCH_H
#define RLT_IO_WAKE_WATCH_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"

struct rlt_watch {
    /* -1: not made yet. The owner makes them before readers learn of the watch; a child process
     * closes them. */
    int sockets;
    int owner;
    /* 1: a reader attends. Acquire and release: one reader's changes of `owner` come before the
     * next reader's. */
    alignas(RLT_CACHE_LINE) _Atomic(uint32_t) attended;
};

void rlt_watch_init(struct rlt_watch *watch);

/** Threads: any thread, when no reader attends any more; the only one of a child process. */
void rlt_watch_fini(struct rlt_watch *watch);

/** Watch a socket. Threads: the owner. Returns: false if the system's limits forbid it. */
bool rlt_watch_add(struct rlt_watch *watch, int fd);

/** Stop watching a socket, before it is closed. Threads: the owner. */
void rlt_watch_remove(struct rlt_watch *watch, int fd);

/**
 * Attend in place of the owner: `watch->sockets` is to be polled for input.
 *
 * Threads: any thread; until it calls rlt_watch_leave(). Returns: false if another one attends.
 */
bool rlt_watch_attend(struct rlt_watch *watch);
void rlt_watch_leave(struct rlt_watch *watch);

/** Threads: any thread. */
static inline bool rlt_watch_is_attended(const struct rlt_watch *watch)
{
    return atomic_load_explicit(&watch->attended, memory_order_relaxed) != 0;
}

#endif
