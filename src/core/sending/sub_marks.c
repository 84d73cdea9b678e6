/* SPDX-License-Identifier: MIT */
#include "core/sending/sub_marks.h"

#include <string.h>

#include "base/assert.h"
#include "base/memory.h"
#include "roulette.h"

static_assert(RLT_SUB_WINDOW_SUBS <= UINT16_MAX, "of a window's count");

int rlt_sub_marks_init(struct rlt_sub_marks *marks)
{
    memset(marks, 0, sizeof(*marks));
    marks->marks = rlt_memory_alloc(RLT_SUB_MARKS_MAX, sizeof(*marks->marks));
    marks->windows = rlt_memory_alloc(RLT_SUB_WINDOWS_MAX, sizeof(*marks->windows));
    if (marks->marks == NULL || marks->windows == NULL) {
        rlt_sub_marks_fini(marks);
        return ROULETTE_ENOMEM;
    }
    return 0;
}

void rlt_sub_marks_fini(struct rlt_sub_marks *marks)
{
    rlt_memory_free(marks->marks);
    rlt_memory_free(marks->windows);
    memset(marks, 0, sizeof(*marks));
}

static struct rlt_sub_window *last_window(const struct rlt_sub_marks *marks)
{
    return marks->window_count != 0 ? rlt_sub_marks_window(marks, marks->window_count - 1) : NULL;
}

/* Whether the last window is still open: the PING of this number will end it. */
static bool is_open(const struct rlt_sub_marks *marks, uint64_t ping)
{
    return marks->window_count != 0 && last_window(marks)->ping == ping;
}

bool rlt_sub_marks_need_ping(const struct rlt_sub_marks *marks, uint64_t ping)
{
    return is_open(marks, ping) &&
           (marks->closed || last_window(marks)->count == RLT_SUB_WINDOW_SUBS);
}

void rlt_sub_marks_push(struct rlt_sub_marks *marks, uint64_t sid, uint64_t ping)
{
    RLT_ASSERT(!rlt_sub_marks_is_full(marks) && !rlt_sub_marks_need_ping(marks, ping));
    RLT_ASSERT(sid != 0 && rlt_sub_mark_sid(sid) == sid);
    if (!is_open(marks, ping)) {
        *rlt_sub_marks_window(marks, marks->window_count++) = (struct rlt_sub_window){.ping = ping};
        marks->closed = false;
    }
    last_window(marks)->count++;
    *rlt_sub_marks_at(marks, marks->count++) = sid;
}

/* The window whose PING is the next to be answered; `*start`: its first mark. NULL if it has no
 * SUB. */
static struct rlt_sub_window *window_behind(const struct rlt_sub_marks *marks, uint64_t pongs,
                                            uint32_t *start)
{
    *start = 0;
    for (uint32_t i = 0; i < marks->window_count; i++) {
        struct rlt_sub_window *window = rlt_sub_marks_window(marks, i);
        if (window->ping > pongs) {
            return window->ping == pongs + 1 ? window : NULL;
        }
        *start += window->count;
    }
    return NULL;
}

static void settle(struct rlt_sub_window *window, uint64_t *mark)
{
    rlt_sub_mark_set(mark, RLT_SUB_SETTLED);
    window->settled++;
}

uint64_t rlt_sub_marks_refuse(struct rlt_sub_marks *marks, uint64_t pongs, bool limited, int error)
{
    uint32_t index;
    struct rlt_sub_window *window = window_behind(marks, pongs, &index);
    if (window == NULL || window->settled == window->count) {
        return 0;
    }
    if (window->count - window->settled == 1 && window->limited + window->invalid == 0) {
        while (rlt_sub_mark_is(*rlt_sub_marks_at(marks, index), RLT_SUB_SETTLED)) {
            index++;
        }
        settle(window, rlt_sub_marks_at(marks, index));
        return rlt_sub_mark_sid(*rlt_sub_marks_at(marks, index));
    }
    /* More -ERRs than SUBs are ignored. */
    if (window->limited + window->invalid < window->count - window->settled) {
        window->limited = (uint16_t)(window->limited + (limited ? 1 : 0));
        window->invalid = (uint16_t)(window->invalid + (limited ? 0 : 1));
        marks->error = limited ? marks->error : error;
    }
    return 0;
}

void rlt_sub_marks_settle(struct rlt_sub_marks *marks, uint64_t pongs, uint64_t sid)
{
    uint32_t start;
    struct rlt_sub_window *window = window_behind(marks, pongs, &start);
    for (uint32_t i = 0; window != NULL && i < window->count; i++) {
        uint64_t *mark = rlt_sub_marks_at(marks, start + i);
        if (*mark == sid) {
            settle(window, mark);
            return;
        }
    }
}

bool rlt_sub_marks_have_later(const struct rlt_sub_marks *marks, uint64_t pongs, uint64_t sid)
{
    uint32_t start;
    const struct rlt_sub_window *window = window_behind(marks, pongs, &start);
    for (uint32_t i = start + (window != NULL ? window->count : 0); i < marks->count; i++) {
        if (rlt_sub_mark_sid(*rlt_sub_marks_at(marks, i)) == sid) {
            return true;
        }
    }
    return false;
}

static bool is_in_doubt(const struct rlt_sub_window *window)
{
    return window->limited + window->invalid != 0;
}

bool rlt_sub_marks_confirm(struct rlt_sub_marks *marks, uint64_t pongs)
{
    while (marks->window_count != 0) {
        const struct rlt_sub_window *window = rlt_sub_marks_window(marks, 0);
        if (window->ping > pongs) {
            return false;
        }
        if (is_in_doubt(window)) {
            return true;
        }
        marks->first = (marks->first + window->count) % RLT_SUB_MARKS_MAX;
        marks->count -= window->count;
        marks->window_first = (marks->window_first + 1) % RLT_SUB_WINDOWS_MAX;
        marks->window_count--;
    }
    return false;
}

bool rlt_sub_marks_are_in_doubt(const struct rlt_sub_marks *marks)
{
    for (uint32_t i = 0; i < marks->window_count; i++) {
        if (is_in_doubt(rlt_sub_marks_window(marks, i))) {
            return true;
        }
    }
    return false;
}

void rlt_sub_marks_clear(struct rlt_sub_marks *marks)
{
    marks->first = 0;
    marks->count = 0;
    marks->window_first = 0;
    marks->window_count = 0;
    marks->closed = false;
}
