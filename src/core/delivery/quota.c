/* SPDX-License-Identifier: MIT */
#include "core/delivery/quota.h"

#include "core/delivery/exchange.h"

static struct rlt_portion *portion_of(struct rlt_interest *interest, int side)
{
    struct rlt_member *member = rlt_container_of(interest, struct rlt_member, own);
    return &rlt_quota_of(interest)->portions[member->number][side];
}

void rlt_quota_set_told(struct rlt_interest *interest, int side, uint64_t told)
{
    *portion_of(interest, side) = (struct rlt_portion){.told = told};
}

uint64_t rlt_quota_told(struct rlt_interest *interest, int side)
{
    return portion_of(interest, side)->told;
}

static void consume(struct rlt_interest *interest, uint64_t count)
{
    _Atomic(uint64_t) *left = &rlt_quota_of(interest)->left;
    uint64_t before = atomic_load_explicit(left, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(left, &before,
                                                  before - rlt_min_u64(before, count),
                                                  memory_order_relaxed, memory_order_relaxed)) {
        /* `before` was read again. */
    }
}

/* Note that the server has sent all that it was told, and that some did not reach the user. */
static void on_forgotten(struct rlt_exchange *exchange, struct rlt_interest *interest)
{
    interest->again = true;
    const struct rlt_source *source = &exchange->source;
    if (!source->active || source->path != interest->path) {
        interest->on_second = false;
    } else if (interest->on_server) {
        rlt_exchange_set_on_server(exchange, interest, false);
        rlt_exchange_defer(exchange, interest);
    }
}

void rlt_quota_on_arrival(struct rlt_exchange *exchange, struct rlt_interest *interest,
                          uint32_t arrived, uint32_t kept)
{
    struct rlt_portion *portion = portion_of(interest, exchange->source.side);
    portion->arrived += arrived;
    consume(interest, kept);
    if (rlt_quota_left(interest) == 0) {
        /* The server has forgotten the sid if it sent the last message, but not in every case. */
        if (interest->on_server) {
            rlt_exchange_defer(exchange, interest);
        }
    } else if (portion->arrived >= portion->told) {
        on_forgotten(exchange, interest);
    }
}
