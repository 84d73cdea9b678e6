/* SPDX-License-Identifier: MIT */
#include "api/readiness.h"

#include <errno.h>

#include "api/owner.h"
#include "api/sleep.h"
#include "api/subscriber.h"
#include "base/error.h"
#include "io/wake/park.h"

/* Signal the end. A signal that was not counted stays, unless a due one is cleared at the same
 * time. */
static void signal_end(const struct roulette_subscriber *subscriber)
{
    if (!rlt_owner_is_forked(subscriber)) {
        rlt_park_descriptor_signal(subscriber->bell.descriptor);
    }
}

void rlt_readiness_show_end(struct roulette_subscriber *subscriber)
{
    if (subscriber->polled && !subscriber->end_told) {
        subscriber->end_told = true;
        signal_end(subscriber);
    }
}

bool rlt_readiness_take_back(struct roulette_subscriber *subscriber)
{
    rlt_bell_arm(&subscriber->bell);
    return !rlt_subscriber_is_awake(subscriber);
}

void rlt_readiness_show(struct roulette_subscriber *subscriber)
{
    if (rlt_client_is_stopped(subscriber->client)) {
        signal_end(subscriber); /* of messages that are left, or of the end behind them */
    } else if (rlt_subscriber_is_awake(subscriber) || !rlt_readiness_take_back(subscriber)) {
        rlt_bell_signal(&subscriber->bell);
    }
}

int roulette_subscriber_fd(roulette_subscriber *subscriber)
{
    if (subscriber == NULL) {
        return rlt_error_set(ROULETTE_EINVAL, "the subscriber is NULL");
    }
    if (rlt_owner_is_forked(subscriber)) {
        return rlt_error_set_plain(ROULETTE_EFORKED);
    }
    if (!subscriber->polled) {
        rlt_owner_enter(subscriber, "roulette_subscriber_fd()");
        subscriber->polled = true;
        rlt_readiness_show(subscriber);
        rlt_owner_leave(subscriber);
    }
    return subscriber->bell.descriptor;
}

int roulette_subscriber_wake(roulette_subscriber *subscriber)
{
    if (subscriber == NULL) {
        return rlt_error_set_text(ROULETTE_EINVAL, "the subscriber is NULL");
    }
    if (rlt_owner_is_forked(subscriber)) {
        return rlt_error_set_plain(ROULETTE_EFORKED);
    }
    /* In a signal handler errno belongs to the interrupted code. */
    int before = errno;
    rlt_bell_call(&subscriber->bell);
    errno = before;
    return 0;
}
