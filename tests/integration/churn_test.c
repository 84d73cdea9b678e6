/* SPDX-License-Identifier: MIT */
/**
 * Subscribing and unsubscribing over and over without receiving: what is over is given back, and
 * where that is not possible the call says so at a bound.
 */
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    CYCLES = SCALED(200000, 20000),
    BOUND = 65536, /* as roulette.h says */
};

struct stage {
    struct fleet fleet;
    roulette_client *client;
    roulette_subscriber *subscriber;
};

static void set_up(struct stage *stage)
{
    fleet_start(&stage->fleet, 2);
    struct roulette_options options = fleet_options(&stage->fleet);
    stage->client = fleet_open(&options);
    stage->subscriber = fleet_subscriber(stage->client, 0);
}

static void tear_down(struct stage *stage)
{
    roulette_subscriber_close(stage->subscriber);
    fleet_close(stage->client);
    fleet_stop(&stage->fleet);
}

static void flush(const struct stage *stage)
{
    cr_assert_eq(roulette_flush(stage->client, EVENTUALLY_MS, NULL, 0), 0, "%s",
                 roulette_last_error());
}

static void cycle(const struct stage *stage, const char *format, int number)
{
    char topic[64];
    roulette_subscription *subscription;
    (void)snprintf(topic, sizeof(topic), format, number);
    cr_assert_eq(roulette_subscribe(stage->subscriber, topic, ROULETTE_STRLEN, NULL, &subscription),
                 0, "%d: %s", number, roulette_last_error());
    cr_assert_eq(roulette_unsubscribe(stage->subscriber, subscription), 0);
}

/* Bytes of the heap that are in use when all is carried out. */
static size_t heap_after(const struct stage *stage, const char *format, int cycles)
{
    for (int i = 0; i < cycles; i++) {
        cycle(stage, format, i);
        if (i % 1000 == 999) {
            flush(stage); /* the event thread may be behind, but not for ever */
        }
    }
    flush(stage);
    cycle(stage, format, 0);
    flush(stage);
    return mallinfo2().uordblks;
}

static void check(const struct stage *stage, const char *format)
{
    size_t before = heap_after(stage, format, CYCLES / 10);
    size_t after = heap_after(stage, format, CYCLES);
    size_t kept = after > before ? after - before : 0;
    printf("churn: %d cycles of %s keep %zu bytes\n", CYCLES, format, kept);
    cr_assert_lt(kept, 512 * 1024, "%zu bytes, %zu for each cycle", kept, kept / CYCLES);
}

Test(churn, cycles_without_receive_keep_nothing)
{
    static const char *const formats[] = {"room.%d.state", "room.same", "room.%d.*"};
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct stage stage;
        set_up(&stage);
        check(&stage, formats[i]);
        tear_down(&stage);
    }
}

/* What nobody will receive any more does not stand in the way. */
Test(churn, messages_of_what_is_over_are_left_out)
{
    struct stage stage;
    roulette_subscription *subscription;
    set_up(&stage);
    cr_assert_eq(
        roulette_subscribe(stage.subscriber, "room.*", ROULETTE_STRLEN, NULL, &subscription), 0);
    flush(&stage);
    for (int i = 0; i < 1000; i++) {
        char topic[32];
        (void)snprintf(topic, sizeof(topic), "room.%d", i);
        cr_assert_eq(roulette_publish(stage.client, topic, ROULETTE_STRLEN, "x", 1), 0);
    }
    flush(&stage);
    cr_assert_eq(roulette_unsubscribe(stage.subscriber, subscription), 0);
    check(&stage, "room.%d.state");
    struct roulette_stats stats = fleet_stats(stage.client, 0);
    cr_assert_leq(stats.slabs_in_use, 2, "%llu", (unsigned long long)stats.slabs_in_use);
    /* A subscription is as ever. */
    cr_assert_eq(roulette_subscribe(stage.subscriber, "room.1", ROULETTE_STRLEN, NULL, NULL), 0);
    cr_assert_eq(roulette_publish(stage.client, "room.1", ROULETTE_STRLEN, "y", 1), 0);
    struct roulette_message message;
    cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
    cr_assert_eq(*(const char *)message.payload, 'y');
    roulette_release(stage.subscriber, &message, 1);
    tear_down(&stage);
}

Test(churn, what_is_to_be_received_ends_it_at_a_bound)
{
    struct stage stage;
    struct roulette_message message;
    char topic[64];
    int result = 0;
    int cycles = 0;
    set_up(&stage);
    cr_assert_eq(roulette_subscribe(stage.subscriber, "wanted.*", ROULETTE_STRLEN, NULL, NULL), 0);
    flush(&stage);
    for (int i = 0; i < 64; i++) {
        /* On both clusters. */
        (void)snprintf(topic, sizeof(topic), "wanted.%d", i);
        cr_assert_eq(roulette_publish(stage.client, topic, ROULETTE_STRLEN, "x", 1), 0);
    }
    flush(&stage);
    for (; cycles < 2 * BOUND && result == 0; cycles++) {
        roulette_subscription *subscription;
        (void)snprintf(topic, sizeof(topic), "room.%d", cycles);
        result = roulette_subscribe(stage.subscriber, topic, ROULETTE_STRLEN, NULL, &subscription);
        if (result == 0) {
            cr_assert_eq(roulette_unsubscribe(stage.subscriber, subscription), 0);
        }
    }
    cr_assert_eq(result, ROULETTE_EBUSY, "%s after %d cycles", roulette_error_name(result), cycles);
    cr_assert_eq(cycles, BOUND + 1);
    cr_assert_not_null(strstr(roulette_last_error(), "roulette_receive()"), "%s",
                       roulette_last_error());
    for (int i = 0; i < 64; i++) {
        cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        roulette_release(stage.subscriber, &message, 1);
    }
    EVENTUALLY(roulette_subscribe(stage.subscriber, topic, ROULETTE_STRLEN, NULL, NULL) == 0);
    check(&stage, "room.%d.state");
    tear_down(&stage);
}

/* Who has many may leave them all and make as many others, whatever is to be received. */
Test(churn, as_many_as_ever_were_subscribed_may_be_over)
{
    enum { MANY = 2 * BOUND };
    struct stage stage;
    char topic[64];
    set_up(&stage);
    cr_assert_eq(roulette_subscribe(stage.subscriber, "wanted", ROULETTE_STRLEN, NULL, NULL), 0);
    flush(&stage);
    cr_assert_eq(roulette_publish(stage.client, "wanted", ROULETTE_STRLEN, "x", 1), 0);
    flush(&stage);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            (void)snprintf(topic, sizeof(topic), "room.%d.%d", round, i);
            cr_assert_eq(roulette_subscribe(stage.subscriber, topic, ROULETTE_STRLEN, NULL, NULL),
                         0, "%d: %s", i, roulette_last_error());
        }
        for (int i = 0; i < MANY && round == 0; i++) {
            (void)snprintf(topic, sizeof(topic), "room.%d.%d", round, i);
            cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, topic, ROULETTE_STRLEN), 0);
        }
    }
    tear_down(&stage);
}
