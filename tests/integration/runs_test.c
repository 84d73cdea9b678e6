/* SPDX-License-Identifier: MIT */
/**
 * Messages with the same line before them travel to the subscriber as one run. Nothing of that may
 * be seen: they are taken in any portions, and end where their subscription ends.
 */
#include <stdio.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fake_server.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    MESSAGES = 300,
    /* Two runs: the bodies of the second half are a byte longer. */
    HALF = MESSAGES / 2,
    FRAME_LEN = sizeof("MSG t 1 4\r\n0000\r\n") - 1,
    STREAM_LEN = MESSAGES * FRAME_LEN + MESSAGES - HALF,
    /* A slot for each message would not do. */
    RING_SLOTS = 64,
    BATCH_MAX = 32,
};

#define INFO      "INFO {\"server_id\":\"x\",\"version\":\"2.9.0\",\"max_payload\":1048576}\r\n"
#define HANDSHAKE FAKE_SEND(INFO), FAKE_EXPECT("PING\r\n"), FAKE_SEND("PONG\r\n")

struct stage {
    struct fake_server *server;
    roulette_client *client;
    roulette_subscriber *subscriber;
    roulette_subscription *subscription;
};

/* Start a server that sends all messages at once, and wait until they are in the ring. */
static void set_up(struct stage *stage, uint64_t max_messages)
{
    static char stream[STREAM_LEN + 1];
    char *out = stream;
    for (int i = 0; i < MESSAGES; i++) {
        int len = i < HALF ? 4 : 5;
        out += sprintf(out, "MSG t 1 %d\r\n%0*d\r\n", len, len, i);
    }
    static struct fake_step steps[] = {HANDSHAKE, FAKE_EXPECT("SUB t 1\r\n"),
                                       FAKE_SEND_BYTES(stream, STREAM_LEN)};
    static const struct fake_script script = {steps, sizeof(steps) / sizeof(steps[0])};
    char address[32];
    stage->server = fake_server_start(&script, 1);
    cr_assert_not_null(stage->server);
    (void)snprintf(address, sizeof(address), "127.0.0.1:%u", fake_server_port(stage->server));
    struct roulette_options options;
    roulette_options_init(&options);
    options.servers = address;
    /* Not fleet_open(): the server answers no more PINGs. */
    cr_assert_eq(roulette_open(&options, &stage->client), 0);
    stage->subscriber = fleet_subscriber(stage->client, RING_SLOTS);
    struct roulette_subscription_options wish;
    roulette_subscription_options_init(&wish);
    wish.max_messages = max_messages;
    cr_assert_eq(roulette_subscribe_with(stage->subscriber, "t", 1, &wish, &stage->subscription),
                 0);
    EVENTUALLY(fleet_stats(stage->client, 0).received_messages == MESSAGES);
    struct roulette_stats stats = fleet_stats(stage->client, 0);
    cr_assert_eq(stats.delivered_messages, MESSAGES);
    cr_assert_eq(stats.dropped_ring_full, 0);
}

/* Without `held`, nothing that was received holds memory before the subscriber's end. */
static void tear_down(struct stage *stage, bool held)
{
    (void)roulette_close(stage->client, 0, NULL, 0);
    cr_assert_eq(fleet_stats(stage->client, 0).slabs_in_use, held ? 1 : 0);
    roulette_subscriber_close(stage->subscriber);
    roulette_free(stage->client);
    cr_assert(fake_server_stop(stage->server));
}

/* Receive up to `count` messages, which begin with number `first`. Returns how many there were. */
static int take(struct stage *stage, size_t count, int first)
{
    struct roulette_message messages[BATCH_MAX];
    int got = roulette_receive(stage->subscriber, messages, count, 0);
    cr_assert_geq(got, 0);
    for (int i = 0; i < got; i++) {
        char number[16];
        int len = first + i < HALF ? 4 : 5;
        (void)snprintf(number, sizeof(number), "%0*d", len, first + i);
        cr_assert_eq(messages[i].kind, ROULETTE_KIND_MESSAGE);
        cr_assert_eq(messages[i].payload_len, (size_t)len);
        cr_assert_arr_eq(messages[i].payload, number, (size_t)len);
        cr_assert_eq(messages[i].topic_len, 1);
        cr_assert_arr_eq(messages[i].topic, "t", 1);
        cr_assert_null(messages[i].reply);
        cr_assert_eq(messages[i].reply_len, 0);
    }
    roulette_release(stage->subscriber, messages, (size_t)got);
    return got;
}

Test(runs, are_taken_in_any_portions)
{
    for (size_t portion = 1; portion <= BATCH_MAX; portion += portion < 4 ? 1 : 7) {
        struct stage stage;
        set_up(&stage, 0);
        int taken = 0;
        while (taken < MESSAGES) {
            int got = take(&stage, portion, taken);
            cr_assert_gt(got, 0);
            taken += got;
        }
        cr_assert_eq(taken, MESSAGES);
        cr_assert_eq(take(&stage, portion, taken), 0);
        tear_down(&stage, false);
    }
}

Test(runs, end_with_the_last_message_that_was_asked_for)
{
    enum { WANTED = 161 };
    struct stage stage;
    set_up(&stage, WANTED);
    int taken = 0;
    while (taken < WANTED) {
        size_t left = (size_t)(WANTED - taken);
        int got = take(&stage, left < 10 ? left : 10, taken);
        cr_assert_gt(got, 0);
        taken += got;
    }
    struct roulette_message message;
    cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_ENDED);
    cr_assert_eq(message.error, 0);
    cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, 0), 0);
    tear_down(&stage, false);
}

Test(runs, end_with_an_unsubscribe)
{
    struct stage stage;
    set_up(&stage, 0);
    cr_assert_eq(take(&stage, 10, 0), 10);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, stage.subscription), 0);
    cr_assert_eq(take(&stage, 10, 0), 0);
    tear_down(&stage, false);
}

Test(runs, may_be_left_by_closing)
{
    struct stage stage;
    set_up(&stage, 0);
    cr_assert_eq(take(&stage, 10, 0), 10);
    tear_down(&stage, true);
}
