/* SPDX-License-Identifier: MIT */
/**
 * Kernels and sandboxes that forbid a system call of the event threads: before a client is opened
 * it is told what to change, and later each failure is told and counted, nothing hangs, and no
 * thread runs in circles.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/log_record.h"
#include "support/process.h"
#include "support/sandbox.h"
#include "support/test.h"

/* ---- Before a client is opened ------------------------------------------------------------ */

static void expect_not_supported(long call, int error, const char *name)
{
    struct roulette_options options;
    roulette_client *client = NULL;
    roulette_options_init(&options);
    options.servers = "127.0.0.1:1";
    sandbox_forbid(call, error);
    int result = roulette_open(&options, &client);
    cr_assert_eq(result, ROULETTE_ENOTSUP, "%s", roulette_error_name(result));
    cr_assert_null(client);
    const char *text = roulette_last_error();
    cr_assert_not_null(strstr(text, name), "%s", text);
    cr_assert_not_null(strstr(text, "seccomp"), "%s", text);
    cr_assert_not_null(strstr(text, strerror(error)), "%s", text);
}

Test(sandbox, io_uring_setup_forbidden_is_told_at_open)
{
    expect_not_supported(SYS_io_uring_setup, EPERM, "io_uring_setup");
}

Test(sandbox, io_uring_setup_forbidden_by_another_errno_is_told_at_open)
{
    expect_not_supported(SYS_io_uring_setup, EACCES, "io_uring_setup");
}

Test(sandbox, io_uring_enter_forbidden_is_told_at_open)
{
    expect_not_supported(SYS_io_uring_enter, EPERM, "io_uring_enter");
}

Test(sandbox, io_uring_enter_unknown_is_told_at_open)
{
    expect_not_supported(SYS_io_uring_enter, ENOSYS, "io_uring_enter");
}

static void expect_works_without(long call)
{
    struct fleet fleet;
    struct roulette_message message;
    fleet_start(&fleet, 2);
    struct roulette_options options = fleet_options(&fleet);
    sandbox_forbid(call, EPERM);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, "t");
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(roulette_publish(client, "t", 1, "x", 1), 0);
        cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
        roulette_release(subscriber, &message, 1);
    }
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    fleet_stop(&fleet);
}

Test(sandbox, io_uring_register_is_not_needed)
{
    expect_works_without(SYS_io_uring_register);
}

Test(sandbox, membarrier_is_not_needed)
{
    expect_works_without(SYS_membarrier);
}

Test(sandbox, epoll_is_not_needed)
{
    expect_works_without(SYS_epoll_create1);
}

/* The command says so, too, and does not wait for its timeout. */
Test(sandbox, command_ends_at_once_where_io_uring_enter_is_forbidden)
{
    static const char *const commands[][8] = {
        {RLT_COMMAND, "pub", "-s", "127.0.0.1:1", "t", "x", NULL},
        {RLT_COMMAND, "sub", "-s", "127.0.0.1:1", "t", NULL},
    };
    sandbox_forbid(SYS_io_uring_enter, EPERM);
    for (size_t i = 0; i < 2; i++) {
        struct process process;
        process_start(&process, commands[i], "", 0);
        cr_assert_neq(process_wait(&process), 0);
        char *text = process_printed(process.err, NULL);
        cr_assert_not_null(strstr(text, "io_uring_enter"), "%s", text);
        free(text);
        process_end(&process);
    }
}

/* ---- Behind an open client ---------------------------------------------------------------- */

static uint64_t cpu_ms(void)
{
    struct rusage usage;
    cr_assert_eq(getrusage(RUSAGE_SELF, &usage), 0);
    struct timeval user = usage.ru_utime;
    struct timeval system = usage.ru_stime;
    return (uint64_t)(user.tv_sec + system.tv_sec) * 1000 +
           (uint64_t)(user.tv_usec + system.tv_usec) / 1000;
}

/* A client that is in use. */
struct stage {
    struct fleet fleet;
    struct log_record *record;
    struct roulette_options options;
    roulette_client *client;
    roulette_subscriber *subscriber;
};

static void open_stage(struct stage *stage)
{
    fleet_start(&stage->fleet, 2);
    stage->record = log_record_create();
    stage->options = fleet_options(&stage->fleet);
    stage->options.event_threads = 1;
    stage->options.max_backoff_ms = 20;
    stage->options.max_retry = 5;
    stage->options.subscription_restart = ROULETTE_RESTART_PERMANENT;
    log_record_attach(stage->record, &stage->options);
    stage->client = fleet_open(&stage->options);
    stage->subscriber = fleet_subscriber(stage->client, 0);
    fleet_subscribe(stage->subscriber, "t");
}

/* Close in bounded time, with each message counted, and no thread running in circles. */
static void close_stage(struct stage *stage)
{
    struct roulette_ledger ledgers[2];
    uint64_t start_ms = net_now_ms();
    (void)roulette_close(stage->client, 2000, ledgers, 2);
    cr_assert_lt(net_now_ms() - start_ms, SCALED(3000, 20000));
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(fleet_difference(&ledgers[i]), 0);
    }
    roulette_subscriber_close(stage->subscriber);
    roulette_free(stage->client);
    log_record_destroy(stage->record);
    fleet_stop(&stage->fleet);
}

static bool have_lost_all(struct stage *stage, uint64_t misses)
{
    for (size_t i = 0; i < 2; i++) {
        struct roulette_stats stats = fleet_stats(stage->client, i);
        if (stats.disconnects == 0 || stats.connect_failures < misses) {
            return false;
        }
    }
    return true;
}

static void expect_counted_failure(int error)
{
    struct stage stage;
    open_stage(&stage);
    sandbox_forbid(SYS_io_uring_enter, error);
    for (int i = 0; i < 100; i++) {
        int result = roulette_publish(stage.client, i % 2 ? "t" : "u", 1, "x", 1);
        cr_assert(result == 0 || result == ROULETTE_EUNREACHABLE, "%d", result);
    }
    EVENTUALLY(have_lost_all(&stage, 8));
    for (size_t i = 0; i < 2; i++) {
        struct roulette_stats stats = fleet_stats(stage.client, i);
        cr_assert_eq(stats.last_error, ROULETTE_ESYSTEM, "%d", (int)stats.last_error);
        cr_assert_eq(stats.disconnects, 1);
        cr_assert_eq(stats.connected, 0);
    }
    cr_assert_geq(log_record_count(stage.record, "io_uring_enter"), 2);
    cr_assert_geq(log_record_count(stage.record, strerror(error)), 2);
    cr_assert_lt(roulette_flush(stage.client, 1000, NULL, 0), 0);
    /* Not so many attempts that they alone would keep a CPU busy. */
    uint64_t cpu_before_ms = cpu_ms();
    uint64_t start_ms = net_now_ms();
    struct roulette_stats stats = fleet_stats(stage.client, 0);
    EVENTUALLY(have_lost_all(&stage, stats.connect_failures + 40));
    uint64_t wall_ms = net_now_ms() - start_ms;
    cr_assert_lt(cpu_ms() - cpu_before_ms, wall_ms / 2 + 20, "in %d ms", (int)wall_ms);
    close_stage(&stage);
}

Test(sandbox, io_uring_enter_forbidden_later_is_a_counted_failure)
{
    expect_counted_failure(EPERM);
}

Test(sandbox, io_uring_enter_unknown_later_is_a_counted_failure)
{
    expect_counted_failure(ENOSYS);
}

/* These may pass, so they are tried for a while; but not for ever. */
Test(sandbox, io_uring_enter_without_memory_is_a_counted_failure)
{
    expect_counted_failure(ENOMEM);
}

Test(sandbox, io_uring_enter_busy_for_ever_is_a_counted_failure)
{
    expect_counted_failure(EBUSY);
}

Test(sandbox, io_uring_enter_interrupted_for_ever_is_a_counted_failure)
{
    expect_counted_failure(EINTR);
}

Test(sandbox, close_without_a_wait_returns_where_io_uring_enter_is_forbidden)
{
    struct stage stage;
    open_stage(&stage);
    sandbox_forbid(SYS_io_uring_enter, EPERM);
    close_stage(&stage);
}

/* ---- A program that closes what is not its own -------------------------------------------- */

/* Replace each descriptor that leads to `target`. Returns: how many there were. */
static int take_descriptors(const char *target, int replacement)
{
    int count = 0;
    for (int fd = 3; fd < 1024; fd++) {
        char path[64];
        char found[64] = "";
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        if (readlink(path, found, sizeof(found) - 1) > 0 && strcmp(found, target) == 0) {
            cr_assert_eq(dup3(replacement, fd, O_CLOEXEC), fd);
            count++;
        }
    }
    return count;
}

static void require_works(struct stage *stage)
{
    for (;;) {
        struct roulette_message message;
        (void)roulette_publish(stage->client, "t", 1, "x", 1);
        int count = roulette_receive(stage->subscriber, &message, 1, EVENTUALLY_MS);
        cr_assert_eq(count, 1, "%s", roulette_error_name(count));
        bool is_message = message.kind == ROULETTE_KIND_MESSAGE;
        roulette_release(stage->subscriber, &message, 1);
        if (is_message) {
            return;
        }
    }
}

/* A ring that is gone is made anew by the next attempt to connect. */
Test(sandbox, client_goes_on_with_another_ring)
{
    struct stage stage;
    open_stage(&stage);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    cr_assert_eq(take_descriptors("anon_inode:[io_uring]", null), 1);
    (void)roulette_flush(stage.client, 1000, NULL, 0); /* wakes the event thread */
    EVENTUALLY(have_lost_all(&stage, 0));
    EVENTUALLY(fleet_stats(stage.client, 0).connected == 1 &&
               fleet_stats(stage.client, 1).connected == 1);
    require_works(&stage);
    (void)close(null);
    close_stage(&stage);
}
