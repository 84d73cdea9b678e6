/* SPDX-License-Identifier: MIT */
/**
 * main() of a test executable under ThreadSanitizer, where Criterion does not start: one child
 * process for each test, one after the other, each with a time limit. Otherwise this file only
 * gives Criterion's tests their time limit, and makes what fails in a .fini count.
 *
 * RLT_TIMEOUT: seconds that one test may take, for those that the environment makes longer.
 */
#include "support/test.h"

#include <stdlib.h>

static double default_limit_s(void)
{
    const char *text = getenv("RLT_TIMEOUT");
    double limit_s = text != NULL ? strtod(text, NULL) : 0;
    return limit_s > 0 ? limit_s : TEST_TIMEOUT_S;
}

#ifndef TEST_OWN_RUNNER

#include <criterion/options.h>
#include <stddef.h>
#include <string.h>

__attribute__((constructor)) static void limit_time(void)
{
    criterion_options.timeout = default_limit_s();
}

/* ---- The body and the .fini as one -------------------------------------------------------- */

static void (*current_body)(void);

/* The current test's .fini, which Criterion does not find any more. Criterion copies its structs to
 * addresses of any alignment: so they are read as bytes. */
static void (*take_fini(void))(void)
{
    struct criterion_test test;
    void (*fini)(void);
    memcpy(&test, (const char *)criterion_current_test, sizeof(test));
    char *place = (char *)test.data + offsetof(struct criterion_test_extra_data, fini);
    memcpy(&fini, place, sizeof(fini));
    memset(place, 0, sizeof(fini));
    return fini;
}

/* A failed assertion leaves by a long jump: after the body, Criterion finds and runs the .fini;
 * after a .fini that ran here it finds none. Criterion copies the test's data to an odd address in
 * its child process, which UndefinedBehaviorSanitizer would end each test for. */
__attribute__((no_sanitize("alignment"))) static void run_body_and_fini(void)
{
    current_body();
    void (*fini)(void) = take_fini();
    if (fini != NULL) {
        fini();
    }
}

void test_run_to_the_end(void (*body)(void))
{
    current_body = body;
    (criterion_internal_test_main)(run_body_and_fini); /* in brackets: the function, no macro */
}

#else

#include <fnmatch.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* ThreadSanitizer ends a process that it reported on with 66. */
enum { EXIT_FAILED = 97, EXIT_SKIPPED = 98 };

enum outcome { PASSED, FAILED, CRASHED, SKIPPED };

static struct test_case *first;
static struct test_case **last = &first;

void test_register(struct test_case *test)
{
    *last = test;
    last = &test->next;
}

void test_fail(const char *file, int line, const char *condition, const char *format, ...)
{
    char message[2048];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    fprintf(stderr, "[----] %s:%d: Assertion failed: %s%s%s\n", file, line, condition,
            message[1] != '\0' ? ":" : "", message[1] != '\0' ? message : "");
    fflush(NULL);
    _exit(EXIT_FAILED);
}

void test_skip(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("[SKIP]", stderr);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    fflush(NULL);
    _exit(EXIT_SKIPPED);
}

static _Noreturn void run_child(const struct test_case *test)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (test->options.init != NULL) {
        test->options.init();
    }
    test->run();
    if (test->options.fini != NULL) {
        test->options.fini();
    }
    exit(EXIT_SUCCESS); /* and not _exit(): ThreadSanitizer sets its exit code here */
}

/** Wait for the child; kill it at its deadline. Returns: whether it ended by itself. */
static bool wait_child(const struct test_case *test, pid_t pid, int *status)
{
    double limit_s = test->options.timeout > 0 ? test->options.timeout : default_limit_s();
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd wait = {.fd = pidfd, .events = POLLIN};
    bool ended = pidfd >= 0 && poll(&wait, 1, (int)(limit_s * 1000)) == 1;
    if (!ended) {
        (void)kill(pid, SIGKILL);
        fprintf(stderr, "[----] %s/%s: Timed out after %g s\n", test->suite, test->name, limit_s);
    }
    (void)waitpid(pid, status, 0);
    (void)close(pidfd);
    return ended;
}

static enum outcome judge(const struct test_case *test, int status)
{
    if (WIFSIGNALED(status)) {
        return WTERMSIG(status) == test->options.signal ? PASSED : CRASHED;
    }
    if (WEXITSTATUS(status) == EXIT_SKIPPED) {
        return SKIPPED;
    }
    bool expected = test->options.signal == 0 && WEXITSTATUS(status) == test->options.exit_code;
    return expected ? PASSED : FAILED;
}

static enum outcome run(const struct test_case *test)
{
    if (test->options.disabled) {
        fprintf(stderr, "[SKIP] %s/%s: disabled\n", test->suite, test->name);
        return SKIPPED;
    }
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run_child(test);
    }
    int status = 0;
    enum outcome outcome = FAILED;
    if (pid > 0 && wait_child(test, pid, &status)) {
        outcome = judge(test, status);
    }
    if (outcome == FAILED || outcome == CRASHED) {
        fprintf(stderr, "[FAIL] %s/%s (%s %d)\n", test->suite, test->name,
                WIFSIGNALED(status) ? "signal" : "exit code",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    }
    return outcome;
}

/** Returns: the pattern of `--filter`, "*" if there is none. Other options are Criterion's. */
static const char *read_filter(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--filter") == 0 && i + 1 < argc) {
            return argv[i + 1];
        }
        if (strncmp(argv[i], "--filter=", 9) == 0) {
            return argv[i] + 9;
        }
    }
    return "*";
}

int main(int argc, char **argv)
{
    const char *filter = read_filter(argc, argv);
    unsigned counts[4] = {0};
    for (const struct test_case *test = first; test != NULL; test = test->next) {
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/%s", test->suite, test->name);
        if (fnmatch(filter, path, 0) == 0) {
            counts[run(test)]++;
        }
    }
    fprintf(stderr, "[====] Synthesis: Tested: %u | Passing: %u | Failing: %u | Crashing: %u",
            counts[PASSED] + counts[FAILED] + counts[CRASHED], counts[PASSED], counts[FAILED],
            counts[CRASHED]);
    fprintf(stderr, counts[SKIPPED] != 0 ? " | Skipped: %u\n" : "\n", counts[SKIPPED]);
    return counts[FAILED] + counts[CRASHED] != 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
