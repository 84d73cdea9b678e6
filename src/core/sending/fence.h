/* SPDX-License-Identifier: MIT */
/**
 * A fence: proof that the servers have processed everything published and subscribed before it.
 *
 * A flush makes one fence with a part for each cluster; a part has a link for each connection of
 * the cluster. On each connection a link waits until everything accepted before it was sent,
 * then rides on a PING, and passes with its PONG. The part that ends last wakes the flusher.
 *
 * On a connection that is away a link waits only as long as a server could still answer something:
 * core/connection/away.h lists that by the fence's scope.
 *
 * Ownership: counted; the flusher holds one reference (it may leave at its deadline) and each
 *            part's event thread one.
 */
#ifndef RLT_CORE_SENDING_FENCE_H
#define RLT_CORE_SENDING_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/seam/command.h"
#include "core/seam/config.h"
#include "core/seam/transport.h"

struct rlt_fence_part;

/** A part's place in the queue of one connection. Owner: the event thread. */
struct rlt_fence_link {
    struct rlt_fence_link *next;
    struct rlt_fence_part *part;
};

struct rlt_fence;

/** The fence on one cluster. */
struct rlt_fence_part {
    struct rlt_command command;
    struct rlt_fence *fence;
    uint32_t pending;     /* connections that have not passed; event thread */
    int error;            /* 0 or the first failure; published by `over` */
    _Atomic(bool) over;   /* release: publishes `error`; acquire: a flusher that gives up */
    uint64_t denied_told; /* the flusher's: api/denied.h */
    struct rlt_fence_link links[RLT_POOL_MAX];
};

/** The scope of a fence. */
enum rlt_fence_scope {
    RLT_FENCE_ALL,          /* a flush: all messages and subscriptions */
    RLT_FENCE_MESSAGES,     /* a close: all messages */
    RLT_FENCE_SUBSCRIPTION, /* a subscription on one path */
    RLT_FENCE_DRAIN,        /* messages in flight to subscriptions that have ended */
};

struct rlt_fence {
    enum rlt_fence_scope scope;   /* immutable once the commands are given, as `path` is */
    uint32_t path;                /* of RLT_FENCE_SUBSCRIPTION, whose only link is there */
    _Atomic(uint32_t) references; /* acquire-release: the last one frees */
    _Atomic(uint32_t) remaining;  /* release: publishes a part's error; acquire by the flusher */
    _Atomic(uint32_t) done;       /* the flusher sleeps on it while it is 0 */
    uint32_t part_count;
    struct rlt_fence_part parts[];
};

/**
 * Make a fence of `part_count` parts, with commands of kind FENCE or SYNC, about all. The caller
 * has one reference.
 *
 * Returns: NULL if there is no memory.
 */
struct rlt_fence *rlt_fence_create(uint32_t part_count, enum rlt_command_kind kind);

/** Give up a reference. Threads: any thread. */
void rlt_fence_release(struct rlt_fence *fence);

/** Keep the first error of something that a link waited for and that failed; the link goes on
 *  waiting. */
void rlt_fence_link_note(struct rlt_fence_link *link, int error);

/**
 * End the link of one connection, which has passed (error 0) or failed.
 *
 * Threads: the part's event thread.
 * Returns: NULL, or the fence if it is over now: the caller wakes the sleepers on fence->done and
 *          then gives the part's reference up with rlt_fence_release().
 */
struct rlt_fence *rlt_fence_link_done(struct rlt_fence_link *link, int error);

/** Finish fence links, all with the same result, and wake those whose fences are over now. */
void rlt_fence_finish(struct rlt_fence_link *links, int error, struct rlt_transport *transport);

#endif
