/* SPDX-License-Identifier: MIT */
/**
 * A program that a test runs: with its standard input given, and what it prints kept in memory.
 *
 * No program outlives its test: the kernel kills it when the thread that started it ends.
 */
#ifndef RLT_TESTS_SUPPORT_PROCESS_H
#define RLT_TESTS_SUPPORT_PROCESS_H

#include <stddef.h>
#include <sys/types.h>

struct process {
    pid_t pid;
    int pidfd;
    int out; /* memfds; `out` may be another descriptor, or -1: process_start_into() */
    int err;
};

/**
 * Start a program with the NULL-terminated arguments `argv` and the bytes of `input` as standard
 * input. The test fails if it does not start.
 *
 * Ownership: process_end() ends it.
 */
void process_start(struct process *process, const char *const *argv, const void *input,
                   size_t input_len);

/**
 * As process_start(), but the program prints to a duplicate of `out`: a pipe, a socket, a device.
 * `process->out` is -1.
 */
void process_start_into(struct process *process, const char *const *argv, const void *input,
                        size_t input_len, int out);

/** Wait until the program ends; the test fails if it takes long. Returns: its exit code. */
int process_wait(struct process *process);

/** Send a signal. */
void process_signal(struct process *process, int signal);

/** Wait until standard error contains `text`; the test fails if it does not come. */
void process_await_error(struct process *process, const char *text);

/**
 * All that was printed so far to `descriptor` (out or err), and a NUL behind it.
 *
 * Ownership: the caller's; free() it. `len` may be NULL.
 */
char *process_printed(int descriptor, size_t *len);

/** Free it; kill the program if it has not ended. */
void process_end(struct process *process);

#endif
