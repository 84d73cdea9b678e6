/* SPDX-License-Identifier: MIT */
#include "core/merging/merge.h"

#include "core/delivery/exchange.h"
#include "core/delivery/fan_out.h"

int rlt_merge_open(struct rlt_merge *merge, int old)
{
    int result = rlt_overlap_open(&merge->overlap, old);
    if (result == 0) {
        result = rlt_holdback_open(&merge->waiting);
    }
    if (result < 0) {
        rlt_overlap_close(&merge->overlap);
    }
    return result;
}

void rlt_merge_close(struct rlt_merge *merge, struct rlt_exchange *exchange)
{
    rlt_merge_release_all(merge, exchange);
    rlt_holdback_close(&merge->waiting);
    rlt_overlap_close(&merge->overlap);
}

/* ---- Messages that arrive ----------------------------------------------------------------- */

/* Whether the old server may still bring older messages to a member. An interest that its members
 * drain is unsubscribed there, but messages in flight arrive. */
static bool has_older(const struct rlt_interest *interest)
{
    if (interest->member_count == 0) {
        return false;
    }
    return interest->on_server || !rlt_interest_is_wanted(interest);
}

/* Note a wait that began at `since_ns`. */
static void note_wait(struct rlt_exchange *exchange, uint64_t since_ns, uint64_t now_ns)
{
    rlt_counter *most = &exchange->env->metrics.held_ns_max;
    uint64_t waited_ns = now_ns > since_ns ? now_ns - since_ns : 0;
    if (waited_ns > rlt_counter_get(most)) {
        rlt_counter_set(most, waited_ns);
    }
}

/* Drop a waiting message: the old side brings its copy, or its interest ended. */
static void drop(struct rlt_merge *merge, struct rlt_exchange *exchange, uint64_t number)
{
    struct rlt_holdback_item item = rlt_holdback_take(&merge->waiting, number);
    rlt_overlap_end_wait(&merge->overlap, item.key, item.next, false);
    if (item.slab != NULL) {
        rlt_slab_release(item.slab, 1);
    }
    rlt_counter_add(&exchange->env->metrics.suppressed, 1);
}

/* Drop the waiting copy of a message that the old side brings now. */
static void replace(struct rlt_merge *merge, struct rlt_exchange *exchange,
                    struct rlt_overlap_key key, uint64_t now_ns)
{
    uint64_t number = rlt_overlap_waiting(&merge->overlap, key);
    note_wait(exchange, rlt_holdback_at(&merge->waiting, number)->since_ns, now_ns);
    drop(merge, exchange, number);
}

static void deliver(struct rlt_exchange *exchange, const struct rlt_holdback_item *item)
{
    struct rlt_streak streak = {.frame = item->frame};
    int64_t issued = item->slab != NULL ? item->slab->issued : 0;
    rlt_fan_out(exchange, &streak, 1, item->slab);
    if (item->slab != NULL) {
        rlt_slab_hand_on(item->slab, issued);
    }
}

static void release_held(struct rlt_merge *merge, struct rlt_exchange *exchange, uint64_t number)
{
    struct rlt_holdback_item item = rlt_holdback_take(&merge->waiting, number);
    rlt_overlap_end_wait(&merge->overlap, item.key, item.next, true);
    deliver(exchange, &item);
}

/* Release the oldest message, although older ones may still come. */
static void release_early(struct rlt_merge *merge, struct rlt_exchange *exchange, uint64_t now_ns)
{
    note_wait(exchange, rlt_holdback_oldest(&merge->waiting)->since_ns, now_ns);
    rlt_counter_add(&exchange->env->metrics.held_early, 1);
    release_held(merge, exchange, merge->waiting.first);
}

static void hold(struct rlt_merge *merge, struct rlt_exchange *exchange,
                 const struct rlt_frame *frame, struct rlt_slab *slab, struct rlt_overlap_key key,
                 uint64_t now_ns)
{
    struct rlt_holdback *waiting = &merge->waiting;
    if (rlt_holdback_is_full(waiting)) {
        release_early(merge, exchange, now_ns);
    }
    uint64_t number = rlt_holdback_push(waiting, frame, slab, key, now_ns);
    uint64_t before = rlt_overlap_wait(&merge->overlap, key, number);
    rlt_holdback_at(waiting, before)->next = number;
    rlt_counter_add(&exchange->env->metrics.held, 1);
}

bool rlt_merge_take(struct rlt_merge *merge, struct rlt_exchange *exchange, int side,
                    const struct rlt_frame *frame, struct rlt_slab *slab, uint64_t now_ns)
{
    const struct rlt_interest *interest = rlt_interests_find(&exchange->interests, frame->sid);
    struct rlt_overlap *overlap = &merge->overlap;
    /* The server sends one copy only of a queue group's messages. */
    if (interest == NULL || interest->exclusive) {
        return true;
    }
    bool waits = side != overlap->old && !overlap->ended && has_older(interest);
    if (side != overlap->old && !overlap->ended && !interest->on_second) {
        /* In flight when the new server got the UNSUB. */
        rlt_counter_add(&exchange->env->metrics.suppressed, 1);
        return false;
    }
    struct rlt_overlap_key key = rlt_overlap_key(frame);
    switch (rlt_overlap_take(overlap, key, side)) {
    case RLT_OVERLAP_SECOND:
        rlt_counter_add(&exchange->env->metrics.suppressed, 1);
        return false;
    case RLT_OVERLAP_UNSEEN:
        rlt_counter_add(&exchange->env->metrics.unmatched, 1);
        return true;
    case RLT_OVERLAP_WAITED:
        replace(merge, exchange, key, now_ns);
        return true;
    case RLT_OVERLAP_FIRST:
        if (waits) {
            hold(merge, exchange, frame, slab, key, now_ns);
        }
        return !waits;
    }
    return true;
}

/* ---- Messages that leave ------------------------------------------------------------------ */

void rlt_merge_release_all(struct rlt_merge *merge, struct rlt_exchange *exchange)
{
    while (!rlt_holdback_is_empty(&merge->waiting)) {
        release_held(merge, exchange, merge->waiting.first);
    }
}

void rlt_merge_drop_of(struct rlt_merge *merge, struct rlt_exchange *exchange, uint64_t sid)
{
    struct rlt_holdback *waiting = &merge->waiting;
    for (uint64_t i = waiting->first; i < waiting->end; i++) {
        const struct rlt_holdback_item *item = rlt_holdback_at(waiting, i);
        if (!item->left && item->frame.sid == sid) {
            drop(merge, exchange, i);
        }
    }
}

static bool is_short_of_room(const struct rlt_merge *merge, const struct rlt_exchange *exchange)
{
    const struct rlt_slab_pool *pool = &exchange->slabs;
    const struct rlt_holdback *waiting = &merge->waiting;
    return pool->free_count <= pool->slab_count / 4 ||
           waiting->end - waiting->first > RLT_HOLDBACK_MAX / 4 * 3;
}

void rlt_merge_step(struct rlt_merge *merge, struct rlt_exchange *exchange, uint64_t seen_ns)
{
    struct rlt_holdback *waiting = &merge->waiting;
    while (!rlt_holdback_is_empty(waiting)) {
        uint64_t since_ns = rlt_holdback_oldest(waiting)->since_ns;
        if (seen_ns < since_ns + RLT_MERGE_WAIT_NS) {
            rlt_slab_pool_collect(&exchange->slabs);
            if (!is_short_of_room(merge, exchange)) {
                break;
            }
        }
        release_early(merge, exchange, seen_ns);
    }
}

uint64_t rlt_merge_deadline(const struct rlt_merge *merge)
{
    const struct rlt_holdback *waiting = &merge->waiting;
    return rlt_holdback_is_empty(waiting)
               ? RLT_NEVER
               : rlt_holdback_oldest(waiting)->since_ns + RLT_MERGE_WAIT_NS;
}

void rlt_merge_mark(struct rlt_merge *merge)
{
    rlt_overlap_mark(&merge->overlap);
    rlt_holdback_mark(&merge->waiting);
}

/* Drop all messages that wait, as the new side is lost. */
static void leave_to_old(struct rlt_merge *merge, struct rlt_exchange *exchange)
{
    while (!rlt_holdback_is_empty(&merge->waiting)) {
        drop(merge, exchange, merge->waiting.first);
    }
}

void rlt_merge_end_side(struct rlt_merge *merge, struct rlt_exchange *exchange, int side)
{
    if (!rlt_merge_is_open(merge)) {
        return;
    }
    if (side == merge->overlap.old) {
        rlt_merge_release_all(merge, exchange);
    } else {
        leave_to_old(merge, exchange);
    }
    rlt_overlap_end_side(&merge->overlap, side);
}
