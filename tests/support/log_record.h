/* SPDX-License-Identifier: MIT */
/**
 * Everything that clients of a test log, at the most verbose level, to be waited for and searched.
 */
#ifndef RLT_TESTS_SUPPORT_LOG_RECORD_H
#define RLT_TESTS_SUPPORT_LOG_RECORD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "roulette.h"

#define LOG_RECORD_BYTES ((size_t)1 << 20)

struct log_record {
    pthread_mutex_t lock;
    size_t len;
    char text[LOG_RECORD_BYTES]; /* lines with a '\n', then a NUL */
};

/** A new record. Aborts if there is no memory. Ownership: log_record_destroy() ends it. */
struct log_record *log_record_create(void);

/** Free it. NULL is allowed. No client may log to it any more. */
void log_record_destroy(struct log_record *record);

/** Set the log callback of `options`, at ROULETTE_LOG_DEBUG. */
void log_record_attach(struct log_record *record, struct roulette_options *options);

/** How often `text` was logged so far. */
size_t log_record_count(struct log_record *record, const char *text);

/** Forget what was logged so far. */
void log_record_clear(struct log_record *record);

/** Print all of it to stderr. */
void log_record_print(struct log_record *record);

#endif
