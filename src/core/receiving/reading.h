/* SPDX-License-Identifier: MIT */
/**
 * Until when a connection was read: what had arrived by `seen_ns` was told. A thread that is late
 * finds what came meanwhile all at once, and takes nothing for missing that it has not looked for.
 *
 * A receive tells what is there, if there was room for all of it. One that was filled may have left
 * something; once more was read than a socket holds, that is read too.
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

/** A receive begins: `room` bytes at most. */
static inline void rlt_reading_begin(struct rlt_reading *reading, size_t room)
{
    reading->room = room;
}

/** Before the next call the transport tells what is there now. */
static inline void rlt_reading_pass(struct rlt_reading *reading, uint64_t now_ns)
{
    reading->before_ns = reading->seen_ns;
    reading->seen_ns = now_ns;
}

/** A receive has brought so much. */
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
