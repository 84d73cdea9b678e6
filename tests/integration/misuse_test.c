/* SPDX-License-Identifier: MIT */
/**
 * Rules of the header that an application breaks: the process ends by an assertion that names the
 * mistake, never by another signal, and at the call that makes it.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/test.h"

/* ---- The end ------------------------------------------------------------------------------ */

static const char *expected_call;
static const char *expected_mistake;
static int said_fd = -1;

/* abort() goes on when this returns, and the test expects that. */
static void on_abort(int signal_number)
{
    (void)signal_number;
    char said[1024] = {0};
    ssize_t len = pread(said_fd, said, sizeof(said) - 1, 0);
    if (len <= 0 || strstr(said, expected_call) == NULL || strstr(said, expected_mistake) == NULL ||
        strchr(said, '/') != NULL) {
        static const char wrong[] = "another text was expected than:\n";
        (void)!write(STDOUT_FILENO, wrong, sizeof(wrong) - 1);
        (void)!write(STDOUT_FILENO, said, (size_t)(len > 0 ? len : 0));
        _exit(1);
    }
}

/* From here on the process is to abort in `call`, and to say `mistake`. */
static void expect_end(const char *call, const char *mistake)
{
    expected_call = call;
    expected_mistake = mistake;
    char path[] = "/tmp/roulette-misuse-XXXXXX";
    said_fd = mkstemp(path);
    cr_assert_geq(said_fd, 0);
    (void)unlink(path);
    (void)dup2(said_fd, STDERR_FILENO);
    (void)signal(SIGABRT, on_abort);
}

#define Misuse(name) Test(misuse, name, .signal = SIGABRT)

/* ---- What is misused ---------------------------------------------------------------------- */

struct stage {
    struct fleet fleet;
    struct roulette_options options;
    roulette_client *client;
    roulette_subscriber *subscriber;
    roulette_subscriber *other;
};

static void set_up(struct stage *stage)
{
    fleet_start(&stage->fleet, 1);
    stage->options = fleet_options(&stage->fleet);
    stage->client = fleet_open(&stage->options);
    stage->subscriber = fleet_subscriber(stage->client, 0);
    stage->other = fleet_subscriber(stage->client, 0);
    fleet_subscribe(stage->subscriber, "t");
}

static void tear_down(struct stage *stage)
{
    roulette_subscriber_close(stage->subscriber);
    roulette_subscriber_close(stage->other);
    fleet_close(stage->client);
    fleet_stop(&stage->fleet);
}

static void receive_some(const struct stage *stage, struct roulette_message *messages, int count)
{
    for (int i = 0; i < count; i++) {
        cr_assert_eq(roulette_publish(stage->client, "t", 1, "x", 1), 0);
    }
    for (int i = 0; i < count; i++) {
        cr_assert_eq(roulette_receive(stage->subscriber, &messages[i], 1, EVENTUALLY_MS), 1);
        cr_assert_eq(messages[i].kind, ROULETTE_KIND_MESSAGE);
    }
}

/* ---- Releasing ---------------------------------------------------------------------------- */

Misuse(message_is_released_to_a_subscriber_that_never_subscribed)
{
    struct stage stage;
    struct roulette_message message;
    set_up(&stage);
    receive_some(&stage, &message, 1);
    expect_end("roulette_release()", "another subscriber");
    roulette_release(stage.other, &message, 1);
}

Misuse(message_is_released_to_a_subscriber_of_the_same_topic)
{
    struct stage stage;
    struct roulette_message messages[2];
    set_up(&stage);
    fleet_subscribe(stage.other, "t");
    receive_some(&stage, messages, 2);
    cr_assert_eq(roulette_receive(stage.other, &messages[1], 1, EVENTUALLY_MS), 1);
    expect_end("roulette_release()", "another subscriber");
    roulette_release(stage.other, messages, 2);
}

Misuse(message_is_released_twice)
{
    struct stage stage;
    struct roulette_message message;
    set_up(&stage);
    receive_some(&stage, &message, 1);
    roulette_release(stage.subscriber, &message, 1);
    expect_end("roulette_release()", "released before");
    roulette_release(stage.subscriber, &message, 1);
}

Misuse(message_is_released_again_through_a_copy_of_its_struct)
{
    struct stage stage;
    struct roulette_message message;
    set_up(&stage);
    receive_some(&stage, &message, 1);
    struct roulette_message again = message;
    /* What another one was given, and what waits, is not taken for it. */
    fleet_subscribe(stage.other, "t");
    cr_assert_eq(roulette_publish(stage.client, "t", 1, "x", 1), 0);
    cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, NULL, 0), 0);
    roulette_release(stage.subscriber, &message, 1);
    expect_end("roulette_release()", "copy of its struct");
    roulette_release(stage.subscriber, &again, 1);
}

Misuse(messages_are_released_with_a_copy_of_one)
{
    struct stage stage;
    struct roulette_message messages[3];
    set_up(&stage);
    receive_some(&stage, messages, 2);
    messages[2] = messages[0];
    expect_end("roulette_release()", "copy of its struct");
    roulette_release(stage.subscriber, messages, 3);
}

Misuse(message_is_released_without_its_subscriber)
{
    struct stage stage;
    struct roulette_message message;
    set_up(&stage);
    receive_some(&stage, &message, 1);
    expect_end("roulette_release()", "the subscriber is NULL");
    roulette_release(NULL, &message, 1);
}

Misuse(struct_that_was_never_received_is_released)
{
    struct stage stage;
    set_up(&stage);
    struct roulette_message message = {.internal = (void *)(uintptr_t)0x5a5a5a5a5a5a5a5a};
    expect_end("roulette_release()", "or by none");
    roulette_release(stage.subscriber, &message, 1);
}

Misuse(message_whose_cluster_was_changed_is_released)
{
    struct stage stage;
    struct roulette_message message;
    set_up(&stage);
    receive_some(&stage, &message, 1);
    message.cluster = 77;
    expect_end("roulette_release()", "changed");
    roulette_release(stage.subscriber, &message, 1);
}

Misuse(null_is_released)
{
    struct stage stage;
    set_up(&stage);
    expect_end("roulette_release()", "messages is NULL");
    roulette_release(stage.subscriber, NULL, 1);
}

Test(misuse, released_message_is_not_copied)
{
    struct stage stage;
    struct roulette_message message;
    struct roulette_message copy;
    set_up(&stage);
    receive_some(&stage, &message, 1);
    cr_assert_eq(roulette_message_copy(&message, &message), ROULETTE_EINVAL);
    cr_assert_not_null(strstr(roulette_last_error(), "itself"));
    roulette_release(stage.subscriber, &message, 1);
    cr_assert_eq(roulette_message_copy(&message, &copy), ROULETTE_EINVAL);
    cr_assert_not_null(strstr(roulette_last_error(), "released"));
    tear_down(&stage);
}

/* ---- Twice -------------------------------------------------------------------------------- */

Misuse(subscriber_is_closed_twice)
{
    struct stage stage;
    set_up(&stage);
    roulette_subscriber_close(stage.subscriber);
    expect_end("roulette_subscriber_close()", "closed or freed before");
    roulette_subscriber_close(stage.subscriber);
}

Misuse(client_is_freed_twice)
{
    struct stage stage;
    set_up(&stage);
    roulette_free(stage.client); /* its subscribers hold it */
    expect_end("roulette_free()", "closed or freed before");
    roulette_free(stage.client);
}

Misuse(client_without_subscribers_is_freed_twice)
{
    struct stage stage;
    set_up(&stage);
    roulette_client *second = fleet_open(&stage.options);
    roulette_free(second);
    expect_end("roulette_free()", "closed or freed before");
    roulette_free(second);
}

Misuse(topic_is_freed_twice)
{
    struct stage stage;
    roulette_topic *topic;
    set_up(&stage);
    cr_assert_eq(roulette_topic_create(stage.client, "t", 1, &topic), 0);
    roulette_topic_free(topic);
    expect_end("roulette_topic_free()", "closed or freed before");
    roulette_topic_free(topic);
}

Test(misuse, many_handles_are_given_back_in_any_order)
{
    enum { TOPICS = 1000 };
    static roulette_topic *topics[TOPICS];
    struct stage stage;
    set_up(&stage);
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < TOPICS; i++) {
            cr_assert_eq(roulette_topic_create(stage.client, "t", 1, &topics[i]), 0);
        }
        for (size_t i = 0; i < TOPICS; i++) {
            roulette_topic_free(topics[i * 7 % TOPICS]);
        }
    }
    tear_down(&stage);
}

/* ---- Another thread ----------------------------------------------------------------------- */

static void *wait_for_ever(void *argument)
{
    struct roulette_message message;
    (void)roulette_receive(argument, &message, 1, -1);
    return NULL;
}

/* Another thread waits in roulette_receive(). */
static void set_up_waiting(struct stage *stage, struct roulette_message *message)
{
    pthread_t thread;
    struct timespec pause = {.tv_nsec = 100000000};
    set_up(stage);
    receive_some(stage, message, 1);
    cr_assert_eq(pthread_create(&thread, NULL, wait_for_ever, stage->subscriber), 0);
    (void)pthread_detach(thread);
    (void)nanosleep(&pause, NULL);
}

#define WHILE_ANOTHER_WAITS(name, call_name, ...)                          \
    Misuse(name)                                                           \
    {                                                                      \
        struct stage stage;                                                \
        struct roulette_message message;                                   \
        set_up_waiting(&stage, &message);                                  \
        expect_end(call_name, "another thread waits in roulette_receive"); \
        __VA_ARGS__;                                                       \
    }

WHILE_ANOTHER_WAITS(close_while_another_thread_waits, "roulette_subscriber_close()",
                    roulette_subscriber_close(stage.subscriber))
WHILE_ANOTHER_WAITS(drain_while_another_thread_waits, "roulette_subscriber_drain()",
                    (void)roulette_subscriber_drain(stage.subscriber, 0))
WHILE_ANOTHER_WAITS(release_while_another_thread_waits, "roulette_release()",
                    roulette_release(stage.subscriber, &message, 1))
WHILE_ANOTHER_WAITS(receive_while_another_thread_waits, "roulette_receive()",
                    (void)roulette_receive(stage.subscriber, &message, 1, 0))
WHILE_ANOTHER_WAITS(subscribe_while_another_thread_waits, "roulette_subscribe()",
                    (void)roulette_subscribe(stage.subscriber, "u", 1, NULL, NULL))
WHILE_ANOTHER_WAITS(unsubscribe_while_another_thread_waits, "roulette_unsubscribe_topic()",
                    (void)roulette_unsubscribe_topic(stage.subscriber, "t", 1))
WHILE_ANOTHER_WAITS(descriptor_while_another_thread_waits, "roulette_subscriber_fd()",
                    (void)roulette_subscriber_fd(stage.subscriber))

/* ---- A log callback ----------------------------------------------------------------------- */

enum what { FLUSH, CLOSE, CLOSE_SUBSCRIBER };

struct caller {
    enum what what;
    roulette_client *client;
    roulette_subscriber *subscriber;
    _Atomic(bool) ready;
};

static void call_back(void *context, enum roulette_log_level level, const char *text)
{
    struct caller *caller = context;
    (void)level;
    (void)text;
    if (!caller->ready) {
        return;
    }
    switch (caller->what) {
    case FLUSH:
        (void)roulette_flush(caller->client, -1, NULL, 0);
        break;
    case CLOSE:
        (void)roulette_close(caller->client, -1, NULL, 0);
        break;
    case CLOSE_SUBSCRIBER:
        roulette_subscriber_close(caller->subscriber);
        break;
    }
}

static void call_from_the_log(enum what what)
{
    static struct caller caller;
    struct fleet fleet;
    fleet_start(&fleet, 1);
    struct roulette_options options = fleet_options(&fleet);
    caller.what = what;
    options.log = call_back;
    options.log_context = &caller;
    options.log_level = ROULETTE_LOG_DEBUG;
    caller.client = fleet_open(&options);
    caller.subscriber = fleet_subscriber(caller.client, 0);
    expect_end(what == FLUSH   ? "waits for the servers"
               : what == CLOSE ? "roulette_close()"
                               : "roulette_subscriber_close()",
               "from a log callback");
    caller.ready = true;
    cr_assert(nats_server_kill(fleet.servers[0], SIGKILL)); /* which is logged */
    (void)poll(NULL, 0, EVENTUALLY_MS);
}

Misuse(flush_in_a_log_callback)
{
    call_from_the_log(FLUSH);
}

Misuse(close_in_a_log_callback)
{
    call_from_the_log(CLOSE);
}

Misuse(subscriber_is_closed_in_a_log_callback)
{
    call_from_the_log(CLOSE_SUBSCRIBER);
}

/* ---- The right way ------------------------------------------------------------------------ */

struct worker {
    roulette_subscriber *subscriber;
    int timeout_ms;
    _Atomic(bool) ends;
    _Atomic(int) woken; /* times that it received nothing */
    uint32_t received;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct roulette_message message;
    while (!worker->ends) {
        int count = roulette_receive(worker->subscriber, &message, 1, worker->timeout_ms);
        REQUIRE(count >= 0);
        worker->woken += count == 0 ? 1 : 0;
        worker->received += (uint32_t)count;
        roulette_release(worker->subscriber, &message, (size_t)count);
    }
    return NULL;
}

static void stop_worker(struct worker *worker, pthread_t thread)
{
    worker->ends = true;
    cr_assert_eq(roulette_subscriber_wake(worker->subscriber), 0);
    (void)pthread_join(thread, NULL);
}

Test(wake, thread_that_waits_returns_and_its_subscriber_is_closed)
{
    for (uint32_t round = 0; round < SCALED(100, 10); round++) {
        struct stage stage;
        pthread_t thread;
        if (round % 10 == 0) {
            set_up(&stage);
        }
        struct worker worker = {.subscriber = fleet_subscriber(stage.client, 0), .timeout_ms = -1};
        fleet_subscribe(worker.subscriber, "t");
        cr_assert_eq(pthread_create(&thread, NULL, work, &worker), 0);
        if (round % 2 == 0) { /* it may wait already, or is just going to */
            struct timespec pause = {.tv_nsec = (long)(round % 7) * 1000000};
            (void)nanosleep(&pause, NULL);
        }
        stop_worker(&worker, thread);
        roulette_subscriber_close(worker.subscriber);
        if (round % 10 == 9) {
            tear_down(&stage);
        }
    }
}

Test(wake, next_receive_that_finds_nothing_returns_once)
{
    struct stage stage;
    struct roulette_message message;
    set_up(&stage);
    receive_some(&stage, &message, 1);
    roulette_release(stage.subscriber, &message, 1);
    for (int round = 0; round < 3; round++) {
        cr_assert_eq(roulette_subscriber_wake(stage.subscriber), 0);
        cr_assert_eq(roulette_subscriber_wake(stage.subscriber), 0);
        cr_assert_eq(roulette_publish(stage.client, "t", 1, "x", 1), 0);
        cr_assert_eq(roulette_flush(stage.client, EVENTUALLY_MS, NULL, 0), 0);
        uint64_t start_ms = net_now_ms();
        int empty = 0;
        int count = 0;
        /* In either order, and then nothing until the deadline. */
        for (int i = 0; i < 2; i++) {
            int got = roulette_receive(stage.subscriber, &message, 1, EVENTUALLY_MS);
            empty += got == 0 ? 1 : 0;
            count += got;
            roulette_release(stage.subscriber, &message, (size_t)got);
        }
        cr_assert_eq(count, 1);
        cr_assert_eq(empty, 1);
        cr_assert_lt(net_now_ms() - start_ms, (uint64_t)EVENTUALLY_MS);
        start_ms = net_now_ms();
        cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, 50), 0);
        cr_assert_geq(net_now_ms() - start_ms + 1, 50u);
    }
    tear_down(&stage);
}

static roulette_subscriber *to_wake;

static void wake_from_handler(int signal_number)
{
    (void)signal_number;
    REQUIRE(roulette_subscriber_wake(to_wake) == 0);
}

Test(wake, signal_handler_wakes)
{
    struct stage stage;
    pthread_t thread;
    set_up(&stage);
    struct worker worker = {.subscriber = stage.subscriber, .timeout_ms = -1};
    to_wake = stage.subscriber;
    (void)signal(SIGUSR1, wake_from_handler);
    cr_assert_eq(pthread_create(&thread, NULL, work, &worker), 0);
    for (int i = 1; i <= 20; i++) {
        /* In the thread that waits, and in this one. */
        cr_assert_eq(i % 2 == 0 ? pthread_kill(thread, SIGUSR1) : raise(SIGUSR1), 0);
        EVENTUALLY(worker.woken >= i);
    }
    stop_worker(&worker, thread);
    tear_down(&stage);
}

Test(wake, descriptor_is_readable_until_a_receive_returned_for_it)
{
    struct stage stage;
    struct roulette_message message;
    set_up(&stage);
    struct pollfd poller = {.fd = roulette_subscriber_fd(stage.subscriber), .events = POLLIN};
    for (int round = 0; round < 100; round++) {
        cr_assert_eq(poll(&poller, 1, 0), 0);
        cr_assert_eq(roulette_subscriber_wake(stage.subscriber), 0);
        cr_assert_eq(poll(&poller, 1, 0), 1);
        cr_assert_eq(roulette_receive(stage.subscriber, &message, 1, round % 2), 0);
    }
    cr_assert_eq(poll(&poller, 1, 0), 0);
    tear_down(&stage);
}
