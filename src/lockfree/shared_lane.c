/* SPDX-License-Identifier: MIT */
#include "lockfree/shared_lane.h"

#include <assert.h>
#include <string.h>

#include "base/memory.h"
#include "roulette.h"

#define POSITION_BITS 40
#define POSITION_MASK ((UINT64_C(1) << POSITION_BITS) - 1)
#define SLOT_MASK     ((UINT64_C(1) << (64 - POSITION_BITS)) - 1)

#define SLOTS_MAX ((size_t)1 << 20)

static_assert(SLOTS_MAX < SLOT_MASK, "slot numbers of one lap are distinct in the claimed word");
static_assert(RLT_LANE_CAPACITY_MAX < POSITION_MASK, "so are its positions");

void rlt_shared_lane_init(struct rlt_shared_lane *lane)
{
    memset(lane, 0, sizeof(*lane));
}

int rlt_shared_lane_allocate(struct rlt_shared_lane *lane, size_t capacity)
{
    uint32_t state = 0;
    /* Acquire on both paths: partner of the release below. */
    if (!atomic_compare_exchange_strong_explicit(&lane->ready, &state, 1, memory_order_acquire,
                                                 memory_order_acquire)) {
        return state == 2 ? 0 : ROULETTE_EAGAIN;
    }
    RLT_ASSERT(rlt_is_power_of_two(capacity) && capacity >= RLT_LANE_CAPACITY_MIN);
    lane->slot_count = rlt_min_size(capacity / RLT_SHARED_LANE_BYTES_PER_SLOT, SLOTS_MAX);
    lane->slots = rlt_memory_alloc(lane->slot_count, sizeof(*lane->slots));
    lane->bytes = rlt_memory_alloc_aligned(4096, capacity);
    if (lane->slots == NULL || lane->bytes == NULL) {
        rlt_shared_lane_fini(lane);
        atomic_store_explicit(&lane->ready, 0, memory_order_release);
        return ROULETTE_ENOMEM;
    }
    lane->capacity = capacity;
    /* Release: publishes the memory to the other producers (the consumer acquires a slot). */
    atomic_store_explicit(&lane->ready, 2, memory_order_release);
    return 0;
}

void rlt_shared_lane_fini(struct rlt_shared_lane *lane)
{
    rlt_memory_free((void *)lane->slots);
    rlt_memory_free(lane->bytes);
    lane->slots = NULL;
    lane->bytes = NULL;
}

/* Count the bytes to skip before a frame of `len` at `position`: the rule of both ends. */
static size_t gap_before(const struct rlt_shared_lane *lane, uint64_t position, size_t len)
{
    size_t offset = (size_t)position & (lane->capacity - 1);
    return offset + len > lane->capacity ? lane->capacity - offset : 0;
}

static uint64_t slot_word(const struct rlt_shared_lane *lane, uint64_t slot, size_t len)
{
    uint64_t lap = (slot / lane->slot_count + 1) & UINT32_MAX;
    return (lap << 32) | len;
}

/* Widen the low `mask` bits of a counter that is less than one wrap ahead of `base`. */
static uint64_t widen(uint64_t low, uint64_t base, uint64_t mask)
{
    return base + ((low - base) & mask);
}

bool rlt_shared_lane_claim(struct rlt_shared_lane *lane, size_t len, struct rlt_shared_claim *claim)
{
    RLT_DASSERT(len > 0 && len <= lane->capacity / 2);
    /* Acquire: partner of the release in the CAS. The producer of this claim knew a head at most
     * one capacity behind it; an older head must not be read here, or a lane with room would seem
     * full. */
    uint64_t claimed = atomic_load_explicit(&lane->claimed, memory_order_acquire);
    for (;;) {
        /* Acquire: the consumer's reads of released bytes come before the producer's writes. The
         * head is at most one capacity behind any claim, so widening against it is unambiguous;
         * against a head newer than `claimed`, the claim seems far ahead, and has moved too. */
        uint64_t head = atomic_load_explicit(&lane->head_position, memory_order_acquire);
        uint64_t head_slot = atomic_load_explicit(&lane->head_slot, memory_order_acquire);
        uint64_t position = widen(claimed & POSITION_MASK, head, POSITION_MASK);
        uint64_t slot = widen(claimed >> POSITION_BITS, head_slot, SLOT_MASK);
        size_t gap = gap_before(lane, position, len);
        if (position + gap + len - head > lane->capacity || slot - head_slot >= lane->slot_count) {
            uint64_t again = atomic_load_explicit(&lane->claimed, memory_order_acquire);
            if (again == claimed) {
                return false;
            }
            claimed = again;
            continue;
        }
        uint64_t next_position = (position + gap + len) & POSITION_MASK;
        uint64_t next = (((slot + 1) & SLOT_MASK) << POSITION_BITS) | next_position;
        if (atomic_compare_exchange_weak_explicit(&lane->claimed, &claimed, next,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            claim->bytes = lane->bytes + ((position + gap) & (lane->capacity - 1));
            claim->slot = slot;
            return true;
        }
    }
}

void rlt_shared_lane_commit(struct rlt_shared_lane *lane, const struct rlt_shared_claim *claim,
                            size_t len)
{
    /* Relaxed: a statistic. Before the slot, so that accepted >= what the consumer counted. */
    atomic_fetch_add_explicit(&lane->accepted, 1, memory_order_relaxed);
    /* Release: publishes the frame's bytes. */
    atomic_store_explicit(&lane->slots[claim->slot % lane->slot_count],
                          slot_word(lane, claim->slot, len), memory_order_release);
}

uint64_t rlt_shared_lane_tail_slot(struct rlt_shared_lane *lane)
{
    /* Acquire: partner of the release in claim: what a producer did before its claim, such as
     * pushing a command, is visible. */
    uint64_t claimed = atomic_load_explicit(&lane->claimed, memory_order_acquire);
    return widen(claimed >> POSITION_BITS, lane->cursor.count, SLOT_MASK);
}

/* Read the length of the committed frame in slot `slot`; 0 if it is not committed. */
static size_t committed_len(struct rlt_shared_lane *lane, uint64_t slot)
{
    /* Acquire: partner of the release in commit. */
    uint64_t word =
        atomic_load_explicit(&lane->slots[slot % lane->slot_count], memory_order_acquire);
    size_t len = (size_t)(word & UINT32_MAX);
    return word == slot_word(lane, slot, len) ? len : 0;
}

bool rlt_shared_lane_is_empty(struct rlt_shared_lane *lane)
{
    /* Acquire: partner of the release in allocate; slots must not be touched before. */
    return atomic_load_explicit(&lane->ready, memory_order_acquire) != 2 ||
           committed_len(lane, lane->cursor.count) == 0;
}

bool rlt_shared_lane_peek(struct rlt_shared_lane *lane, size_t limit, struct rlt_lane_chunk *chunk)
{
    return rlt_shared_lane_peek_until(lane, UINT64_MAX, limit, chunk);
}

bool rlt_shared_lane_peek_until(struct rlt_shared_lane *lane, uint64_t slot_end, size_t limit,
                                struct rlt_lane_chunk *chunk)
{
    if (lane->cursor.count >= slot_end || rlt_shared_lane_is_empty(lane)) {
        return false;
    }
    size_t first_len = committed_len(lane, lane->cursor.count);
    lane->cursor.position += gap_before(lane, lane->cursor.position, first_len);
    struct rlt_lane_mark end = {lane->cursor.position + first_len, lane->cursor.count + 1};
    while (end.count < slot_end) {
        size_t len = committed_len(lane, end.count);
        bool fits = len != 0 && end.position + len - lane->cursor.position <= limit;
        /* Offset 0 is behind the end of the ring: not contiguous with the frame before. */
        bool contiguous = (end.position & (lane->capacity - 1)) != 0;
        if (!fits || !contiguous || gap_before(lane, end.position, len) != 0 ||
            end.count - lane->cursor.count >= lane->slot_count) {
            break;
        }
        end.position += len;
        end.count++;
    }
    chunk->bytes = lane->bytes + (lane->cursor.position & (lane->capacity - 1));
    chunk->len = (size_t)(end.position - lane->cursor.position);
    chunk->start = lane->cursor;
    chunk->end = end;
    return true;
}

void rlt_shared_lane_release(struct rlt_shared_lane *lane, struct rlt_lane_mark mark)
{
    /* Release: the consumer's and the kernel's reads come before the producers' next writes. */
    atomic_store_explicit(&lane->head_slot, mark.count, memory_order_release);
    atomic_store_explicit(&lane->head_position, mark.position, memory_order_release);
}

uint64_t rlt_shared_lane_discard(struct rlt_shared_lane *lane)
{
    struct rlt_lane_chunk chunk;
    uint64_t messages = 0;
    while (rlt_shared_lane_peek(lane, SIZE_MAX, &chunk)) {
        messages += chunk.end.count - chunk.start.count;
        rlt_shared_lane_advance(lane, chunk.end);
        rlt_shared_lane_release(lane, chunk.end);
    }
    return messages;
}

uint64_t rlt_shared_lane_queued_bytes(const struct rlt_shared_lane *lane)
{
    /* Acquire: the consumer released the head after it had acquired the frames before it, so the
     * claims read next are not older than the head, and the difference never negative. */
    uint64_t head = atomic_load_explicit(&lane->head_position, memory_order_acquire);
    /* Acquire: partner of the CAS in claim. A claim that is not the head: there is memory. */
    uint64_t claimed = atomic_load_explicit(&lane->claimed, memory_order_acquire);
    return (claimed - head) & POSITION_MASK;
}

bool rlt_shared_lane_take_waiter(struct rlt_shared_lane *lane)
{
    /* As in rlt_lane_take_waiter(). */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&lane->waiting, memory_order_relaxed) == 0) {
        return false;
    }
    uint64_t queued = rlt_shared_lane_queued_bytes(lane);
    uint64_t slots = rlt_shared_lane_tail_slot(lane) -
                     atomic_load_explicit(&lane->head_slot, memory_order_relaxed);
    if (queued != 0 && (queued > lane->capacity - lane->capacity / 4 ||
                        slots > lane->slot_count - lane->slot_count / 4)) {
        return false;
    }
    return atomic_exchange_explicit(&lane->waiting, 0, memory_order_relaxed) != 0;
}
