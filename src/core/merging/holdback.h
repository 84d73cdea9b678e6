/* SPDX-License-Identifier: MIT */
/**
 * A hold-back queue: messages that wait until older ones have arrived. They leave in the order in
 * which they came, or out of turn when they are not needed any more. Each has a number; numbers
 * count up from 0.
 *
 * A message that waits keeps its slab: one reference, or none if it cannot be kept
 * (core/receiving/receiver.h).
 *
 * Memory: RLT_HOLDBACK_MAX items, allocated by open; untouched ones cost nothing.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_MERGING_HOLDBACK_H
#define RLT_CORE_MERGING_HOLDBACK_H

#include <stdbool.h>
#include <stdint.h>

#include "core/merging/overlap.h"
#include "lockfree/slab.h"
#include "proto/parser.h"

/** Messages at most, those included that left out of turn behind the oldest one. */
#define RLT_HOLDBACK_MAX ((uint32_t)1 << 16)

struct rlt_holdback_item {
    struct rlt_frame frame;
    struct rlt_slab *slab; /* NULL: its bytes are gone */
    struct rlt_overlap_key key;
    uint64_t since_ns; /* when it came */
    uint64_t next;     /* number of the next equal one, if any */
    bool left;         /* out of turn */
};

struct rlt_holdback {
    struct rlt_holdback_item *items; /* by number, modulo RLT_HOLDBACK_MAX; NULL: closed */
    uint64_t first;                  /* the oldest that waits, if any does */
    uint64_t end;                    /* the next number */
    uint64_t mark;                   /* see rlt_holdback_mark() */
    uint32_t marked;
};

/** Open an empty queue. Returns: 0 or ROULETTE_ENOMEM. */
int rlt_holdback_open(struct rlt_holdback *holdback);

/** Close a queue in which no message waits. */
void rlt_holdback_close(struct rlt_holdback *holdback);

static inline struct rlt_holdback_item *rlt_holdback_at(const struct rlt_holdback *holdback,
                                                        uint64_t number)
{
    return &holdback->items[number % RLT_HOLDBACK_MAX];
}

static inline bool rlt_holdback_is_empty(const struct rlt_holdback *holdback)
{
    return holdback->first == holdback->end;
}

static inline bool rlt_holdback_is_full(const struct rlt_holdback *holdback)
{
    return holdback->end - holdback->first == RLT_HOLDBACK_MAX;
}

/** The oldest message that waits; the queue is not empty. */
static inline const struct rlt_holdback_item *
rlt_holdback_oldest(const struct rlt_holdback *holdback)
{
    return rlt_holdback_at(holdback, holdback->first);
}

/** Let a message wait, with a reference to its slab; there is room. Returns: its number. */
uint64_t rlt_holdback_push(struct rlt_holdback *holdback, const struct rlt_frame *frame,
                           struct rlt_slab *slab, struct rlt_overlap_key key, uint64_t now_ns);

/** Take message `number` out. Returns: the item; the caller has its reference. */
struct rlt_holdback_item rlt_holdback_take(struct rlt_holdback *holdback, uint64_t number);

/** Count in `marked` the messages that wait now, until they leave. */
void rlt_holdback_mark(struct rlt_holdback *holdback);

#endif
