/* SPDX-License-Identifier: MIT */
#include "core/sub_marks.h"

#include <stddef.h>

#include "base/assert.h"

static const struct rlt_sub_mark *at(const struct rlt_sub_marks *marks, uint32_t index)
{
    RLT_ASSERT(index < marks->count);
    return &marks->marks[(marks->first + index) % RLT_SUB_MARKS_MAX];
}

bool rlt_sub_marks_await(const struct rlt_sub_marks *marks, uint64_t ping)
{
    return marks->count != 0 && at(marks, marks->count - 1)->ping >= ping;
}

void rlt_sub_marks_push(struct rlt_sub_marks *marks, uint64_t sid, uint64_t ping)
{
    RLT_ASSERT(!rlt_sub_marks_is_full(marks) && !rlt_sub_marks_await(marks, ping));
    uint32_t slot = (marks->first + marks->count) % RLT_SUB_MARKS_MAX;
    marks->marks[slot] = (struct rlt_sub_mark){sid, ping};
    marks->count++;
}

void rlt_sub_marks_confirm(struct rlt_sub_marks *marks, uint64_t pongs)
{
    while (marks->count != 0 && at(marks, 0)->ping <= pongs) {
        marks->first = (marks->first + 1) % RLT_SUB_MARKS_MAX;
        marks->count--;
    }
}

uint64_t rlt_sub_marks_refused(const struct rlt_sub_marks *marks, uint64_t pongs)
{
    if (marks->count == 0 || at(marks, 0)->ping != pongs + 1) {
        return 0;
    }
    uint64_t sid = at(marks, 0)->sid;
    for (uint32_t i = 1; i < marks->count; i++) {
        if (at(marks, i)->sid == sid) {
            return 0;
        }
    }
    return sid;
}

void rlt_sub_marks_clear(struct rlt_sub_marks *marks)
{
    marks->first = 0;
    marks->count = 0;
}
