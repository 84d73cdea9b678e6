/* SPDX-License-Identifier: MIT */
#include "io/system/descriptor.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "io/socket.h"
#include "io/system/file.h"
#include "io/uring_setup.h"
#include "io/wake/park.h"
#include "io/wake/watch.h"
#include "roulette.h"
#include "support/test.h"

enum { LOW = 3, ASIDE = 200 };

/* Close 0 to 2, as some supervisors start their programs. No assertion prints meanwhile. */
static void hide_low(void)
{
    for (int fd = 0; fd < LOW; fd++) {
        (void)dup3(fd, ASIDE + fd, O_CLOEXEC);
        (void)close(fd);
    }
}

/* Have them back. Returns: how many were taken meanwhile. */
static int show_low(void)
{
    int taken = 0;
    for (int fd = 0; fd < LOW; fd++) {
        taken += fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
        (void)dup2(ASIDE + fd, fd);
        (void)close(ASIDE + fd);
    }
    return taken;
}

Test(descriptor, is_moved_out_of_0_to_2_and_closed_on_exec)
{
    for (int fd = 0; fd < LOW; fd++) {
        hide_low();
        int low = eventfd(7, EFD_CLOEXEC);
        (void)dup2(low, fd);
        if (low != fd) {
            (void)close(low);
        }
        int above = rlt_descriptor_above(fd);
        int flags = fcntl(above, F_GETFD);
        eventfd_t count = 0;
        (void)eventfd_read(above, &count);
        cr_assert_eq(show_low(), 0);
        cr_assert_geq(above, LOW);
        cr_assert_eq(flags, FD_CLOEXEC);
        cr_assert_eq(count, 7, "it is another one");
        (void)close(above);
    }
}

Test(descriptor, of_3_or_more_and_a_failure_stay_as_they_are)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    cr_assert_geq(fd, LOW);
    cr_assert_eq(rlt_descriptor_above(fd), fd);
    errno = ENFILE;
    cr_assert_eq(rlt_descriptor_above(-1), -1);
    cr_assert_eq(errno, ENFILE);
    (void)close(fd);
}

Test(descriptor, every_kind_that_the_library_makes_is_3_or_more)
{
    struct rlt_socket_options options = {.tcp_nodelay = true};
    struct rlt_watch watch;
    struct io_uring ring;
    rlt_watch_init(&watch);
    hide_low();
    int socket_fd = rlt_socket_create(AF_INET, &options);
    int event_fd = rlt_park_descriptor_create();
    bool watching = rlt_watch_add(&watch, event_fd);
    int ring_result = rlt_uring_setup(&ring, 8, 0);
    int taken = show_low();
    cr_assert_eq(taken, 0, "%d of 0 to 2 are the library's", taken);
    cr_assert_geq(socket_fd, LOW);
    cr_assert_geq(event_fd, LOW);
    cr_assert(watching);
    cr_assert_eq(ring_result, 0);
    cr_assert_geq(ring.ring_fd, LOW);
    /* It is the ring still. */
    io_uring_prep_nop(io_uring_get_sqe(&ring));
    cr_assert_eq(io_uring_submit_and_wait(&ring, 1), 1);
    io_uring_queue_exit(&ring);
    rlt_watch_fini(&watch);
    rlt_park_descriptor_destroy(event_fd);
    rlt_descriptor_close(&socket_fd);
}

/* A file is closed again before anybody can look: but where no number above 2 is allowed, it
 * cannot be opened. */
Test(descriptor, a_file_that_is_read_has_none_of_0_to_2)
{
    char *bytes = NULL;
    size_t len = 0;
    struct rlimit before;
    cr_assert_eq(rlt_file_read("/etc/passwd", &bytes, &len), 0);
    rlt_file_free(bytes, len);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit only_low = {.rlim_cur = LOW, .rlim_max = before.rlim_max};
    hide_low();
    (void)setrlimit(RLIMIT_NOFILE, &only_low);
    int result = rlt_file_read("/etc/passwd", &bytes, &len);
    (void)setrlimit(RLIMIT_NOFILE, &before);
    cr_assert_eq(show_low(), 0);
    cr_assert_eq(result, ROULETTE_ESYSTEM);
    cr_assert_not_null(strstr(roulette_last_error(), strerror(EMFILE)), "%s",
                       roulette_last_error());
}
