/* SPDX-License-Identifier: MIT */
/**
 * The descriptor of a subscriber, in loops as people write them who have read nothing but its name.
 */
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/test.h"

enum {
    SERVERS = 3,
    MESSAGES = 1000,
    QUIET_MS = 50, /* long enough for what is on its way in this machine */
};

/* Three servers, a client, and a subscriber of all their topics whose descriptor was asked for. */
struct stage {
    struct fleet fleet;
    roulette_client *client;
    roulette_subscriber *subscriber;
    int fd;
};

static void set_up(struct stage *stage)
{
    fleet_start(&stage->fleet, SERVERS);
    struct roulette_options options = fleet_options(&stage->fleet);
    stage->client = fleet_open(&options);
    stage->subscriber = fleet_subscriber(stage->client, 0);
    stage->fd = roulette_subscriber_fd(stage->subscriber);
    cr_assert_geq(stage->fd, 0);
    fleet_subscribe(stage->subscriber, "t.*");
}

static void tear_down(struct stage *stage)
{
    roulette_subscriber_close(stage->subscriber);
    fleet_close(stage->client);
    fleet_stop(&stage->fleet);
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    return poll(&poller, 1, timeout_ms) == 1;
}

/* Over all clusters in turn. */
static void publish(roulette_client *client, uint32_t number)
{
    char topic[32];
    int len = snprintf(topic, sizeof(topic), "t.%u", number % 16);
    int result = roulette_publish_wait(client, topic, (size_t)len, &number, sizeof(number), -1);
    REQUIRE(result == 0, "%s", roulette_last_error());
}

static void publish_and_flush(roulette_client *client, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        publish(client, i);
    }
    cr_assert_eq(roulette_flush(client, EVENTUALLY_MS, NULL, 0), 0);
}

/* One receive of up to `batch`. Returns: how many messages. */
static uint32_t receive_once(roulette_subscriber *subscriber, size_t batch, int timeout_ms)
{
    struct roulette_message messages[16];
    REQUIRE(batch <= 16);
    int count = roulette_receive(subscriber, messages, batch, timeout_ms);
    REQUIRE(count >= 0, "%s", roulette_last_error());
    roulette_release(subscriber, messages, (size_t)count);
    return (uint32_t)count;
}

static void receive_all(roulette_subscriber *subscriber)
{
    while (receive_once(subscriber, 16, 0) != 0) {
    }
}

/* ---- Loops -------------------------------------------------------------------------------- */

struct loop {
    uint32_t events; /* of epoll */
    size_t batch;    /* of the one receive for each wake-up */
    int timeout_ms;  /* of that receive */
    uint32_t received;
};

/* Wait first; for each wake-up receive once. Ends with `wanted` messages, or when nothing wakes. */
static void run(struct loop *loop, const struct stage *stage, uint32_t wanted)
{
    struct epoll_event event = {.events = loop->events};
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    cr_assert_geq(epoll, 0);
    cr_assert_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, stage->fd, &event), 0);
    loop->received = 0;
    while (loop->received < wanted && epoll_wait(epoll, &event, 1, SCALED(2000, 10000)) == 1) {
        loop->received += receive_once(stage->subscriber, loop->batch, loop->timeout_ms);
        if (loop->events & EPOLLONESHOT) {
            event.events = loop->events;
            cr_assert_eq(epoll_ctl(epoll, EPOLL_CTL_MOD, stage->fd, &event), 0);
        }
    }
    (void)close(epoll);
}

/* Publishes with and without pauses, so that the loop sleeps at times and is behind at others. */
static void *publish_unevenly(void *argument)
{
    const struct stage *stage = argument;
    for (uint32_t i = 0; i < MESSAGES; i++) {
        publish(stage->client, i);
        if (i % 5 == 0) {
            struct timespec pause = {.tv_nsec = 1000 * (long)(i % 37) * (i % 11)};
            (void)nanosleep(&pause, NULL);
        }
    }
    return NULL;
}

static void expect_all(uint32_t events, size_t batch, int timeout_ms)
{
    struct stage stage;
    struct loop loop = {.events = events, .batch = batch, .timeout_ms = timeout_ms};
    pthread_t thread;
    set_up(&stage);
    publish_and_flush(stage.client, MESSAGES);
    run(&loop, &stage, MESSAGES);
    cr_assert_eq(loop.received, (uint32_t)MESSAGES, "%u of %d that waited", loop.received,
                 MESSAGES);
    cr_assert_eq(pthread_create(&thread, NULL, publish_unevenly, &stage), 0);
    run(&loop, &stage, MESSAGES);
    (void)pthread_join(thread, NULL);
    cr_assert_eq(loop.received, (uint32_t)MESSAGES, "%u of %d that came meanwhile", loop.received,
                 MESSAGES);
    cr_assert_not(is_readable(stage.fd, QUIET_MS), "readable, and nothing is left");
    tear_down(&stage);
}

Test(descriptor, level_triggered_loop_with_one_receive_for_each_wakeup_gets_all)
{
    expect_all(EPOLLIN, 1, 0);
}

Test(descriptor, edge_triggered_loop_with_one_receive_for_each_wakeup_gets_all)
{
    expect_all(EPOLLIN | EPOLLET, 1, 0);
}

Test(descriptor, one_shot_loop_with_one_receive_for_each_wakeup_gets_all)
{
    expect_all(EPOLLIN | EPOLLONESHOT, 1, 0);
}

Test(descriptor, loops_that_receive_a_few_get_all)
{
    expect_all(EPOLLIN, 7, 0);
    expect_all(EPOLLIN | EPOLLET, 7, 0);
}

Test(descriptor, loops_whose_receive_waits_get_all)
{
    expect_all(EPOLLIN, 1, 100);
    expect_all(EPOLLIN | EPOLLET, 1, 100);
    expect_all(EPOLLIN | EPOLLET, 16, 1);
}

/* ---- What it tells ------------------------------------------------------------------------ */

Test(descriptor, is_readable_while_something_is_left_and_not_longer)
{
    struct stage stage;
    set_up(&stage);
    for (uint32_t round = 0; round < SCALED(300, 30); round++) {
        uint32_t count = 1 + round % 5;
        cr_assert_not(is_readable(stage.fd, 0));
        publish_and_flush(stage.client, count);
        for (uint32_t i = 0; i < count; i++) {
            cr_assert(is_readable(stage.fd, EVENTUALLY_MS), "%u of %u", i, count);
            cr_assert(is_readable(stage.fd, 0), "polling takes nothing away");
            cr_assert_eq(receive_once(stage.subscriber, 1, EVENTUALLY_MS), 1u);
        }
    }
    tear_down(&stage);
}

Test(descriptor, tells_at_once_of_what_was_there_before_it_was_asked_for)
{
    struct stage stage;
    set_up(&stage);
    roulette_subscriber *late = fleet_subscriber(stage.client, 0);
    fleet_subscribe(late, "t.*");
    publish_and_flush(stage.client, 3);
    cr_assert_eq(receive_once(late, 1, EVENTUALLY_MS), 1u);
    cr_assert_eq(receive_once(late, 1, EVENTUALLY_MS), 1u);
    int fd = roulette_subscriber_fd(late);
    cr_assert(is_readable(fd, EVENTUALLY_MS));
    cr_assert_eq(roulette_subscriber_fd(late), fd, "asked for again");
    cr_assert_eq(receive_once(late, 1, EVENTUALLY_MS), 1u);
    cr_assert_not(is_readable(fd, QUIET_MS));
    roulette_subscriber_close(late);
    tear_down(&stage);
}

/* It slept in roulette_receive() before, so that signals were given that nobody has taken. */
Test(descriptor, is_not_readable_for_what_was_received_before_it_was_asked_for)
{
    struct stage stage;
    set_up(&stage);
    roulette_subscriber *late = fleet_subscriber(stage.client, 0);
    fleet_subscribe(late, "t.*");
    for (uint32_t i = 0; i < 100; i++) {
        publish(stage.client, i);
        cr_assert_eq(receive_once(late, 1, EVENTUALLY_MS), 1u);
    }
    cr_assert_not(is_readable(roulette_subscriber_fd(late), QUIET_MS));
    roulette_subscriber_close(late);
    tear_down(&stage);
}

Test(descriptor, tells_of_the_end_that_follows_the_last_message)
{
    struct stage stage;
    struct roulette_message message;
    struct roulette_subscription_options wish;
    set_up(&stage);
    roulette_subscription_options_init(&wish);
    wish.max_messages = 2;
    wish.timeout_ms = EVENTUALLY_MS;
    cr_assert_eq(roulette_unsubscribe_topic(stage.subscriber, "t.*", 3), 0);
    cr_assert_eq(roulette_subscribe_with(stage.subscriber, "t.1", 3, &wish, NULL), 0);
    receive_all(stage.subscriber);
    for (uint32_t i = 0; i < 2; i++) {
        publish(stage.client, 1);
        cr_assert(is_readable(stage.fd, EVENTUALLY_MS));
        cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS), 1);
        cr_assert_eq(message.kind, ROULETTE_KIND_MESSAGE);
        roulette_release(stage.subscriber, &message, 1);
    }
    cr_assert(is_readable(stage.fd, 0), "the notice is there");
    cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, 0), 1);
    cr_assert_eq(message.kind, ROULETTE_KIND_ENDED);
    tear_down(&stage);
}

Test(descriptor, tells_of_messages_that_were_dropped)
{
    struct stage stage;
    struct roulette_message message;
    set_up(&stage);
    roulette_subscriber *small = fleet_subscriber(stage.client, 16);
    int fd = roulette_subscriber_fd(small);
    fleet_subscribe(small, "t.1");
    for (uint32_t i = 0; i < 100; i++) {
        publish(stage.client, 1);
        cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, NULL, 0), 0);
    }
    uint64_t count = 0;
    while (count < 100) {
        cr_assert(is_readable(fd, EVENTUALLY_MS), "after %u", (unsigned)count);
        int got = roulette_receive(small, &message, 1, 0);
        cr_assert_eq(got, 1);
        count += message.kind == ROULETTE_KIND_DROPPED ? message.count : 1;
        roulette_release(small, &message, 1);
    }
    cr_assert_not(is_readable(fd, QUIET_MS));
    roulette_subscriber_close(small);
    tear_down(&stage);
}

/* ---- Its end ------------------------------------------------------------------------------ */

static uint64_t count_delivered(const struct stage *stage)
{
    uint64_t count = 0;
    for (size_t i = 0; i < SERVERS; i++) {
        count += fleet_stats(stage->client, i).delivered_messages;
    }
    return count;
}

static void close_client(const struct stage *stage)
{
    cr_assert_eq(roulette_close(stage->client, EVENTUALLY_MS, NULL, 0), 0);
}

/* All that waits, one receive for each wake-up, until the client is closed. */
static void expect_closed(const struct stage *stage, uint32_t events, uint32_t wanted)
{
    struct epoll_event event = {.events = events};
    struct roulette_message message;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    cr_assert_geq(epoll, 0);
    cr_assert_eq(epoll_ctl(epoll, EPOLL_CTL_ADD, stage->fd, &event), 0);
    uint32_t received = 0;
    int result = 0;
    while (result >= 0) {
        cr_assert_eq(epoll_wait(epoll, &event, 1, EVENTUALLY_MS), 1, "after %u", received);
        result = roulette_receive(stage->subscriber, &message, 1, 0);
        if (result == 1 && message.kind == ROULETTE_KIND_MESSAGE) {
            roulette_release(stage->subscriber, &message, 1);
            received++;
        }
    }
    cr_assert_eq(result, ROULETTE_ECLOSED);
    cr_assert_eq(received, wanted, "%u of %u", received, wanted);
    cr_assert(is_readable(stage->fd, 0), "closed for good");
    (void)close(epoll);
}

Test(descriptor, tells_of_a_closed_client)
{
    for (uint32_t i = 0; i < 4; i++) {
        struct stage stage;
        set_up(&stage);
        receive_all(stage.subscriber);
        uint32_t count = i < 2 ? 10 : 0;
        publish_and_flush(stage.client, count);
        EVENTUALLY(count_delivered(&stage) == count);
        close_client(&stage);
        expect_closed(&stage, EPOLLIN | (i % 2 == 0 ? (uint32_t)EPOLLET : 0), count);
        roulette_subscriber_close(stage.subscriber);
        roulette_free(stage.client);
        fleet_stop(&stage.fleet);
    }
}

/* The descriptor of a child is the parent's. */
Test(descriptor, child_process_neither_takes_the_readiness_away_nor_gives_it)
{
    struct stage stage;
    int status = 0;
    set_up(&stage);
    publish_and_flush(stage.client, 10);
    EVENTUALLY(is_readable(stage.fd, 0));
    for (int round = 0; round < 2; round++) {
        pid_t child = fork();
        cr_assert_geq(child, 0);
        if (child == 0) {
            struct roulette_message message;
            int result;
            while ((result = roulette_receive(stage.subscriber, &message, 1, 0)) > 0) {
                roulette_release(stage.subscriber, &message, 1);
            }
            roulette_subscriber_close(stage.subscriber);
            roulette_free(stage.client);
            _exit(result == ROULETTE_EFORKED ? 0 : 1);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        cr_assert_eq(status, 0);
        cr_assert_eq(is_readable(stage.fd, 0), round == 0);
        uint32_t received = 0;
        while (round == 0 && received < 10) {
            received += receive_once(stage.subscriber, 1, EVENTUALLY_MS);
        }
        cr_assert_not(is_readable(stage.fd, QUIET_MS));
    }
    tear_down(&stage);
}
