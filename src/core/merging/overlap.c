/* SPDX-License-Identifier: MIT */
#include "core/merging/overlap.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

#define INDEX_MASK (RLT_OVERLAP_ENTRIES - 1)

/* Open addressing with linear probes, which end at a free entry. At most 3/4 are used. */
struct rlt_overlap_entry {
    uint64_t low;
    uint64_t high;    /* odd; 0: free */
    int64_t ahead;    /* copies of the old side less those of the new one */
    int32_t before;   /* `ahead` at the mark, if it was not 0 since */
    uint32_t waiting; /* copies of the new side that wait; they count in `ahead` */
    uint64_t first;   /* of these: their numbers */
    uint64_t last;
};

int rlt_overlap_open(struct rlt_overlap *overlap, int old)
{
    RLT_ASSERT(overlap->entries == NULL);
    *overlap = (struct rlt_overlap){
        .entries = rlt_memory_alloc(RLT_OVERLAP_ENTRIES, sizeof(*overlap->entries)),
        .old = old,
    };
    return overlap->entries != NULL ? 0 : ROULETTE_ENOMEM;
}

void rlt_overlap_close(struct rlt_overlap *overlap)
{
    rlt_memory_free(overlap->entries);
    *overlap = (struct rlt_overlap){0};
}

void rlt_overlap_mark(struct rlt_overlap *overlap)
{
    RLT_ASSERT(overlap->entries != NULL);
    for (uint32_t i = 0; i < RLT_OVERLAP_ENTRIES; i++) {
        int64_t ahead = overlap->entries[i].ahead;
        overlap->entries[i].before = ahead < INT32_MAX ? (int32_t)ahead : INT32_MAX;
    }
}

void rlt_overlap_forget(struct rlt_overlap *overlap)
{
    RLT_ASSERT(overlap->entries != NULL);
    for (uint32_t i = 0; i < RLT_OVERLAP_ENTRIES; i++) {
        struct rlt_overlap_entry *entry = &overlap->entries[i];
        if (entry->before > 0 && entry->ahead > 0) {
            entry->ahead -= entry->before < entry->ahead ? entry->before : entry->ahead;
        }
    }
}

void rlt_overlap_end_side(struct rlt_overlap *overlap, int side)
{
    overlap->ended = true;
    overlap->owed = 0;
    for (uint32_t i = 0; overlap->entries != NULL && i < RLT_OVERLAP_ENTRIES; i++) {
        struct rlt_overlap_entry *entry = &overlap->entries[i];
        int64_t left = side == overlap->old ? entry->ahead : -entry->ahead;
        entry->ahead = left > 0 ? left : 0;
        overlap->owed += (uint64_t)entry->ahead;
    }
}

/* The entry of a frame, or the free one where it would be. */
static struct rlt_overlap_entry *find(struct rlt_overlap *overlap, struct rlt_overlap_key key)
{
    uint32_t index = (uint32_t)key.low & INDEX_MASK;
    struct rlt_overlap_entry *entry = &overlap->entries[index];
    while (entry->high != 0 && (entry->low != key.low || entry->high != key.high)) {
        index = (index + 1) & INDEX_MASK;
        entry = &overlap->entries[index];
    }
    return entry;
}

/* Free an entry, and close the gap for the probes that passed it. */
static void take_out(struct rlt_overlap *overlap, const struct rlt_overlap_entry *entry)
{
    struct rlt_overlap_entry *entries = overlap->entries;
    uint32_t gap = (uint32_t)(entry - entries);
    for (uint32_t i = (gap + 1) & INDEX_MASK; entries[i].high != 0; i = (i + 1) & INDEX_MASK) {
        uint32_t home = (uint32_t)entries[i].low & INDEX_MASK;
        if (((i - home) & INDEX_MASK) >= ((i - gap) & INDEX_MASK)) {
            entries[gap] = entries[i];
            gap = i;
        }
    }
    entries[gap] = (struct rlt_overlap_entry){0};
    overlap->used--;
}

/* Take a frame once a side is over: the other brings copies that it owes, and new messages. */
static enum rlt_overlap_copy take_owed(struct rlt_overlap *overlap, struct rlt_overlap_entry *entry)
{
    if (entry->high == 0 || entry->ahead == 0) {
        return RLT_OVERLAP_FIRST;
    }
    entry->ahead--;
    overlap->owed--;
    return RLT_OVERLAP_SECOND;
}

struct rlt_overlap_key rlt_overlap_key(const struct rlt_frame *frame)
{
    /* From the topic on, with the line: the sid is the same on both sides. */
    size_t len = (size_t)frame->body_offset + frame->body_len;
    XXH128_hash_t hash = XXH3_128bits(frame->topic, len);
    return (struct rlt_overlap_key){hash.low64, hash.high64 | 1};
}

enum rlt_overlap_copy rlt_overlap_take(struct rlt_overlap *overlap, struct rlt_overlap_key key,
                                       int side)
{
    struct rlt_overlap_entry *entry = find(overlap, key);
    if (overlap->ended) {
        return take_owed(overlap, entry);
    }
    if (entry->high == 0) {
        if (overlap->used >= RLT_OVERLAP_ENTRIES / 4 * 3) {
            return RLT_OVERLAP_UNSEEN;
        }
        overlap->used++;
        *entry = (struct rlt_overlap_entry){.low = key.low, .high = key.high};
    }
    int64_t step = side == overlap->old ? 1 : -1;
    /* Delivered frames came before those that wait, so their copies come first. */
    if (step == 1 && entry->waiting != 0 && -entry->ahead == (int64_t)entry->waiting) {
        return RLT_OVERLAP_WAITED;
    }
    bool second = entry->ahead * step < 0;
    entry->ahead += step;
    if (entry->ahead == 0) {
        take_out(overlap, entry); /* nothing else is known of it */
    }
    return second ? RLT_OVERLAP_SECOND : RLT_OVERLAP_FIRST;
}

/* ---- Copies that wait --------------------------------------------------------------------- */

uint64_t rlt_overlap_wait(struct rlt_overlap *overlap, struct rlt_overlap_key key, uint64_t number)
{
    struct rlt_overlap_entry *entry = find(overlap, key);
    RLT_ASSERT(entry->ahead < 0 && !overlap->ended);
    uint64_t before = entry->waiting != 0 ? entry->last : number;
    entry->first = entry->waiting != 0 ? entry->first : number;
    entry->last = number;
    entry->waiting++;
    return before;
}

uint64_t rlt_overlap_waiting(struct rlt_overlap *overlap, struct rlt_overlap_key key)
{
    const struct rlt_overlap_entry *entry = find(overlap, key);
    RLT_ASSERT(entry->waiting != 0);
    return entry->first;
}

void rlt_overlap_end_wait(struct rlt_overlap *overlap, struct rlt_overlap_key key, uint64_t next,
                          bool delivered)
{
    struct rlt_overlap_entry *entry = find(overlap, key);
    RLT_ASSERT(entry->waiting != 0);
    entry->waiting--;
    entry->first = next;
    entry->ahead += delivered ? 0 : 1;
    if (entry->ahead == 0) {
        take_out(overlap, entry);
    }
}
