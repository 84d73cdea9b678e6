/* SPDX-License-Identifier: MIT */
/**
 * Error codes (roulette.h), and the full text of a thread's last failure.
 */
#ifndef RLT_BASE_ERROR_H
#define RLT_BASE_ERROR_H

#include "roulette.h"

/** The longest text of a failure, with its NUL. */
#define RLT_ERROR_TEXT_MAX 1024

/**
 * Keep a text as this thread's last failure and return `error`, so that a caller can write
 * `return rlt_error_set(ROULETTE_EINVAL, "pool_size is %u: give 1 to 16", n);`.
 *
 * Threads: any thread. Does not block or allocate.
 */
int rlt_error_set(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** As rlt_error_set(), with a text that lives for ever: one store, for the data path. Also from a
 *  signal handler. */
int rlt_error_set_text(int error, const char *text);

/** Put "`what` cannot be used: " before this thread's last failure, and return `error`. */
int rlt_error_about(int error, const char *what);

/** As rlt_error_set_text(), with the code's own sentence as text. */
int rlt_error_set_plain(int error);

#endif
