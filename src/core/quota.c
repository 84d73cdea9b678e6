/* SPDX-License-Identifier: MIT */
#include "core/quota.h"

#include "core/exchange.h"

static struct rlt_portion *portion_of(struct rlt_subscription *subscription, int side)
{
    struct rlt_member *member = rlt_container_of(subscription, struct rlt_member, own);
    return &rlt_quota_of(subscription)->portions[member->number][side];
}

void rlt_quota_set_told(struct rlt_subscription *subscription, int side, uint64_t told)
{
    *portion_of(subscription, side) = (struct rlt_portion){.told = told};
}

uint64_t rlt_quota_told(struct rlt_subscription *subscription, int side)
{
    return portion_of(subscription, side)->told;
}

static void take(struct rlt_subscription *subscription, uint64_t count)
{
    _Atomic(uint64_t) *left = &rlt_quota_of(subscription)->left;
    uint64_t before = atomic_load_explicit(left, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(left, &before,
                                                  before - rlt_min_u64(before, count),
                                                  memory_order_relaxed, memory_order_relaxed)) {
        /* `before` was read again. */
    }
}

/* The server has sent all that it was told, and some did not reach the user. */
static void on_forgotten(struct rlt_exchange *exchange, struct rlt_subscription *subscription)
{
    subscription->again = true;
    if (!exchange->source.active) {
        subscription->on_second = false;
    } else if (subscription->on_server) {
        rlt_exchange_set_on_server(exchange, subscription, false);
        rlt_exchange_defer(exchange, subscription);
    }
}

void rlt_quota_on_arrival(struct rlt_exchange *exchange, struct rlt_subscription *subscription,
                          uint32_t arrived, uint32_t kept)
{
    struct rlt_portion *portion = portion_of(subscription, exchange->source.side);
    portion->arrived += arrived;
    take(subscription, kept);
    if (rlt_quota_left(subscription) == 0) {
        /* The server has forgotten it if it brought the last one, but not in every case. */
        if (subscription->on_server) {
            rlt_exchange_defer(exchange, subscription);
        }
    } else if (portion->arrived >= portion->told) {
        on_forgotten(exchange, subscription);
    }
}
