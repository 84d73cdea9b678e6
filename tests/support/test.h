/* SPDX-License-Identifier: MIT */
/**
 * The one header that every test includes: `Test(suite, a_fact) { cr_assert_eq(a, b); }`.
 *
 * Normally this is Criterion. Criterion does not start under ThreadSanitizer ("Could not
 * initialize inheritable arena", 2.4.1), so there runner.c takes its place: one child process for
 * each test, the same Test() with its options, and the assertions below, nothing else. A test that
 * uses more of Criterion does not compile under ThreadSanitizer.
 */
#ifndef RLT_TESTS_SUPPORT_TEST_H
#define RLT_TESTS_SUPPORT_TEST_H

#if defined(__SANITIZE_THREAD__)
#define TEST_OWN_RUNNER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_OWN_RUNNER 1
#endif
#endif

/** Seconds that a test without `.timeout` may take. */
#define TEST_TIMEOUT_S 120.0

#ifndef TEST_OWN_RUNNER

#include <criterion/criterion.h>

/**
 * Run the body of the current test and, if it did not fail, its .fini, as one: what fails in the
 * .fini fails the test.
 *
 * Criterion alone (2.4.1 to 2.4.3) has judged a test before it runs the .fini: an assertion that
 * fails there is printed, and the run ends with 0. Test() calls this by Criterion's own name for
 * the step. A suite's .fini and a report hook stay without a judge: tools/checks/test_check finds
 * them.
 */
void test_run_to_the_end(void (*body)(void));

#define criterion_internal_test_main(body) test_run_to_the_end(body)

#else

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/** What may follow the name in Test(), as in Criterion: `.timeout = 5`. */
struct test_options {
    double timeout; /* seconds; 0: TEST_TIMEOUT_S */
    bool disabled;
    int signal;    /* the signal that must end the test, such as SIGABRT */
    int exit_code; /* the exit code that the test must end with */
    void (*init)(void);
    void (*fini)(void);
    const char *description;
    int sentinel;
};

/** One test; static, registered before main() by a constructor. */
struct test_case {
    const char *suite;
    const char *name;
    void (*run)(void);
    struct test_options options;
    struct test_case *next;
};

void test_register(struct test_case *test);

/** Print why the current test fails, and end its process. `format` starts with one blank. */
_Noreturn void test_fail(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/** End the current test as skipped, with the reason. */
_Noreturn void test_skip(const char *format, ...) __attribute__((format(printf, 1, 2)));

#define TEST_DEFINE(suite_, name_, ...)                                        \
    static void suite_##_##name_##_run(void);                                  \
    static struct test_case suite_##_##name_##_case = {                        \
        .suite = #suite_,                                                      \
        .name = #name_,                                                        \
        .run = suite_##_##name_##_run,                                         \
        .options = {__VA_ARGS__},                                              \
    };                                                                         \
    __attribute__((constructor)) static void suite_##_##name_##_register(void) \
    {                                                                          \
        test_register(&suite_##_##name_##_case);                               \
    }                                                                          \
    static void suite_##_##name_##_run(void)

#define Test(...) TEST_DEFINE(__VA_ARGS__, .sentinel = 0)

#define TEST_CHECK(condition, text, ...) \
    ((condition) ? (void)0 : test_fail(__FILE__, __LINE__, text, " " __VA_ARGS__))

#define cr_assert(condition, ...)     TEST_CHECK((condition), #condition, __VA_ARGS__)
#define cr_assert_not(condition, ...) TEST_CHECK(!(condition), "!(" #condition ")", __VA_ARGS__)
#define cr_assert_eq(a, b, ...)       TEST_CHECK((a) == (b), #a " == " #b, __VA_ARGS__)
#define cr_assert_neq(a, b, ...)      TEST_CHECK((a) != (b), #a " != " #b, __VA_ARGS__)
#define cr_assert_lt(a, b, ...)       TEST_CHECK((a) < (b), #a " < " #b, __VA_ARGS__)
#define cr_assert_leq(a, b, ...)      TEST_CHECK((a) <= (b), #a " <= " #b, __VA_ARGS__)
#define cr_assert_gt(a, b, ...)       TEST_CHECK((a) > (b), #a " > " #b, __VA_ARGS__)
#define cr_assert_geq(a, b, ...)      TEST_CHECK((a) >= (b), #a " >= " #b, __VA_ARGS__)
#define cr_assert_null(a, ...)        TEST_CHECK((a) == NULL, #a " == NULL", __VA_ARGS__)
#define cr_assert_not_null(a, ...)    TEST_CHECK((a) != NULL, #a " != NULL", __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) \
    TEST_CHECK(strcmp((a), (b)) == 0, #a " is the text " #b, __VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) \
    TEST_CHECK(strcmp((a), (b)) != 0, #a " is not the text " #b, __VA_ARGS__)
#define cr_assert_arr_eq(a, b, size, ...) \
    TEST_CHECK(memcmp((a), (b), (size)) == 0, #a " has the bytes of " #b, __VA_ARGS__)
#define cr_assert_arr_neq(a, b, size, ...) \
    TEST_CHECK(memcmp((a), (b), (size)) != 0, #a " has other bytes than " #b, __VA_ARGS__)
#define cr_assert_fail(...) test_fail(__FILE__, __LINE__, "not reached", " " __VA_ARGS__)
#define cr_skip_test(...)   test_skip(" " __VA_ARGS__)

#endif /* TEST_OWN_RUNNER */

#endif
