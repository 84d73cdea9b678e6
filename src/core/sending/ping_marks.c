/* SPDX-License-Identifier: MIT */
#include "core/sending/ping_marks.h"

#include <string.h>

void rlt_ping_marks_init(struct rlt_ping_marks *marks)
{
    memset(marks, 0, sizeof(*marks));
    marks->waiting_end = &marks->waiting;
}

/* ---- Fences ------------------------------------------------------------------------------- */

/* Append list `more` to the list whose end is at `end`; returns the new end. */
static struct rlt_fence_link **append(struct rlt_fence_link **end, struct rlt_fence_link *more)
{
    *end = more;
    while (*end != NULL) {
        end = &(*end)->next;
    }
    return end;
}

void rlt_ping_marks_add_fence(struct rlt_ping_marks *marks, struct rlt_fence_link *link)
{
    link->next = NULL;
    *marks->waiting_end = link;
    marks->waiting_end = &link->next;
}

struct rlt_fence_link *rlt_ping_marks_take_waiting(struct rlt_ping_marks *marks)
{
    struct rlt_fence_link *links = marks->waiting;
    marks->waiting = NULL;
    marks->waiting_end = &marks->waiting;
    return links;
}

struct rlt_fence_link *rlt_ping_marks_take_unsent(struct rlt_ping_marks *marks)
{
    struct rlt_fence_link *links = NULL;
    struct rlt_fence_link **end = append(&links, marks->armed);
    marks->armed = NULL;
    append(end, rlt_ping_marks_take_waiting(marks));
    return links;
}

bool rlt_ping_marks_arm(struct rlt_ping_marks *marks)
{
    if (marks->armed != NULL || marks->waiting == NULL) {
        return false;
    }
    marks->armed = rlt_ping_marks_take_waiting(marks);
    return true;
}

/* ---- PINGs -------------------------------------------------------------------------------- */

struct rlt_ping_mark *rlt_ping_marks_push(struct rlt_ping_marks *marks, bool with_armed)
{
    if (marks->count == RLT_PING_MARKS_MAX) {
        return NULL;
    }
    uint32_t slot = (marks->first + marks->count) % RLT_PING_MARKS_MAX;
    struct rlt_ping_mark *mark = &marks->marks[slot];
    mark->number = ++marks->written;
    mark->fences = with_armed ? marks->armed : NULL;
    if (with_armed) {
        marks->armed = NULL;
    }
    marks->count++;
    marks->in_batch = true;
    return mark;
}

static struct rlt_ping_mark *take_first(struct rlt_ping_marks *marks)
{
    struct rlt_ping_mark *mark = &marks->marks[marks->first];
    marks->first = (marks->first + 1) % RLT_PING_MARKS_MAX;
    marks->count--;
    return mark;
}

struct rlt_ping_mark *rlt_ping_marks_pop(struct rlt_ping_marks *marks)
{
    /* No PING is open, but for one behind an early PONG, which is not sent: a PONG of no PING. */
    if (rlt_ping_marks_owe_none(marks)) {
        return NULL;
    }
    bool marked = marks->count != 0 && marks->marks[marks->first].number == marks->answered + 1;
    if (marked && marks->count == 1 && marks->in_batch) {
        marks->early = true;
        return NULL;
    }
    marks->answered++;
    return marked ? take_first(marks) : NULL;
}

struct rlt_ping_mark *rlt_ping_marks_pop_early(struct rlt_ping_marks *marks)
{
    if (!marks->early || marks->in_batch) {
        return NULL;
    }
    marks->early = false;
    return rlt_ping_marks_pop(marks);
}

struct rlt_fence_link *rlt_ping_marks_fail(struct rlt_ping_marks *marks, bool with_waiting)
{
    struct rlt_fence_link *failed = NULL;
    struct rlt_fence_link **end = &failed;
    marks->early = false;
    marks->written = 0;
    marks->answered = 0;
    while (marks->count != 0) {
        end = append(end, take_first(marks)->fences);
    }
    end = append(end, marks->armed);
    marks->armed = NULL;
    if (with_waiting) {
        append(end, rlt_ping_marks_take_waiting(marks));
    }
    return failed;
}
