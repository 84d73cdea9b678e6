/* SPDX-License-Identifier: MIT */
/**
 * Waiting for the servers, or for the event threads alone: a fence (core/sending/fence.h) through
 * clusters.
 *
 * Threads: any thread but event threads.
 */
#ifndef RLT_API_WAIT_H
#define RLT_API_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "api/client.h"
#include "core/sending/fence.h"

/** End the process, with a line that names `call`, if this is an event thread, which would wait for
 *  itself. */
void rlt_wait_require_other_thread(const char *call);

/** The scope and the clusters of a fence. */
struct rlt_fence_wish {
    bool one_cluster; /* only the cluster of `place` */
    struct rlt_place place;
    enum rlt_fence_scope scope;
};

/** The outcome of a fence on its clusters. */
struct rlt_fence_outcome {
    uint32_t passed; /* clusters that have answered */
    uint32_t late;   /* clusters that had not answered when the time was over */
    uint32_t failed; /* the other ones */
    uint32_t first;  /* index of the first one that is late or failed */
};

/**
 * Wait until the servers have processed all that was sent to them before, within the scope.
 * `outcome` is filled if the fence was made.
 *
 * Returns: 0; ROULETTE_ETIMEDOUT, ROULETTE_EDISCONNECTED, ROULETTE_EUNREACHABLE, ROULETTE_ECLOSED,
 *          ROULETTE_EFORKED, ROULETTE_ENOMEM. A failed cluster comes before a late one.
 */
int rlt_client_fence(roulette_client *client, const struct rlt_fence_wish *wish, int timeout_ms,
                     struct rlt_fence_outcome *outcome);

/**
 * Wait until the event threads have executed all earlier commands, or have ended: the objects of
 * those commands are the caller's alone afterwards.
 */
void rlt_client_sync(roulette_client *client);

/** Wait until all accepted messages are in a final state, at most `timeout_ms`. Threads: the
 * closer, when the client is closing. */
void rlt_client_settle(roulette_client *client, int timeout_ms);

#endif
