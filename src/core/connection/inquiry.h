/* SPDX-License-Identifier: MIT */
/**
 * Which SUBs a server has refused without naming them ("maximum subscriptions exceeded"), when
 * several stood between two PINGs (core/sending/sub_marks.h). Meanwhile nothing else is subscribed
 * or unsubscribed on the connection, and fences that have passed are held back, so that a fence
 * tells of every refusal before it.
 *
 *     NONE -> CLOSING -> ASKING -> CUTTING -> TESTING -> REMAKING -> NONE
 *
 *  CLOSING   the PONGs of all written lines are awaited. As many -ERRs as SUBs in a window: all
 *            were refused. Otherwise one or some of them.
 *  ASKING    each SUB is sent again, alone between two PINGs. A server ignores a sid that it has,
 *            so no -ERR proves that the SUB exists there, and does it no harm. An -ERR proves that
 *            it does not, unless it says: too many. nats-server 2.9 to 2.15 looks at the limit
 *            before the sid, so an existing SUB is refused in the same words.
 *  CUTTING   of the rest, the last ones in their window have probably been refused for the limit.
 *            Each is unsubscribed: if it does not exist, that changes nothing.
 *  TESTING   one of them is subscribed. Still too many: then no UNSUB has made room, so none of
 *            them existed; these are the refused SUBs, and all others exist.
 *  REMAKING  otherwise the limit was changed meanwhile. Each SUB of the rest is unsubscribed and
 *            subscribed again. That is certain too, but may lose messages in between, which
 *            subscribers are told: LOST and RESTORED.
 *
 * ASKING is enough for SUBs that are refused by their topic, ASKING and TESTING for a limit;
 * neither loses messages. A phase with nothing to do is passed at once.
 *
 * Owner: the event thread.
 */
#ifndef RLT_CORE_CONNECTION_INQUIRY_H
#define RLT_CORE_CONNECTION_INQUIRY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/sending/fence.h"

struct rlt_connection;

enum rlt_inquiry_phase {
    RLT_INQUIRY_NONE,
    RLT_INQUIRY_CLOSING,
    RLT_INQUIRY_ASKING,
    RLT_INQUIRY_CUTTING,
    RLT_INQUIRY_TESTING,
    RLT_INQUIRY_REMAKING,
};

/** Of one connection. All zero: none. */
struct rlt_inquiry {
    enum rlt_inquiry_phase phase;
    uint32_t next;      /* of the phase: the next mark to ask about */
    uint32_t awaited;   /* the next mark whose answer is awaited */
    uint64_t next_ping; /* number of the PING behind the next question to be answered */
    uint64_t last_ping; /* number of the last PING in flight; 0: none */
    bool proved;        /* TESTING: there was no room */
    struct rlt_fence_link *held;
};

/** Whether nothing may be subscribed or unsubscribed now. */
static inline bool rlt_inquiry_is_under_way(const struct rlt_inquiry *inquiry)
{
    return inquiry->phase != RLT_INQUIRY_NONE;
}

/** Handle an -ERR that refuses a SUB without naming it: end the interest, or begin an inquiry.
 *  `error`: its code. */
void rlt_inquiry_on_refusal(struct rlt_connection *connection, int error);

/** Handle PONGs: they confirm SUBs, or answer questions. */
void rlt_inquiry_on_pong(struct rlt_connection *connection);

/** Finish fence links that have passed, or hold them back while an inquiry is under way. */
void rlt_inquiry_pass(struct rlt_connection *connection, struct rlt_fence_link *links);

/** Write the next questions. */
void rlt_inquiry_step(struct rlt_connection *connection);

/** Whether rlt_inquiry_step() would find something to write. */
bool rlt_inquiry_has_work(const struct rlt_connection *connection);

/** End the inquiry with the connection: fences that are held back fail. */
void rlt_inquiry_end(struct rlt_connection *connection);

#endif
