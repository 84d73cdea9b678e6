/* SPDX-License-Identifier: MIT */
/**
 * Until when a connection was read: the event thread has received all bytes that had arrived by
 * `seen_ns`. An event thread that is late finds many bytes at once, and takes nothing for missing
 * that it has not looked for.
 *
 * A receive takes all bytes of the socket if there was room for them. A receive that was filled may
 * have left some; once more was read than a socket holds, those are read too.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_RECEIVING_READING_H
#define RLT_CORE_RECEIVING_READING_H

#include <stddef.h>
#include <stdint.h>

/** More than a socket holds, whatever the system's limits are raised to. */
#define RLT_READING_SOCKET_MAX ((size_t)64 << 20)

struct rlt_reading {
    uint64_t seen_ns;
    uint64_t before_ns; /* seen_ns, if the receive in progress is filled */
    size_t room;        /* bytes of the last receive */
    size_t filled;      /* bytes of filled receives in a row */
    uint64_t filled_ns; /* seen_ns, had the first of them had more room */
};

/** Note that a receive of at most `room` bytes begins. */
static inline void rlt_reading_begin(struct rlt_reading *reading, size_t room)
{
    reading->room = room;
}

/** Note that before the next call the transport reports all bytes that are there at `now_ns`. */
static inline void rlt_reading_pass(struct rlt_reading *reading, uint64_t now_ns)
{
    reading->before_ns = reading->seen_ns;
    reading->seen_ns = now_ns;
}

/** Note that a receive has brought `bytes` bytes. */
static inline void rlt_reading_end(struct rlt_reading *reading, size_t bytes)
{
    if (bytes < reading->room) {
        reading->filled = 0;
        return;
    }
    if (reading->filled == 0) {
        reading->filled_ns = reading->seen_ns;
    }
    reading->filled += bytes;
    reading->seen_ns = reading->before_ns;
    if (reading->filled >= RLT_READING_SOCKET_MAX) {
        reading->seen_ns = reading->filled_ns;
        reading->filled = 0;
    }
}

#endif
