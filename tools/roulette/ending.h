/* SPDX-License-Identifier: MIT */
/**
 * When a command that could go on for ever has to end: at SIGINT or SIGTERM, or when its time is
 * over; even if it sleeps in a write() that nobody reads, or in any other call.
 *
 * A signal's handler, or a timer at the deadline, interrupts what the program sleeps in. The timer
 * then comes again every ENDING_TICK_MS, so that no call escapes that was only about to sleep. If
 * the program has not ended by itself some ticks later, the timer's handler ends it.
 */
#ifndef RLT_TOOLS_ENDING_H
#define RLT_TOOLS_ENDING_H

#include <stdbool.h>
#include <stdint.h>

#include "command.h"

enum {
    ENDING_TICK_MS = 50,
    /* How long the program has for its own end, from the signal or the deadline: 2 s; and after a
     * signal without ending_goes_on(): 250 ms. */
    ENDING_TICKS = 40,
    ENDING_TICKS_STALLED = 5,
};

/**
 * Catch the signals. If the program does not end by itself in time, its exit code is COMMAND_OK
 * after a signal and `late_code` after `end_ms` (connect_now_ms(); UINT64_MAX: no deadline).
 *
 * Threads: the main thread, once, before there are others (the library's block all signals).
 * Returns: a descriptor that is readable once a signal came; -1 after complaining.
 */
int ending_prepare(const struct command *command, uint64_t end_ms, int late_code);

/** Something that may stall has not. */
void ending_goes_on(void);

/** Whether SIGINT or SIGTERM came. */
bool ending_is_asked(void);

/** Whether a signal came or the time is over: nothing may be waited for any more. */
bool ending_is_due(void);

#endif
