/* SPDX-License-Identifier: MIT */
/**
 * The SUBs of a connection that no PONG has confirmed yet, in windows: a window holds the SUBs
 * written between two PINGs. A server answers in order, so an -ERR that is about a SUB and names
 * none is about a SUB of the window whose PING is the next to be answered. If the window has one
 * SUB, that one is refused; if it has more, core/connection/inquiry.h finds out which.
 *
 * An UNSUB closes a window for further SUBs: so a limit on their number refuses the last SUBs of a
 * window, and a sid is in a window once.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_SENDING_SUB_MARKS_H
#define RLT_CORE_SENDING_SUB_MARKS_H

#include <stdbool.h>
#include <stdint.h>

/** Unconfirmed SUBs at most, and windows of them; more wait for a PONG. */
#define RLT_SUB_MARKS_MAX   16384
#define RLT_SUB_WINDOWS_MAX 2048
/** SUBs between two PINGs at most: enough to keep a distant server busy. */
#define RLT_SUB_WINDOW_SUBS 1024

/** A mark is the sid of a SUB, with flags. */
#define RLT_SUB_SID_BITS 56
enum rlt_sub_flag {
    RLT_SUB_SETTLED = 1, /* confirmed or refused, and handled */
    /* Of an inquiry. */
    RLT_SUB_ASKED = 2,   /* its SUB was written again; the answer is awaited */
    RLT_SUB_LIMITED = 4, /* the answer was: too many */
    RLT_SUB_INVALID = 8, /* or another refusal */
    RLT_SUB_LIKELY = 16, /* the limit has probably refused it */
    RLT_SUB_CUT = 32,    /* an UNSUB was written: there may be a gap */
};

struct rlt_sub_window {
    uint64_t ping;    /* number of the PING behind the window: written, or to come */
    uint16_t count;   /* marks */
    uint16_t settled; /* of these */
    uint16_t limited; /* -ERRs without a name that say: too many */
    uint16_t invalid; /* -ERRs without a name that say something else */
};

/** First in, first out. */
struct rlt_sub_marks {
    uint64_t *marks;                /* a ring buffer */
    struct rlt_sub_window *windows; /* a ring buffer */
    uint32_t first;
    uint32_t count;
    uint32_t window_first;
    uint32_t window_count;
    bool closed; /* the last window takes no more SUBs */
    int error;   /* the error code of the last -ERR of kind `invalid` */
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_sub_marks_init(struct rlt_sub_marks *marks);

/** Free the memory. Zeroed marks are allowed. */
void rlt_sub_marks_fini(struct rlt_sub_marks *marks);

static inline bool rlt_sub_marks_is_full(const struct rlt_sub_marks *marks)
{
    return marks->count == RLT_SUB_MARKS_MAX || marks->window_count == RLT_SUB_WINDOWS_MAX;
}

/** A mark, by its place in the order of SUBs, from 0. */
static inline uint64_t *rlt_sub_marks_at(const struct rlt_sub_marks *marks, uint32_t index)
{
    return &marks->marks[(marks->first + index) % RLT_SUB_MARKS_MAX];
}

static inline struct rlt_sub_window *rlt_sub_marks_window(const struct rlt_sub_marks *marks,
                                                          uint32_t index)
{
    return &marks->windows[(marks->window_first + index) % RLT_SUB_WINDOWS_MAX];
}

static inline uint64_t rlt_sub_mark_sid(uint64_t mark)
{
    return mark & ((UINT64_C(1) << RLT_SUB_SID_BITS) - 1);
}

static inline bool rlt_sub_mark_is(uint64_t mark, enum rlt_sub_flag flag)
{
    return (mark >> RLT_SUB_SID_BITS & (uint64_t)flag) != 0;
}

static inline void rlt_sub_mark_set(uint64_t *mark, enum rlt_sub_flag flag)
{
    *mark |= (uint64_t)flag << RLT_SUB_SID_BITS;
}

static inline void rlt_sub_mark_clear(uint64_t *mark, enum rlt_sub_flag flag)
{
    *mark &= ~((uint64_t)flag << RLT_SUB_SID_BITS);
}

/** Whether a PING must be written before the next SUB; `ping` is that PING's number. */
bool rlt_sub_marks_need_ping(const struct rlt_sub_marks *marks, uint64_t ping);

/** Note a written SUB; there is room, and no PING is needed before it. */
void rlt_sub_marks_push(struct rlt_sub_marks *marks, uint64_t sid, uint64_t ping);

/** Close the last window, since an UNSUB is written. */
static inline void rlt_sub_marks_close(struct rlt_sub_marks *marks)
{
    marks->closed = true;
}

/**
 * Note an -ERR about an unnamed SUB, which arrived behind `pongs` PONGs. `limited`: it says "too
 * many"; otherwise `error` is its code.
 *
 * Returns: the sid, if only one SUB is possible: its mark is settled. 0 if no SUB is unconfirmed,
 *          or several are possible: then the window counts the -ERR.
 */
uint64_t rlt_sub_marks_refuse(struct rlt_sub_marks *marks, uint64_t pongs, bool limited, int error);

/** Settle the mark of a SUB that an -ERR behind `pongs` PONGs has named, if there is one. */
void rlt_sub_marks_settle(struct rlt_sub_marks *marks, uint64_t pongs, uint64_t sid);

/** Whether a SUB with this sid was written later than those that `pongs` + 1 PONGs confirm. */
bool rlt_sub_marks_have_later(const struct rlt_sub_marks *marks, uint64_t pongs, uint64_t sid);

/**
 * Forget the windows that the first `pongs` PONGs confirm, up to the first window with a refusal
 * whose SUB is not known.
 *
 * Returns: whether there is such a window.
 */
bool rlt_sub_marks_confirm(struct rlt_sub_marks *marks, uint64_t pongs);

/** Whether there is a refusal whose SUB is not known. */
bool rlt_sub_marks_are_in_doubt(const struct rlt_sub_marks *marks);

/** Forget all marks. */
void rlt_sub_marks_clear(struct rlt_sub_marks *marks);

#endif
