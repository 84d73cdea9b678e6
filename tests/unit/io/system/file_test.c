/* SPDX-License-Identifier: MIT */
#include "io/system/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "roulette.h"
#include "support/test.h"

/** A directory of its own for each test, with one file's path in it. */
static char directory[64];
static char path[96];

static void make_directory(void)
{
    (void)snprintf(directory, sizeof directory, "/tmp/roulette-file.XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    (void)snprintf(path, sizeof path, "%s/secret", directory);
}

static void remove_directory(void)
{
    (void)unlink(path);
    cr_assert_eq(rmdir(directory), 0);
}

static void write_file(const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, len), (ssize_t)len);
    cr_assert_eq(close(fd), 0);
}

static void check_refused(const char *file, int expected, const char *reason)
{
    char mark = 'm';
    char *bytes = &mark;
    size_t len = 99;
    cr_assert_eq(rlt_file_read(file, &bytes, &len), expected);
    cr_assert_eq(bytes, &mark, "a failure leaves it as it was");
    cr_assert_eq(len, 99);
    cr_assert_not_null(strstr(roulette_last_error(), reason), "\"%s\", not \"%s\"",
                       roulette_last_error(), reason);
    if (expected == ROULETTE_ESYSTEM) {
        cr_assert_not_null(strstr(roulette_last_error(), file), "%s", roulette_last_error());
    }
}

Test(file, is_read_whole_with_a_nul_behind_it, .init = make_directory, .fini = remove_directory)
{
    static const char text[] = "a\0b\r\n\xff";
    char *bytes = NULL;
    size_t len = 0;
    write_file(text, sizeof text - 1);
    cr_assert_eq(rlt_file_read(path, &bytes, &len), 0);
    cr_assert_eq(len, sizeof text - 1);
    cr_assert_arr_eq(bytes, text, sizeof text);
    rlt_file_free(bytes, len);
}

Test(file, may_be_empty, .init = make_directory, .fini = remove_directory)
{
    char *bytes = NULL;
    size_t len = 99;
    write_file("", 0);
    cr_assert_eq(rlt_file_read(path, &bytes, &len), 0);
    cr_assert_eq(len, 0);
    cr_assert_str_eq(bytes, "");
    rlt_file_free(bytes, len);
    rlt_file_free(NULL, 0);
}

Test(file, of_16_mebibytes_is_read_and_a_larger_one_not, .init = make_directory,
     .fini = remove_directory)
{
    char *bytes = NULL;
    size_t len = 0;
    write_file("x", 1);
    cr_assert_eq(truncate(path, (off_t)RLT_FILE_BYTES_MAX), 0);
    cr_assert_eq(rlt_file_read(path, &bytes, &len), 0);
    cr_assert_eq(len, RLT_FILE_BYTES_MAX);
    cr_assert_eq(bytes[0], 'x');
    rlt_file_free(bytes, len);
    cr_assert_eq(truncate(path, (off_t)RLT_FILE_BYTES_MAX + 1), 0);
    check_refused(path, ROULETTE_ESYSTEM, "larger than 16 MiB");
}

Test(file, that_is_missing_is_named, .init = make_directory, .fini = remove_directory)
{
    check_refused(path, ROULETTE_ESYSTEM, "No such file or directory");
    write_file("", 0);
    char below[128];
    (void)snprintf(below, sizeof below, "%s/x", path);
    check_refused(below, ROULETTE_ESYSTEM, "Not a directory");
    check_refused("", ROULETTE_ESYSTEM, "No such file or directory");
}

Test(file, that_may_not_be_read_is_named, .init = make_directory, .fini = remove_directory)
{
    write_file("secret", 6);
    cr_assert_eq(chmod(path, 0), 0);
    if (geteuid() == 0 && seteuid(65534) != 0) {
        cr_skip_test("root may read each file, and this root cannot become another user");
    }
    /* The directory of mkdtemp() lets root in only: "Permission denied" either way. */
    check_refused(path, ROULETTE_ESYSTEM, "Permission denied");
    cr_assert(geteuid() != 65534 || seteuid(0) == 0);
}

Test(file, that_is_none_is_refused_without_waiting, .init = make_directory,
     .fini = remove_directory, .timeout = 10)
{
    check_refused(directory, ROULETTE_ESYSTEM, "not a regular file");
    check_refused("/dev/zero", ROULETTE_ESYSTEM, "not a regular file");
    cr_assert_eq(mkfifo(path, 0600), 0);
    check_refused(path, ROULETTE_ESYSTEM, "not a regular file");
}

Test(file, that_fails_while_it_is_read_is_named)
{
    /* The kernel says that both have no bytes. Address 0 is mapped in no process. */
    check_refused("/proc/self/status", ROULETTE_ESYSTEM, "it grew");
    check_refused("/proc/self/mem", ROULETTE_ESYSTEM, "Input/output error");
}

Test(file, reason_behind_a_long_path_is_not_cut_off)
{
    char deep[3000];
    char *bytes = NULL;
    size_t len = 0;
    memset(deep, 'd', sizeof deep);
    deep[sizeof deep - 1] = '\0';
    cr_assert_eq(rlt_file_read(deep, &bytes, &len), ROULETTE_ESYSTEM);
    cr_assert_not_null(strstr(roulette_last_error(), "File name too long"));
}

static int refuse_all(void *context, size_t size)
{
    (void)context;
    (void)size;
    return 0;
}

Test(file, without_memory_is_told, .init = make_directory, .fini = remove_directory)
{
    write_file("secret", 6);
    rlt_memory_set_gate(refuse_all, NULL);
    check_refused(path, ROULETTE_ENOMEM, "memory");
    rlt_memory_set_gate(NULL, NULL);
}

static size_t count_fds(void)
{
    size_t count = 0;
    DIR *fds = opendir("/proc/self/fd");
    cr_assert_not_null(fds);
    while (readdir(fds) != NULL) {
        count++;
    }
    (void)closedir(fds);
    return count;
}

Test(file, no_descriptor_stays_open, .init = make_directory, .fini = remove_directory)
{
    char *bytes = NULL;
    size_t len = 0;
    write_file("secret", 6);
    size_t before = count_fds();
    for (int i = 0; i < 50; i++) {
        cr_assert_eq(rlt_file_read(path, &bytes, &len), 0);
        rlt_file_free(bytes, len);
        check_refused(directory, ROULETTE_ESYSTEM, "not a regular file");
        check_refused("/proc/self/mem", ROULETTE_ESYSTEM, "Input/output error");
    }
    cr_assert_eq(count_fds(), before);
}
