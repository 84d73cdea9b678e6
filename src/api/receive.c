/* SPDX-License-Identifier: MIT */
#include "api/handles.h"
#include "api/owner.h"
#include "api/readiness.h"
#include "api/sleep.h"
#include "api/subscriber.h"
#include "api/taking.h"
#include "base/error.h"
#include "io/system/clock.h"

/* Receive, with checked arguments. */
static int receive(struct roulette_subscriber *subscriber, struct roulette_message *messages,
                   size_t count, int timeout_ms)
{
    if (rlt_unlikely(!CK_SLIST_EMPTY(&subscriber->handles.over))) {
        rlt_handle_table_free_over(&subscriber->handles);
    }
    uint64_t deadline_ns = 0;
    for (;;) {
        /* Read before the take, which then finds all that was delivered before the stop. */
        bool stopped = rlt_client_is_stopped(subscriber->client);
        size_t taken = rlt_subscriber_take(subscriber, messages, count);
        if (taken != 0) {
            if (rlt_unlikely(subscriber->polled)) {
                rlt_readiness_show(subscriber);
            }
            return (int)taken;
        }
        if (stopped) {
            rlt_readiness_show_end(subscriber);
            return rlt_error_set_plain(rlt_client_gone(subscriber->client));
        }
        if (rlt_bell_take_call(&subscriber->bell)) {
            timeout_ms = 0; /* roulette_subscriber_wake() */
        }
        if (timeout_ms == 0) {
            if (!subscriber->polled || rlt_readiness_take_back(subscriber)) {
                return 0;
            }
            continue;
        }
        deadline_ns = deadline_ns != 0 ? deadline_ns : rlt_clock_deadline(timeout_ms);
        if (!rlt_subscriber_sleep(subscriber, deadline_ns)) {
            timeout_ms = 0;
        }
    }
}

int roulette_receive(roulette_subscriber *subscriber, struct roulette_message *messages,
                     size_t count, int timeout_ms)
{
    if (rlt_unlikely(subscriber == NULL || messages == NULL || count == 0 || count > INT32_MAX)) {
        return rlt_error_set(ROULETTE_EINVAL,
                             "the subscriber or messages is NULL, or the count is out of range");
    }
    rlt_owner_enter(subscriber, "roulette_receive()");
    int result = receive(subscriber, messages, count, timeout_ms);
    rlt_owner_leave(subscriber);
    return result;
}
