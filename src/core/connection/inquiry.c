/* SPDX-License-Identifier: MIT */
#include "core/connection/inquiry.h"

#include <string.h>

#include "base/assert.h"
#include "core/connection/connection.h"
#include "core/connection/refused_sub.h"
#include "proto/encode.h"

#define PING_LEN ((size_t)6)

static struct rlt_sub_marks *marks_of(struct rlt_connection *connection)
{
    return &connection->sender.subs;
}

static uint64_t pongs_of(const struct rlt_connection *connection)
{
    return rlt_ping_marks_pongs(&connection->sender.pings);
}

/* The number of the PING behind the last window. */
static uint64_t last_ping_of(const struct rlt_connection *connection)
{
    const struct rlt_sub_marks *marks = &connection->sender.subs;
    return rlt_sub_marks_window(marks, marks->window_count - 1)->ping;
}

/* Write a PING to `out`, which has room. */
static void write_ping(struct rlt_sender *sender, uint8_t *out)
{
    memcpy(out, "PING\r\n", PING_LEN);
    rlt_control_commit(&sender->control, out + PING_LEN);
    rlt_ping_marks_skip(&sender->pings);
}

static bool is_settled(const uint64_t *mark)
{
    return rlt_sub_mark_is(*mark, RLT_SUB_SETTLED);
}

/* The interest of a mark, if the connection's server may have it. NULL: the interest was left and
 * the server was told so, or it was refused, or a lame duck is leaving its queue group. */
static struct rlt_interest *find_told(struct rlt_connection *connection, uint64_t mark)
{
    struct rlt_interest *interest =
        rlt_interests_find(&connection->exchange->interests, rlt_sub_mark_sid(mark));
    if (interest == NULL || interest->path != connection->path) {
        return NULL;
    }
    if (connection->sender.role == RLT_ROLE_LEAVING && interest->exclusive) {
        return NULL;
    }
    return (rlt_connection_is_active(connection) ? interest->on_server : interest->on_second)
               ? interest
               : NULL;
}

/* ---- What is known ------------------------------------------------------------------------ */

/* Whether a later SUB with the same sid decides. */
static bool is_superseded(struct rlt_connection *connection, uint64_t sid, uint64_t pongs)
{
    const struct rlt_interest *interest = find_told(connection, sid);
    return interest != NULL && interest->again &&
           rlt_sub_marks_have_later(marks_of(connection), pongs, sid);
}

static void refuse(struct rlt_connection *connection, uint64_t *mark, int error)
{
    rlt_sub_mark_set(mark, RLT_SUB_SETTLED);
    rlt_refused_sub_end(connection, rlt_sub_mark_sid(*mark), error);
}

/* Settle a mark whose SUB exists now. If it was unsubscribed meanwhile, messages may be missing. */
static void accept(struct rlt_connection *connection, uint64_t *mark)
{
    struct rlt_exchange *exchange = connection->exchange;
    rlt_sub_mark_set(mark, RLT_SUB_SETTLED);
    struct rlt_interest *interest = find_told(connection, *mark);
    if (!rlt_sub_mark_is(*mark, RLT_SUB_CUT) || interest == NULL) {
        return;
    }
    if (connection->env->config->restart == ROULETTE_RESTART_PERMANENT) {
        rlt_exchange_notify(exchange, interest, RLT_NOTICE_LOST, ROULETTE_ESERVER);
        rlt_exchange_notify(exchange, interest, RLT_NOTICE_RESTORED, 0);
    } else {
        rlt_refused_sub_end(connection, rlt_sub_mark_sid(*mark), ROULETTE_ESERVER);
    }
}

/* ---- Questions ---------------------------------------------------------------------------- */

/* Write a question about an interest. Returns: false if there is no room. */
static bool ask(struct rlt_connection *connection, uint64_t *mark, struct rlt_interest *interest)
{
    struct rlt_inquiry *inquiry = &connection->inquiry;
    struct rlt_sender *sender = &connection->sender;
    struct rlt_topic_key key = rlt_interest_key(interest);
    uint8_t *out =
        rlt_control_claim(&sender->control, 2 * RLT_UNSUB_LEN_MAX + RLT_SUB_LEN_MAX + PING_LEN);
    if (out == NULL) {
        return false;
    }
    if (inquiry->phase == RLT_INQUIRY_REMAKING) {
        out = rlt_encode_unsub(out, interest->sid, 0);
        rlt_sub_mark_set(mark, RLT_SUB_CUT);
    }
    out = rlt_encode_sub(out, key.topic, key.len, NULL, 0, interest->sid);
    if (interest->counted) {
        if (inquiry->phase == RLT_INQUIRY_REMAKING) {
            rlt_quota_set_told(interest, connection->side, rlt_quota_wanted(interest));
        }
        uint64_t max = rlt_quota_told(interest, connection->side);
        out = rlt_encode_unsub(out, interest->sid, max);
    }
    write_ping(sender, out);
    rlt_sub_mark_set(mark, RLT_SUB_ASKED);
    rlt_sub_mark_clear(mark, RLT_SUB_LIMITED);
    inquiry->next_ping = inquiry->last_ping == 0 ? sender->pings.written : inquiry->next_ping;
    inquiry->last_ping = sender->pings.written;
    return true;
}

/* The interest that the phase asks about; NULL: none for this mark. */
static struct rlt_interest *subject_of(struct rlt_connection *connection, const uint64_t *mark)
{
    bool all = connection->inquiry.phase != RLT_INQUIRY_TESTING;
    bool wanted = !is_settled(mark) && (all || rlt_sub_mark_is(*mark, RLT_SUB_CUT));
    return wanted ? find_told(connection, *mark) : NULL;
}

/* Write the next questions. Returns: whether all are answered. */
static bool ask_all(struct rlt_connection *connection)
{
    struct rlt_inquiry *inquiry = &connection->inquiry;
    const struct rlt_sub_marks *marks = marks_of(connection);
    if (inquiry->last_ping != 0) {
        return false;
    }
    for (; inquiry->next < marks->count; inquiry->next++) {
        uint64_t *mark = rlt_sub_marks_at(marks, inquiry->next);
        struct rlt_interest *interest = subject_of(connection, mark);
        if (interest != NULL && !ask(connection, mark, interest)) {
            return false;
        }
        if (interest != NULL && inquiry->phase == RLT_INQUIRY_TESTING) {
            inquiry->next = marks->count; /* one tells */
            return false;
        }
    }
    return inquiry->last_ping == 0;
}

static uint64_t *awaited(struct rlt_connection *connection)
{
    struct rlt_inquiry *inquiry = &connection->inquiry;
    const struct rlt_sub_marks *marks = marks_of(connection);
    while (!rlt_sub_mark_is(*rlt_sub_marks_at(marks, inquiry->awaited), RLT_SUB_ASKED)) {
        inquiry->awaited++;
        RLT_ASSERT(inquiry->awaited < marks->count);
    }
    return rlt_sub_marks_at(marks, inquiry->awaited);
}

/* Handle an -ERR that answers a question. */
static void on_answer(struct rlt_connection *connection, int error)
{
    struct rlt_inquiry *inquiry = &connection->inquiry;
    uint64_t *mark = awaited(connection);
    bool limited = error == ROULETTE_ESERVER;
    if (limited && inquiry->phase != RLT_INQUIRY_REMAKING) {
        rlt_sub_mark_set(mark, RLT_SUB_LIMITED);
        inquiry->proved = inquiry->phase == RLT_INQUIRY_TESTING;
    } else if (!is_settled(mark)) {
        rlt_sub_mark_set(mark, limited ? 0 : RLT_SUB_INVALID);
        refuse(connection, mark, error);
    }
}

/* Handle the PONG of a question. */
static void on_answered(struct rlt_connection *connection)
{
    struct rlt_inquiry *inquiry = &connection->inquiry;
    uint64_t *mark = awaited(connection);
    rlt_sub_mark_clear(mark, RLT_SUB_ASKED);
    if (!is_settled(mark) && !rlt_sub_mark_is(*mark, RLT_SUB_LIMITED)) {
        accept(connection, mark);
    }
    if (inquiry->next_ping == inquiry->last_ping) {
        inquiry->last_ping = 0;
    }
    inquiry->next_ping++;
}

/* ---- Windows ------------------------------------------------------------------------------ */

/* See that the last window has a PING behind it. Returns: whether all windows are answered. */
static bool close_windows(struct rlt_connection *connection)
{
    struct rlt_sender *sender = &connection->sender;
    uint64_t last = last_ping_of(connection);
    if (last > sender->pings.written) {
        uint8_t *out = rlt_control_claim(&sender->control, PING_LEN);
        if (out != NULL) {
            write_ping(sender, out);
        }
    }
    return last <= pongs_of(connection);
}

/* Do something about each window, whose marks begin at `start`. */
typedef void window_fn(struct rlt_connection *connection, const struct rlt_sub_window *window,
                       uint32_t start);

static void for_windows(struct rlt_connection *connection, window_fn *act)
{
    const struct rlt_sub_marks *marks = marks_of(connection);
    uint32_t start = 0;
    for (uint32_t i = 0; i < marks->window_count; i++) {
        const struct rlt_sub_window *window = rlt_sub_marks_window(marks, i);
        act(connection, window, start);
        start += window->count;
    }
}

/* Judge a window at the end of CLOSING, without questions. */
static void look_at(struct rlt_connection *connection, const struct rlt_sub_window *window,
                    uint32_t start)
{
    const struct rlt_sub_marks *marks = marks_of(connection);
    bool limited = window->limited != 0;
    bool invalid = window->invalid != 0;
    bool all = window->limited + window->invalid >= window->count - window->settled;
    for (uint32_t i = start; i < start + window->count; i++) {
        uint64_t *mark = rlt_sub_marks_at(marks, i);
        if (is_settled(mark)) {
            continue;
        }
        if ((!limited && !invalid) ||
            is_superseded(connection, rlt_sub_mark_sid(*mark), window->ping - 1)) {
            rlt_sub_mark_set(mark, RLT_SUB_SETTLED);
        } else if (all && limited != invalid) {
            refuse(connection, mark, limited ? ROULETTE_ESERVER : marks->error);
        }
    }
}

/* Whether another SUB was refused for its topic, which the limit has hidden. Or whether a likely
 * one was left by the user meanwhile, so that the test proves nothing about it. */
static bool hides_one(const struct rlt_sub_marks *marks, const struct rlt_sub_window *window,
                      uint32_t start)
{
    uint32_t invalid = 0;
    for (uint32_t i = start; i < start + window->count; i++) {
        uint64_t mark = *rlt_sub_marks_at(marks, i);
        invalid += rlt_sub_mark_is(mark, RLT_SUB_INVALID) ? 1 : 0;
        if (rlt_sub_mark_is(mark, RLT_SUB_LIKELY) && !rlt_sub_mark_is(mark, RLT_SUB_CUT)) {
            return true;
        }
    }
    return invalid < window->invalid;
}

/* Mark the likely SUBs at the end of ASKING: the last ones, as many as the limit has refused. */
static void suspect(struct rlt_connection *connection, const struct rlt_sub_window *window,
                    uint32_t start)
{
    const struct rlt_sub_marks *marks = marks_of(connection);
    uint32_t limited = window->limited;
    if (hides_one(marks, window, start)) {
        return;
    }
    for (uint32_t i = start + window->count; i-- > start;) {
        uint64_t *mark = rlt_sub_marks_at(marks, i);
        if (is_settled(mark)) {
            continue;
        }
        if (window->limited == 0) {
            accept(connection, mark); /* all refused SUBs are known */
        } else if (limited != 0) {
            rlt_sub_mark_set(mark, RLT_SUB_LIKELY);
            limited--;
        }
    }
}

/* Unsubscribe the likely SUBs (CUTTING). Returns: whether all is written. */
static bool cut_all(struct rlt_connection *connection)
{
    struct rlt_inquiry *inquiry = &connection->inquiry;
    const struct rlt_sub_marks *marks = marks_of(connection);
    for (; inquiry->next < marks->count; inquiry->next++) {
        uint64_t *mark = rlt_sub_marks_at(marks, inquiry->next);
        if (is_settled(mark) || !rlt_sub_mark_is(*mark, RLT_SUB_LIKELY) ||
            find_told(connection, *mark) == NULL) {
            continue;
        }
        if (!rlt_connection_write_unsub(connection, rlt_sub_mark_sid(*mark))) {
            return false;
        }
        rlt_sub_mark_set(mark, RLT_SUB_CUT);
    }
    return true;
}

/* Judge a window after TESTING: the likely SUBs were refused, and the others exist. */
static void judge(struct rlt_connection *connection, const struct rlt_sub_window *window,
                  uint32_t start)
{
    const struct rlt_sub_marks *marks = marks_of(connection);
    if (hides_one(marks, window, start)) {
        return;
    }
    for (uint32_t i = start; i < start + window->count; i++) {
        uint64_t *mark = rlt_sub_marks_at(marks, i);
        if (is_settled(mark)) {
            continue;
        }
        if (rlt_sub_mark_is(*mark, RLT_SUB_LIKELY)) {
            refuse(connection, mark, ROULETTE_ESERVER);
        } else {
            accept(connection, mark);
        }
    }
}

/* ---- Phases ------------------------------------------------------------------------------- */

static void enter(struct rlt_inquiry *inquiry, enum rlt_inquiry_phase phase)
{
    inquiry->phase = phase;
    inquiry->next = 0;
    inquiry->awaited = 0;
    inquiry->proved = false;
}

static void finish(struct rlt_connection *connection, int error)
{
    struct rlt_fence_link *held = connection->inquiry.held;
    connection->inquiry = (struct rlt_inquiry){.phase = RLT_INQUIRY_NONE};
    rlt_sub_marks_clear(marks_of(connection));
    rlt_connection_finish_fences(connection, held, error);
}

/* Run a phase. Returns: whether there may be more to do now. */
static bool step(struct rlt_connection *connection)
{
    struct rlt_inquiry *inquiry = &connection->inquiry;
    bool over = false;
    switch (inquiry->phase) {
    case RLT_INQUIRY_NONE:
        return false;
    case RLT_INQUIRY_CLOSING:
        over = close_windows(connection);
        if (over) {
            for_windows(connection, look_at);
            enter(inquiry, RLT_INQUIRY_ASKING);
        }
        break;
    case RLT_INQUIRY_ASKING:
        over = ask_all(connection);
        if (over) {
            for_windows(connection, suspect);
            enter(inquiry, RLT_INQUIRY_CUTTING);
        }
        break;
    case RLT_INQUIRY_CUTTING:
        over = cut_all(connection);
        if (over) {
            enter(inquiry, RLT_INQUIRY_TESTING);
        }
        break;
    case RLT_INQUIRY_TESTING:
        over = ask_all(connection);
        if (over) {
            if (inquiry->proved) {
                for_windows(connection, judge);
            }
            enter(inquiry, RLT_INQUIRY_REMAKING);
        }
        break;
    case RLT_INQUIRY_REMAKING:
        if (ask_all(connection)) {
            finish(connection, 0);
        }
        break;
    }
    return over;
}

void rlt_inquiry_step(struct rlt_connection *connection)
{
    while (step(connection)) {
        /* The next phase may have nothing to do. */
    }
}

bool rlt_inquiry_has_work(const struct rlt_connection *connection)
{
    const struct rlt_inquiry *inquiry = &connection->inquiry;
    if (inquiry->phase == RLT_INQUIRY_CLOSING) {
        uint64_t last = last_ping_of(connection);
        return last > connection->sender.pings.written || last <= pongs_of(connection);
    }
    return inquiry->phase != RLT_INQUIRY_NONE && inquiry->last_ping == 0;
}

/* ---- What the server says ----------------------------------------------------------------- */

void rlt_inquiry_on_refusal(struct rlt_connection *connection, int error)
{
    struct rlt_inquiry *inquiry = &connection->inquiry;
    uint64_t pongs = pongs_of(connection);
    if (inquiry->last_ping != 0) {
        if (inquiry->next_ping == pongs + 1) {
            on_answer(connection, error);
        }
        return;
    }
    bool limited = error == ROULETTE_ESERVER;
    uint64_t sid = rlt_sub_marks_refuse(marks_of(connection), pongs, limited, error);
    if (sid != 0 && !is_superseded(connection, sid, pongs)) {
        rlt_refused_sub_end(connection, sid, error);
    } else if (inquiry->phase == RLT_INQUIRY_NONE &&
               rlt_sub_marks_are_in_doubt(marks_of(connection))) {
        inquiry->phase = RLT_INQUIRY_CLOSING;
    }
}

void rlt_inquiry_on_pong(struct rlt_connection *connection)
{
    struct rlt_inquiry *inquiry = &connection->inquiry;
    if (inquiry->phase == RLT_INQUIRY_NONE) {
        rlt_sub_marks_confirm(marks_of(connection), pongs_of(connection));
    }
    while (inquiry->last_ping != 0 && inquiry->next_ping <= pongs_of(connection)) {
        on_answered(connection);
    }
}

void rlt_inquiry_pass(struct rlt_connection *connection, struct rlt_fence_link *links)
{
    struct rlt_inquiry *inquiry = &connection->inquiry;
    if (inquiry->phase == RLT_INQUIRY_NONE) {
        rlt_connection_finish_fences(connection, links, 0);
        return;
    }
    while (links != NULL) {
        struct rlt_fence_link *link = links;
        links = link->next;
        link->next = inquiry->held;
        inquiry->held = link;
    }
}

void rlt_inquiry_end(struct rlt_connection *connection)
{
    finish(connection, ROULETTE_EDISCONNECTED);
}
