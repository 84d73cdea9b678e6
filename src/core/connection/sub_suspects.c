/* SPDX-License-Identifier: MIT */
#include "core/connection/sub_suspects.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "core/connection/connection.h"
#include "core/sending/suspect.h"

static uint32_t count_of(const struct rlt_sub_suspects *suspects)
{
    return suspects->end - suspects->first;
}

static uint32_t share_of(uint32_t count)
{
    return (uint32_t)rlt_suspect_share(count);
}

bool rlt_sub_suspects_keep(const struct rlt_sub_suspects *suspects, uint64_t sid)
{
    for (uint32_t i = suspects->first + suspects->open; i < suspects->end; i++) {
        if (suspects->sids[i] == sid) {
            return true;
        }
    }
    return false;
}

void rlt_sub_suspects_fini(struct rlt_sub_suspects *suspects)
{
    rlt_memory_free(suspects->sids);
    *suspects = (struct rlt_sub_suspects){0};
}

static struct rlt_interest *find(struct rlt_connection *connection, uint64_t sid)
{
    return rlt_interests_find(&connection->exchange->interests, sid);
}

/* Enqueue the SUB of a suspect, if its interest is still wanted. */
static void request_sub(struct rlt_connection *connection, uint64_t sid)
{
    struct rlt_interest *interest = find(connection, sid);
    if (interest != NULL && !interest->on_server && rlt_interest_is_wanted(interest)) {
        rlt_exchange_defer(connection->exchange, interest);
    }
}

/* ---- Closed ------------------------------------------------------------------------------- */

/* Put the SUBs that no PONG has confirmed before those that are suspects already. */
static void collect(struct rlt_connection *connection)
{
    struct rlt_sub_suspects *suspects = &connection->sub_suspects;
    const struct rlt_sub_marks *marks = &connection->sender.subs;
    uint32_t old = count_of(suspects);
    uint64_t *sids = rlt_memory_alloc((size_t)marks->count + old, sizeof(*sids));
    if (sids == NULL) {
        return; /* the next loss may find room */
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < marks->count; i++) {
        sids[count++] = rlt_sub_mark_sid(*rlt_sub_marks_at(marks, i));
    }
    if (old != 0) {
        memcpy(sids + count, suspects->sids + suspects->first, old * sizeof(*sids));
    }
    rlt_memory_free(suspects->sids);
    suspects->sids = sids;
    suspects->first = 0;
    suspects->end = count + old;
}

bool rlt_sub_suspects_on_closed(struct rlt_connection *connection, bool named)
{
    struct rlt_sub_suspects *suspects = &connection->sub_suspects;
    uint32_t unconfirmed = connection->sender.subs.count;
    uint32_t open = suspects->open;
    rlt_sub_suspects_on_lost(suspects);
    if (unconfirmed == 0) {
        return false;
    }
    suspects->losses++;
    if (suspects->losses == 1 && !named) {
        return true;
    }
    if (open == 0) {
        /* Messages may have been in flight too: this loss does not tell which line it was. */
        collect(connection);
        open = count_of(suspects);
        suspects->strikes = 0;
    } else {
        suspects->strikes = open == 1 ? suspects->strikes + 1 : 0;
    }
    if (open == 1 && suspects->strikes >= rlt_suspect_strikes(named)) {
        suspects->culprit = suspects->sids[suspects->first++];
        suspects->strikes = 0;
        open = count_of(suspects);
    }
    suspects->narrow = open;
    suspects->window = share_of(open);
    return true;
}

static void end_culprit(struct rlt_connection *connection, int error)
{
    struct rlt_sub_suspects *suspects = &connection->sub_suspects;
    struct rlt_interest *interest = find(connection, suspects->culprit);
    suspects->culprit = 0;
    if (interest == NULL || interest->on_server) {
        return;
    }
    char text[256];
    struct rlt_topic_key key = rlt_interest_key(interest);
    (void)snprintf(text, sizeof(text), "%.*s (%zu bytes)", (int)rlt_min_size(key.len, 128),
                   key.topic, key.len);
    rlt_report(connection->env, RLT_REPORT_POISON_SUB, text);
    rlt_exchange_undefer(connection->exchange, interest);
    rlt_exchange_end(connection->exchange, interest, error);
}

void rlt_sub_suspects_hold(struct rlt_connection *connection, int error)
{
    struct rlt_sub_suspects *suspects = &connection->sub_suspects;
    if (suspects->culprit != 0) {
        end_culprit(connection, error);
    }
    for (uint32_t i = suspects->first; i < suspects->end; i++) {
        struct rlt_interest *interest = find(connection, suspects->sids[i]);
        if (interest != NULL && !interest->on_server) {
            rlt_exchange_undefer(connection->exchange, interest);
        }
    }
}

/* ---- The next connection ------------------------------------------------------------------ */

bool rlt_sub_suspects_have_work(const struct rlt_connection *connection)
{
    const struct rlt_sub_suspects *suspects = &connection->sub_suspects;
    return !rlt_sub_suspects_are_none(suspects) && connection->pending->first == NULL &&
           (connection->sender.subs.count == 0 || !suspects->pinged);
}

bool rlt_sub_suspects_step(struct rlt_connection *connection)
{
    struct rlt_sub_suspects *suspects = &connection->sub_suspects;
    if (rlt_sub_suspects_are_none(suspects)) {
        return true;
    }
    if (connection->sender.subs.count != 0) {
        connection->sender.ping_due = connection->sender.ping_due || !suspects->pinged;
        suspects->pinged = true;
        return false;
    }
    if (suspects->open != 0) {
        rlt_sub_suspects_on_pong(connection); /* the window is not wanted any more */
        return rlt_sub_suspects_are_none(suspects);
    }
    suspects->open = rlt_min_u32(suspects->window, count_of(suspects));
    for (uint32_t i = 0; i < suspects->open; i++) {
        request_sub(connection, suspects->sids[suspects->first + i]);
    }
    return false;
}

void rlt_sub_suspects_on_pong(struct rlt_connection *connection)
{
    struct rlt_sub_suspects *suspects = &connection->sub_suspects;
    if (connection->sender.subs.count != 0 || connection->pending->first != NULL) {
        return;
    }
    suspects->pinged = false;
    suspects->first += suspects->open;
    suspects->narrow -= rlt_min_u32(suspects->narrow, suspects->open);
    suspects->strikes = suspects->open != 0 ? 0 : suspects->strikes;
    suspects->open = 0;
    if (rlt_sub_suspects_are_none(suspects)) {
        rlt_sub_suspects_fini(suspects);
    } else if (suspects->narrow == 0) {
        suspects->narrow = count_of(suspects);
        suspects->window = share_of(suspects->narrow);
    }
}
