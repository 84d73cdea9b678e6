/* SPDX-License-Identifier: MIT */
#include "core/merging/holdback.h"

#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

int rlt_holdback_open(struct rlt_holdback *holdback)
{
    RLT_ASSERT(holdback->items == NULL);
    *holdback = (struct rlt_holdback){
        .items = rlt_memory_alloc(RLT_HOLDBACK_MAX, sizeof(*holdback->items)),
    };
    return holdback->items != NULL ? 0 : ROULETTE_ENOMEM;
}

void rlt_holdback_close(struct rlt_holdback *holdback)
{
    RLT_ASSERT(rlt_holdback_is_empty(holdback));
    rlt_memory_free(holdback->items);
    *holdback = (struct rlt_holdback){0};
}

uint64_t rlt_holdback_push(struct rlt_holdback *holdback, const struct rlt_frame *frame,
                           struct rlt_slab *slab, struct rlt_overlap_key key, uint64_t now_ns)
{
    RLT_ASSERT(!rlt_holdback_is_full(holdback));
    uint64_t number = holdback->end++;
    *rlt_holdback_at(holdback, number) = (struct rlt_holdback_item){
        .frame = *frame,
        .slab = slab,
        .key = key,
        .since_ns = now_ns,
        .next = number,
    };
    if (slab != NULL) {
        slab->issued++;
    }
    return number;
}

struct rlt_holdback_item rlt_holdback_take(struct rlt_holdback *holdback, uint64_t number)
{
    struct rlt_holdback_item *item = rlt_holdback_at(holdback, number);
    RLT_ASSERT(number - holdback->first < holdback->end - holdback->first && !item->left);
    item->left = true;
    if (number < holdback->mark) {
        holdback->marked--;
    }
    struct rlt_holdback_item taken = *item;
    while (!rlt_holdback_is_empty(holdback) && rlt_holdback_oldest(holdback)->left) {
        holdback->first++;
    }
    return taken;
}

void rlt_holdback_mark(struct rlt_holdback *holdback)
{
    holdback->mark = holdback->end;
    holdback->marked = 0;
    for (uint64_t i = holdback->first; i != holdback->end; i++) {
        const struct rlt_holdback_item *item = rlt_holdback_at(holdback, i);
        holdback->marked += item->left ? 0 : 1;
    }
}
