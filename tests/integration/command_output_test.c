/* SPDX-License-Identifier: MIT */
/**
 * `roulette sub` and whoever reads what it prints: fast, slow, not at all, or gone.
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "roulette.h"
#include "support/condition.h"
#include "support/fleet.h"
#include "support/net.h"
#include "support/process.h"
#include "support/test.h"

/* More than a pipe holds: 64 KiB. */
enum { LINE = 1024, STALLED_LINES = 1000 };

/* One server, a program that prints what it gets from it, and where it prints to. */
struct listening {
    struct fleet fleet;
    struct process process;
    int read; /* the reader's end; -1: closed */
    int write;
};

static void close_end(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd);
        *fd = -1;
    }
}

/* Start `roulette sub OPTION [VALUE] room.1`, printing to `ends[1]`. */
static void listen_on(struct listening *listening, const int ends[2], const char *option,
                      const char *value)
{
    const char *argv[8] = {RLT_COMMAND, "sub", "-s", NULL};
    size_t count = 4;
    fleet_start(&listening->fleet, 1);
    argv[3] = listening->fleet.list;
    if (option != NULL) {
        argv[count++] = option;
    }
    if (value != NULL) {
        argv[count++] = value;
    }
    argv[count] = "room.1";
    listening->read = ends[0];
    listening->write = ends[1];
    process_start_into(&listening->process, argv, "", 0, ends[1]);
    process_await_error(&listening->process, "listening to ");
}

static void listen_on_pipe(struct listening *listening, const char *option, const char *value)
{
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    listen_on(listening, ends, option, value);
}

/* Wait until the program has ended by itself, and demand how. */
static void expect_end(struct listening *listening, int code, const char *error)
{
    int got = process_wait(&listening->process);
    char *err = process_printed(listening->process.err, NULL);
    cr_assert_eq(got, code, "exit code %d: %s", got, err);
    cr_assert_not_null(strstr(err, error), "%s", err);
    free(err);
    process_end(&listening->process);
    close_end(&listening->read);
    close_end(&listening->write);
    fleet_stop(&listening->fleet);
}

/* Line `index`: a number and printable filler, LINE bytes with the topic and the line end. */
static size_t make_payload(char line[LINE], uint32_t index)
{
    size_t len = LINE - strlen("room.1\t\n");
    int written = snprintf(line, LINE, "%08u", index);
    for (size_t i = (size_t)written; i < len; i++) {
        line[i] = (char)('!' + (index + i) % ('[' - '!'));
    }
    return len;
}

static void publish_lines(struct listening *listening, uint32_t count)
{
    struct roulette_options options = fleet_options(&listening->fleet);
    roulette_client *client = fleet_open(&options);
    for (uint32_t i = 0; i < count; i++) {
        char line[LINE];
        size_t len = make_payload(line, i);
        REQUIRE(roulette_publish_wait(client, "room.1", ROULETTE_STRLEN, line, len,
                                      EVENTUALLY_MS) == 0);
    }
    fleet_close(client);
}

/* Publish more than the pipe takes, and wait until it is full: the program sleeps in a write(), or
 * is just about to. */
static void stall(struct listening *listening)
{
    struct pollfd writer = {.fd = listening->write, .events = POLLOUT};
    publish_lines(listening, STALLED_LINES);
    EVENTUALLY(poll(&writer, 1, 0) == 0);
}

/* Read what there is. Returns: the bytes, 0 at the end. */
static size_t read_some(int fd, char *bytes, size_t size)
{
    REQUIRE(net_wait(fd, POLLIN, net_now_ms() + EVENTUALLY_MS), "nothing is printed");
    ssize_t got = read(fd, bytes, size);
    REQUIRE(got >= 0);
    return (size_t)got;
}

/* ---- A reader that stalls ----------------------------------------------------------------- */

static void expect_end_at(int signal, const char *option)
{
    struct listening listening;
    listen_on_pipe(&listening, option, NULL);
    stall(&listening);
    uint64_t start_ms = net_now_ms();
    process_signal(&listening.process, signal);
    expect_end(&listening, 0, "");
    uint64_t took_ms = net_now_ms() - start_ms;
    cr_assert_lt(took_ms, SCALED(2000, 10000), "%llu ms", (unsigned long long)took_ms);
}

Test(command_output, sub_ends_at_a_signal_though_its_reader_stalls)
{
    expect_end_at(SIGTERM, NULL);
    expect_end_at(SIGINT, NULL);
    expect_end_at(SIGTERM, "--raw");
}

Test(command_output, sub_ends_at_its_timeout_though_its_reader_stalls)
{
    struct listening listening;
    listen_on_pipe(&listening, "--timeout", "3000");
    stall(&listening);
    expect_end(&listening, 1, "standard output was not read until --timeout was over\n");
}

/* A pipe that is full, for standard error as well as for standard output. */
static void start_with_full_pipe(struct listening *listening, const char *line)
{
    static const char zeros[4096];
    const char *const argv[] = {"/bin/sh", "-c", line, RLT_COMMAND, listening->fleet.list, NULL};
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
    while (write(ends[1], zeros, sizeof(zeros)) > 0) {
    }
    cr_assert_eq(fcntl(ends[1], F_SETFL, 0), 0);
    listening->read = ends[0];
    listening->write = ends[1];
    process_start_into(&listening->process, argv, "", 0, ends[1]);
}

/* What it says at its end is said once somebody reads. */
Test(command_output, pub_publishes_though_nobody_reads_its_log)
{
    static char bytes[1 << 16];
    struct listening listening;
    struct roulette_message message;
    fleet_start(&listening.fleet, 1);
    struct roulette_options options = fleet_options(&listening.fleet);
    roulette_client *client = fleet_open(&options);
    roulette_subscriber *subscriber = fleet_subscriber(client, 0);
    fleet_subscribe(subscriber, "room.1");
    start_with_full_pipe(&listening, "exec \"$0\" pub -s \"$1\" -vv room.1 x 2>&1");
    cr_assert_eq(roulette_receive(subscriber, &message, 1, EVENTUALLY_MS), 1);
    roulette_release(subscriber, &message, 1);
    cr_assert_gt(read_some(listening.read, bytes, sizeof(bytes)), 0);
    roulette_subscriber_close(subscriber);
    fleet_close(client);
    expect_end(&listening, 0, "");
}

Test(command_output, sub_ends_at_a_signal_though_nobody_reads_its_notices)
{
    struct listening listening;
    fleet_start(&listening.fleet, 1);
    start_with_full_pipe(&listening, "exec \"$0\" sub -s \"$1\" -vv room.1 2>&1");
    EVENTUALLY(fleet_server_subscriptions(listening.fleet.servers[0]) == 1);
    process_signal(&listening.process, SIGTERM);
    expect_end(&listening, 0, "");
}

/* ---- A reader that is gone ---------------------------------------------------------------- */

static const char gone[] = "roulette sub: nobody reads standard output any more\n";

Test(command_output, sub_ends_when_its_reader_goes_though_no_message_comes)
{
    struct listening listening;
    listen_on_pipe(&listening, NULL, NULL);
    close_end(&listening.read);
    expect_end(&listening, 1, gone);
    int ends[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    listen_on(&listening, ends, NULL, NULL);
    close_end(&listening.write);
    close_end(&listening.read);
    expect_end(&listening, 1, gone);
}

Test(command_output, sub_ends_when_its_reader_goes_before_it_has_read_all)
{
    struct listening listening;
    listen_on_pipe(&listening, NULL, NULL);
    stall(&listening);
    close_end(&listening.read);
    expect_end(&listening, 1, gone);
}

Test(command_output, sub_ends_when_the_disk_is_full)
{
    const int ends[2] = {-1, open("/dev/full", O_WRONLY | O_CLOEXEC)};
    struct listening listening;
    cr_assert_geq(ends[1], 0);
    listen_on(&listening, ends, NULL, NULL);
    publish_lines(&listening, 1);
    expect_end(&listening, 1,
               "roulette sub: standard output cannot be written to: No space left on device\n");
}

/* ---- A reader that reads ------------------------------------------------------------------ */

/* Publishes on a thread of its own: all lines, or as long as nobody says stop. */
struct publisher {
    struct listening *listening;
    pthread_t thread;
    atomic_bool stop;
};

static void *publish_on(void *context)
{
    struct publisher *publisher = context;
    while (!atomic_load_explicit(&publisher->stop, memory_order_relaxed)) {
        publish_lines(publisher->listening, STALLED_LINES);
    }
    return NULL;
}

static void *publish_all(void *context)
{
    struct publisher *publisher = context;
    publish_lines(publisher->listening, SCALED(100000, 10000));
    return NULL;
}

/* Read `count` lines and compare each byte. */
static void expect_lines(int fd, uint32_t count)
{
    static char bytes[1 << 18];
    char line[2 * LINE];
    size_t have = 0; /* bytes of the current line */
    uint32_t index = 0;
    while (index < count) {
        size_t got = read_some(fd, bytes, sizeof(bytes));
        REQUIRE(got != 0, "the output ends after %u lines", index);
        for (size_t done = 0; done < got;) {
            if (have == 0) {
                memcpy(line, "room.1\t", 7);
                (void)make_payload(line + 7, index);
                line[LINE - 1] = '\n';
            }
            size_t part = got - done < LINE - have ? got - done : LINE - have;
            REQUIRE(memcmp(bytes + done, line + have, part) == 0, "line %u is not as published",
                    index);
            done += part;
            have = (have + part) % LINE;
            index += have == 0 ? 1 : 0;
        }
    }
    cr_assert(index == count && have == 0, "%u lines and %zu bytes", index, have);
}

Test(command_output, sub_keeps_up_with_100000_messages_of_a_kilobyte)
{
    struct listening listening;
    struct publisher publisher = {.listening = &listening};
    listen_on_pipe(&listening, NULL, NULL);
    cr_assert_eq(pthread_create(&publisher.thread, NULL, publish_all, &publisher), 0);
    expect_lines(listening.read, SCALED(100000, 10000));
    (void)pthread_join(publisher.thread, NULL);
    process_signal(&listening.process, SIGTERM);
    char *err = process_printed(listening.process.err, NULL);
    cr_assert_null(strstr(err, "dropped"), "%s", err);
    free(err);
    expect_end(&listening, 0, "");
}

/* It is not read before all was published: the messages wait in memory, and none is dropped. */
Test(command_output, sub_keeps_100000_messages_of_a_kilobyte_for_a_reader_that_is_late)
{
    struct listening listening;
    struct publisher publisher = {.listening = &listening};
    listen_on_pipe(&listening, NULL, NULL);
    (void)publish_all(&publisher);
    expect_lines(listening.read, SCALED(100000, 10000));
    process_signal(&listening.process, SIGTERM);
    expect_end(&listening, 0, "roulette sub: listening to 1 topic\n");
}

Test(command_output, sub_ends_at_a_signal_with_a_whole_line)
{
    enum { ENOUGH = STALLED_LINES * LINE };
    static char bytes[1 << 16];
    struct listening listening;
    struct publisher publisher = {.listening = &listening};
    listen_on_pipe(&listening, NULL, NULL);
    cr_assert_eq(pthread_create(&publisher.thread, NULL, publish_on, &publisher), 0);
    size_t total = 0;
    size_t got;
    char last = '\0';
    close_end(&listening.write);
    while ((got = read_some(listening.read, bytes, sizeof(bytes))) != 0) {
        last = bytes[got - 1];
        if (total < ENOUGH && total + got >= ENOUGH) {
            process_signal(&listening.process, SIGTERM);
        }
        total += got;
    }
    cr_assert_geq(total, ENOUGH);
    cr_assert_eq(last, '\n', "a line is cut");
    atomic_store_explicit(&publisher.stop, true, memory_order_relaxed);
    (void)pthread_join(publisher.thread, NULL);
    expect_end(&listening, 0, "");
}

/* A socket that keeps the bounds of each write(). */
Test(command_output, each_write_is_a_batch_of_whole_lines)
{
    enum { LINES = 2000 };
    static char bytes[1 << 20];
    int ends[2];
    struct listening listening;
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    listen_on(&listening, ends, NULL, NULL);
    struct roulette_options options = fleet_options(&listening.fleet);
    roulette_client *client = fleet_open(&options);
    for (int i = 0; i < LINES; i++) {
        cr_assert_eq(roulette_publish_wait(client, "room.1", ROULETTE_STRLEN, "0123456789", 10,
                                           EVENTUALLY_MS),
                     0);
    }
    fleet_close(client);
    size_t writes = 0;
    size_t lines = 0;
    while (lines < LINES) {
        size_t got = read_some(listening.read, bytes, sizeof(bytes));
        cr_assert(got != 0 && got < sizeof(bytes));
        cr_assert_eq(bytes[got - 1], '\n', "a write of %zu bytes ends within a line", got);
        for (size_t i = 0; i < got; i++) {
            lines += bytes[i] == '\n' ? 1 : 0;
        }
        writes++;
    }
    cr_assert_eq(lines, LINES);
    cr_assert_lt(writes, LINES / 4, "%zu writes", writes);
    process_signal(&listening.process, SIGTERM);
    expect_end(&listening, 0, "");
}

Test(command_output, a_descriptor_that_somebody_made_non_blocking_loses_nothing)
{
    struct listening listening;
    int ends[2];
    cr_assert_eq(pipe2(ends, O_CLOEXEC), 0);
    cr_assert_eq(fcntl(ends[1], F_SETFL, O_NONBLOCK), 0);
    listen_on(&listening, ends, NULL, NULL);
    stall(&listening);
    expect_lines(listening.read, STALLED_LINES);
    process_signal(&listening.process, SIGTERM);
    expect_end(&listening, 0, "");
}

/* ---- What is printed ---------------------------------------------------------------------- */

/* As the help says. Returns the length. */
static size_t escape_byte(char *out, unsigned char byte)
{
    switch (byte) {
    case '\\':
        return (size_t)sprintf(out, "\\\\");
    case '\t':
        return (size_t)sprintf(out, "\\t");
    case '\n':
        return (size_t)sprintf(out, "\\n");
    case '\r':
        return (size_t)sprintf(out, "\\r");
    default:
        return (size_t)sprintf(out, byte < 0x20 || byte == 0x7f ? "\\x%02x" : "%c", byte);
    }
}

/* Each byte at each offset of eight bytes, among plain ones and among its like. */
Test(command_output, every_byte_is_printed_as_the_help_says)
{
    enum { LEN = 256 * 8 * 18 };
    static unsigned char payload[LEN];
    static char expected[4 * LEN + 64];
    static char printed[4 * LEN + 64];
    size_t len = 0;
    for (int byte = 0; byte < 256; byte++) {
        for (int offset = 0; offset < 8; offset++) {
            memset(payload + len, 'x', 9);
            payload[len + (size_t)offset] = (unsigned char)byte;
            memset(payload + len + 9, byte, 9);
            len += 18;
        }
    }
    struct listening listening;
    listen_on_pipe(&listening, "--count", "1");
    struct roulette_options options = fleet_options(&listening.fleet);
    roulette_client *client = fleet_open(&options);
    cr_assert_eq(
        roulette_publish_wait(client, "room.1", ROULETTE_STRLEN, payload, len, EVENTUALLY_MS), 0);
    fleet_close(client);
    close_end(&listening.write);
    size_t expected_len = (size_t)sprintf(expected, "room.1\t");
    for (size_t i = 0; i < len; i++) {
        expected_len += escape_byte(expected + expected_len, payload[i]);
    }
    expected[expected_len++] = '\n';
    size_t got = 0;
    size_t more;
    while ((more = read_some(listening.read, printed + got, sizeof(printed) - got)) != 0) {
        got += more;
    }
    cr_assert_eq(got, expected_len);
    cr_assert_arr_eq(printed, expected, expected_len);
    expect_end(&listening, 0, "");
}
