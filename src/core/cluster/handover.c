/* SPDX-License-Identifier: MIT */
#include "core/cluster/handover.h"

#include "core/cluster/path.h"
#include "core/cluster/takeover.h"

#define START_JITTER_NS (RLT_NS_PER_S / 2)
#define RECORD_NS       (RLT_NS_PER_S / 4)
#define SETTLE_NS       (RLT_NS_PER_S / 2)
#define SETTLES_MAX     8
#define CROSS_NS        (RLT_NS_PER_S / 4)
#define MEMORY_RETRY_NS RLT_NS_PER_S

static bool is_lame_duck(const struct rlt_connection *connection)
{
    return connection->session.state == RLT_SESSION_READY && connection->info.lame_duck;
}

static void begin_move(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    struct rlt_connection *active = path->active;
    uint64_t jitter_ns = rlt_random_below(&active->session.random, START_JITTER_NS);
    handover->phase = RLT_HANDOVER_CONNECTING;
    handover->second = rlt_path_other(path, active);
    handover->started = false;
    handover->deadline_ns = now_ns + jitter_ns;
    rlt_report(path->env, RLT_REPORT_LAME_DUCK, "moving to another one");
}

/* ---- The phases --------------------------------------------------------------------------- */

/* Whether the timer of the phase has run out: true once. */
static bool is_due(const struct rlt_handover *handover, uint64_t now_ns)
{
    return handover->deadline_ns == RLT_NEVER || now_ns >= handover->deadline_ns;
}

static bool is_last_round(const struct rlt_handover *handover)
{
    return handover->settles > SETTLES_MAX;
}

/* Whether the second connection is to be told of an interest, now or later. */
static bool is_untold(const struct rlt_interest *interest)
{
    return !interest->on_second && rlt_interest_is_wanted(interest);
}

/* Record all interests of the old connection from now on. Returns: whether the second one is to be
 * told of any. */
static bool note_untold(struct rlt_path *path)
{
    const struct rlt_interests *table = &path->exchange->interests;
    struct rlt_interest *interest;
    bool found = false;
    for (uint32_t i = 0; (interest = rlt_interests_next(table, path->index, &i)) != NULL; i++) {
        if (is_untold(interest)) {
            found = true;
            interest->young = interest->on_server ? RLT_HANDOVER_AGING : RLT_HANDOVER_YOUNG;
        }
    }
    return found;
}

/* Begin RECORDING. Returns: false if there is no memory; then the old connection goes on. */
static bool begin_recording(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    int old = path->active->side;
    if (!rlt_merge_is_open(&handover->merge) && rlt_merge_open(&handover->merge, old) < 0) {
        handover->deadline_ns = now_ns + MEMORY_RETRY_NS;
        return false;
    }
    handover->deadline_ns = RLT_NEVER;
    handover->proved = false;
    handover->phase = RLT_HANDOVER_RECORDING;
    return true;
}

/* Begin SETTLING, with its timer due at once. */
static void settle(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    handover->settled_ns = now_ns;
    handover->sent = path->active->sender.sent;
    handover->deadline_ns = now_ns;
    handover->phase = RLT_HANDOVER_SETTLING;
}

static bool run_connecting(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    struct rlt_connection *second = handover->second;
    if (!handover->started && is_due(handover, now_ns)) {
        /* The old connection of the last handover may still be closing: then wait. */
        if (second->session.state == RLT_SESSION_IDLE) {
            handover->started = true;
            rlt_connection_start(second, now_ns);
        }
        handover->deadline_ns = RLT_NEVER;
    }
    uint64_t seen_ns = path->active->reading.seen_ns;
    if (handover->started && (is_due(handover, seen_ns) || rlt_merge_is_over(&handover->merge))) {
        rlt_merge_close(&handover->merge,
                        path->exchange); /* of a second connection that was lost */
        handover->deadline_ns = RLT_NEVER;
    }
    if (second->session.state != RLT_SESSION_READY || handover->deadline_ns != RLT_NEVER) {
        return false;
    }
    handover->settles = 0;
    if (note_untold(path)) {
        return begin_recording(path, now_ns);
    }
    settle(path, now_ns); /* no interest is to be told */
    return true;
}

/* Begin a fence: the PONG of a PING that the connection sends from now on. */
static bool begin_fence(struct rlt_handover *handover, struct rlt_connection *connection)
{
    struct rlt_fence *fence = rlt_fence_create(1, RLT_COMMAND_FENCE);
    if (fence == NULL) {
        return false; /* tried again at the next step */
    }
    struct rlt_fence_part *part = &fence->parts[0];
    part->pending = 1;
    part->links[0].part = part;
    handover->fence = fence;
    rlt_ping_marks_add_fence(&connection->sender.pings, &part->links[0]);
    return true;
}

/* Whether the fence was passed; a failed one stays until the loss of its connection is handled. */
static bool end_fence(struct rlt_handover *handover)
{
    struct rlt_fence *fence = handover->fence;
    /* Relaxed: this thread wrote it. */
    if (atomic_load_explicit(&fence->done, memory_order_relaxed) == 0 ||
        fence->parts[0].error != 0) {
        return false;
    }
    rlt_fence_release(fence);
    handover->fence = NULL;
    return true;
}

static bool run_recording(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    if (!handover->proved) {
        if ((handover->fence == NULL && !begin_fence(handover, path->active)) ||
            !end_fence(handover)) {
            return false;
        }
        handover->proved = true;
        handover->deadline_ns = now_ns + RECORD_NS;
    }
    if (!is_due(handover, now_ns)) {
        return false;
    }
    handover->deadline_ns = RLT_NEVER;
    handover->phase = RLT_HANDOVER_SUBSCRIBING;
    handover->cursor = 0;
    return true;
}

/* Whether the old connection has had the interest since RECORDING began. */
static bool is_recorded(const struct rlt_interest *interest)
{
    return interest->on_server && interest->young != RLT_HANDOVER_YOUNG;
}

/* Tell the second connection of interests that it does not know. Returns: whether it knows all. */
static bool write_all(struct rlt_path *path)
{
    struct rlt_handover *handover = &path->handover;
    const struct rlt_interests *table = &path->exchange->interests;
    struct rlt_interest *interest;
    if (rlt_inquiry_is_under_way(&handover->second->inquiry)) {
        return false;
    }
    for (; (interest = rlt_interests_next(table, path->index, &handover->cursor)) != NULL;
         handover->cursor++) {
        if (!is_untold(interest) || (!is_recorded(interest) && !is_last_round(handover))) {
            continue;
        }
        if (!rlt_connection_write_sub(handover->second, interest)) {
            return false;
        }
        interest->on_second = true;
        handover->wrote = true;
        /* The second one delivers from here on, also interests that the active one was not told of
         * yet. */
        rlt_exchange_notify(path->exchange, interest, RLT_NOTICE_RESTORED, 0);
    }
    return true;
}

static bool run_subscribing(struct rlt_path *path)
{
    struct rlt_handover *handover = &path->handover;
    if (!write_all(path) || !begin_fence(handover, handover->second)) {
        return false;
    }
    handover->wrote = false;
    handover->phase = RLT_HANDOVER_FENCING;
    return true;
}

static bool run_fencing(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    if (!end_fence(handover)) {
        return false;
    }
    handover->settles++;
    settle(path, now_ns);
    if (!is_last_round(handover)) {
        handover->deadline_ns = now_ns + SETTLE_NS;
        rlt_merge_mark(&handover->merge);
    }
    return true;
}

static bool run_settling(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    /* All that has come by the deadline must have been read: this thread may be late. */
    uint64_t seen_ns =
        rlt_min_u64(path->active->reading.seen_ns, handover->second->reading.seen_ns);
    if (!is_due(handover, seen_ns)) {
        return false;
    }
    handover->deadline_ns = RLT_NEVER;
    if (!rlt_merge_has_caught_up(&handover->merge)) {
        return false; /* a copy, or the timer of what waits, comes */
    }
    /* The old one first writes its waiting UNSUBs: a member that joins later would find it
     * subscribed. */
    const struct rlt_connection *active = path->active;
    if (active->pending->first != NULL || rlt_inquiry_is_under_way(&active->inquiry)) {
        return false;
    }
    if (is_last_round(handover)) {
        handover->cursor = 0;
        if (!write_all(path) || handover->wrote) {
            handover->phase = RLT_HANDOVER_SUBSCRIBING;
            return true;
        }
    } else if (note_untold(path)) {
        return begin_recording(path, now_ns);
    }
    if (rlt_merge_is_open(&handover->merge)) {
        rlt_merge_forget(&handover->merge);
    }
    struct rlt_sender *old = &path->active->sender;
    old->role = RLT_ROLE_LEAVING;
    handover->held = rlt_ping_marks_take_unsent(&old->pings);
    handover->group_told = false;
    handover->cursor = 0;
    handover->phase = RLT_HANDOVER_DRAINING;
    return true;
}

/* Write the old connection's UNSUBs of its queue groups. Returns: whether all are written. */
static bool leave_groups(struct rlt_path *path)
{
    struct rlt_handover *handover = &path->handover;
    const struct rlt_interests *table = &path->exchange->interests;
    const struct rlt_interest *interest;
    for (; (interest = rlt_interests_next(table, path->index, &handover->cursor)) != NULL;
         handover->cursor++) {
        if (!interest->exclusive || !interest->on_server) {
            continue;
        }
        if (!rlt_connection_write_unsub(path->active, interest->sid)) {
            return false;
        }
    }
    return true;
}

static bool run_draining(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    struct rlt_connection *old = path->active;
    if (handover->fence == NULL) {
        handover->group_told = handover->group_told || leave_groups(path);
        if (!handover->group_told || !begin_fence(handover, old)) {
            return false;
        }
    }
    if (rlt_sender_is_busy(&old->sender) || !end_fence(handover)) {
        return false;
    }
    bool was_quiet =
        old->sender.sent == handover->sent && now_ns - handover->settled_ns >= CROSS_NS;
    handover->deadline_ns = now_ns + (was_quiet ? 0 : CROSS_NS);
    handover->phase = RLT_HANDOVER_CROSSING;
    return true;
}

static bool run_crossing(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    struct rlt_connection *old = path->active;
    if (!is_due(handover, now_ns)) {
        return false;
    }
    handover->deadline_ns = RLT_NEVER;
    /* If the second one is being closed, its loss is handled first. */
    if (rlt_sender_is_busy(&old->sender) || handover->second->session.state != RLT_SESSION_READY) {
        return false;
    }
    rlt_takeover_swap(path, now_ns);
    rlt_connection_retire(old);
    return true;
}

/* Drop copies that have come by the deadline, also if this thread is late. */
static bool run_lingering(struct rlt_path *path)
{
    struct rlt_handover *handover = &path->handover;
    if (is_due(handover, path->active->reading.seen_ns) || handover->merge.overlap.owed == 0) {
        rlt_takeover_end(path);
        return true;
    }
    return false;
}

void rlt_handover_step(struct rlt_path *path, uint64_t now_ns)
{
    struct rlt_handover *handover = &path->handover;
    /* No phase begins while the sending side is lent; its return wakes the event thread. */
    bool more = !path->active->sender.lent;
    rlt_merge_step(&handover->merge, path->exchange, path->active->reading.seen_ns);
    while (more) {
        switch (handover->phase) {
        case RLT_HANDOVER_NONE:
            more = is_lame_duck(path->active);
            if (more) {
                begin_move(path, now_ns);
            }
            break;
        case RLT_HANDOVER_CONNECTING:
            more = run_connecting(path, now_ns);
            break;
        case RLT_HANDOVER_RECORDING:
            more = run_recording(path, now_ns);
            break;
        case RLT_HANDOVER_SUBSCRIBING:
            more = run_subscribing(path);
            break;
        case RLT_HANDOVER_FENCING:
            more = run_fencing(path, now_ns);
            break;
        case RLT_HANDOVER_SETTLING:
            more = run_settling(path, now_ns);
            break;
        case RLT_HANDOVER_DRAINING:
            more = run_draining(path, now_ns);
            break;
        case RLT_HANDOVER_CROSSING:
            more = run_crossing(path, now_ns);
            break;
        case RLT_HANDOVER_LINGERING:
            more = run_lingering(path);
            break;
        }
    }
}

/* ---- Waiting ------------------------------------------------------------------------------ */

uint64_t rlt_handover_deadline(const struct rlt_handover *handover)
{
    return handover->phase == RLT_HANDOVER_NONE
               ? RLT_NEVER
               : rlt_min_u64(handover->deadline_ns, rlt_merge_deadline(&handover->merge));
}

static bool can_write(const struct rlt_connection *connection)
{
    return connection->session.state == RLT_SESSION_READY &&
           !rlt_sender_is_busy(&connection->sender);
}

bool rlt_handover_has_work(const struct rlt_path *path)
{
    const struct rlt_handover *handover = &path->handover;
    switch (handover->phase) {
    case RLT_HANDOVER_NONE:
        return !path->active->sender.lent && is_lame_duck(path->active);
    case RLT_HANDOVER_CONNECTING:
        return handover->started && handover->deadline_ns == RLT_NEVER &&
               handover->second->session.state == RLT_SESSION_READY;
    case RLT_HANDOVER_SUBSCRIBING:
        return can_write(handover->second) && rlt_connection_may_subscribe(handover->second);
    case RLT_HANDOVER_DRAINING:
        return handover->fence == NULL && can_write(path->active);
    default:
        return false;
    }
}

void rlt_handover_on_subscribed(const struct rlt_path *path, struct rlt_interest *interest)
{
    interest->young =
        rlt_merge_is_open(&path->handover.merge) ? RLT_HANDOVER_YOUNG : RLT_HANDOVER_OLD;
}

void rlt_handover_on_unsubscribe(struct rlt_path *path, struct rlt_interest *interest)
{
    struct rlt_handover *handover = &path->handover;
    if (!interest->on_second || !interest->on_server) {
        return;
    }
    bool is_ready = handover->second->session.state == RLT_SESSION_READY;
    if (is_ready && !rlt_connection_write_unsub(handover->second, interest->sid)) {
        return; /* no room: the UNSUB is written after the takeover */
    }
    interest->on_second = false;
    if (!interest->exclusive) {
        rlt_merge_drop_of(&handover->merge, path->exchange, interest->sid);
    }
}

void rlt_handover_stop(struct rlt_path *path)
{
    struct rlt_handover *handover = &path->handover;
    rlt_takeover_drop_fence(path);
    rlt_connection_finish_fences(path->active, handover->held, ROULETTE_ECLOSED);
    handover->held = NULL;
    rlt_takeover_end(path);
}
