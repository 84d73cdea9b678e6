/* SPDX-License-Identifier: MIT */
/**
 * The SUBs of a connection that no PONG has confirmed yet. A server answers in order, so an -ERR
 * that is about a SUB and names none is about one that was written between the PING of the last
 * PONG and the next PING. Between two PINGs there is one SUB at the most (rlt_sender_write_sub()
 * sees to it), so it is known which.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_SUB_MARKS_H
#define RLT_CORE_SUB_MARKS_H

#include <stdbool.h>
#include <stdint.h>

/** Unconfirmed SUBs at most; more wait for a PONG. About as many as fit into control lines. */
#define RLT_SUB_MARKS_MAX 4096

struct rlt_sub_mark {
    uint64_t sid;
    uint64_t ping; /* number of the next PING behind it: written, or to come */
};

/** First in, first out. All zero: empty. */
struct rlt_sub_marks {
    struct rlt_sub_mark marks[RLT_SUB_MARKS_MAX];
    uint32_t first;
    uint32_t count;
};

static inline bool rlt_sub_marks_is_full(const struct rlt_sub_marks *marks)
{
    return marks->count == RLT_SUB_MARKS_MAX;
}

/** Whether a SUB waits for a PING of this number or a later one. */
bool rlt_sub_marks_await(const struct rlt_sub_marks *marks, uint64_t ping);

/** A SUB is written; there is room. `ping` grows from one to the next. */
void rlt_sub_marks_push(struct rlt_sub_marks *marks, uint64_t sid, uint64_t ping);

/** The first `pongs` PINGs are answered: the SUBs before them are not refused any more. */
void rlt_sub_marks_confirm(struct rlt_sub_marks *marks, uint64_t pongs);

/**
 * An -ERR about a SUB arrived behind `pongs` PONGs.
 *
 * Returns: the sid of that SUB; 0 if none was written there, or if the sid was told again since:
 *          that SUB was left, and a later one has the last word.
 */
uint64_t rlt_sub_marks_refused(const struct rlt_sub_marks *marks, uint64_t pongs);

/** The connection is gone. */
void rlt_sub_marks_clear(struct rlt_sub_marks *marks);

#endif
