/* SPDX-License-Identifier: MIT */
#include "lockfree/lane.h"

#include <string.h>

#include "base/memory.h"
#include "roulette.h"

static_assert(offsetof(struct rlt_lane, tail) % RLT_CACHE_LINE == 0, "producer's own line");
static_assert(offsetof(struct rlt_lane, head) % RLT_CACHE_LINE == 0, "consumer's own line");
static_assert(offsetof(struct rlt_lane, head) - offsetof(struct rlt_lane, tail) >= RLT_CACHE_LINE,
              "producer and consumer on different lines");

void rlt_lane_init(struct rlt_lane *lane)
{
    memset(lane, 0, sizeof(*lane));
    /* No block yet: the first commit writes a checkpoint. */
    lane->block_seen = UINT64_MAX;
}

int rlt_lane_allocate(struct rlt_lane *lane, size_t capacity)
{
    RLT_ASSERT(rlt_is_power_of_two(capacity));
    RLT_ASSERT(capacity >= RLT_LANE_CAPACITY_MIN && capacity <= RLT_LANE_CAPACITY_MAX);
    size_t blocks = capacity >> RLT_LANE_BLOCK_BITS;
    blocks = blocks != 0 ? blocks : 1;
    lane->checkpoints = rlt_memory_alloc(blocks, sizeof(*lane->checkpoints));
    if (lane->checkpoints == NULL) {
        return ROULETTE_ENOMEM;
    }
    lane->bytes = rlt_memory_alloc_aligned(4096, capacity);
    if (lane->bytes == NULL) {
        rlt_memory_free((void *)lane->checkpoints);
        lane->checkpoints = NULL;
        return ROULETTE_ENOMEM;
    }
    lane->capacity = capacity;
    return 0;
}

void rlt_lane_fini(struct rlt_lane *lane)
{
    rlt_memory_free((void *)lane->checkpoints);
    rlt_memory_free(lane->bytes);
    lane->checkpoints = NULL;
    lane->bytes = NULL;
    lane->capacity = 0;
}

void rlt_lane_enter_block(struct rlt_lane *lane, uint64_t start, uint64_t count)
{
    uint64_t block = start >> RLT_LANE_BLOCK_BITS;
    if ((start & (lane->capacity - 1)) == 0) {
        lane->lap_end = (struct rlt_lane_mark){lane->position, count};
    }
    /* Also into the blocks since the last checkpoint, in which no frame starts. Otherwise such a
     * block would keep a mark of an earlier lap as long as frames are large; 2^34 bytes later that
     * mark would widen to a position in the middle of a current frame, and peek would cut there. A
     * mark of `block` is valid for no other block, at any age. No mark is overwritten that the
     * consumer may look at: a block one lap before this one begins before the head, because claim
     * found room, and peek looks only at blocks that begin behind the cursor. */
    uint64_t mask = (lane->capacity >> RLT_LANE_BLOCK_BITS) - 1;
    for (uint64_t i = lane->block_seen + 1; i <= block; i++) {
        atomic_store_explicit(&lane->checkpoints[i & mask], rlt_lane_pack(start, count),
                              memory_order_relaxed);
    }
    lane->block_seen = block;
}

/* Read the checkpoint of `block` if it lies in (lane->cursor, end); otherwise a position of 0. */
static struct rlt_lane_mark checkpoint_in(struct rlt_lane *lane, uint64_t block, uint64_t end)
{
    size_t index = (size_t)(block & ((lane->capacity >> RLT_LANE_BLOCK_BITS) - 1));
    uint64_t packed = atomic_load_explicit(&lane->checkpoints[index], memory_order_relaxed);
    struct rlt_lane_mark mark = rlt_lane_unpack(packed, lane->cursor);
    /* A mark of the lap before unpacks to a position far ahead, outside this block. */
    bool valid = mark.position >> RLT_LANE_BLOCK_BITS == block &&
                 mark.position > lane->cursor.position && mark.position < end;
    return valid ? mark : (struct rlt_lane_mark){0, 0};
}

/* Find the best frame boundary near cursor + limit: the last before that, else the first behind. */
static struct rlt_lane_mark cut(struct rlt_lane *lane, size_t limit, struct rlt_lane_mark end)
{
    uint64_t first = lane->cursor.position >> RLT_LANE_BLOCK_BITS;
    uint64_t middle = (lane->cursor.position + limit) >> RLT_LANE_BLOCK_BITS;
    uint64_t last = (end.position - 1) >> RLT_LANE_BLOCK_BITS;
    for (uint64_t block = middle; block > first; block--) {
        struct rlt_lane_mark mark = checkpoint_in(lane, block, end.position);
        if (mark.position != 0 && mark.position <= lane->cursor.position + limit) {
            return mark;
        }
    }
    for (uint64_t block = middle > first ? middle : first + 1; block <= last; block++) {
        struct rlt_lane_mark mark = checkpoint_in(lane, block, end.position);
        if (mark.position != 0) {
            return mark;
        }
    }
    return end;
}

bool rlt_lane_peek(struct rlt_lane *lane, size_t limit, struct rlt_lane_chunk *chunk)
{
    return rlt_lane_peek_until(lane, rlt_lane_tail(lane), limit, chunk);
}

bool rlt_lane_peek_until(struct rlt_lane *lane, struct rlt_lane_mark end, size_t limit,
                         struct rlt_lane_chunk *chunk)
{
    if (end.position <= lane->cursor.position) {
        return false;
    }
    uint64_t lap_size = lane->capacity;
    uint64_t lap_end = (lane->cursor.position & ~(lap_size - 1)) + lap_size;
    if (end.position > lap_end) {
        /* A frame was committed in the next lap, so the producer wrote where this lap ended. */
        if (lane->lap_end.position > lane->cursor.position) {
            end = lane->lap_end;
        } else {
            /* The cursor stands at the gap: go on with the next lap. */
            lane->cursor.position = lap_end;
        }
    }
    if (limit < end.position - lane->cursor.position) {
        end = cut(lane, limit, end);
    }
    chunk->bytes = lane->bytes + (lane->cursor.position & (lap_size - 1));
    chunk->len = (size_t)(end.position - lane->cursor.position);
    chunk->start = lane->cursor;
    chunk->end = end;
    return true;
}

uint64_t rlt_lane_discard(struct rlt_lane *lane)
{
    struct rlt_lane_mark end = rlt_lane_tail(lane);
    uint64_t messages = end.count - lane->cursor.count;
    lane->cursor = end;
    rlt_lane_release(lane, end.position);
    return messages;
}

bool rlt_lane_take_waiter(struct rlt_lane *lane)
{
    /* The fence orders the head's store before this load: see rlt_lane_wait_begin(). */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&lane->waiting, memory_order_relaxed) == 0) {
        return false;
    }
    uint64_t queued = rlt_lane_queued_bytes(lane);
    if (queued != 0 && queued > lane->capacity - lane->capacity / 4) {
        return false;
    }
    /* Relaxed: the sleeper acquires the head afterwards. */
    return atomic_exchange_explicit(&lane->waiting, 0, memory_order_relaxed) != 0;
}
