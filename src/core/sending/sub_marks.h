/* SPDX-License-Identifier: MIT */
/**
 * The SUBs of a connection that no PONG has confirmed yet, in windows: a window holds what was
 * written between two PINGs. A server answers in order, so an -ERR that is about a SUB and names
 * none is about one of the window whose PING is the next to be answered. If there is one SUB in it,
 * it is known which; if there are more, core/connection/inquiry.h finds it out.
 *
 * An UNSUB closes a window for further SUBs: what a limit on their number refuses is then the end
 * of a window, and a sid is in a window once.
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
/** SUBs between two PINGs at most: a server that is far away is never without work. */
#define RLT_SUB_WINDOW_SUBS 1024

/** A mark is the sid of a SUB, and what is known of it. */
#define RLT_SUB_SID_BITS 56
enum rlt_sub_flag {
    RLT_SUB_SETTLED = 1, /* confirmed or refused, and that is dealt with */
    /* Of an inquiry. */
    RLT_SUB_ASKED = 2,   /* its SUB was written again, and the answer is to come */
    RLT_SUB_LIMITED = 4, /* that was: too many */
    RLT_SUB_INVALID = 8, /* or something else */
    RLT_SUB_LIKELY = 16, /* it is likely that the limit did not let it in */
    RLT_SUB_CUT = 32,    /* an UNSUB was written: there may be a gap */
};

struct rlt_sub_window {
    uint64_t ping;    /* number of the PING behind it: written, or to come */
    uint16_t count;   /* marks */
    uint16_t settled; /* of these */
    uint16_t limited; /* -ERRs that name none and say: too many */
    uint16_t invalid; /* and those that say something else */
};

/** First in, first out. */
struct rlt_sub_marks {
    uint64_t *marks;                /* a ring */
    struct rlt_sub_window *windows; /* a ring */
    uint32_t first;
    uint32_t count;
    uint32_t window_first;
    uint32_t window_count;
    bool closed; /* no SUB goes into the last window any more */
    int error;   /* what the last -ERR of kind `invalid` stands for */
};

/** Returns: 0 or ROULETTE_ENOMEM. */
int rlt_sub_marks_init(struct rlt_sub_marks *marks);

/** Also of marks that are zeroed. */
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

/** Whether a PING has to be written before the next SUB, if the next PING's number is `ping`. */
bool rlt_sub_marks_need_ping(const struct rlt_sub_marks *marks, uint64_t ping);

/** A SUB is written; there is room, and no PING is needed before. */
void rlt_sub_marks_push(struct rlt_sub_marks *marks, uint64_t sid, uint64_t ping);

/** An UNSUB is written. */
static inline void rlt_sub_marks_close(struct rlt_sub_marks *marks)
{
    marks->closed = true;
}

/**
 * An -ERR about a SUB arrived behind `pongs` PONGs; `limited`: there are too many, otherwise
 * `error` is kept for it.
 *
 * Returns: the sid, if it is known: then the mark is settled. 0 if it is about none that is open,
 *          or about one of several: then the window remembers.
 */
uint64_t rlt_sub_marks_refuse(struct rlt_sub_marks *marks, uint64_t pongs, bool limited, int error);

/** An -ERR behind `pongs` PONGs has named a SUB, which may be of that time. */
void rlt_sub_marks_settle(struct rlt_sub_marks *marks, uint64_t pongs, uint64_t sid);

/** Whether a SUB with this sid was written behind those that `pongs` PONGs and one confirm. */
bool rlt_sub_marks_have_later(const struct rlt_sub_marks *marks, uint64_t pongs, uint64_t sid);

/**
 * The first `pongs` PINGs are answered: forget the windows before them, up to the first in which
 * something was refused that is not known.
 *
 * Returns: whether there is one.
 */
bool rlt_sub_marks_confirm(struct rlt_sub_marks *marks, uint64_t pongs);

/** Whether something was refused that is not known. */
bool rlt_sub_marks_are_in_doubt(const struct rlt_sub_marks *marks);

/** Forget all. */
void rlt_sub_marks_clear(struct rlt_sub_marks *marks);

#endif
