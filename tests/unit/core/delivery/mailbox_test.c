/* SPDX-License-Identifier: MIT */
/*
 * What one cluster tells one subscriber. The consumer here does what api/receive.c does and writes
 * down what it sees: "m7" a message, "D3" 3 dropped (a notice), "d3" the same found in the empty
 * ring, "L-12" lost, "R" restored, "E-5" ended, "X" removed, "N-15" not let in.
 *
 * RLT_SEED chooses the first round of the random test, RLT_ROUNDS how many there are.
 */
#include "core/delivery/mailbox.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "roulette.h"
#include "support/env.h"
#include "support/test.h"

#define SLAB_BYTES 131072
#define SLABS      8
#define RING_SLOTS 8
/* The ring keeps one slot for the notice of dropped messages. */
#define RING_MESSAGES (RING_SLOTS - 1)

struct box {
    struct rlt_slab_pool pool;
    struct rlt_doorbell doorbell;
    struct rlt_mailbox mailbox;
    struct rlt_slab *slab;
    uint64_t round;
    uint32_t next_message;
    bool retry_sent;
    char trace[4096];
    size_t trace_len;
};

/* ---- The event thread --------------------------------------------------------------------- */

static struct box *open_box(uint64_t pinned_max)
{
    struct box *box = calloc(1, sizeof(*box));
    cr_assert_eq(rlt_slab_pool_init(&box->pool, SLAB_BYTES, SLABS, 1), 0);
    struct rlt_mailbox_options options = {
        .ring_slots = RING_SLOTS,
        .slab_bytes = SLAB_BYTES,
        .slab_indexes = SLABS,
        .pinned_max = pinned_max,
        .doorbell = &box->doorbell,
    };
    cr_assert_eq(rlt_mailbox_init(&box->mailbox, &options), 0);
    box->slab = rlt_slab_acquire(&box->pool);
    box->next_message = 1;
    return box;
}

static void close_box(struct box *box)
{
    rlt_mailbox_fini(&box->mailbox);
    rlt_slab_pool_fini(&box->pool);
    free(box);
}

static struct rlt_member member_of(struct box *box)
{
    return (struct rlt_member){.mailbox = &box->mailbox};
}

/* The number of a message is the length of its body. */
static enum rlt_push_result push_in(struct box *box, struct rlt_member *member,
                                    struct rlt_slab *slab)
{
    struct rlt_streak run = {
        .frame = {.topic = slab->bytes,
                  .topic_len = 1,
                  .body_offset = 8,
                  .body_len = box->next_message++},
    };
    return rlt_mailbox_push(&box->mailbox, member, &run, slab, box->round);
}

static enum rlt_push_result push(struct box *box, struct rlt_member *member)
{
    return push_in(box, member, box->slab);
}

static void push_many(struct box *box, struct rlt_member *member, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(push(box, member), RLT_PUSH_DONE);
    }
}

static void publish(struct box *box)
{
    (void)rlt_mailbox_publish(&box->mailbox);
}

static void retry(struct box *box)
{
    cr_assert(box->retry_sent);
    box->retry_sent = false;
    rlt_mailbox_retry(&box->mailbox);
    publish(box);
}

/* ---- The consumer ------------------------------------------------------------------------- */

static void note(struct box *box, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(struct box *box, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    size_t room = sizeof(box->trace) - box->trace_len;
    int len = vsnprintf(box->trace + box->trace_len, room, format, arguments);
    va_end(arguments);
    cr_assert(len > 0 && (size_t)len < room);
    box->trace_len += (size_t)len;
}

static void release_one(struct box *box, const struct rlt_delivery *delivery)
{
    struct rlt_slab *slab = rlt_slab_of(delivery->base, SLAB_BYTES);
    rlt_mailbox_note_released(&box->mailbox, slab->index, 1);
    rlt_slab_release(slab, 1);
}

static void note_delivery(struct box *box, const struct rlt_delivery *delivery, bool hold)
{
    struct rlt_mailbox *mailbox = &box->mailbox;
    if (delivery->base != NULL) {
        note(box, "m%u ", delivery->body_len);
        if (!hold) {
            release_one(box, delivery);
        }
        return;
    }
    switch (delivery->notice.kind) {
    case RLT_NOTICE_DROPPED: {
        int64_t count = (int64_t)(delivery->notice.count - mailbox->dropped_seen);
        if (count > 0) {
            mailbox->dropped_seen = delivery->notice.count;
            note(box, "D%" PRId64 " ", count);
        }
        break;
    }
    case RLT_NOTICE_LOST:
        note(box, "L%d ", delivery->notice.error);
        break;
    case RLT_NOTICE_REFUSED:
        cr_assert_null(delivery->target);
        note(box, "N%d ", delivery->notice.error);
        break;
    case RLT_NOTICE_RESTORED:
        note(box, "R ");
        break;
    case RLT_NOTICE_ENDED:
        note(box, "E%d ", delivery->notice.error);
        break;
    default:
        cr_assert_eq(delivery->notice.kind, RLT_NOTICE_REMOVED);
        note(box, "X ");
        break;
    }
}

/* Take up to `count` deliveries as roulette_receive() does. Returns what was seen. */
static const char *take(struct box *box, uint32_t count, bool hold)
{
    struct rlt_mailbox *mailbox = &box->mailbox;
    uint64_t start = rlt_delivery_ring_head(&mailbox->ring);
    uint64_t position = start;
    box->trace_len = 0;
    box->trace[0] = '\0';
    for (; count != 0; count--) {
        const struct rlt_delivery *delivery = rlt_delivery_ring_peek(&mailbox->ring, position);
        if (delivery == NULL) {
            uint32_t bounds = 0;
            uint64_t dropped = rlt_mailbox_take_dropped(mailbox, position, &bounds);
            cr_assert_eq(dropped != 0, bounds != 0);
            if (dropped != 0) {
                note(box, "d%" PRIu64 " ", dropped);
            }
            break;
        }
        position++;
        note_delivery(box, delivery, hold);
    }
    if (position != start) {
        rlt_delivery_ring_advance(&mailbox->ring, position);
        if (rlt_mailbox_must_retry(mailbox)) {
            cr_assert_not(box->retry_sent, "the command is in the queue already");
            box->retry_sent = true;
        }
    }
    return box->trace;
}

#define assert_takes(box, count, text) cr_assert_str_eq(take((box), (count), false), (text))
#define assert_takes_all(box, text)    assert_takes((box), 1000, (text))

/* ---- Runs --------------------------------------------------------------------------------- */

/* Push `count` messages with the same line. */
static enum rlt_push_result push_run(struct box *box, struct rlt_member *member, uint32_t count)
{
    struct rlt_streak run = {
        .frame = {.topic = box->slab->bytes, .topic_len = 1, .body_offset = 8, .body_len = 5},
        .more = count - 1,
    };
    return rlt_mailbox_push(&box->mailbox, member, &run, box->slab, box->round);
}

Test(mailbox, run_takes_one_slot_and_a_reference_for_each_message)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    cr_assert_eq(push_run(box, &member, 1000), RLT_PUSH_DONE);
    publish(box);
    cr_assert_eq(box->slab->issued, 1000);
    cr_assert_eq(box->mailbox.issued[box->slab->index], 1000);
    const struct rlt_delivery *delivery = rlt_delivery_ring_peek(&box->mailbox.ring, 0);
    cr_assert_eq(rlt_delivery_count(delivery), 1000);
    cr_assert_eq(rlt_delivery_stride(delivery), 4 + 8 + 5 + 2);
    cr_assert_null(rlt_delivery_ring_peek(&box->mailbox.ring, 1));
    rlt_mailbox_note_released(&box->mailbox, box->slab->index, 1000);
    rlt_slab_release(box->slab, 1000);
    close_box(box);
}

Test(mailbox, run_that_does_not_fit_is_dropped_and_counted_whole)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    while (push(box, &member) == RLT_PUSH_DONE) {
    }
    uint64_t before = atomic_load(&box->mailbox.dropped);
    cr_assert_eq(push_run(box, &member, 1000), RLT_PUSH_RING_FULL);
    cr_assert_eq(atomic_load(&box->mailbox.dropped), before + 1000);
    (void)take(box, 1000, false);
    close_box(box);
}

/* ---- Batches ------------------------------------------------------------------------------ */

/* Push messages one by one until the batch takes no more. Returns how many it took. */
static uint32_t push_batch(struct box *box, struct rlt_member *member, uint32_t max)
{
    struct rlt_mailbox_batch batch;
    uint32_t count = 0;
    rlt_mailbox_batch_begin(&batch, &box->mailbox, box->slab);
    for (; count < max; count++, box->next_message++) {
        struct rlt_streak run = {
            .frame = {.topic = box->slab->bytes,
                      .topic_len = 1,
                      .body_offset = 8,
                      .body_len = box->next_message},
        };
        if (!rlt_mailbox_batch_push(&batch, member, &run)) {
            break;
        }
    }
    cr_assert_eq(rlt_mailbox_batch_end(&batch), count);
    cr_assert_eq(rlt_mailbox_batch_end(&batch), 0, "it has ended");
    return count;
}

Test(mailbox, batch_goes_on_behind_a_push_up_to_the_last_slot_but_one)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    cr_assert_eq(push(box, &member), RLT_PUSH_DONE);
    cr_assert_eq(push_batch(box, &member, 100), RING_MESSAGES - 1);
    cr_assert_eq(box->slab->issued, RING_MESSAGES);
    cr_assert_eq(push(box, &member), RLT_PUSH_RING_FULL);
    publish(box);
    assert_takes_all(box, "m1 m2 m3 m4 m5 m6 m7 d1 ");
    close_box(box);
}

/* The notice of drops is in the slot that is left for it. */
Test(mailbox, batch_takes_nothing_if_a_notice_filled_the_ring)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    push_many(box, &member, RING_MESSAGES - 1);
    rlt_mailbox_drop(&box->mailbox, 1, ROULETTE_BOUND_SLAB_COUNT);
    cr_assert_eq(push(box, &member), RLT_PUSH_DONE);
    cr_assert_eq(push_batch(box, &member, 100), 0);
    publish(box);
    assert_takes_all(box, "m1 m2 m3 m4 m5 m6 D1 m7 ");
    close_box(box);
}

/* Why something was dropped goes with the count: in the ring as behind it. */
Test(mailbox, drop_tells_for_which_bounds)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    uint32_t bounds = 0;
    rlt_mailbox_drop(&box->mailbox, 1, ROULETTE_BOUND_SLAB_COUNT);
    cr_assert_eq(rlt_mailbox_take_dropped(&box->mailbox, 0, &bounds), 1);
    cr_assert_eq(bounds, ROULETTE_BOUND_SLAB_COUNT);
    rlt_mailbox_drop(&box->mailbox, 2, ROULETTE_BOUND_MESSAGE_LEN);
    rlt_mailbox_drop(&box->mailbox, 3, ROULETTE_BOUND_MAX_MESSAGES);
    push_many(box, &member, 1);
    publish(box);
    const struct rlt_delivery *delivery = rlt_delivery_ring_peek(&box->mailbox.ring, 0);
    cr_assert_eq(delivery->notice.kind, RLT_NOTICE_DROPPED);
    cr_assert_eq(delivery->notice.count, 6);
    cr_assert_eq(rlt_mailbox_bounds(&box->mailbox, 1),
                 ROULETTE_BOUND_MESSAGE_LEN | ROULETTE_BOUND_MAX_MESSAGES,
                 "without what was told before");
    cr_assert_eq((uint32_t)delivery->notice.error, ROULETTE_BOUND_SLAB_COUNT |
                                                       ROULETTE_BOUND_MESSAGE_LEN |
                                                       ROULETTE_BOUND_MAX_MESSAGES);
    (void)take(box, 100, false);
    while (push(box, &member) == RLT_PUSH_DONE) {
    }
    publish(box);
    (void)take(box, RING_MESSAGES, false);
    uint64_t position = rlt_delivery_ring_head(&box->mailbox.ring);
    cr_assert_eq(rlt_mailbox_take_dropped(&box->mailbox, position, &bounds), 1);
    cr_assert_eq(bounds, ROULETTE_BOUND_RING_SLOTS);
    close_box(box);
}

Test(mailbox, batch_is_of_one_mailbox)
{
    struct box *box = open_box(SLABS);
    struct box *other = open_box(SLABS);
    struct rlt_member member = member_of(box);
    struct rlt_member stranger = member_of(other);
    cr_assert_eq(push(box, &member), RLT_PUSH_DONE);
    cr_assert_eq(push_batch(box, &stranger, 1), 0);
    close_box(other);
    close_box(box);
}

/* How much such a subscriber pins is looked at with each message. */
Test(mailbox, batch_takes_nothing_from_a_run_of_slabs)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    struct rlt_slab *plain = box->slab;
    box->slab = rlt_slab_acquire_run(&box->pool, SLAB_BYTES);
    cr_assert_eq(push(box, &member), RLT_PUSH_DONE);
    cr_assert_eq(push_batch(box, &member, 1), 0);
    box->slab = plain;
    close_box(box);
}

/* ---- Messages ----------------------------------------------------------------------------- */

Test(mailbox, delivers_in_order_what_was_published)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    push_many(box, &member, 3);
    assert_takes_all(box, "");
    publish(box);
    assert_takes(box, 2, "m1 m2 ");
    assert_takes_all(box, "m3 ");
    assert_takes_all(box, "");
    close_box(box);
}

Test(mailbox, rings_a_consumer_that_sleeps_once)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    push_many(box, &member, 1);
    cr_assert_not(rlt_mailbox_publish(&box->mailbox));
    rlt_doorbell_arm(&box->doorbell, 1);
    push_many(box, &member, 1);
    cr_assert(rlt_mailbox_publish(&box->mailbox));
    cr_assert_not(rlt_mailbox_publish(&box->mailbox));
    close_box(box);
}

Test(mailbox, full_ring_drops_the_newest_and_tells_before_the_next_message)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    push_many(box, &member, RING_MESSAGES);
    publish(box);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(push(box, &member), RLT_PUSH_RING_FULL);
    }
    assert_takes(box, 2, "m1 m2 ");
    cr_assert_eq(push(box, &member), RLT_PUSH_DONE);
    publish(box);
    assert_takes_all(box, "m3 m4 m5 m6 m7 D3 m11 ");
    assert_takes_all(box, "");
    close_box(box);
}

Test(mailbox, drops_behind_which_nothing_follows_are_told_by_the_empty_ring)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    push_many(box, &member, RING_MESSAGES);
    publish(box);
    (void)push(box, &member);
    (void)push(box, &member);
    assert_takes(box, 3, "m1 m2 m3 ");
    assert_takes_all(box, "m4 m5 m6 m7 d2 ");
    assert_takes_all(box, "");
    /* Not again with the next message. */
    push_many(box, &member, 1);
    publish(box);
    assert_takes_all(box, "m10 ");
    close_box(box);
}

Test(mailbox, drops_told_by_the_empty_ring_are_left_out_of_the_next_notice)
{
    struct box *box = open_box(1);
    struct rlt_member member = member_of(box);
    struct rlt_slab *other = rlt_slab_acquire(&box->pool);
    push_many(box, &member, 1);
    publish(box);
    cr_assert_str_eq(take(box, 9, true), "m1 ");
    cr_assert_eq(push_in(box, &member, other), RLT_PUSH_PINNED);
    assert_takes_all(box, "d1 ");
    cr_assert_eq(push_in(box, &member, other), RLT_PUSH_PINNED);
    push_many(box, &member, 1);
    publish(box);
    assert_takes_all(box, "D1 m4 ");
    close_box(box);
}

Test(mailbox, drop_is_never_told_before_the_messages_that_came_first)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    push_many(box, &member, RING_MESSAGES);
    cr_assert_eq(push(box, &member), RLT_PUSH_RING_FULL);
    /* The consumer looks before the event thread has come to the end of its batch. */
    assert_takes_all(box, "m1 m2 m3 m4 m5 m6 m7 d1 ");
    publish(box);
    assert_takes_all(box, "");
    close_box(box);
}

Test(mailbox, message_that_cannot_be_kept_is_told_in_its_place)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    push_many(box, &member, 1);
    rlt_mailbox_drop(&box->mailbox, 1, ROULETTE_BOUND_SLAB_COUNT);
    push_many(box, &member, 1);
    publish(box);
    assert_takes_all(box, "m1 D1 m2 ");
    close_box(box);
}

/* ---- Pinned memory ------------------------------------------------------------------------ */

Test(mailbox, held_slabs_up_to_the_bound_are_no_reason_to_drop)
{
    struct box *box = open_box(3);
    struct rlt_member member = member_of(box);
    for (int i = 0; i < 3; i++) {
        struct rlt_slab *slab = rlt_slab_acquire(&box->pool);
        cr_assert_eq(push_in(box, &member, slab), RLT_PUSH_DONE);
        cr_assert_eq(push_in(box, &member, slab), RLT_PUSH_DONE);
    }
    cr_assert_eq(push_in(box, &member, rlt_slab_acquire(&box->pool)), RLT_PUSH_PINNED);
    close_box(box);
}

Test(mailbox, slab_with_a_held_message_takes_more_at_the_bound)
{
    struct box *box = open_box(1);
    struct rlt_member member = member_of(box);
    push_many(box, &member, 5);
    struct rlt_slab *other = rlt_slab_acquire(&box->pool);
    cr_assert_eq(push_in(box, &member, other), RLT_PUSH_PINNED);
    box->round++;
    cr_assert_eq(push(box, &member), RLT_PUSH_DONE);
    close_box(box);
}

Test(mailbox, pinned_bound_is_looked_at_again_once_a_round)
{
    struct box *box = open_box(1);
    struct rlt_member member = member_of(box);
    struct rlt_slab *other = rlt_slab_acquire(&box->pool);
    push_many(box, &member, 1);
    publish(box);
    cr_assert_eq(push_in(box, &member, other), RLT_PUSH_PINNED);
    assert_takes_all(box, "m1 d1 ");
    cr_assert_eq(push_in(box, &member, other), RLT_PUSH_PINNED);
    box->round++;
    cr_assert_eq(push_in(box, &member, other), RLT_PUSH_DONE);
    publish(box);
    assert_takes_all(box, "D1 m4 ");
    close_box(box);
}

Test(mailbox, run_of_slabs_pins_all_of_them)
{
    struct box *box = open_box(1);
    struct rlt_member member = member_of(box);
    struct rlt_slab *run = rlt_slab_acquire_run(&box->pool, rlt_slab_run_max(&box->pool));
    cr_assert_eq(run->length, 2);
    cr_assert_eq(push_in(box, &member, run), RLT_PUSH_PINNED);
    close_box(box);
}

Test(mailbox, slab_that_comes_back_as_a_run_is_counted_anew)
{
    struct box *box = open_box(1);
    struct rlt_member member = member_of(box);
    /* The run begins at the last slab but one: use that as a plain slab first. */
    struct rlt_slab *taken[SLABS] = {NULL};
    for (uint32_t i = 1; i < SLABS; i++) {
        taken[i] = rlt_slab_acquire(&box->pool);
    }
    struct rlt_slab *plain = rlt_slab_at(&box->pool, SLABS - 2);
    cr_assert_eq(push_in(box, &member, plain), RLT_PUSH_DONE);
    publish(box);
    assert_takes_all(box, "m1 ");
    for (uint32_t i = 1; i < SLABS; i++) {
        rlt_slab_settle(taken[i]);
    }
    struct rlt_slab *run = rlt_slab_acquire_run(&box->pool, rlt_slab_run_max(&box->pool));
    cr_assert_eq(run, plain);
    cr_assert_eq(push_in(box, &member, run), RLT_PUSH_PINNED);
    close_box(box);
}

Test(mailbox, one_holder_is_bound_and_does_not_bind_another)
{
    struct box *holder = open_box(1);
    struct box *other = open_box(1);
    struct rlt_member held = member_of(holder);
    struct rlt_member member = member_of(other);
    push_many(holder, &held, 1);
    struct rlt_slab *slab = rlt_slab_acquire(&holder->pool);
    cr_assert_eq(push_in(holder, &held, slab), RLT_PUSH_PINNED);
    cr_assert_eq(push_in(other, &member, slab), RLT_PUSH_DONE);
    close_box(holder);
    close_box(other);
}

/* ---- Notices ------------------------------------------------------------------------------ */

Test(mailbox, notices_lie_between_the_messages_they_came_between)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    push_many(box, &member, 1);
    rlt_mailbox_notify(&box->mailbox, &member, RLT_NOTICE_LOST, ROULETTE_ESTALE);
    rlt_mailbox_notify(&box->mailbox, &member, RLT_NOTICE_RESTORED, 0);
    push_many(box, &member, 1);
    rlt_mailbox_notify(&box->mailbox, &member, RLT_NOTICE_ENDED, ROULETTE_ECLOSED);
    rlt_mailbox_notify(&box->mailbox, &member, RLT_NOTICE_REMOVED, 0);
    publish(box);
    assert_takes_all(box, "m1 L-18 R m2 E-5 X ");
    close_box(box);
}

/* What a consumer sees of notices that were all owed, because the ring was full. */
struct owed_case {
    const char *notices; /* L lost (-12), M lost (-18), R restored, E ended (-16), X removed */
    const char *seen;
};

static void notify(struct box *box, struct rlt_member *member, char notice)
{
    switch (notice) {
    case 'L':
        rlt_mailbox_notify(&box->mailbox, member, RLT_NOTICE_LOST, ROULETTE_EDISCONNECTED);
        break;
    case 'M':
        rlt_mailbox_notify(&box->mailbox, member, RLT_NOTICE_LOST, ROULETTE_ESTALE);
        break;
    case 'R':
        rlt_mailbox_notify(&box->mailbox, member, RLT_NOTICE_RESTORED, 0);
        break;
    case 'E':
        rlt_mailbox_notify(&box->mailbox, member, RLT_NOTICE_ENDED, ROULETTE_EPERMISSION);
        break;
    default:
        rlt_mailbox_notify(&box->mailbox, member, RLT_NOTICE_REMOVED, 0);
        break;
    }
}

Test(mailbox, owed_notices_tell_the_gap_the_end_and_why)
{
    static const struct owed_case cases[] = {
        {"L", "L-12 "},       {"R", "R "},        {"E", "E-16 "},       {"X", "X "},
        {"LR", "L-12 R "},    {"RL", "L-12 "},    {"LRM", "L-18 "},     {"LRMR", "L-18 R "},
        {"LE", "L-12 E-16 "}, {"LX", "L-12 X "},  {"LRX", "L-12 R X "}, {"LRE", "L-12 R E-16 "},
        {"EX", "X "},         {"LEX", "L-12 X "}, {"RMX", "L-18 X "},   {"RLE", "L-12 E-16 "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct box *box = open_box(SLABS);
        struct rlt_member filler = member_of(box);
        struct rlt_member member = member_of(box);
        push_many(box, &filler, RING_MESSAGES);
        publish(box);
        for (const char *notice = cases[i].notices; *notice != '\0'; notice++) {
            notify(box, &member, *notice);
        }
        cr_assert_eq(push(box, &filler), RLT_PUSH_RING_FULL);
        assert_takes_all(box, "m1 m2 m3 m4 m5 m6 m7 d1 ");
        cr_assert(box->retry_sent, "%s", cases[i].notices);
        assert_takes_all(box, "");
        retry(box);
        cr_assert_str_eq(take(box, 99, false), cases[i].seen, "%s", cases[i].notices);
        close_box(box);
    }
}

Test(mailbox, message_does_not_overtake_what_is_owed)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    push_many(box, &member, RING_MESSAGES);
    publish(box);
    notify(box, &member, 'L');
    assert_takes(box, 6, "m1 m2 m3 m4 m5 m6 ");
    cr_assert_eq(push(box, &member), RLT_PUSH_RING_FULL);
    retry(box);
    cr_assert_eq(push(box, &member), RLT_PUSH_DONE);
    publish(box);
    assert_takes_all(box, "m7 D1 L-12 m9 ");
    close_box(box);
}

Test(mailbox, owed_notices_of_many_members_come_in_order)
{
    struct box *box = open_box(SLABS);
    struct rlt_member members[3] = {member_of(box), member_of(box), member_of(box)};
    push_many(box, &members[0], RING_MESSAGES);
    publish(box);
    notify(box, &members[2], 'L');
    notify(box, &members[0], 'E');
    notify(box, &members[1], 'X');
    notify(box, &members[2], 'R');
    assert_takes_all(box, "m1 m2 m3 m4 m5 m6 m7 ");
    retry(box);
    assert_takes_all(box, "L-12 R E-16 X ");
    close_box(box);
}

Test(mailbox, retry_that_makes_too_little_room_is_asked_for_again)
{
    struct box *box = open_box(SLABS);
    struct rlt_member members[4] = {member_of(box), member_of(box), member_of(box), member_of(box)};
    push_many(box, &members[0], RING_MESSAGES);
    publish(box);
    for (int i = 0; i < 4; i++) {
        notify(box, &members[i], 'L');
        notify(box, &members[i], 'X');
    }
    assert_takes(box, 1, "m1 ");
    retry(box);
    /* 2 of 8 slots were free: not enough for all that one member can be owed. */
    assert_takes(box, 3, "m2 m3 m4 ");
    retry(box);
    assert_takes(box, 3, "m5 m6 m7 ");
    retry(box);
    assert_takes_all(box, "L-12 X L-12 X L-12 X ");
    retry(box);
    assert_takes_all(box, "L-12 X ");
    cr_assert_not(box->retry_sent);
    close_box(box);
}

Test(mailbox, refusal_comes_behind_what_is_owed_and_is_the_last_one)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    rlt_mailbox_refuse(&box->mailbox, -15);
    publish(box);
    assert_takes_all(box, "N-15 ");
    push_many(box, &member, RING_MESSAGES);
    rlt_mailbox_notify(&box->mailbox, &member, RLT_NOTICE_LOST, -12);
    rlt_mailbox_notify(&box->mailbox, &member, RLT_NOTICE_RESTORED, 0);
    rlt_mailbox_refuse(&box->mailbox, -15);
    rlt_mailbox_refuse(&box->mailbox, -17);
    publish(box);
    assert_takes_all(box, "m1 m2 m3 m4 m5 m6 m7 ");
    retry(box);
    assert_takes_all(box, "L-12 R N-17 ");
    cr_assert_not(box->retry_sent);
    /* It alone is owed. */
    push_many(box, &member, RING_MESSAGES);
    rlt_mailbox_refuse(&box->mailbox, -15);
    publish(box);
    assert_takes_all(box, "m8 m9 m10 m11 m12 m13 m14 ");
    retry(box);
    assert_takes_all(box, "N-15 ");
    close_box(box);
}

Test(mailbox, notice_behind_the_last_is_a_bug, .signal = SIGABRT)
{
    struct box *box = open_box(SLABS);
    struct rlt_member member = member_of(box);
    notify(box, &member, 'E');
    notify(box, &member, 'L');
}

/* ---- Everything at once ------------------------------------------------------------------- */

#define RANDOM_MEMBERS 3
#define RANDOM_STEPS   4000

/* What was done, to judge what is seen. */
struct model {
    uint32_t dropped[RANDOM_STEPS + 1]; /* numbers of dropped messages, in order */
    uint32_t dropped_count;
    uint32_t told;
    uint32_t received;
    uint32_t last_message; /* number of the last message received */
    struct {
        char last_done; /* L, R, E, X or 0 */
        char last_seen;
        uint32_t ends_seen;
        bool lost; /* LOST was the last done */
    } members[RANDOM_MEMBERS];
    uint32_t pushed_done;
};

struct random_run {
    struct box *box;
    struct rlt_member members[RANDOM_MEMBERS];
    struct model model;
    struct rlt_random random;
    const uint8_t *held[RANDOM_STEPS];
    uint32_t held_count;
    uint32_t slab_messages;
};

static void see_drops(struct random_run *run, uint64_t count)
{
    struct model *model = &run->model;
    model->told += (uint32_t)count;
    cr_assert_leq(model->told, model->dropped_count);
    /* All that came before the last of them was received. */
    uint32_t last = model->dropped[model->told - 1];
    uint32_t before = last - 1 - (model->told - 1);
    cr_assert_geq(model->received, before, "told too early");
}

static void see(struct random_run *run, const struct rlt_delivery *delivery)
{
    struct model *model = &run->model;
    if (delivery->base != NULL) {
        cr_assert_gt(delivery->body_len, model->last_message);
        /* What was dropped before it was told before it, and nothing else. */
        uint32_t before = delivery->body_len - 1 - model->received;
        cr_assert_eq(model->told, before, "message %u", delivery->body_len);
        model->last_message = delivery->body_len;
        model->received++;
        run->held[run->held_count++] = delivery->base;
        return;
    }
    if (delivery->notice.kind == RLT_NOTICE_DROPPED) {
        int64_t count = (int64_t)(delivery->notice.count - run->box->mailbox.dropped_seen);
        if (count > 0) {
            run->box->mailbox.dropped_seen = delivery->notice.count;
            see_drops(run, (uint64_t)count);
        }
        return;
    }
    ptrdiff_t index = (struct rlt_member *)delivery->target - run->members;
    cr_assert(index >= 0 && index < RANDOM_MEMBERS);
    char seen = delivery->notice.kind == RLT_NOTICE_LOST       ? 'L'
                : delivery->notice.kind == RLT_NOTICE_RESTORED ? 'R'
                : delivery->notice.kind == RLT_NOTICE_ENDED    ? 'E'
                                                               : 'X';
    char before = model->members[index].last_seen;
    cr_assert(before != 'X' && (before != 'E' || seen == 'X'));
    cr_assert(seen != 'R' || before == 'L');
    model->members[index].last_seen = seen;
}

static void random_take(struct random_run *run)
{
    struct rlt_mailbox *mailbox = &run->box->mailbox;
    uint64_t start = rlt_delivery_ring_head(&mailbox->ring);
    uint64_t position = start;
    for (uint64_t count = rlt_random_below(&run->random, 12); count != 0; count--) {
        const struct rlt_delivery *delivery = rlt_delivery_ring_peek(&mailbox->ring, position);
        if (delivery == NULL) {
            uint32_t bounds = 0;
            uint64_t dropped = rlt_mailbox_take_dropped(mailbox, position, &bounds);
            cr_assert_eq(dropped != 0, bounds != 0);
            if (dropped != 0) {
                see_drops(run, dropped);
            }
            break;
        }
        position++;
        see(run, delivery);
    }
    if (position != start) {
        rlt_delivery_ring_advance(&mailbox->ring, position);
        if (rlt_mailbox_must_retry(mailbox)) {
            cr_assert_not(run->box->retry_sent);
            run->box->retry_sent = true;
        }
    }
}

static void random_release(struct random_run *run, uint64_t count)
{
    for (; count != 0 && run->held_count != 0; count--) {
        uint32_t index = (uint32_t)rlt_random_below(&run->random, run->held_count);
        struct rlt_slab *slab = rlt_slab_of(run->held[index], SLAB_BYTES);
        run->held[index] = run->held[--run->held_count];
        rlt_mailbox_note_released(&run->box->mailbox, slab->index, 1);
        rlt_slab_release(slab, 1);
    }
}

/* The event thread goes on in another slab, as a receiver does. */
static void random_slab(struct random_run *run)
{
    struct rlt_slab *next = rlt_slab_acquire(&run->box->pool);
    if (next != NULL) {
        rlt_slab_settle(run->box->slab);
        run->box->slab = next;
    }
}

static void random_push(struct random_run *run)
{
    struct model *model = &run->model;
    uint32_t number = run->box->next_message;
    struct rlt_member *member = &run->members[rlt_random_below(&run->random, RANDOM_MEMBERS)];
    if (push(run->box, member) != RLT_PUSH_DONE) {
        model->dropped[model->dropped_count++] = number;
    } else {
        model->pushed_done++;
    }
}

static void random_notify(struct random_run *run)
{
    uint64_t index = rlt_random_below(&run->random, RANDOM_MEMBERS);
    struct rlt_member *member = &run->members[index];
    char last = run->model.members[index].last_done;
    uint64_t choice = rlt_random_below(&run->random, 40);
    char notice = choice == 0 ? 'E' : choice == 1 ? 'X' : last == 'L' ? 'R' : 'L';
    if (last == 'X' || (last == 'E' && notice != 'X')) {
        return;
    }
    run->model.members[index].last_done = notice;
    notify(run->box, member, notice);
}

static void random_step(struct random_run *run)
{
    switch (rlt_random_below(&run->random, 12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        random_push(run);
        break;
    case 4:
        random_notify(run);
        break;
    case 5:
        publish(run->box);
        run->box->round++;
        break;
    case 6:
    case 7:
        random_take(run);
        break;
    case 8:
    case 9:
        random_release(run, rlt_random_below(&run->random, 8));
        break;
    case 10:
        random_slab(run);
        break;
    default:
        if (run->box->retry_sent) {
            retry(run->box);
        }
        break;
    }
}

static void run_random(uint64_t seed)
{
    static struct random_run run;
    memset(&run, 0, sizeof(run));
    run.random.state = seed;
    run.box = open_box(1 + rlt_random_below(&run.random, 4));
    for (int i = 0; i < RANDOM_MEMBERS; i++) {
        run.members[i] = member_of(run.box);
    }
    for (int i = 0; i < RANDOM_STEPS; i++) {
        random_step(&run);
    }
    /* Once the consumer goes on, it is told everything. */
    for (int i = 0; i < 100; i++) {
        publish(run.box);
        random_take(&run);
        if (run.box->retry_sent) {
            retry(run.box);
        }
    }
    cr_assert_eq(run.model.received, run.model.pushed_done);
    cr_assert_eq(run.model.told, run.model.dropped_count);
    cr_assert(CK_STAILQ_EMPTY(&run.box->mailbox.deferred_members));
    for (int i = 0; i < RANDOM_MEMBERS; i++) {
        cr_assert_eq(run.model.members[i].last_seen, run.model.members[i].last_done);
    }
    random_release(&run, UINT64_MAX);
    cr_assert(rlt_slab_is_idle(run.box->slab));
    close_box(run.box);
}

Test(mailbox, random_use_loses_and_repeats_nothing)
{
    uint64_t seed = env_number("RLT_SEED", 1);
    uint64_t rounds = env_number("RLT_ROUNDS", 300);
    printf("mailbox: RLT_SEED=%" PRIu64 " RLT_ROUNDS=%" PRIu64 "\n", seed, rounds);
    for (uint64_t round = 0; round < rounds; round++) {
        run_random(seed + round);
    }
}
