/* SPDX-License-Identifier: MIT */
#include "lockfree/lane.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/test.h"
#include "unit/lockfree/lanes.h"

static void start(struct rlt_lane *lane, size_t capacity)
{
    lane_start_at(lane, capacity, (struct rlt_lane_mark){0, 0});
}

/** Put a frame of `len` bytes, all of them `fill`. Returns: whether there was room. */
static bool put(struct rlt_lane *lane, size_t len, int fill)
{
    uint8_t *out = rlt_lane_claim(lane, len);
    if (out == NULL) {
        return false;
    }
    memset(out, fill, len);
    rlt_lane_commit(lane, len);
    return true;
}

/** Peek at everything contiguous, which must be there. */
static struct rlt_lane_chunk peek(struct rlt_lane *lane)
{
    struct rlt_lane_chunk chunk;
    cr_assert(rlt_lane_peek(lane, SIZE_MAX, &chunk));
    cr_assert_eq(chunk.end.position - chunk.start.position, chunk.len);
    return chunk;
}

/** Peek at everything contiguous, and release it. */
static struct rlt_lane_chunk take(struct rlt_lane *lane)
{
    struct rlt_lane_chunk chunk = peek(lane);
    rlt_lane_advance(lane, chunk.end);
    rlt_lane_release(lane, chunk.end.position);
    return chunk;
}

/* ---- Memory ------------------------------------------------------------------------------- */

Test(lane, new_lane_is_empty_without_memory)
{
    struct rlt_lane lane;
    struct rlt_lane_chunk chunk;
    rlt_lane_init(&lane);
    cr_assert(rlt_lane_is_empty(&lane));
    cr_assert_not(rlt_lane_peek(&lane, SIZE_MAX, &chunk));
    cr_assert_eq(rlt_lane_discard(&lane), 0);
    cr_assert_eq(rlt_lane_queued_bytes(&lane), 0);
    cr_assert_not(rlt_lane_take_waiter(&lane));
    rlt_lane_fini(&lane);
}

/** A gate that makes the allocation fail that `*context` counts down to. */
static int fail_at(void *context, size_t size)
{
    unsigned *left = context;
    (void)size;
    return (*left)-- != 0;
}

Test(lane, failed_allocation_leaves_it_without_memory)
{
    struct rlt_lane lane;
    rlt_lane_init(&lane);
    for (unsigned i = 0; i < 2; i++) {
        unsigned left = i;
        rlt_memory_set_gate(fail_at, &left);
        cr_assert_eq(rlt_lane_allocate(&lane, 64 * KIB), ROULETTE_ENOMEM);
        rlt_memory_set_gate(NULL, NULL);
        cr_assert_null(lane.bytes);
        cr_assert_null(lane.checkpoints);
        cr_assert_eq(lane.capacity, 0);
    }
    cr_assert_eq(rlt_lane_allocate(&lane, 64 * KIB), 0);
    cr_assert(put(&lane, 10, 'a'));
    rlt_lane_fini(&lane);
}

Test(lane, capacity_that_is_no_power_of_two_aborts, .signal = SIGABRT)
{
    struct rlt_lane lane;
    rlt_lane_init(&lane);
    (void)rlt_lane_allocate(&lane, 100 * KIB);
}

Test(lane, capacity_below_a_block_aborts, .signal = SIGABRT)
{
    struct rlt_lane lane;
    rlt_lane_init(&lane);
    (void)rlt_lane_allocate(&lane, 32 * KIB);
}

/* ---- Claim, commit, peek ------------------------------------------------------------------ */

Test(lane, committed_frames_are_peeked_at_together)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 1, 'a'));
    cr_assert(put(&lane, 3, 'b'));
    cr_assert_not(rlt_lane_is_empty(&lane));
    cr_assert_eq(rlt_lane_queued_bytes(&lane), 4);
    struct rlt_lane_chunk chunk = peek(&lane);
    cr_assert_eq(chunk.len, 4);
    cr_assert_arr_eq(chunk.bytes, "abbb", 4);
    cr_assert_eq(chunk.start.position, 0);
    cr_assert_eq(chunk.start.count, 0);
    cr_assert_eq(chunk.end.count, 2);
    cr_assert_eq(atomic_load(&lane.accepted), 2);
    rlt_lane_fini(&lane);
}

Test(lane, claimed_frame_is_invisible_until_committed)
{
    struct rlt_lane lane;
    struct rlt_lane_chunk chunk;
    start(&lane, 64 * KIB);
    uint8_t *out = rlt_lane_claim(&lane, 10);
    cr_assert_not_null(out);
    memset(out, 'x', 10);
    cr_assert(rlt_lane_is_empty(&lane));
    cr_assert_not(rlt_lane_peek(&lane, SIZE_MAX, &chunk));
    cr_assert_eq(rlt_lane_queued_bytes(&lane), 0);
    rlt_lane_commit(&lane, 10);
    cr_assert_eq(peek(&lane).len, 10);
    rlt_lane_fini(&lane);
}

Test(lane, second_claim_replaces_the_first)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 30 * KIB, 'a'));
    cr_assert(put(&lane, 10 * KIB, 'a'));
    (void)take(&lane);
    /* The first would leave a gap; the second fits before the end of the ring. */
    cr_assert_eq(rlt_lane_claim(&lane, 30 * KIB), lane.bytes);
    cr_assert_eq(rlt_lane_claim(&lane, 20 * KIB), lane.bytes + 40 * KIB);
    rlt_lane_commit(&lane, 20 * KIB);
    cr_assert_eq(take(&lane).start.position, 40 * KIB);
    rlt_lane_fini(&lane);
}

Test(lane, peek_does_not_move_the_cursor)
{
    struct rlt_lane lane;
    struct rlt_lane_chunk chunk;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 10, 'a'));
    cr_assert_eq(peek(&lane).len, 10);
    chunk = peek(&lane);
    cr_assert_eq(chunk.len, 10);
    rlt_lane_advance(&lane, chunk.end);
    cr_assert(rlt_lane_is_empty(&lane));
    cr_assert_not(rlt_lane_peek(&lane, SIZE_MAX, &chunk));
    cr_assert(put(&lane, 5, 'b'));
    cr_assert_eq(peek(&lane).start.position, 10);
    rlt_lane_fini(&lane);
}

/* ---- Full --------------------------------------------------------------------------------- */

Test(lane, full_to_the_last_byte_refuses_one_more)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    for (int i = 0; i < 64; i++) {
        cr_assert(put(&lane, KIB, i));
    }
    cr_assert_eq(rlt_lane_queued_bytes(&lane), 64 * KIB);
    cr_assert_null(rlt_lane_claim(&lane, 1));
    cr_assert_eq(messages(peek(&lane)), 64);
    rlt_lane_fini(&lane);
}

Test(lane, only_release_makes_room)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 32 * KIB, 'a'));
    cr_assert(put(&lane, 32 * KIB, 'b'));
    rlt_lane_advance(&lane, peek(&lane).end);
    cr_assert_null(rlt_lane_claim(&lane, 1));
    rlt_lane_release(&lane, KIB);
    cr_assert_null(rlt_lane_claim(&lane, KIB + 1));
    cr_assert_not_null(rlt_lane_claim(&lane, KIB));
    rlt_lane_fini(&lane);
}

Test(lane, gap_takes_room_too)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 20 * KIB, 'a'));
    cr_assert(put(&lane, 20 * KIB, 'b'));
    /* 24 KiB are free, but not in one piece at the end. */
    cr_assert_null(rlt_lane_claim(&lane, 25 * KIB));
    rlt_lane_advance(&lane, peek(&lane).end);
    rlt_lane_release(&lane, 20 * KIB);
    cr_assert_null(rlt_lane_claim(&lane, 25 * KIB));
    cr_assert_eq(rlt_lane_claim(&lane, 24 * KIB), lane.bytes + 40 * KIB);
    rlt_lane_release(&lane, 25 * KIB);
    cr_assert_eq(rlt_lane_claim(&lane, 25 * KIB), lane.bytes);
    rlt_lane_fini(&lane);
}

Test(lane, empty_lane_takes_half_its_capacity_at_any_offset)
{
    for (uint64_t offset = 0; offset < 64 * KIB; offset += 509) {
        struct rlt_lane lane;
        lane_start_at(&lane, 64 * KIB, (struct rlt_lane_mark){128 * KIB + offset, 7});
        cr_assert(put(&lane, 32 * KIB, 'a'), "offset %u", (unsigned)offset);
        struct rlt_lane_chunk chunk = take(&lane);
        cr_assert_eq(chunk.len, 32 * KIB);
        cr_assert_eq(messages(chunk), 1);
        cr_assert_eq(rlt_lane_queued_bytes(&lane), 0);
        rlt_lane_fini(&lane);
    }
}

/* ---- Wrap --------------------------------------------------------------------------------- */

Test(lane, exact_fit_wraps_without_a_gap)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 32 * KIB, 'a'));
    cr_assert(put(&lane, 32 * KIB, 'b'));
    rlt_lane_advance(&lane, peek(&lane).end);
    rlt_lane_release(&lane, 32 * KIB);
    cr_assert(put(&lane, KIB, 'c'));
    struct rlt_lane_chunk chunk = peek(&lane);
    cr_assert_eq(chunk.start.position, 64 * KIB);
    cr_assert_eq(chunk.start.count, 2);
    cr_assert_eq(chunk.len, KIB);
    cr_assert_eq(chunk.bytes, lane.bytes);
    rlt_lane_fini(&lane);
}

Test(lane, exact_fit_ends_the_chunk_at_the_end_of_the_ring)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 32 * KIB, 'a'));
    (void)take(&lane);
    cr_assert(put(&lane, 32 * KIB, 'b'));
    cr_assert(put(&lane, 32 * KIB, 'c'));
    struct rlt_lane_chunk chunk = take(&lane);
    cr_assert_eq(chunk.len, 32 * KIB);
    cr_assert_eq(chunk.bytes[0], 'b');
    chunk = take(&lane);
    cr_assert_eq(chunk.len, 32 * KIB);
    cr_assert_eq(chunk.bytes[0], 'c');
    rlt_lane_fini(&lane);
}

Test(lane, gap_is_skipped)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 20 * KIB, 'a'));
    cr_assert(put(&lane, 20 * KIB, 'b'));
    cr_assert(put(&lane, 20 * KIB, 'c'));
    rlt_lane_release(&lane, 40 * KIB); /* the cursor stays: nothing is read twice here */
    rlt_lane_advance(&lane, (struct rlt_lane_mark){40 * KIB, 2});
    cr_assert(put(&lane, 20 * KIB, 'd'));
    struct rlt_lane_chunk chunk = take(&lane);
    cr_assert_eq(chunk.len, 20 * KIB);
    cr_assert_eq(chunk.bytes[0], 'c');
    cr_assert_eq(chunk.end.count, 3);
    chunk = take(&lane);
    cr_assert_eq(chunk.start.position, 64 * KIB);
    cr_assert_eq(chunk.start.count, 3);
    cr_assert_eq(chunk.bytes, lane.bytes);
    cr_assert_eq(chunk.bytes[0], 'd');
    cr_assert_eq(rlt_lane_queued_bytes(&lane), 0);
    rlt_lane_fini(&lane);
}

Test(lane, cursor_at_the_gap_goes_on_in_the_next_lap)
{
    struct rlt_lane lane;
    struct rlt_lane_chunk chunk;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 30 * KIB, 'a'));
    cr_assert(put(&lane, 30 * KIB, 'b'));
    (void)take(&lane);
    cr_assert_not(rlt_lane_peek(&lane, SIZE_MAX, &chunk));
    cr_assert(put(&lane, 10 * KIB, 'c'));
    cr_assert_eq(rlt_lane_queued_bytes(&lane), 14 * KIB);
    /* Twice: the first peek moves the cursor over the gap. */
    cr_assert_eq(peek(&lane).start.position, 64 * KIB);
    chunk = peek(&lane);
    cr_assert_eq(chunk.start.position, 64 * KIB);
    cr_assert_eq(chunk.len, 10 * KIB);
    cr_assert_eq(messages(chunk), 1);
    rlt_lane_fini(&lane);
}

/* ---- Limits ------------------------------------------------------------------------------- */

/** Frames of `len` bytes, until there is no room or the lap ends. Returns: how many. */
static size_t fill_lap(struct rlt_lane *lane, size_t len)
{
    size_t count = 0;
    while (lane->capacity - ((size_t)lane->position & (lane->capacity - 1)) >= len &&
           rlt_lane_claim(lane, len) != NULL) {
        rlt_lane_commit(lane, len);
        count++;
    }
    return count;
}

Test(lane, limit_of_everything_cuts_nothing)
{
    struct rlt_lane lane;
    struct rlt_lane_chunk chunk;
    start(&lane, 256 * KIB);
    cr_assert_eq(fill_lap(&lane, 1000), 262);
    cr_assert(rlt_lane_peek(&lane, 262000, &chunk));
    cr_assert_eq(chunk.len, 262000);
    cr_assert(rlt_lane_peek(&lane, 261999, &chunk));
    cr_assert_lt(chunk.len, 262000);
    rlt_lane_fini(&lane);
}

Test(lane, limit_cuts_at_the_last_block_before_it)
{
    struct rlt_lane lane;
    struct rlt_lane_chunk chunk;
    start(&lane, 256 * KIB);
    (void)fill_lap(&lane, 1000);
    /* The first frames of blocks 1, 2, 3 start at 66000, 132000, 197000. */
    cr_assert(rlt_lane_peek(&lane, 132000, &chunk));
    cr_assert_eq(chunk.len, 132000);
    cr_assert_eq(messages(chunk), 132);
    cr_assert(rlt_lane_peek(&lane, 131999, &chunk));
    cr_assert_eq(chunk.len, 66000);
    cr_assert(rlt_lane_peek(&lane, 250000, &chunk));
    cr_assert_eq(chunk.len, 197000);
    rlt_lane_fini(&lane);
}

Test(lane, limit_below_the_first_block_cuts_behind_it)
{
    struct rlt_lane lane;
    struct rlt_lane_chunk chunk;
    start(&lane, 256 * KIB);
    (void)fill_lap(&lane, 1000);
    for (size_t limit = 0; limit < 66000; limit += 9973) {
        cr_assert(rlt_lane_peek(&lane, limit, &chunk));
        cr_assert_eq(chunk.len, 66000);
    }
    rlt_lane_advance(&lane, (struct rlt_lane_mark){197000, 197});
    cr_assert(rlt_lane_peek(&lane, 0, &chunk));
    cr_assert_eq(chunk.len, 65000, "no block begins behind: all that there is");
    rlt_lane_fini(&lane);
}

Test(lane, blocks_inside_a_frame_are_no_cut)
{
    struct rlt_lane lane;
    struct rlt_lane_chunk chunk;
    start(&lane, 1024 * KIB);
    cr_assert_eq(fill_lap(&lane, 200 * KIB), 5);
    cr_assert(rlt_lane_peek(&lane, 0, &chunk));
    cr_assert_eq(chunk.len, 200 * KIB);
    cr_assert(rlt_lane_peek(&lane, 399 * KIB, &chunk));
    cr_assert_eq(chunk.len, 200 * KIB);
    cr_assert(rlt_lane_peek(&lane, 400 * KIB, &chunk));
    cr_assert_eq(chunk.len, 400 * KIB);
    rlt_lane_fini(&lane);
}

/*
 * Checkpoints hold 34 bits of a position, so one that is not written for 2^34 bytes seems new
 * again. Small frames start in all blocks of the first lap, large ones then leave some out.
 */
Test(lane, checkpoint_of_2_34_bytes_ago_is_no_cut)
{
    const size_t capacity = 1024 * KIB;
    const size_t len = 100 * KIB;
    struct rlt_lane lane;
    start(&lane, capacity);
    cr_assert_eq(fill_lap(&lane, KIB), KIB);
    (void)take(&lane);
    uint64_t end = (UINT64_C(1) << RLT_LANE_POSITION_BITS) + 2 * capacity;
    while (lane.position < end) {
        size_t frames = fill_lap(&lane, len);
        cr_assert(frames > 0 || rlt_lane_claim(&lane, len) != NULL);
        if (frames == 0) {
            rlt_lane_commit(&lane, len); /* begins the next lap */
            frames = 1 + fill_lap(&lane, len);
        }
        while (frames > 0) {
            struct rlt_lane_chunk chunk;
            cr_assert(rlt_lane_peek(&lane, 256 * KIB, &chunk));
            cr_assert_eq(chunk.len % len, 0, "cut inside a frame at position %" PRIu64,
                         chunk.end.position);
            cr_assert_eq(messages(chunk), chunk.len / len);
            frames -= messages(chunk);
            rlt_lane_advance(&lane, chunk.end);
            rlt_lane_release(&lane, chunk.end.position);
        }
    }
    rlt_lane_fini(&lane);
}

/* ---- Positions and counts that wrap ------------------------------------------------------- */

Test(lane, marks_are_widened_beyond_the_packed_bits)
{
    const uint64_t position = UINT64_C(1) << RLT_LANE_POSITION_BITS;
    const uint64_t count = UINT64_C(1) << (64 - RLT_LANE_POSITION_BITS);
    struct rlt_lane_mark base = {3 * position - 5, 9 * count - 3};
    struct rlt_lane_mark mark = rlt_lane_unpack(rlt_lane_pack(3 * position + 7, 9 * count), base);
    cr_assert_eq(mark.position, 3 * position + 7);
    cr_assert_eq(mark.count, 9 * count);
    mark = rlt_lane_unpack(rlt_lane_pack(base.position, base.count), base);
    cr_assert_eq(mark.position, base.position);
    cr_assert_eq(mark.count, base.count);
}

Test(lane, position_and_count_wrap_in_one_chunk)
{
    const uint64_t position = UINT64_C(1) << RLT_LANE_POSITION_BITS;
    const uint64_t count = UINT64_C(1) << (64 - RLT_LANE_POSITION_BITS);
    struct rlt_lane_mark base = {5 * position - 200, 4 * count - 2};
    struct rlt_lane lane;
    lane_start_at(&lane, 64 * KIB, base);
    cr_assert(put(&lane, 150, 'a'));
    cr_assert(put(&lane, 100, 'b')); /* skips 50 bytes and begins a lap */
    cr_assert(put(&lane, 100, 'c'));
    cr_assert_eq(rlt_lane_queued_bytes(&lane), 400);
    struct rlt_lane_chunk chunk = take(&lane);
    cr_assert_eq(chunk.len, 150);
    cr_assert_eq(chunk.end.count, base.count + 1);
    chunk = take(&lane);
    cr_assert_eq(chunk.start.position, 5 * position);
    cr_assert_eq(chunk.end.position, 5 * position + 200);
    cr_assert_eq(chunk.end.count, 4 * count + 1);
    cr_assert(rlt_lane_is_empty(&lane));
    cr_assert_eq(rlt_lane_queued_bytes(&lane), 0);
    rlt_lane_fini(&lane);
}

/* ---- Back and away ------------------------------------------------------------------------ */

Test(lane, cursor_moves_back_to_an_unreleased_frame)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 30 * KIB, 'a'));
    cr_assert(put(&lane, 25 * KIB, 'b'));
    struct rlt_lane_chunk first = peek(&lane);
    rlt_lane_advance(&lane, first.end);
    rlt_lane_release(&lane, 30 * KIB);
    cr_assert(put(&lane, 30 * KIB, 'c')); /* in the next lap */
    struct rlt_lane_chunk second = peek(&lane);
    cr_assert_eq(second.bytes[0], 'c');
    rlt_lane_advance(&lane, second.end);
    rlt_lane_advance(&lane, (struct rlt_lane_mark){30 * KIB, 1});
    struct rlt_lane_chunk again = take(&lane);
    cr_assert_eq(again.bytes[0], 'b');
    cr_assert_eq(again.len, 25 * KIB);
    cr_assert_eq(again.end.count, 2);
    again = take(&lane);
    cr_assert_eq(again.bytes[0], 'c');
    cr_assert_eq(again.start.position, second.start.position);
    cr_assert_eq(again.end.count, 3);
    rlt_lane_fini(&lane);
}

Test(lane, discard_counts_and_releases_everything)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    cr_assert(put(&lane, 30 * KIB, 'a'));
    (void)take(&lane);
    cr_assert(put(&lane, 30 * KIB, 'b'));
    cr_assert(put(&lane, 10 * KIB, 'c')); /* behind a gap */
    cr_assert(put(&lane, 10 * KIB, 'd'));
    cr_assert_eq(rlt_lane_discard(&lane), 3);
    cr_assert(rlt_lane_is_empty(&lane));
    cr_assert_eq(rlt_lane_queued_bytes(&lane), 0);
    cr_assert_eq(rlt_lane_discard(&lane), 0);
    cr_assert(put(&lane, 32 * KIB, 'e'));
    cr_assert_eq(take(&lane).start.count, 4);
    rlt_lane_fini(&lane);
}

/* ---- Waiting for room --------------------------------------------------------------------- */

Test(lane, waiter_is_taken_once_when_a_quarter_is_free)
{
    struct rlt_lane lane;
    start(&lane, 64 * KIB);
    for (int i = 0; i < 64; i++) {
        cr_assert(put(&lane, KIB, i));
    }
    cr_assert_not(rlt_lane_take_waiter(&lane), "nobody waits");
    rlt_lane_wait_begin(&lane);
    cr_assert_not(rlt_lane_take_waiter(&lane), "no room");
    rlt_lane_advance(&lane, peek(&lane).end);
    rlt_lane_release(&lane, 15 * KIB);
    cr_assert_not(rlt_lane_take_waiter(&lane), "not enough room");
    cr_assert_eq(atomic_load(&lane.waiting), 1);
    rlt_lane_release(&lane, 16 * KIB);
    cr_assert(rlt_lane_take_waiter(&lane));
    cr_assert_eq(atomic_load(&lane.waiting), 0);
    cr_assert_not(rlt_lane_take_waiter(&lane));
    rlt_lane_fini(&lane);
}

Test(lane, waiter_is_taken_from_an_empty_lane)
{
    struct rlt_lane lane;
    rlt_lane_init(&lane);
    rlt_lane_wait_begin(&lane);
    cr_assert(rlt_lane_take_waiter(&lane));
    rlt_lane_fini(&lane);
}
