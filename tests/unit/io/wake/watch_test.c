/* SPDX-License-Identifier: MIT */
#include "io/wake/watch.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/test.h"

static struct rlt_watch watch;
static int ours;
static int peers;

static void open_it(void)
{
    int ends[2];
    rlt_watch_init(&watch);
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ours = ends[0];
    peers = ends[1];
    cr_assert(rlt_watch_add(&watch, ours));
}

static void close_it(void)
{
    (void)close(peers);
    if (ours >= 0) {
        (void)close(ours);
    }
    rlt_watch_fini(&watch);
}

#define WatchTest(name) Test(watch, name, .init = open_it, .fini = close_it)

static bool is_told(int descriptor)
{
    struct pollfd poller = {.fd = descriptor, .events = POLLIN};
    return poll(&poller, 1, 0) == 1;
}

static void arrive(void)
{
    cr_assert_eq(write(peers, "x", 1), 1);
}

static void take(void)
{
    char byte;
    cr_assert_eq(read(ours, &byte, 1), 1);
}

WatchTest(owner_is_told_as_long_as_there_is_something)
{
    cr_assert_not(is_told(watch.owner));
    arrive();
    cr_assert(is_told(watch.owner));
    cr_assert(is_told(watch.owner));
    take();
    cr_assert_not(is_told(watch.owner));
}

WatchTest(reader_is_told_in_place_of_the_owner)
{
    cr_assert(rlt_watch_attend(&watch));
    arrive();
    cr_assert_not(is_told(watch.owner));
    cr_assert(is_told(watch.sockets));
    take();
    cr_assert_not(is_told(watch.sockets));
    rlt_watch_leave(&watch);
    cr_assert_not(is_told(watch.owner));
    arrive();
    cr_assert(is_told(watch.owner));
}

WatchTest(owner_is_told_of_what_a_reader_leaves)
{
    cr_assert(rlt_watch_attend(&watch));
    arrive();
    rlt_watch_leave(&watch);
    cr_assert(is_told(watch.owner));
}

WatchTest(reader_takes_over_what_the_owner_was_told_of)
{
    arrive();
    cr_assert(is_told(watch.owner));
    cr_assert(rlt_watch_attend(&watch));
    cr_assert_not(is_told(watch.owner));
    cr_assert(is_told(watch.sockets));
    rlt_watch_leave(&watch);
}

WatchTest(one_attends_at_a_time)
{
    cr_assert(rlt_watch_attend(&watch));
    cr_assert_not(rlt_watch_attend(&watch));
    rlt_watch_leave(&watch);
    cr_assert(rlt_watch_attend(&watch));
    rlt_watch_leave(&watch);
}

WatchTest(end_of_the_stream_is_told)
{
    cr_assert_eq(shutdown(peers, SHUT_RDWR), 0);
    cr_assert(is_told(watch.owner));
}

WatchTest(socket_that_is_removed_tells_nothing)
{
    arrive();
    rlt_watch_remove(&watch, ours);
    cr_assert_not(is_told(watch.owner));
    cr_assert(rlt_watch_add(&watch, ours));
    cr_assert(is_told(watch.owner));
}

WatchTest(reader_holds_no_socket)
{
    char byte;
    cr_assert(rlt_watch_attend(&watch));
    rlt_watch_remove(&watch, ours);
    (void)close(ours);
    ours = -1;
    cr_assert_eq(read(peers, &byte, 1), 0, "the peer sees the end");
    cr_assert_not(is_told(watch.sockets));
    rlt_watch_leave(&watch);
}

WatchTest(reader_may_leave_when_the_watch_is_gone)
{
    cr_assert(rlt_watch_attend(&watch));
    rlt_watch_fini(&watch); /* as a child process does after a fork() in a signal handler */
    rlt_watch_leave(&watch);
    cr_assert_not(rlt_watch_is_attended(&watch));
}

Test(watch, system_without_descriptors_refuses_and_leaks_none)
{
    struct rlimit limit;
    rlt_watch_init(&watch);
    int first = dup(0); /* the lowest free number */
    cr_assert_geq(first, 0);
    (void)close(first);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    struct rlimit low = {(rlim_t)first + 1, limit.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
    bool added = rlt_watch_add(&watch, 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_not(added);
    int again = dup(0);
    cr_assert_eq(again, first);
    (void)close(again);
}

Test(watch, descriptor_that_cannot_be_watched_is_refused)
{
    rlt_watch_init(&watch);
    cr_assert_not(rlt_watch_add(&watch, -1));
    rlt_watch_fini(&watch);
    cr_assert_eq(watch.owner, -1);
}
