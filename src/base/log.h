/* SPDX-License-Identifier: MIT */
/**
 * A log: the caller's function, its context and the least severe level that reaches it.
 */
#ifndef RLT_BASE_LOG_H
#define RLT_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "roulette.h"

/** Immutable after roulette_open(); any thread may write to it. */
struct rlt_log {
    roulette_log_fn *write; /* NULL: silent */
    void *context;
    enum roulette_log_level level;
};

/** Whether a line of this level is written. */
static inline bool rlt_log_takes(const struct rlt_log *log, enum roulette_log_level level)
{
    return log->write != NULL && level <= log->level;
}

/** Format and write one line, cut at 1024 bytes. Bytes below 0x20 come out as '?'. Nothing is
 * written any more while the process exits (io/system/leaving.h). */
void rlt_log(const struct rlt_log *log, enum roulette_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
