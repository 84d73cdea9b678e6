/* SPDX-License-Identifier: MIT */
#include "lockfree/shared_lane.h"

#include <signal.h>
#include <string.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/test.h"
#include "unit/lockfree/lanes.h"

static void start(struct rlt_shared_lane *lane)
{
    shared_lane_start_at(lane, (struct rlt_lane_mark){0, 0});
}

static bool put(struct rlt_shared_lane *lane, size_t len, int fill)
{
    struct rlt_shared_claim claim;
    if (!rlt_shared_lane_claim(lane, len, &claim)) {
        return false;
    }
    memset(claim.bytes, fill, len);
    rlt_shared_lane_commit(lane, &claim, len);
    return true;
}

static struct rlt_lane_chunk peek(struct rlt_shared_lane *lane)
{
    struct rlt_lane_chunk chunk;
    cr_assert(rlt_shared_lane_peek(lane, SIZE_MAX, &chunk));
    cr_assert_eq(chunk.end.position - chunk.start.position, chunk.len);
    return chunk;
}

static struct rlt_lane_chunk take(struct rlt_shared_lane *lane)
{
    struct rlt_lane_chunk chunk = peek(lane);
    rlt_shared_lane_advance(lane, chunk.end);
    rlt_shared_lane_release(lane, chunk.end);
    return chunk;
}

/* ---- Memory ------------------------------------------------------------------------------- */

Test(shared_lane, new_lane_is_empty_without_memory)
{
    struct rlt_shared_lane lane;
    struct rlt_lane_chunk chunk;
    rlt_shared_lane_init(&lane);
    cr_assert(rlt_shared_lane_is_empty(&lane));
    cr_assert_not(rlt_shared_lane_peek(&lane, SIZE_MAX, &chunk));
    cr_assert_eq(rlt_shared_lane_discard(&lane), 0);
    cr_assert_eq(rlt_shared_lane_queued_bytes(&lane), 0);
    cr_assert_eq(rlt_shared_lane_tail_slot(&lane), 0);
    cr_assert_not(rlt_shared_lane_take_waiter(&lane));
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, memory_is_made_once)
{
    struct rlt_shared_lane lane;
    rlt_shared_lane_init(&lane);
    cr_assert_eq(rlt_shared_lane_allocate(&lane, 64 * KIB), 0);
    uint8_t *bytes = lane.bytes;
    cr_assert_eq(rlt_shared_lane_allocate(&lane, 64 * KIB), 0);
    cr_assert_eq(lane.bytes, bytes);
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, second_thread_does_not_wait_for_the_allocation)
{
    struct rlt_shared_lane lane;
    rlt_shared_lane_init(&lane);
    atomic_store(&lane.ready, 1); /* another thread is in allocate */
    cr_assert_eq(rlt_shared_lane_allocate(&lane, 64 * KIB), ROULETTE_EAGAIN);
    cr_assert(rlt_shared_lane_is_empty(&lane));
    atomic_store(&lane.ready, 0);
    cr_assert_eq(rlt_shared_lane_allocate(&lane, 64 * KIB), 0);
    rlt_shared_lane_fini(&lane);
}

static int fail_at(void *context, size_t size)
{
    unsigned *left = context;
    (void)size;
    return (*left)-- != 0;
}

Test(shared_lane, failed_allocation_can_be_tried_again)
{
    struct rlt_shared_lane lane;
    rlt_shared_lane_init(&lane);
    for (unsigned i = 0; i < 2; i++) {
        unsigned left = i;
        rlt_memory_set_gate(fail_at, &left);
        cr_assert_eq(rlt_shared_lane_allocate(&lane, 64 * KIB), ROULETTE_ENOMEM);
        rlt_memory_set_gate(NULL, NULL);
        cr_assert(rlt_shared_lane_is_empty(&lane));
    }
    cr_assert_eq(rlt_shared_lane_allocate(&lane, 64 * KIB), 0);
    cr_assert(put(&lane, 10, 'a'));
    rlt_shared_lane_fini(&lane);
}

/* ---- Claim, commit, peek ------------------------------------------------------------------ */

Test(shared_lane, committed_frames_are_peeked_at_together)
{
    struct rlt_shared_lane lane;
    start(&lane);
    cr_assert(put(&lane, 1, 'a'));
    cr_assert(put(&lane, 3, 'b'));
    cr_assert_not(rlt_shared_lane_is_empty(&lane));
    cr_assert_eq(rlt_shared_lane_queued_bytes(&lane), 4);
    cr_assert_eq(rlt_shared_lane_tail_slot(&lane), 2);
    cr_assert_eq(atomic_load(&lane.accepted), 2);
    struct rlt_lane_chunk chunk = peek(&lane);
    cr_assert_eq(chunk.len, 4);
    cr_assert_arr_eq(chunk.bytes, "abbb", 4);
    cr_assert_eq(messages(chunk), 2);
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, consumer_stops_at_a_hole_and_goes_on_when_it_is_filled)
{
    struct rlt_shared_lane lane;
    struct rlt_lane_chunk chunk;
    struct rlt_shared_claim hole;
    start(&lane);
    cr_assert(put(&lane, 10, 'a'));
    cr_assert(rlt_shared_lane_claim(&lane, 20, &hole));
    cr_assert(put(&lane, 30, 'c'), "the others go on");
    cr_assert_eq(rlt_shared_lane_queued_bytes(&lane), 60);
    cr_assert_eq(atomic_load(&lane.accepted), 2);
    cr_assert_eq(take(&lane).len, 10);
    cr_assert(rlt_shared_lane_is_empty(&lane));
    cr_assert_not(rlt_shared_lane_peek(&lane, SIZE_MAX, &chunk));
    memset(hole.bytes, 'b', 20);
    rlt_shared_lane_commit(&lane, &hole, 20);
    chunk = take(&lane);
    cr_assert_eq(chunk.len, 50);
    cr_assert_eq(messages(chunk), 2);
    cr_assert_eq(chunk.bytes[19], 'b');
    cr_assert_eq(chunk.bytes[20], 'c');
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, slot_of_the_lap_before_is_a_hole)
{
    struct rlt_shared_lane lane;
    struct rlt_shared_claim hole;
    start(&lane);
    for (int i = 0; i < SHARED_SLOTS; i++) {
        cr_assert(put(&lane, 1, 'a'));
    }
    cr_assert_eq(messages(take(&lane)), SHARED_SLOTS);
    cr_assert(rlt_shared_lane_is_empty(&lane));
    cr_assert(rlt_shared_lane_claim(&lane, 1, &hole));
    cr_assert(put(&lane, 1, 'c'));
    cr_assert(rlt_shared_lane_is_empty(&lane));
    rlt_shared_lane_commit(&lane, &hole, 1);
    cr_assert_eq(messages(take(&lane)), 2);
    rlt_shared_lane_fini(&lane);
}

/* ---- Full --------------------------------------------------------------------------------- */

Test(shared_lane, full_to_the_last_byte_refuses_one_more)
{
    struct rlt_shared_lane lane;
    struct rlt_shared_claim claim;
    start(&lane);
    for (int i = 0; i < 64; i++) {
        cr_assert(put(&lane, KIB, i));
    }
    cr_assert_not(rlt_shared_lane_claim(&lane, 1, &claim));
    rlt_shared_lane_advance(&lane, peek(&lane).end);
    cr_assert_not(rlt_shared_lane_claim(&lane, 1, &claim), "only release makes room");
    rlt_shared_lane_release(&lane, (struct rlt_lane_mark){KIB, 1});
    cr_assert_not(rlt_shared_lane_claim(&lane, KIB + 1, &claim));
    cr_assert(rlt_shared_lane_claim(&lane, KIB, &claim));
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, claim_without_commit_takes_room)
{
    struct rlt_shared_lane lane;
    struct rlt_shared_claim claim;
    start(&lane);
    cr_assert(rlt_shared_lane_claim(&lane, 32 * KIB, &claim));
    cr_assert(rlt_shared_lane_claim(&lane, 32 * KIB, &claim));
    cr_assert_not(rlt_shared_lane_claim(&lane, 1, &claim));
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, slots_run_out_before_bytes)
{
    struct rlt_shared_lane lane;
    struct rlt_shared_claim claim;
    start(&lane);
    for (int i = 0; i < SHARED_SLOTS; i++) {
        cr_assert(put(&lane, 2, 'a'));
    }
    cr_assert_not(rlt_shared_lane_claim(&lane, 1, &claim));
    rlt_shared_lane_release(&lane, (struct rlt_lane_mark){2, 1});
    cr_assert(rlt_shared_lane_claim(&lane, 1, &claim));
    cr_assert_eq(claim.slot, SHARED_SLOTS);
    cr_assert_not(rlt_shared_lane_claim(&lane, 1, &claim));
    cr_assert_eq(messages(peek(&lane)), SHARED_SLOTS);
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, empty_lane_takes_half_its_capacity_at_any_offset)
{
    struct rlt_shared_lane lane;
    for (uint64_t offset = 0; offset < 64 * KIB; offset += 509) {
        shared_lane_start_at(&lane, (struct rlt_lane_mark){128 * KIB + offset, 7});
        cr_assert(put(&lane, 32 * KIB, 'a'), "offset %u", (unsigned)offset);
        struct rlt_lane_chunk chunk = take(&lane);
        cr_assert_eq(chunk.len, 32 * KIB);
        cr_assert_eq(messages(chunk), 1);
        cr_assert_eq(rlt_shared_lane_queued_bytes(&lane), 0);
        rlt_shared_lane_fini(&lane);
    }
}

/* ---- Wrap --------------------------------------------------------------------------------- */

Test(shared_lane, exact_fit_ends_the_chunk_at_the_end_of_the_ring)
{
    struct rlt_shared_lane lane;
    start(&lane);
    cr_assert(put(&lane, 32 * KIB, 'a'));
    (void)take(&lane);
    cr_assert(put(&lane, 32 * KIB, 'b'));
    cr_assert(put(&lane, 32 * KIB, 'c'));
    struct rlt_lane_chunk chunk = take(&lane);
    cr_assert_eq(chunk.len, 32 * KIB);
    cr_assert_eq(chunk.bytes[0], 'b');
    chunk = take(&lane);
    cr_assert_eq(chunk.start.position, 64 * KIB);
    cr_assert_eq(chunk.bytes, lane.bytes);
    cr_assert_eq(chunk.bytes[0], 'c');
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, gap_is_skipped)
{
    struct rlt_shared_lane lane;
    start(&lane);
    cr_assert(put(&lane, 25 * KIB, 'a'));
    cr_assert(put(&lane, 25 * KIB, 'b'));
    cr_assert_not(put(&lane, 25 * KIB, 'c'));
    rlt_shared_lane_advance(&lane, (struct rlt_lane_mark){25 * KIB, 1});
    rlt_shared_lane_release(&lane, (struct rlt_lane_mark){25 * KIB, 1});
    cr_assert(put(&lane, 25 * KIB, 'c'));
    cr_assert_eq(rlt_shared_lane_queued_bytes(&lane), 64 * KIB);
    struct rlt_lane_chunk chunk = take(&lane);
    cr_assert_eq(chunk.len, 25 * KIB);
    cr_assert_eq(chunk.bytes[0], 'b');
    chunk = take(&lane);
    cr_assert_eq(chunk.start.position, 64 * KIB);
    cr_assert_eq(chunk.bytes[0], 'c');
    cr_assert_eq(chunk.end.count, 3);
    cr_assert_eq(rlt_shared_lane_queued_bytes(&lane), 0);
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, limit_cuts_at_the_last_frame_before_it)
{
    struct rlt_shared_lane lane;
    struct rlt_lane_chunk chunk;
    start(&lane);
    for (int i = 0; i < 10; i++) {
        cr_assert(put(&lane, 100, i));
    }
    cr_assert(rlt_shared_lane_peek(&lane, 0, &chunk));
    cr_assert_eq(chunk.len, 100, "at least one frame");
    cr_assert(rlt_shared_lane_peek(&lane, 299, &chunk));
    cr_assert_eq(chunk.len, 200);
    cr_assert(rlt_shared_lane_peek(&lane, 300, &chunk));
    cr_assert_eq(chunk.len, 300);
    cr_assert_eq(messages(chunk), 3);
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, position_and_slot_wrap_in_one_chunk)
{
    const uint64_t position = UINT64_C(1) << 40;
    const uint64_t slot = UINT64_C(1) << 24;
    struct rlt_lane_mark base = {3 * position - 200, 5 * slot - 2};
    struct rlt_shared_lane lane;
    shared_lane_start_at(&lane, base);
    cr_assert_eq(rlt_shared_lane_tail_slot(&lane), 5 * slot - 2);
    cr_assert(put(&lane, 150, 'a'));
    cr_assert(put(&lane, 100, 'b')); /* skips 50 bytes and begins a lap */
    cr_assert(put(&lane, 100, 'c'));
    cr_assert_eq(rlt_shared_lane_queued_bytes(&lane), 400);
    cr_assert_eq(rlt_shared_lane_tail_slot(&lane), 5 * slot + 1);
    struct rlt_lane_chunk chunk = take(&lane);
    cr_assert_eq(chunk.len, 150);
    chunk = take(&lane);
    cr_assert_eq(chunk.start.position, 3 * position);
    cr_assert_eq(chunk.end.position, 3 * position + 200);
    cr_assert_eq(chunk.end.count, 5 * slot + 1);
    cr_assert_eq(rlt_shared_lane_queued_bytes(&lane), 0);
    rlt_shared_lane_fini(&lane);
}

/* ---- Back and away ------------------------------------------------------------------------ */

Test(shared_lane, cursor_moves_back_to_an_unreleased_frame)
{
    struct rlt_shared_lane lane;
    start(&lane);
    cr_assert(put(&lane, 30 * KIB, 'a'));
    cr_assert(put(&lane, 25 * KIB, 'b'));
    rlt_shared_lane_advance(&lane, peek(&lane).end);
    rlt_shared_lane_release(&lane, (struct rlt_lane_mark){30 * KIB, 1});
    cr_assert(put(&lane, 30 * KIB, 'c'));
    rlt_shared_lane_advance(&lane, peek(&lane).end);
    rlt_shared_lane_advance(&lane, (struct rlt_lane_mark){30 * KIB, 1});
    struct rlt_lane_chunk chunk = take(&lane);
    cr_assert_eq(chunk.bytes[0], 'b');
    cr_assert_eq(chunk.len, 25 * KIB);
    chunk = take(&lane);
    cr_assert_eq(chunk.bytes[0], 'c');
    cr_assert_eq(chunk.end.count, 3);
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, discard_stops_at_a_hole)
{
    struct rlt_shared_lane lane;
    struct rlt_shared_claim hole;
    start(&lane);
    cr_assert(put(&lane, 30 * KIB, 'a'));
    cr_assert(put(&lane, 20 * KIB, 'a'));
    (void)take(&lane);
    cr_assert(put(&lane, 10 * KIB, 'b'));
    cr_assert(put(&lane, 10 * KIB, 'c')); /* behind a gap */
    cr_assert(rlt_shared_lane_claim(&lane, 100, &hole));
    cr_assert(put(&lane, 200, 'd'));
    cr_assert_eq(rlt_shared_lane_discard(&lane), 2);
    cr_assert_eq(rlt_shared_lane_queued_bytes(&lane), 300);
    cr_assert_eq(rlt_shared_lane_discard(&lane), 0);
    rlt_shared_lane_commit(&lane, &hole, 100);
    cr_assert_eq(rlt_shared_lane_discard(&lane), 2);
    cr_assert_eq(rlt_shared_lane_queued_bytes(&lane), 0);
    rlt_shared_lane_fini(&lane);
}

/* ---- Waiting for room --------------------------------------------------------------------- */

Test(shared_lane, waiter_is_taken_once_when_a_quarter_of_the_bytes_is_free)
{
    struct rlt_shared_lane lane;
    start(&lane);
    for (int i = 0; i < 64; i++) {
        cr_assert(put(&lane, KIB, i));
    }
    cr_assert_not(rlt_shared_lane_take_waiter(&lane), "nobody waits");
    rlt_shared_lane_wait_begin(&lane);
    cr_assert_not(rlt_shared_lane_take_waiter(&lane), "no room");
    rlt_shared_lane_advance(&lane, peek(&lane).end);
    rlt_shared_lane_release(&lane, (struct rlt_lane_mark){15 * KIB, 15});
    cr_assert_not(rlt_shared_lane_take_waiter(&lane), "not enough room");
    cr_assert_eq(atomic_load(&lane.waiting), 1);
    rlt_shared_lane_release(&lane, (struct rlt_lane_mark){16 * KIB, 16});
    cr_assert(rlt_shared_lane_take_waiter(&lane));
    cr_assert_eq(atomic_load(&lane.waiting), 0);
    cr_assert_not(rlt_shared_lane_take_waiter(&lane));
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, waiter_is_taken_when_a_quarter_of_the_slots_is_free)
{
    struct rlt_shared_lane lane;
    start(&lane);
    for (int i = 0; i < SHARED_SLOTS; i++) {
        cr_assert(put(&lane, 1, 'a'));
    }
    rlt_shared_lane_wait_begin(&lane);
    rlt_shared_lane_advance(&lane, peek(&lane).end);
    rlt_shared_lane_release(&lane,
                            (struct rlt_lane_mark){SHARED_SLOTS / 4 - 1, SHARED_SLOTS / 4 - 1});
    cr_assert_not(rlt_shared_lane_take_waiter(&lane));
    rlt_shared_lane_release(&lane, (struct rlt_lane_mark){SHARED_SLOTS / 4, SHARED_SLOTS / 4});
    cr_assert(rlt_shared_lane_take_waiter(&lane));
    rlt_shared_lane_fini(&lane);
}

Test(shared_lane, waiter_is_taken_from_an_empty_lane)
{
    struct rlt_shared_lane lane;
    start(&lane);
    rlt_shared_lane_wait_begin(&lane);
    cr_assert(rlt_shared_lane_take_waiter(&lane));
    rlt_shared_lane_fini(&lane);
}
