/* SPDX-License-Identifier: MIT */
/**
 * One thread at a time uses a subscriber: its owner thread. Ownership may pass from thread to
 * thread without a call, so only two threads inside at once can be detected.
 *
 * Detected in each build: another thread waits in roulette_receive(), where a thread mostly is when
 * another one closes the subscriber or releases its messages. With assertions (without NDEBUG)
 * also: another thread is inside any call.
 */
#ifndef RLT_API_OWNER_H
#define RLT_API_OWNER_H

#include <stdatomic.h>

#include "api/subscriber.h"
#include "base/assert.h"

#ifdef NDEBUG
#define RLT_OWNER_CHECKED 0
#else
#define RLT_OWNER_CHECKED 1
#endif

/* A child process has only the thread that forked: calls of others in the parent do not count. */
static inline bool rlt_owner_is_forked(const struct roulette_subscriber *subscriber)
{
    return atomic_load_explicit(&subscriber->client->state, memory_order_relaxed) ==
           RLT_CLIENT_FORKED;
}

/** Begin a call that belongs to the owner thread. */
static inline void rlt_owner_enter(struct roulette_subscriber *subscriber, const char *call)
{
    /* Relaxed, here and below: used only to report a mistake of the application. */
    RLT_REQUIRE(atomic_load_explicit(&subscriber->waiting, memory_order_relaxed) == 0 ||
                    rlt_owner_is_forked(subscriber),
                call,
                "another thread waits in roulette_receive() of this subscriber, which one thread "
                "uses at a time: roulette_subscriber_wake() makes it return; wait until it has");
    if (RLT_OWNER_CHECKED) {
        RLT_REQUIRE(atomic_exchange_explicit(&subscriber->inside, 1, memory_order_relaxed) == 0 ||
                        rlt_owner_is_forked(subscriber),
                    call,
                    "another thread is just calling for this subscriber, which one thread uses at "
                    "a time");
    }
}

static inline void rlt_owner_leave(struct roulette_subscriber *subscriber)
{
    if (RLT_OWNER_CHECKED) {
        atomic_store_explicit(&subscriber->inside, 0, memory_order_relaxed);
    }
}

#endif
