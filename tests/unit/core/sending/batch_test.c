/* SPDX-License-Identifier: MIT */
#include "core/sending/batch.h"

#include <signal.h>
#include <string.h>

#include "support/test.h"

static struct rlt_batch batch;

/* A part of a lane with so many messages; `len` 0: they are given up. */
static void add_lane(int lane, uint64_t messages, size_t bytes, size_t len)
{
    static uint8_t memory[1024];
    struct rlt_batch_part part = {
        .lane = lane, .start = {0, 0}, .end = {.position = bytes, .count = messages}};
    rlt_batch_add(&batch, memory, len, part);
}

static void add_line(size_t len)
{
    static uint8_t memory[1024];
    rlt_batch_add(&batch, memory, len, (struct rlt_batch_part){.lane = RLT_NO_LANE});
}

static void clear(void)
{
    memset(&batch, 0, sizeof(batch));
}

#define BatchTest(name, ...) Test(batch, name, .init = clear, ##__VA_ARGS__)

BatchTest(empty_batch_is_not_in_flight)
{
    cr_assert_eq(batch.count, 0);
    cr_assert_eq(rlt_batch_left(&batch), 0);
    cr_assert_eq(rlt_batch_messages(&batch), 0);
}

BatchTest(lines_are_no_messages)
{
    add_line(20);
    add_lane(3, 7, 300, 300);
    add_line(6);
    uint64_t messages;
    uint64_t bytes;
    rlt_batch_measure(&batch, &messages, &bytes);
    cr_assert_eq(messages, 7);
    cr_assert_eq(bytes, 300);
    cr_assert_eq(rlt_batch_messages(&batch), 7);
}

/* They are measured, since they leave their lane, but do not count as sent. */
BatchTest(messages_that_are_given_up_are_not_sent)
{
    add_lane(0, 1, 100, 0);
    add_lane(RLT_WIRE_LANES, 2, 200, 200);
    uint64_t messages;
    uint64_t bytes;
    rlt_batch_measure(&batch, &messages, &bytes);
    cr_assert_eq(messages, 3);
    cr_assert_eq(bytes, 300);
    cr_assert_eq(rlt_batch_messages(&batch), 2);
}

BatchTest(rest_begins_with_what_was_not_taken)
{
    add_line(10);
    add_lane(0, 1, 100, 100);
    const uint8_t *bytes = batch.spans[1].bytes;
    batch.done = 1;
    rlt_batch_advance(&batch, 30);
    cr_assert_eq(rlt_batch_left(&batch), 1);
    cr_assert_eq(rlt_batch_rest(&batch)->bytes, bytes + 30);
    cr_assert_eq(rlt_batch_rest(&batch)->len, 70);
    cr_assert_eq(batch.progress, 30);
    rlt_batch_clear(&batch);
    cr_assert_eq(rlt_batch_left(&batch), 0);
    cr_assert_eq(batch.progress, 0);
}

BatchTest(more_spans_than_there_can_be_are_a_mistake, .signal = SIGABRT)
{
    for (uint32_t i = 0; i <= RLT_BATCH_SPANS; i++) {
        add_line(1);
    }
}
