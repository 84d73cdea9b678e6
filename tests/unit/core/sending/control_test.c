/* SPDX-License-Identifier: MIT */
#include "core/sending/control.h"

#include <string.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/test.h"

static struct rlt_control control;

static void open_control(void)
{
    cr_assert_eq(rlt_control_init(&control), 0);
}

static void close_control(void)
{
    rlt_control_fini(&control);
}

#define ControlTest(name) Test(control, name, .init = open_control, .fini = close_control)

static void write_text(const char *text)
{
    size_t len = strlen(text);
    uint8_t *out = rlt_control_claim(&control, len);
    cr_assert_not_null(out);
    memcpy(out, text, len);
    rlt_control_commit(&control, out + len);
}

static const uint8_t *take(const char *expected)
{
    size_t len;
    const uint8_t *bytes = rlt_control_take(&control, &len);
    cr_assert_eq(len, strlen(expected));
    cr_assert_eq(memcmp(bytes, expected, len), 0);
    return bytes;
}

ControlTest(lines_go_in_the_order_in_which_they_were_written)
{
    write_text("SUB a 1\r\n");
    write_text("PING\r\n");
    (void)take("SUB a 1\r\nPING\r\n");
    (void)take("");
}

/* What is in flight is not written over. */
ControlTest(lines_are_written_beside_those_in_flight)
{
    write_text("first");
    const uint8_t *first = take("first");
    write_text("second");
    cr_assert_eq(memcmp(first, "first", 5), 0);
    rlt_control_on_sent(&control);
    (void)take("second");
}

ControlTest(claim_beyond_the_room_is_refused_until_lines_are_taken)
{
    cr_assert_null(rlt_control_claim(&control, RLT_CONTROL_BYTES + 1));
    uint8_t *out = rlt_control_claim(&control, RLT_CONTROL_BYTES);
    cr_assert_not_null(out);
    rlt_control_commit(&control, out + RLT_CONTROL_BYTES);
    cr_assert_null(rlt_control_claim(&control, 1));
    size_t len;
    (void)rlt_control_take(&control, &len);
    cr_assert_eq(len, RLT_CONTROL_BYTES);
    cr_assert_not_null(rlt_control_claim(&control, RLT_CONTROL_BYTES));
}

ControlTest(secrets_are_overwritten_once_they_are_sent)
{
    write_text("CONNECT {secret}");
    rlt_control_mark_secret(&control);
    const uint8_t *bytes = take("CONNECT {secret}");
    rlt_control_on_sent(&control);
    for (size_t i = 0; i < strlen("CONNECT {secret}"); i++) {
        cr_assert_eq(bytes[i], 0);
    }
    cr_assert_eq(control.secret_len, 0);
}

/* They are in the buffer that is filled, and go with a later batch. */
ControlTest(secrets_that_are_not_sent_yet_are_kept)
{
    write_text("CONNECT {secret}");
    rlt_control_mark_secret(&control);
    rlt_control_on_sent(&control);
    const uint8_t *bytes = take("CONNECT {secret}");
    rlt_control_on_sent(&control);
    cr_assert_eq(bytes[0], 0);
}

ControlTest(lines_of_a_lost_connection_are_forgotten)
{
    write_text("SUB a 1\r\n");
    rlt_control_forget(&control);
    (void)take("");
}

static int refuse_second(void *context, size_t size)
{
    (void)size;
    return ++*(int *)context < 2;
}

Test(control, without_memory_nothing_is_left)
{
    int count = 0;
    rlt_memory_set_gate(refuse_second, &count);
    cr_assert_eq(rlt_control_init(&control), ROULETTE_ENOMEM);
    rlt_memory_set_gate(NULL, NULL);
    cr_assert_null(control.buffers[0]);
}
