/* SPDX-License-Identifier: MIT */
#include "core/overlap.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/assert.h"
#include "base/defs.h"
#include "base/memory.h"
#include "roulette.h"

/* Open addressing with linear probes; entries are never taken out, so a probe ends at a free one.
 * At most 3/4 are used. */
struct rlt_overlap_entry {
    uint64_t low;
    uint64_t high;
    int64_t ahead; /* copies of side 0 less those of side 1 */
    uint64_t used;
};

int rlt_overlap_open(struct rlt_overlap *overlap)
{
    RLT_ASSERT(overlap->entries == NULL);
    overlap->entries = rlt_memory_alloc(RLT_OVERLAP_ENTRIES, sizeof(*overlap->entries));
    overlap->used = 0;
    overlap->unseen = 0;
    return overlap->entries != NULL ? 0 : ROULETTE_ENOMEM;
}

void rlt_overlap_close(struct rlt_overlap *overlap)
{
    rlt_memory_free(overlap->entries);
    overlap->entries = NULL;
}

void rlt_overlap_end_side(struct rlt_overlap *overlap, int side)
{
    for (uint32_t i = 0; overlap->entries != NULL && i < RLT_OVERLAP_ENTRIES; i++) {
        struct rlt_overlap_entry *entry = &overlap->entries[i];
        bool behind = side == 0 ? entry->ahead < 0 : entry->ahead > 0;
        entry->ahead = behind ? 0 : entry->ahead;
    }
}

/* The entry of a hash, taken if it is new; NULL if there is no room for a new one. */
static struct rlt_overlap_entry *find(struct rlt_overlap *overlap, XXH128_hash_t hash)
{
    uint32_t index = (uint32_t)hash.low64 & (RLT_OVERLAP_ENTRIES - 1);
    for (;; index = (index + 1) & (RLT_OVERLAP_ENTRIES - 1)) {
        struct rlt_overlap_entry *entry = &overlap->entries[index];
        if (entry->used == 0) {
            if (overlap->used >= RLT_OVERLAP_ENTRIES / 4 * 3) {
                return NULL;
            }
            overlap->used++;
            *entry = (struct rlt_overlap_entry){hash.low64, hash.high64, 0, 1};
            return entry;
        }
        if (entry->low == hash.low64 && entry->high == hash.high64) {
            return entry;
        }
    }
}

bool rlt_overlap_is_second(struct rlt_overlap *overlap, const struct rlt_frame *frame, int side)
{
    /* From the topic on, the line too: the sid is the same on both sides. */
    size_t len = (size_t)frame->body_offset + frame->body_len;
    struct rlt_overlap_entry *entry = find(overlap, XXH3_128bits(frame->topic, len));
    if (entry == NULL) {
        overlap->unseen++;
        return false;
    }
    int64_t step = side == 0 ? 1 : -1;
    bool second = entry->ahead * step < 0;
    entry->ahead += step;
    return second;
}
